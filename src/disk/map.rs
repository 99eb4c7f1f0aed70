//! Owns read-only maps of whole files, which tools take of logs. Kafka's tools read them with `FileRecords`.
//! Absent on purpose: writable maps, and maps of the broker's own files: see the room's page.

use memmap2::{Advice, Mmap};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::path::Path;

/// A file as it was long when it was opened.
///
/// Another process may cut it, or its device may fail, and a load would be a SIGBUS. So [`Self::read`] asks the kernel for
/// the pages first, which answers with an error instead. What is left is the moment between the answer and the last use
/// of the bytes: a program that may not end in it does not map files.
#[derive(Debug)]
pub struct FileMap {
    map: Mmap,
}

impl FileMap {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the map is read-only, and no code of this process writes to the file. Another process may write to it or cut it, which
        // no one can exclude: bytes are only decoded, with every length checked against this slice, so that they may be
        // any; for the cut see the type's page.
        #[allow(unsafe_code, reason = "a map of a file is unsafe by nature")]
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self { map })
    }

    pub fn len(&self) -> u64 {
        self.map.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// The bytes from `position` on. `UnexpectedEof` where the file was shorter when it was opened.
    pub fn read(&self, position: u64, len: usize) -> io::Result<&[u8]> {
        let start = usize::try_from(position).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let bytes = start.checked_add(len).and_then(|end| self.map.get(start..end));
        let bytes = bytes.ok_or(io::ErrorKind::UnexpectedEof)?;
        match self.map.advise_range(Advice::PopulateRead, start, len) {
            // Linux before 5.14 does not know the question.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(bytes),
            Err(e) if e.raw_os_error() == Some(Errno::FAULT.raw_os_error()) => {
                Err(io::Error::other("it was cut meanwhile, or its device failed"))
            }
            Err(e) => Err(e),
            Ok(()) => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_file_that_is_cut_ends_as_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let content: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let map = FileMap::open(&path).unwrap();
        assert_eq!(map.len(), 100_000);
        assert_eq!(map.read(70_001, 5).unwrap(), &content[70_001..70_006]);
        assert_eq!(map.read(99_999, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(map.read(u64::MAX, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(10_000).unwrap();
        assert_eq!(map.read(70_001, 5).unwrap_err().kind(), io::ErrorKind::Other);
        assert_eq!(map.read(9_990, 10).unwrap(), &content[9_990..10_000]);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"").unwrap();
        let map = FileMap::open(&path).unwrap();
        assert!(map.is_empty());
        assert_eq!(map.read(0, 0).unwrap(), b"");
        assert_eq!(map.read(0, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
