//! Owns the list of a log's segments, ascending by base offset. Kafka: `LogSegments`. A list never changes: the log swaps
//! it for another one, and readers go on with theirs.

use super::segment::Segment;
use crate::common::ids::Offset;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(super) struct Segments {
    list: Vec<Arc<Segment>>,
}

impl Segments {
    /// `list` must ascend by base offset.
    pub(super) fn new(list: Vec<Arc<Segment>>) -> Self {
        Self { list }
    }

    pub(super) fn as_slice(&self) -> &[Arc<Segment>] {
        &self.list
    }

    pub(super) fn first(&self) -> Option<&Arc<Segment>> {
        self.list.first()
    }

    /// The one that is appended to.
    pub(super) fn active(&self) -> Option<&Arc<Segment>> {
        self.list.last()
    }

    /// The segment that holds `offset`, if any does, and those after it.
    pub(super) fn at_and_after(&self, offset: Offset) -> &[Arc<Segment>] {
        let above = self.list.partition_point(|s| s.base_offset() <= offset);
        above.checked_sub(1).map_or(&[], |at| &self.list[at..])
    }

    /// As [`Self::at_and_after`], or all where every segment is above `from`; those that start at or after `to` left out.
    pub(super) fn range(&self, from: Offset, to: Offset) -> &[Arc<Segment>] {
        let start = self.list.partition_point(|s| s.base_offset() <= from).saturating_sub(1);
        let end = self.list.partition_point(|s| s.base_offset() < to).max(start);
        &self.list[start..end]
    }

    pub(super) fn size_in_bytes(&self) -> u64 {
        self.list.iter().map(|s| u64::from(s.size())).sum()
    }

    pub(super) fn with(&self, segment: Arc<Segment>) -> Self {
        let mut list = self.list.clone();
        list.push(segment);
        Self { list }
    }

    /// Splits off the first `n`.
    pub(super) fn without_first(&self, n: usize) -> Self {
        Self { list: self.list[n..].to_vec() }
    }
}
