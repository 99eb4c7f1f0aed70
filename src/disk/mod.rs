//! Owns files, directories, memory maps, sendfile, and all `unsafe`.
