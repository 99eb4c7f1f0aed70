//! Owns the small text files of a log directory and of a partition: checkpoints, the clean-shutdown marker,
//! `meta.properties`, `partition.metadata`. Kafka: `CheckpointFile`, `CleanShutdownFileHandler`,
//! `MetaPropertiesEnsemble`, `PartitionMetadataFile`. A checkpoint:
//!
//! ```text
//! 0                    version
//! 2                    number of entries
//! topic 0 4711         one entry a line: topic, partition, offset; or leader epoch, start offset
//! topic 1 0
//! ```
//!
//! Every file is written beside its place, synced and renamed. An empty checkpoint has no entries.

use super::epoch_cache::EpochEntry;
use crate::common::ids::{BrokerId, Offset, TopicPartition};
use crate::common::{LeaderEpoch, Uuid};
use crate::disk::{self, DiskError, During};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

/// Everything below is known to be on the disk.
pub const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";
/// Log start offsets that lie inside a segment.
pub const LOG_START_FILE: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const HIGH_WATERMARK_FILE: &str = "replication-offset-checkpoint";
/// Offsets from which on a compacted partition is dirty.
pub const CLEANER_FILE: &str = "cleaner-offset-checkpoint";
/// In a partition's directory: first offset of each leader epoch.
pub const LEADER_EPOCH_FILE: &str = "leader-epoch-checkpoint";
/// In a partition's directory: the topic id.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";
pub const CLEAN_SHUTDOWN_FILE: &str = ".kafka_cleanshutdown";
pub const META_PROPERTIES_FILE: &str = "meta.properties";
pub const LOCK_FILE: &str = ".lock";

/// A small file that is not there as it should be. The caller decides whether that is fatal.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{path}: {why}")]
    Malformed { path: String, why: String },
}

impl CheckpointError {
    /// For callers that treat damage in `log_dir` as a failure of the directory.
    pub fn into_disk_error(self, log_dir: &Path) -> DiskError {
        match self {
            Self::Disk(error) => error,
            damage @ Self::Malformed { .. } => {
                DiskError::new("use", log_dir, io::Error::new(io::ErrorKind::InvalidData, damage.to_string()))
            }
        }
    }
}

fn malformed(path: &Path, why: impl Into<String>) -> CheckpointError {
    CheckpointError::Malformed { path: path.display().to_string(), why: why.into() }
}

const CHECKPOINT_VERSION: &str = "0";

