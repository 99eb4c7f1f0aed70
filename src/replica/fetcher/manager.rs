//! Owns the fetchers: `num.replica.fetchers` for each leader, each with its share of the partitions. Kafka:
//! `AbstractFetcherManager`, `ReplicaFetcherManager`.

use super::state::{FetcherState, Start};
use super::task::{Fetcher, run};
use crate::common::java;
use crate::common::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::config::endpoint::Endpoint;
use crate::replica::host::Host;
use crate::util::task::Group;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

/// A partition to fetch.
#[derive(Clone, Debug)]
pub(in crate::replica) struct FetchFrom {
    pub topic_partition: TopicPartition,
    pub topic_id: Uuid,
    pub leader: BrokerId,
    pub endpoint: Endpoint,
    pub leader_epoch: LeaderEpoch,
    pub offset: Offset,
    /// Of the log's last record.
    pub last_epoch: Option<LeaderEpoch>,
}

/// See the module's page.
pub(in crate::replica) struct FetcherManager {
    host: Arc<Host>,
    /// Where fetchers run, by turns.
    groups: Vec<Group>,
    fetchers: Mutex<Fetchers>,
}

struct Fetchers {
    /// `num.replica.fetchers`
    per_leader: usize,
    running: BTreeMap<(BrokerId, usize), Arc<Fetcher>>,
    started: usize,
    /// The broker stops: no fetcher is started any more.
    is_stopping: bool,
}

impl FetcherManager {
    pub(in crate::replica) fn new(host: Arc<Host>, groups: Vec<Group>) -> Self {
        let per_leader = host.settings.fetchers_per_leader.max(1);
        let fetchers = Fetchers { per_leader, running: BTreeMap::new(), started: 0, is_stopping: false };
        Self { host, groups, fetchers: Mutex::new(fetchers) }
    }

    /// Fetches partitions. They are not fetched from another leader any more.
    pub(in crate::replica) fn add(&self, partitions: Vec<FetchFrom>) {
        let mut fetchers = self.fetchers.lock();
        if fetchers.is_stopping {
            return;
        }
        let count = partitions.len();
        let starts = partitions.into_iter().map(|from| {
            let start = Start {
                topic_id: from.topic_id,
                leader_epoch: from.leader_epoch,
                offset: from.offset,
                last_epoch: from.last_epoch,
            };
            (from.topic_partition, from.leader, from.endpoint, start)
        });
        self.place(&mut fetchers, starts);
        if count > 0 {
            info!(partitions = count, fetchers = fetchers.running.len(), "fetching partitions of other leaders");
        }
    }

    fn place(
        &self,
        fetchers: &mut Fetchers,
        starts: impl Iterator<Item = (TopicPartition, BrokerId, Endpoint, Start)>,
    ) {
        let mut changed: BTreeMap<(BrokerId, usize), Arc<Fetcher>> = BTreeMap::new();
        for (tp, leader, endpoint, start) in starts {
            let key = (leader, fetcher_number(&tp, fetchers.per_leader));
            let fetcher = match fetchers.running.get(&key) {
                Some(fetcher) if fetcher.endpoint == endpoint => Arc::clone(fetcher),
                former => {
                    // The leader has moved: its other partitions go along.
                    let moved = former.map(|former| former.stop()).unwrap_or_default();
                    let fetcher = Arc::new(Fetcher::new(Arc::clone(&self.host), leader, endpoint, key.1));
                    let group = &self.groups[fetchers.started % self.groups.len()];
                    fetchers.started += 1;
                    group.spawn("replica-fetcher", run(Arc::clone(&fetcher), group.stop_token().clone()));
                    fetchers.running.insert(key, Arc::clone(&fetcher));
                    fetcher.state(|state| moved.into_iter().for_each(|(tp, start)| state.add(tp, start)));
                    fetcher
                }
            };
            fetcher.state(|state| state.add(tp, start));
            changed.insert(key, fetcher);
        }
        changed.values().for_each(|fetcher| fetcher.wake());
    }

    /// Stops to fetch partitions. When it returns, nothing is appended to them any more.
    pub(in crate::replica) fn remove(&self, partitions: &[TopicPartition]) {
        let fetchers = self.fetchers.lock();
        for fetcher in fetchers.running.values() {
            fetcher.state(|state| {
                for tp in partitions {
                    state.remove(tp);
                }
            });
        }
    }

    /// Gives fetched partitions of a topic the id that the controller has told.
    pub(in crate::replica) fn set_topic_id(&self, tp: &TopicPartition, topic_id: Uuid) {
        for fetcher in self.fetchers.lock().running.values() {
            fetcher.state(|state| state.set_topic_id(tp, topic_id));
        }
    }

    /// Ends fetchers that have nothing to do.
    pub(in crate::replica) fn stop_idle(&self) {
        self.fetchers.lock().running.retain(|_, fetcher| {
            let is_idle = fetcher.state(|state| state.len() == 0);
            if is_idle {
                fetcher.stop();
            }
            !is_idle
        });
    }

    /// Goes over to another number of fetchers for each leader.
    pub(in crate::replica) fn resize(&self, per_leader: usize) {
        let mut fetchers = self.fetchers.lock();
        if per_leader == fetchers.per_leader || fetchers.is_stopping {
            return;
        }
        info!(from = fetchers.per_leader, to = per_leader, "number of replica fetchers changes");
        fetchers.per_leader = per_leader.max(1);
        let running = std::mem::take(&mut fetchers.running);
        let starts = running.into_iter().flat_map(|((leader, _), fetcher)| {
            let endpoint = fetcher.endpoint.clone();
            fetcher.stop().into_iter().map(move |(tp, start)| (tp, leader, endpoint.clone(), start))
        });
        let starts: Vec<_> = starts.collect();
        self.place(&mut fetchers, starts.into_iter());
    }

    /// Ends all fetchers.
    pub(in crate::replica) fn stop_all(&self) {
        let mut fetchers = self.fetchers.lock();
        fetchers.is_stopping = true;
        std::mem::take(&mut fetchers.running).values().for_each(|fetcher| drop(fetcher.stop()));
    }
}

impl Fetcher {
    /// Works on the state; nothing is appended meanwhile.
    fn state<T>(&self, work: impl FnOnce(&mut FetcherState) -> T) -> T {
        work(&mut self.state.lock())
    }
}

/// Kafka: `AbstractFetcherManager.getFetcherId`, with Java's hash of a string.
fn fetcher_number(tp: &TopicPartition, fetchers: usize) -> usize {
    let hash = java::hash_code(&tp.topic).cast_signed().wrapping_mul(31).wrapping_add(tp.partition);
    // Utils.abs of the least number is 0.
    hash.checked_abs().unwrap_or(0) as usize % fetchers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_spread_as_kafka_spreads_them() {
        let number = |topic: &str, partition| fetcher_number(&TopicPartition::new(topic, partition), 1_000_000);
        // "t".hashCode() is 116, "test".hashCode() is 3556498.
        assert_eq!(number("t", 3), 116 * 31 + 3);
        assert_eq!(number("test", 0), 110_251_438 % 1_000_000);
        let big: i32 = "a-rather-long-topic-name"
            .encode_utf16()
            .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
        let expected = big.wrapping_mul(31).wrapping_add(7).unsigned_abs() as usize % 1_000_000;
        assert_eq!(number("a-rather-long-topic-name", 7), expected);
    }
}
