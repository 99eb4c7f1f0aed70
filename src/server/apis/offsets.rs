//! Owns what the requests about offsets share: which partitions exist, each counted once. Kafka: the loops of
//! `handleOffsetCommitRequest`, `handleTxnOffsetCommitRequest`, `handleOffsetDeleteRequest`.

use crate::cluster::image::MetadataImage;
use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::group::CommittedOffset;
use crate::protocol::Str;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One partition of a request, in its order, and what becomes of it.
pub(super) enum Slot<P> {
    /// There is no such topic or partition.
    Unknown,
    Known {
        tp: TopicPartition,
        partition: P,
        code: ErrorCode,
    },
}

impl<P> Slot<P> {
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown => ErrorCode::UnknownTopicOrPartition,
            Self::Known { code, .. } => *code,
        }
    }
}

/// Looks every partition up. Names are those of the image: no slice of a request outlives it.
pub(super) fn slots<'a, P, I: Iterator<Item = P>>(
    image: &MetadataImage,
    topics: impl Iterator<Item = (&'a Str, I)>,
    index: impl Fn(&P) -> i32,
) -> Vec<Slot<P>> {
    let mut slots = Vec::new();
    for (name, partitions) in topics {
        let topic = image.topic(name);
        slots.extend(partitions.map(|partition| {
            let known = topic.filter(|topic| topic.partitions.contains_key(&index(&partition)));
            match known {
                None => Slot::Unknown,
                Some(topic) => Slot::Known {
                    tp: TopicPartition { topic: Arc::clone(&topic.name), partition: index(&partition) },
                    partition,
                    code: ErrorCode::None,
                },
            }
        }));
    }
    slots
}

/// The offsets of the partitions that exist; of a partition that is named twice the last, as in Kafka's map.
pub(super) fn chosen<P: Copy>(
    slots: &[Slot<P>],
    offset: impl Fn(P) -> CommittedOffset,
) -> Vec<(TopicPartition, CommittedOffset)> {
    let mut chosen = BTreeMap::new();
    for slot in slots {
        if let Slot::Known { tp, partition, .. } = slot {
            chosen.insert(tp.clone(), offset(*partition));
        }
    }
    chosen.into_iter().collect()
}

/// Hands the codes of [`chosen`] back to the slots.
pub(super) fn settle<P>(slots: &mut [Slot<P>], codes: Vec<ErrorCode>) {
    let known: BTreeMap<TopicPartition, ErrorCode> = {
        let mut named: Vec<&TopicPartition> = slots
            .iter()
            .filter_map(|slot| match slot {
                Slot::Known { tp, .. } => Some(tp),
                Slot::Unknown => None,
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        named.into_iter().cloned().zip(codes).collect()
    };
    for slot in slots {
        if let Slot::Known { tp, code, .. } = slot {
            *code = known.get(tp).copied().unwrap_or(ErrorCode::UnknownServerError);
        }
    }
}