fn read_entries<T>(path: &Path, entry: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>, CheckpointError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(malformed(path, "not UTF-8")),
        Err(e) => return Err(e).during("read checkpoint", path).map_err(Into::into),
    };
    let mut lines = text.lines();
    let Some(version) = lines.next() else { return Ok(Vec::new()) };
    if version != CHECKPOINT_VERSION {
        return Err(malformed(path, format!("unrecognized version {version:?}, expected {CHECKPOINT_VERSION}")));
    }
    let Some(expected) = lines.next() else { return Ok(Vec::new()) };
    let expected: usize =
        expected.trim().parse().map_err(|_| malformed(path, format!("bad entry count {expected:?}")))?;
    let entries = lines
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            entry(&words).ok_or_else(|| malformed(path, format!("malformed line {line:?}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if entries.len() != expected {
        return Err(malformed(path, format!("expected {expected} entries but found {}", entries.len())));
    }
    Ok(entries)
}

fn text_of(lines: impl ExactSizeIterator<Item = String>) -> String {
    let mut text = format!("{CHECKPOINT_VERSION}\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn write_text(path: &Path, text: &str) -> Result<(), DiskError> {
    disk::replace_file(path, text.as_bytes()).during("write checkpoint", path)
}

/// Makes a file without entries where there is none. A full disk may do without.
pub(super) fn make_sure(path: &Path) -> Result<(), DiskError> {
    match disk::DataFile::open_or_create(path) {
        Err(e) if !disk::is_full(&e) => Err(e).during("create checkpoint", path),
        _ => Ok(()),
    }
}

/// One of the per-directory checkpoints; a missing file has no entries.
pub fn read_offsets(path: &Path) -> Result<BTreeMap<TopicPartition, Offset>, CheckpointError> {
    let entries = read_entries(path, |words| match words {
        [topic, partition, offset] => {
            Some((TopicPartition::new(*topic, partition.parse().ok()?), offset.parse().ok()?))
        }
        _ => None,
    })?;
    Ok(entries.into_iter().collect())
}

pub fn write_offsets(path: &Path, offsets: &BTreeMap<TopicPartition, Offset>) -> Result<(), DiskError> {
    let lines = offsets.iter().map(|(tp, offset)| format!("{} {} {offset}", tp.topic, tp.partition));
    write_text(path, &text_of(lines))
}

/// `leader-epoch-checkpoint`; a missing file has no entries.
pub fn read_epochs(path: &Path) -> Result<Vec<EpochEntry>, CheckpointError> {
    read_entries(path, |words| match words {
        [epoch, start] => {
            let entry = EpochEntry { epoch: LeaderEpoch(epoch.parse().ok()?), start_offset: start.parse().ok()? };
            (entry.epoch.0 >= 0 && entry.start_offset >= 0).then_some(entry)
        }
        _ => None,
    })
}

pub fn write_epochs(path: &Path, entries: &[EpochEntry]) -> Result<(), DiskError> {
    write_text(path, &epochs(entries))
}

/// What a `leader-epoch-checkpoint` says.
pub(super) fn epochs(entries: &[EpochEntry]) -> String {
    text_of(entries.iter().map(|e| format!("{} {}", e.epoch, e.start_offset)))
}

/// Only the existence of the marker counts: older releases write an empty file.
pub fn has_clean_shutdown_marker(log_dir: &Path) -> bool {
    log_dir.join(CLEAN_SHUTDOWN_FILE).exists()
}

/// Written last at a clean stop. A broker in ZooKeeper mode knows no broker epoch to remember here: -1.
pub fn write_clean_shutdown_marker(log_dir: &Path) -> Result<(), DiskError> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    disk::replace_file(&path, br#"{"version":0,"brokerEpoch":-1}"#).during("write clean shutdown marker", &path)
}

/// True when there was a marker. Gone before a segment is read, so that a crash while loading counts as one.
pub fn take_clean_shutdown_marker(log_dir: &Path) -> Result<bool, DiskError> {
    let path = log_dir.join(CLEAN_SHUTDOWN_FILE);
    let was_there = disk::remove_if_exists(&path).during("delete clean shutdown marker", &path)?;
    if was_there {
        disk::sync_dir(log_dir).during("sync", log_dir)?;
    }
    Ok(was_there)
}

/// Who owns a log directory: `meta.properties` version 0, the form of ZooKeeper mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetaProperties {
    pub version: i32,
    pub broker_id: Option<BrokerId>,
    pub cluster_id: Option<String>,
    /// Only brokers that migrated towards KRaft add it; kept as it is.
    pub directory_id: Option<String>,
}

/// `Ok(None)` when the directory has none yet.
pub fn read_meta_properties(log_dir: &Path) -> Result<Option<MetaProperties>, CheckpointError> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(malformed(&path, "not UTF-8")),
        Err(e) => return Err(e).during("read", &path).map_err(Into::into),
    };
    let mut meta = MetaProperties::default();
    for line in text.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with(['#', '!'])) {
        // To Java's `Properties` a line that was torn before its sign is a key without a value.
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.trim_start().replace('\\', "");
        let number =
            || value.parse().map_err(|_| malformed(&path, format!("{} is not a number: {value:?}", key.trim())));
        match key.trim_end() {
            "version" => meta.version = number()?,
            "broker.id" => meta.broker_id = Some(BrokerId(number()?)),
            "cluster.id" => meta.cluster_id = Some(value),
            "directory.id" => meta.directory_id = Some(value),
            _ => {}
        }
    }
    Ok(Some(meta))
}

/// `written_at` is the comment's date, in whatever form the caller has.
pub fn write_meta_properties(log_dir: &Path, meta: &MetaProperties, written_at: &str) -> Result<(), DiskError> {
    let path = log_dir.join(META_PROPERTIES_FILE);
    let mut text = format!("#\n#{written_at}\n");
    let mut put = |key: &str, value: &str| {
        writeln!(text, "{key}={value}").expect("writing to a string does not fail");
    };
    if let Some(BrokerId(id)) = meta.broker_id {
        put("broker.id", &id.to_string());
    }
    if let Some(id) = &meta.cluster_id {
        put("cluster.id", id);
    }
    if let Some(id) = &meta.directory_id {
        put("directory.id", id);
    }
    put("version", &meta.version.to_string());
    disk::replace_file(&path, text.as_bytes()).during("write", &path)
}

/// The topic id of a partition's directory; `Ok(None)` when it has none yet.
pub fn read_partition_metadata(partition_dir: &Path) -> Result<Option<Uuid>, CheckpointError> {
    let path = partition_dir.join(PARTITION_METADATA_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(malformed(&path, "not UTF-8")),
        Err(e) => return Err(e).during("read", &path).map_err(Into::into),
    };
    let field = |line: Option<&str>, name: &str| {
        let (key, value) = line?.split_once(':')?;
        (key == name && value.starts_with(char::is_whitespace)).then(|| value.trim().to_owned())
    };
    let mut lines = text.lines();
    let version = field(lines.next(), "version").and_then(|v| v.parse::<i32>().ok());
    if version.is_none_or(|v| v < 0) {
        return Err(malformed(&path, "no version"));
    }
    match field(lines.next(), "topic_id").and_then(|id| Uuid::parse(&id)) {
        Some(id) if !id.is_zero() => Ok(Some(id)),
        Some(id) => Err(malformed(&path, format!("invalid topic id {id}"))),
        None => Err(malformed(&path, "no topic id")),
    }
}

