//! Owns the split of a closed segment that spans more offsets than its indexes can address. Brokers before 2.0 compacted
//! segments into such. Kafka: `LogLoader.splitOverflowedSegment`.
//!
//! The parts take the segment's place as compacted segments do: see [`super::recovery`]. Their names change from the last
//! to the first, so that a crash in between leaves parts that loading knows to be incomplete.
//! Absent on purpose: the split of the last segment. Offsets are under no checksum, and there one that is far too high is
//! damage.

use super::loading::LoadError;
use super::scan::{HeadScan, ScanError};
use super::segment_files::{CLEANED_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, file_name};
use crate::common::ids::Offset;
use crate::disk::{self, DataFile, DiskError, During};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use tracing::info;

/// Most offsets that a segment's last batch lies above its base.
const SPAN_MAX: i64 = i32::MAX as i64;
const COPY_BYTES: usize = 1 << 20;

/// A run of batches that one segment can hold.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    base_offset: Offset,
    from: u32,
    to: u32,
}

/// Whether the segment at `base` may span too much, by where the next one begins.
pub(super) fn is_suspect(base: Offset, next_base: Offset) -> bool {
    next_base.saturating_sub(base) > SPAN_MAX + 1
}

/// Leaves the parts of a segment, if it takes several, as a complete swap that is to be finished. False when it fits.
pub(super) fn split(dir: &Path, base: Offset) -> Result<bool, LoadError> {
    let path = dir.join(file_name(base, LOG_SUFFIX));
    let source = Arc::new(DataFile::open(&path).during("open", &path)?);
    let parts = parts_of(&source, &path, base)?;
    if parts.len() < 2 {
        return Ok(false);
    }
    info!(segment = %path.display(), parts = parts.len(), "splitting a segment that spans too many offsets");
    let name = |part: &Part, suffix: &str| dir.join(file_name(part.base_offset, LOG_SUFFIX) + suffix);
    for part in &parts {
        let target = name(part, CLEANED_SUFFIX);
        copy(&source, part, &target).during("split", &target)?;
    }
    for part in parts.iter().rev() {
        let cleaned = name(part, CLEANED_SUFFIX);
        disk::rename_unsynced(&cleaned, &name(part, SWAP_SUFFIX)).during("rename", &cleaned)?;
    }
    disk::sync_dir(dir).during("sync", dir)?;
    Ok(true)
}

fn parts_of(source: &Arc<DataFile>, path: &Path, base: Offset) -> Result<Vec<Part>, LoadError> {
    let end = source.len().during("stat", path)?.min(i32::MAX as u64) as u32;
    let mut scan = HeadScan::new(Arc::clone(source), 0, end);
    let mut parts = vec![Part { base_offset: base, from: 0, to: 0 }];
    let mut next_offset = base;
    loop {
        let head = match scan.next_head() {
            Ok(Some(head)) => head,
            // What follows damage is no batch: recovery of the last part says so.
            Ok(None) | Err(ScanError::Corrupt(_)) => break,
            Err(ScanError::Io(e)) => return Err(DiskError::new("read", path, e).into()),
        };
        if let Some(part) = parts.last_mut() {
            if head.last_offset.saturating_sub(part.base_offset) <= SPAN_MAX {
                part.to = head.next_position();
            } else {
                // Magic 0 and 1 carry only the last offset.
                let least = next_offset.max(head.last_offset.saturating_sub(SPAN_MAX));
                let base_offset = if head.magic >= 2 { head.base_offset.max(least) } else { least };
                parts.push(Part { base_offset, from: head.position, to: head.next_position() });
            }
        }
        next_offset = head.last_offset.saturating_add(1);
    }
    if let Some(last) = parts.last_mut() {
        last.to = end;
    }
    Ok(parts)
}

fn copy(source: &DataFile, part: &Part, target: &Path) -> std::io::Result<()> {
    let file = DataFile::open_or_create(target)?;
    file.truncate(0)?;
    let mut buffer = vec![0; COPY_BYTES.min((part.to - part.from) as usize)];
    let mut position = part.from;
    while position < part.to {
        let chunk = &mut buffer[..COPY_BYTES.min((part.to - position) as usize)];
        source.read_exact_at(chunk, position.into())?;
        file.write_all_at(&mut [IoSlice::new(chunk)], (position - part.from).into())?;
        position += chunk.len() as u32;
    }
    file.sync()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::testing::crash_after;
    use crate::log::LogOptions;
    use crate::log::testing::*;
    use crate::record::BatchOptions;
    use std::fs;

    fn at(offset: Offset, size: usize) -> Vec<u8> {
        let mut bytes = batch(BatchOptions::default(), 2, 100, size).to_vec();
        bytes[..8].copy_from_slice(&offset.to_be_bytes());
        bytes
    }

    /// Killed at any step of the split or of loading, the log has every batch once, in segments that fit.
    #[test]
    fn a_segment_that_spans_too_many_offsets_becomes_several() {
        let far = SPAN_MAX;
        let first =
            [at(3, 10), at(far - 1, 10), at(far + 1, 10), at(far + 9, 600), at(3 * far, 10), at(3 * far + 2, 10)];
        let second = at(4 * far, 10);
        let all = [first.concat(), second.clone()].concat();
        for steps in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let partition = dir.path().join("t-0");
            fs::create_dir(&partition).unwrap();
            fs::write(partition.join(file_name(0, LOG_SUFFIX)), first.concat()).unwrap();
            fs::write(partition.join(file_name(4 * far, LOG_SUFFIX)), &second).unwrap();
            let options = || LogOptions { had_clean_shutdown: steps % 2 == 0, ..options(small_config()) };
            let crash = crash_after(steps);
            let is_done = try_open_in(dir.path(), options(), 0).is_ok();
            drop(crash);
            let log = open_in(dir.path(), options(), 0);
            assert_eq!(read_all(&log, 0), all, "step {steps}");
            let bases: Vec<_> = log.segments.load().as_slice().iter().map(|s| s.base_offset()).collect();
            assert_eq!(bases, [0, far + 1, 3 * far, 4 * far], "step {steps}");
            assert_eq!(log.log_end_offset(), 4 * far + 2);
            if is_done {
                assert!(steps > 10, "{steps}");
                return;
            }
        }
    }
}
