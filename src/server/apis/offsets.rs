//! Owns what the requests about offsets share: which partitions exist, each counted once, and the form of the answer. Kafka:
//! the loops of `handleOffsetCommitRequest`, `handleTxnOffsetCommitRequest`, `handleOffsetDeleteRequest`, and the builders
//! of their responses.

use crate::cluster::image::MetadataImage;
use crate::common::{ErrorCode, TopicPartition};
use crate::protocol::Str;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The partitions of a request.
pub(super) struct Asked<P> {
    /// The partitions that do not exist, as often as they were named. A topic that does not exist is here even without
    /// partitions.
    unknown: BTreeMap<Str, Vec<i32>>,
    /// Of a partition that is named twice the last counts, as in Kafka's map. The names are those of the image, so that
    /// no slice of the request is kept alive.
    known: BTreeMap<TopicPartition, P>,
}

impl<P> Asked<P> {
    /// Looks up every partition.
    pub(super) fn of<'a, I: Iterator<Item = P>>(
        image: &MetadataImage,
        topics: impl Iterator<Item = (&'a Str, I)>,
        index: impl Fn(&P) -> i32,
    ) -> Self {
        let mut asked = Self { unknown: BTreeMap::new(), known: BTreeMap::new() };
        for (name, partitions) in topics {
            let Some(topic) = image.topic(name) else {
                asked.unknown.entry(name.clone()).or_default().extend(partitions.map(|partition| index(&partition)));
                continue;
            };
            for partition in partitions {
                let number = index(&partition);
                if topic.partitions.contains_key(&number) {
                    let tp = TopicPartition { topic: Arc::clone(&topic.name), partition: number };
                    asked.known.insert(tp, partition);
                } else {
                    asked.unknown.entry(name.clone()).or_default().push(number);
                }
            }
        }
        asked
    }

    /// The partitions that exist.
    pub(super) fn known(&self) -> &BTreeMap<TopicPartition, P> {
        &self.known
    }

    /// The code of each partition by its topic. `codes` are those of [`Self::known`], in its order.
    pub(super) fn answer(self, codes: Vec<ErrorCode>) -> BTreeMap<Str, Vec<(i32, ErrorCode)>> {
        let code = ErrorCode::UnknownTopicOrPartition;
        let unknown = self.unknown.into_iter();
        let mut topics: BTreeMap<Str, Vec<(i32, ErrorCode)>> =
            unknown.map(|(name, numbers)| (name, numbers.into_iter().map(|number| (number, code)).collect())).collect();
        for (tp, code) in self.known.into_keys().zip(codes) {
            topics.entry(Str::from(&*tp.topic)).or_default().push((tp.partition, code));
        }
        topics
    }
}