/// What a `partition.metadata` says.
pub(super) fn partition_metadata(topic_id: Uuid) -> String {
    format!("version: 0\ntopic_id: {topic_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn offsets_are_written_as_kafka_writes_them_and_read_back() {
        let dir = dir();
        let path = dir.path().join(RECOVERY_POINT_FILE);
        assert_eq!(read_offsets(&path).unwrap(), BTreeMap::new());
        let offsets = BTreeMap::from([(TopicPartition::new("b", 0), 7), (TopicPartition::new("a", 10), 1 << 40)]);
        write_offsets(&path, &offsets).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\na 10 1099511627776\nb 0 7\n");
        assert_eq!(read_offsets(&path).unwrap(), offsets);
    }

    #[test]
    fn an_empty_checkpoint_has_no_entries_and_a_damaged_one_is_an_error() {
        let dir = dir();
        let path = dir.path().join("c");
        for (text, ok) in [
            ("", true),
            ("0\n0\n", true),
            ("0\n1\na  0\t5\n", true),
            ("1\n0\n", false),
            ("0\nx\n", false),
            ("0\n2\na 0 5\n", false),
            ("0\n1\na 0 5\nb 0 5\n", false),
            ("0\n1\na 0\n", false),
            ("0\n1\na b 5\n", false),
            ("0\n1\na 0 99999999999999999999\n", false),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_offsets(&path).is_ok(), ok, "{text:?}");
        }
        fs::write(&path, [b'0', b'\n', 0xff]).unwrap();
        assert!(read_offsets(&path).is_err());
    }

    #[test]
    fn epochs_must_not_be_negative() {
        let dir = dir();
        let path = dir.path().join(LEADER_EPOCH_FILE);
        let entries = [
            EpochEntry { epoch: LeaderEpoch(0), start_offset: 0 },
            EpochEntry { epoch: LeaderEpoch(4), start_offset: 12 },
        ];
        write_epochs(&path, &entries).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n2\n0 0\n4 12\n");
        assert_eq!(read_epochs(&path).unwrap(), entries);
        fs::write(&path, "0\n1\n-1 5\n").unwrap();
        assert!(read_epochs(&path).is_err());
    }

    #[test]
    fn the_clean_shutdown_marker_is_taken_once() {
        let dir = dir();
        write_clean_shutdown_marker(dir.path()).unwrap();
        assert!(has_clean_shutdown_marker(dir.path()));
        let text = fs::read_to_string(dir.path().join(CLEAN_SHUTDOWN_FILE)).unwrap();
        assert_eq!(text, "{\"version\":0,\"brokerEpoch\":-1}");
        assert!(take_clean_shutdown_marker(dir.path()).unwrap());
        assert!(!take_clean_shutdown_marker(dir.path()).unwrap());
    }

    #[test]
    fn meta_properties_of_java_are_read_and_ours_have_the_same_lines() {
        let dir = dir();
        assert_eq!(read_meta_properties(dir.path()).unwrap(), None);
        let path = dir.path().join(META_PROPERTIES_FILE);
        fs::write(&path, "#\n#Tue Oct 29 10:00:00 UTC 2024\nbroker.id=1\nversion=0\ncluster.id=AbC-_d\n").unwrap();
        let meta = read_meta_properties(dir.path()).unwrap().unwrap();
        assert_eq!((meta.version, meta.broker_id, meta.cluster_id.as_deref()), (0, Some(BrokerId(1)), Some("AbC-_d")));
        write_meta_properties(dir.path(), &meta, "now").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "#\n#now\nbroker.id=1\ncluster.id=AbC-_d\nversion=0\n");
        for damaged in ["broker.id=one\n", "broker.id=1\nversion=", "broker.id"] {
            fs::write(&path, damaged).unwrap();
            let error = read_meta_properties(dir.path()).unwrap_err().into_disk_error(dir.path()).to_string();
            assert!(error.contains("is not a number"), "{error}");
        }
        for (torn, broker_id) in [("", None), ("broker.", None), ("broker.id=1\ncluster", Some(BrokerId(1)))] {
            fs::write(&path, torn).unwrap();
            let meta = read_meta_properties(dir.path()).unwrap().unwrap();
            assert_eq!(meta, MetaProperties { broker_id, ..Default::default() }, "{torn:?}");
        }
    }

    #[test]
    fn partition_metadata_has_two_lines_and_no_newline_at_the_end() {
        let dir = dir();
        assert_eq!(read_partition_metadata(dir.path()).unwrap(), None);
        let id = Uuid::parse("AAAAAAAAAAAAAAAAAAAAKg").unwrap();
        let path = dir.path().join(PARTITION_METADATA_FILE);
        fs::write(&path, partition_metadata(id)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAKg");
        assert_eq!(read_partition_metadata(dir.path()).unwrap(), Some(id));
        for text in [
            "",
            "version: 0",
            "version: -1\ntopic_id: AAAAAAAAAAAAAAAAAAAAKg",
            "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            fs::write(&path, text).unwrap();
            assert!(read_partition_metadata(dir.path()).is_err(), "{text:?}");
        }
    }
}
