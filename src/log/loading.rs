//! Owns what loading a log may do, and why a directory does not become a log. The loading is in [`super::recovery`].

use super::checkpoint::CheckpointError;
use super::segment::SegmentError;
use crate::disk::DiskError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What loading a log may do.
#[derive(Clone, Debug)]
pub struct LoadLimits {
    /// A log of which more is to be read again is [`LoadError::Long`].
    pub recovered_bytes_max: u64,
    /// Loading ends with [`LoadError::Stopped`] once it is set.
    pub stop: Arc<AtomicBool>,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { recovered_bytes_max: u64::MAX, stop: Arc::default() }
    }
}

impl LoadLimits {
    pub(super) fn check(&self, to_recover: u64) -> Result<(), LoadError> {
        if to_recover > self.recovered_bytes_max { Err(LoadError::Long { bytes: to_recover }) } else { Ok(()) }
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Why a directory does not become a log.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Disk(DiskError),
    #[error("{0}")]
    Damaged(String),
    /// More is to be read again than [`LoadLimits`] allow. Nothing of it was.
    #[error("{bytes} bytes are to be recovered")]
    Long { bytes: u64 },
    /// It was asked to stop. The next attempt does everything again.
    #[error("loading was stopped")]
    Stopped,
}

impl From<DiskError> for LoadError {
    fn from(error: DiskError) -> Self {
        if error.is_content() { Self::Damaged(error.to_string()) } else { Self::Disk(error) }
    }
}

impl From<SegmentError> for LoadError {
    fn from(error: SegmentError) -> Self {
        match error {
            SegmentError::Disk(e) => e.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}

impl From<CheckpointError> for LoadError {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Disk(e) => e.into(),
            other => Self::Damaged(other.to_string()),
        }
    }
}
