//! Owns directories: listing, the `.lock` file, atomic replacement of small files, syncing of names. Kafka: `FileLock`,
//! `Utils.atomicMoveWithFallback`, `Utils.flushDir`.

use super::calls;
use super::fault::Op;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that is held by a POSIX record lock over all of it, as Java's `FileChannel.tryLock` takes it. `flock` would not
/// conflict with an Apache broker. The lock belongs to this open file, not to the process: a second attempt in the same
/// process is refused too. Dropping it lets go; the file stays.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// `Ok(None)` when another holds it.
    pub fn try_lock(path: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // SAFETY: flock is a plain C struct for which all zero bytes are a value.
        #[allow(unsafe_code, reason = "no safe wrapper offers F_OFD_SETLK")]
        let mut whole_file: libc::flock = unsafe { std::mem::zeroed() };
        whole_file.l_type = libc::F_WRLCK as libc::c_short;
        whole_file.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: the descriptor is open for the length of the call, and the kernel only reads the struct.
        #[allow(unsafe_code, reason = "no safe wrapper offers F_OFD_SETLK")]
        let status = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole_file) };
        if status == 0 {
            return Ok(Some(Self { _file: file }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(None),
            _ => Err(error),
        }
    }
}

/// Writes `bytes` beside `path`, waits for the disk, renames over `path` and waits for the name: a reader sees the old or
/// the new content, also after a power cut.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_files(&[(path.to_owned(), bytes.to_owned())]).map_err(|(_, error)| error)
}

/// As [`replace_file`] for many files, which wait for the disk together. The error is of the file that it names; some of
/// the others may have been replaced.
pub fn replace_files(files: &[(PathBuf, Vec<u8>)]) -> Result<(), (PathBuf, io::Error)> {
    let mut begun = Vec::with_capacity(files.len());
    let written = write_beside(files, &mut begun);
    if written.is_err() {
        // What is there of them takes room that may be all that is left.
        begun.iter().for_each(|temporary| drop(fs::remove_file(temporary)));
        return written;
    }
    let mut parents: Vec<&Path> = Vec::with_capacity(files.len());
    for (temporary, (path, _)) in begun.iter().zip(files) {
        rename_unsynced(temporary, path).map_err(|e| (path.clone(), e))?;
        parents.extend(path.parent());
    }
    parents.dedup();
    parents.into_iter().try_for_each(|parent| sync_dir(parent).map_err(|e| (parent.to_owned(), e)))
}

/// Writes each file beside its path, and waits for the disk once all are on their way to it.
fn write_beside(files: &[(PathBuf, Vec<u8>)], begun: &mut Vec<PathBuf>) -> Result<(), (PathBuf, io::Error)> {
    let mut open = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        let write = || {
            let _call = calls::begin(Op::Create, &temporary)?;
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            if files.len() > 1 {
                start_writing(&file)?;
            }
            Ok(file)
        };
        let file = write();
        begun.push(temporary);
        open.push(file.map_err(|e| (path.clone(), e))?);
    }
    open.iter().zip(files).try_for_each(|(file, (path, _))| {
        let _call = calls::note(Op::Sync, &Arc::from(path.as_path()));
        file.sync_all().map_err(|e| (path.clone(), e))
    })
}

/// Sends a file's bytes on their way to the disk, and does not wait.
fn start_writing(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open for the length of the call, which takes no pointers.
    #[allow(unsafe_code, reason = "no safe wrapper offers sync_file_range")]
    let status = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Renames inside one file system. A crash of the machine may undo it.
pub fn rename_unsynced(from: &Path, to: &Path) -> io::Result<()> {
    let _call = calls::begin(Op::Rename, from)?;
    fs::rename(from, to)
}

/// Renames inside one file system, and waits until both directories have the change.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_unsynced(from, to)?;
    match (from.parent(), to.parent()) {
        (Some(a), Some(b)) if a != b => {
            sync_dir(b)?;
            sync_dir(a)
        }
        (_, Some(parent)) => sync_dir(parent),
        (_, None) => Ok(()),
    }
}

/// Waits until the names in a directory are on the disk.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    OpenDir::open(dir)?.sync()
}

/// A directory that stays the same when it gets another name.
#[derive(Debug)]
pub struct OpenDir {
    dir: File,
    /// As it was opened.
    path: Arc<Path>,
}

impl OpenDir {
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = Arc::from(path);
        let _call = calls::begin_at(Op::Open, &path)?;
        Ok(Self { dir: File::open(&path)?, path })
    }

    /// Waits until the names in it are on the disk.
    pub fn sync(&self) -> io::Result<()> {
        let _call = calls::begin_at(Op::Sync, &self.path)?;
        self.dir.sync_all()
    }
}

