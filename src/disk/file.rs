//! Owns open data files and slices of them: positioned reads and writes, truncation, sync, sendfile. Kafka: `FileRecords`.
//! A file has no cursor and no cached length: the log knows how much of it counts.

use super::calls;
use super::fault::Op;
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Most pieces that one `pwritev` takes (Linux `UIO_MAXIOV`).
const IOV_MAX: usize = 1_024;

/// An open file that many threads read while one writes. Every call is one system call in the usual case.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    /// As it was opened: only for saying which file it is.
    path: Arc<Path>,
}

impl DataFile {
    /// Opens for reading and writing; the file must exist.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = Arc::from(path);
        let _call = calls::begin_at(Op::Open, &path)?;
        Ok(Self { file: OpenOptions::new().read(true).write(true).open(&path)?, path })
    }

    /// Opens for reading and writing, and creates an empty file where there is none.
    pub fn open_or_create(path: &Path) -> io::Result<Self> {
        let path = Arc::from(path);
        let _call = calls::begin_at(Op::Create, &path)?;
        Ok(Self { file: OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?, path })
    }

    /// Opens for reading only: what tools do with files of a running broker.
    pub fn open_read_only(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, path: Arc::from(path) })
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Last modification, milliseconds since the epoch.
    pub fn modified_ms(&self) -> io::Result<i64> {
        Ok(super::dir::millis(self.file.metadata()?.modified()?))
    }

    /// Reads until `buf` is full or the file ends; returns the bytes read.
    pub fn read_at(&self, mut buf: &mut [u8], mut position: u64) -> io::Result<usize> {
        let _call = calls::begin_at(Op::Read, &self.path)?;
        let wanted = buf.len();
        while !buf.is_empty() {
            match self.file.read_at(buf, position) {
                Ok(0) => break,
                Ok(n) => {
                    buf = &mut buf[n..];
                    position += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(wanted - buf.len())
    }

    /// Reads exactly `buf.len()` bytes; `UnexpectedEof` when the file is shorter.
    pub fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        if self.read_at(buf, position)? == buf.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads what is in the page cache now, up to `buf.len()`, without waiting for the disk. `WouldBlock` when not even
    /// the first page is there, and on file systems that cannot say.
    pub fn read_resident_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match rustix::io::preadv2(&self.file, &mut [IoSliceMut::new(buf)], position, ReadWriteFlags::NOWAIT) {
            Ok(n) => Ok(n),
            Err(Errno::OPNOTSUPP) => Err(io::ErrorKind::WouldBlock.into()),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes all pieces one after another from `position` on: one `pwritev` unless the disk takes less. The slices are
    /// consumed.
    pub fn write_all_at(&self, mut pieces: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        let _call = calls::begin_at(Op::Write, &self.path)?;
        IoSlice::advance_slices(&mut pieces, 0);
        while !pieces.is_empty() {
            match rustix::io::pwritev(&self.file, &pieces[..pieces.len().min(IOV_MAX)], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    IoSlice::advance_slices(&mut pieces, n);
                    position += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// Cuts or extends the file.
    pub fn truncate(&self, len: u64) -> io::Result<()> {
        let _call = calls::begin_at(Op::Truncate, &self.path)?;
        self.file.set_len(len)
    }

    /// Waits until content and length are on the disk; times and owners need not be. Never retry a failure: the kernel may
    /// have dropped the pages.
    pub fn sync(&self) -> io::Result<()> {
        let _call = calls::begin_at(Op::Sync, &self.path)?;
        self.file.sync_data()
    }
}

/// A piece of a data file that a response carries. The log clamps it to what it may show; a truncation after that makes
/// the file end inside the slice, and the sender closes the connection.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<DataFile>,
    pub position: u64,
    pub len: u32,
    /// See [`tells_residency`].
    pub tells_residency: bool,
}

/// Whether the file system that holds this file says which pages are in memory. tmpfs, NFS and FUSE may not: what lies
/// there is sent as Kafka sends all, with a `sendfile` that may wait. Creates the file where it is missing.
pub fn tells_residency(path: &Path) -> io::Result<bool> {
    let file = DataFile::open_or_create(path)?;
    match rustix::io::preadv2(&file.file, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP) => Ok(false),
        Ok(_) | Err(Errno::AGAIN) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

impl FileSlice {
    /// Copies bytes from `sent` on to a socket inside the kernel and returns how many; 0 means that the file ends
    /// inside the slice. `WouldBlock` when the socket is full. Blocks its thread on the disk where pages are cold: see
    /// [`Self::is_resident`].
    pub fn send(&self, sent: u32, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let left = self.len.saturating_sub(sent) as usize;
        let mut offset = self.position + u64::from(sent);
        let _call = calls::note(Op::Read, &self.file.path);
        loop {
            match rustix::fs::sendfile(socket, self.file.file.as_fd(), Some(&mut offset), left) {
                Err(Errno::INTR) => {}
                done => return done.map_err(io::Error::from),
            }
        }
    }

    /// Reads from `from` (relative to the slice) what fits into `buf`; fewer bytes when slice or file end.
    pub fn read(&self, from: u32, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.len.saturating_sub(from) as usize);
        self.file.read_at(&mut buf[..n], self.position + u64::from(from))
    }

    /// As [`Self::read`] but only from the page cache; `WouldBlock` when the first page is not there.
    pub fn read_resident(&self, from: u32, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.len.saturating_sub(from) as usize);
        self.file.read_resident_at(&mut buf[..n], self.position + u64::from(from))
    }

    /// Whether what is left from `from` on may be sent without a thread that can wait: first and last byte are in the page
    /// cache, or no one can say. A guess: the middle is not looked at.
    pub fn is_resident(&self, from: u32) -> bool {
        if !self.tells_residency {
            return true;
        }
        let mut byte = [0];
        [from, self.len.saturating_sub(1)].iter().all(|at| matches!(self.read_resident(*at, &mut byte), Ok(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn file_with(bytes: &[u8]) -> (tempfile::TempDir, Arc<DataFile>) {
        let dir = tempfile::tempdir().unwrap();
        let file = DataFile::open_or_create(&dir.path().join("f")).unwrap();
        file.write_all_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        (dir, Arc::new(file))
    }

    #[test]
    fn pieces_land_one_after_another_even_when_there_are_more_than_one_call_takes() {
        let (_dir, file) = file_with(b"");
        let mut pieces: Vec<IoSlice<'_>> = (0..3_000).map(|_| IoSlice::new(b"ab")).collect();
        file.write_all_at(&mut pieces, 5).unwrap();
        assert_eq!(file.len().unwrap(), 6_005);
        let mut back = vec![0; 6_000];
        file.read_exact_at(&mut back, 5).unwrap();
        assert_eq!(back, b"ab".repeat(3_000));
    }

    #[test]
    fn a_read_past_the_end_returns_what_is_there() {
        let (_dir, file) = file_with(b"hello");
        let mut buf = [0; 8];
        assert_eq!(file.read_at(&mut buf, 3).unwrap(), 2);
        assert_eq!(file.read_exact_at(&mut buf, 3).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_slice_is_sent_by_the_kernel_and_never_more_than_it_announces() {
        let (_dir, file) = file_with(b"0123456789");
        let slice = FileSlice { file: Arc::clone(&file), position: 2, len: 5, tells_residency: true };
        let (a, mut b) = UnixStream::pair().unwrap();
        assert_eq!(slice.send(0, a.as_fd()).unwrap(), 5);
        assert_eq!(slice.send(3, a.as_fd()).unwrap(), 2);
        // Read first: the socket holds references to the file's pages, and a truncation wipes what it cuts of them.
        let mut got = [0; 7];
        b.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"2345656");
        file.truncate(4).unwrap();
        assert_eq!(slice.send(2, a.as_fd()).unwrap(), 0, "the file now ends inside of the slice");
    }

    #[test]
    fn a_full_nonblocking_socket_says_would_block() {
        let (_dir, file) = file_with(&vec![7; 8 << 20]);
        let slice = FileSlice { file, position: 0, len: 8 << 20, tells_residency: true };
        let (a, _b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        let mut sent = 0;
        let error = loop {
            match slice.send(sent, a.as_fd()) {
                Ok(n) => sent += n as u32,
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 0 && sent < slice.len);
    }

    #[test]
    fn where_no_one_can_say_what_is_in_memory_it_is_sent_at_once() {
        let (_dir, file) = file_with(b"0123456789");
        file.truncate(0).unwrap();
        let slice = |tells_residency| FileSlice { file: Arc::clone(&file), position: 0, len: 10, tells_residency };
        // No page is there to be found in memory.
        assert_eq!((slice(true).is_resident(0), slice(false).is_resident(0)), (false, true));
    }

    #[test]
    fn reads_of_a_slice_end_with_the_slice() {
        let (_dir, file) = file_with(b"0123456789");
        let slice = FileSlice { file, position: 2, len: 5, tells_residency: true };
        let mut buf = [0; 10];
        assert_eq!(slice.read(3, &mut buf).unwrap(), 2);
        assert_eq!(&buf[..2], b"56");
        match slice.read_resident(0, &mut buf) {
            Ok(n) => assert_eq!(&buf[..n], b"23456"),
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
        }
    }
}