/// Creates a directory and its parents, and waits until its name is on the disk. False when it was there.
pub fn create_dir_all_synced(dir: &Path) -> io::Result<bool> {
    if dir.is_dir() {
        return Ok(false);
    }
    let call = calls::begin(Op::Create, dir)?;
    fs::create_dir_all(dir)?;
    drop(call);
    if let Some(parent) = dir.canonicalize()?.parent() {
        sync_dir(parent)?;
    }
    Ok(true)
}

/// Creates a directory, with its parents; false when it was there. A crash of the machine may undo it.
pub fn create_dir(dir: &Path) -> io::Result<bool> {
    let _call = calls::begin(Op::Create, dir)?;
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(false),
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(dir).map(|()| true),
        Err(e) => Err(e),
    }
}

/// True when there was a file to remove.
pub fn remove_if_exists(path: &Path) -> io::Result<bool> {
    let _call = calls::begin(Op::Remove, path)?;
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Names of the plain files of a directory, sorted. Names that are not UTF-8 are no files of ours and are left out.
pub fn file_names(dir: &Path) -> io::Result<Vec<String>> {
    names(dir, |kind| kind.is_file())
}

/// Names of the directories of a directory, sorted.
pub fn subdirectories(dir: &Path) -> io::Result<Vec<String>> {
    names(dir, |kind| kind.is_dir())
}

fn names(dir: &Path, wanted: impl Fn(fs::FileType) -> bool) -> io::Result<Vec<String>> {
    let _call = calls::begin(Op::List, dir)?;
    let mut out = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let mut kind = entry.file_type()?;
        if kind.is_symlink() {
            match fs::metadata(entry.path()) {
                Ok(target) => kind = target.file_type(),
                Err(_) => continue,
            }
        }
        if let (true, Ok(name)) = (wanted(kind), entry.file_name().into_string()) {
            out.push(name);
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Last modification of a file, milliseconds since the epoch.
pub fn modified_ms(path: &Path) -> io::Result<i64> {
    Ok(millis(fs::metadata(path)?.modified()?))
}

/// Lets a file look as if it was last changed then.
pub fn set_modified_ms(path: &Path, modified: i64) -> io::Result<()> {
    let _call = calls::begin(Op::SetTime, path)?;
    let time = match u64::try_from(modified) {
        Ok(after) => UNIX_EPOCH + Duration::from_millis(after),
        Err(_) => UNIX_EPOCH - Duration::from_millis(modified.unsigned_abs()),
    };
    File::options().write(true).open(path)?.set_modified(time)
}

pub(super) fn millis(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// Bytes of the file system that holds `path`: all of them, and those that this process may still fill.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_blocks.saturating_mul(stat.f_frsize), stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// Whether a directory takes a new file of so many bytes. The file is gone again afterwards.
pub fn check_room(dir: &Path, bytes: usize) -> io::Result<()> {
    let path = dir.join(".room");
    let write = || {
        let _call = calls::begin(Op::Create, &path)?;
        let mut file = File::create(&path)?;
        file.write_all(&vec![0; bytes])?;
        file.sync_all()
    };
    let written = write();
    remove_if_exists(&path)?;
    written
}

/// Removes a directory with what is in it; false when it is not there.
pub fn remove_dir_all(dir: &Path) -> io::Result<bool> {
    let _call = calls::begin(Op::Remove, dir)?;
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Allows this process as many open files as the system lets it have, and returns that number. Java does the same at
/// its start; a broker holds several files a segment.
pub fn raise_file_limit() -> io::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_until_it_is_dropped_also_in_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let held = DirLock::try_lock(&path).unwrap().expect("nobody holds it");
        assert!(DirLock::try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(DirLock::try_lock(&path).unwrap().is_some());
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn replacing_a_file_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(file_names(dir.path()).unwrap(), ["checkpoint"]);
    }

    #[test]
    fn listings_are_sorted_and_follow_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("b")).unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("c")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("d")).unwrap();
        assert_eq!(subdirectories(dir.path()).unwrap(), ["a", "b", "c"]);
        assert_eq!(file_names(dir.path()).unwrap(), ["f"]);
    }

    #[test]
    fn a_missing_directory_is_created_with_its_parents_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x/y");
        assert!(create_dir_all_synced(&path).unwrap());
        assert!(!create_dir_all_synced(&path).unwrap());
    }
}
