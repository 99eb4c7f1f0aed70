//! Owns incremental fetch sessions (KIP-227): which partitions a fetcher asked for, and what it has been sent about them.
//! Kafka: `FetchSession`, `FetchSessionCache`, `FetchManager`. Pure: `now` is passed in, no lock is held across a read.

use crate::common::{ErrorCode, Millis, Offset, Uuid};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `FetchMetadata.INVALID_SESSION_ID`: no session.
pub const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
/// `FetchSessionCacheShard.NumCacheShards` of `BrokerServer`.
const SHARDS: usize = 8;
const SHARD_ID_RANGE: i32 = i32::MAX / SHARDS as i32;
/// A session unused for longer may be replaced by any other; one used since is not replaced by one of its own kind.
const EVICTION_MS: Millis = 120_000;

/// One partition as a fetcher asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// None when the request named an id that this broker does not know.
    pub topic: Option<Arc<str>>,
    /// Zero below version 13.
    pub topic_id: Uuid,
    pub partition: i32,
    pub fetch_offset: Offset,
    pub max_bytes: i32,
    /// -1 when the fetcher does not send it.
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// The follower's log start offset; -1 from consumers.
    pub log_start_offset: Offset,
}

/// Names a partition in a session: by id where the request version has ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PartitionKey {
    Name(Arc<str>, i32),
    Id(Uuid, i32),
}

impl FetchPartition {
    fn key(&self) -> PartitionKey {
        match &self.topic {
            Some(topic) if self.topic_id.is_zero() => PartitionKey::Name(Arc::clone(topic), self.partition),
            _ => PartitionKey::Id(self.topic_id, self.partition),
        }
    }
}

/// What a session needs to know of one partition's answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub has_records: bool,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub log_start_offset: Offset,
    /// The answer names a preferred read replica or a diverging epoch.
    pub must_tell: bool,
}

#[derive(Debug)]
struct CachedPartition {
    asked: FetchPartition,
    high_watermark: Offset,
    log_start_offset: Offset,
}

impl CachedPartition {
    fn new(asked: FetchPartition) -> Self {
        Self { asked, high_watermark: -1, log_start_offset: -1 }
    }

    /// True when this answer has to be sent. Kafka: `CachedPartition.maybeUpdateResponseData`.
    fn absorb(&mut self, answer: &Answer) -> bool {
        let changed = self.high_watermark != answer.high_watermark || self.log_start_offset != answer.log_start_offset;
        self.high_watermark = answer.high_watermark;
        self.log_start_offset = answer.log_start_offset;
        if answer.error.is_error() {
            // So that the partition is sent again when the error goes away.
            self.high_watermark = -1;
        }
        changed || answer.has_records || answer.must_tell || answer.error.is_error()
    }
}

/// Partitions in the order in which they are served: those that had data go to the end.
#[derive(Debug, Default)]
struct Partitions {
    by_place: BTreeMap<u64, CachedPartition>,
    place_of: HashMap<PartitionKey, u64>,
    next_place: u64,
}

impl Partitions {
    fn get_mut(&mut self, key: &PartitionKey) -> Option<&mut CachedPartition> {
        self.by_place.get_mut(self.place_of.get(key)?)
    }

    fn push(&mut self, partition: CachedPartition) {
        self.place_of.insert(partition.asked.key(), self.next_place);
        self.by_place.insert(self.next_place, partition);
        self.next_place += 1;
    }

    fn remove(&mut self, key: &PartitionKey) -> Option<CachedPartition> {
        self.by_place.remove(&self.place_of.remove(key)?)
    }

    fn len(&self) -> usize {
        self.by_place.len()
    }
}

#[derive(Debug)]
struct Session {
    id: i32,
    /// The epoch that the next request must carry.
    epoch: i32,
    /// A follower's: it may replace any other.
    privileged: bool,
    uses_topic_ids: bool,
    partitions: Partitions,
}

/// A cached session with what eviction compares, under the shard's lock.
struct Entry {
    session: Arc<Mutex<Session>>,
    privileged: bool,
    size: usize,
    created: Millis,
    last_used: Millis,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<i32, Entry>,
}

impl Shard {
    /// Makes room for a session of `size` partitions. Kafka: `FetchSessionCacheShard.tryEvict`. A scan: it happens only on
    /// creation in a full shard (125 sessions by default).
    fn try_evict(&mut self, privileged: bool, size: usize, now: Millis) -> bool {
        let stale = self.entries.iter().min_by_key(|(id, e)| (e.last_used, **id));
        let Some((&id, oldest)) = stale else { return false };
        if now - oldest.last_used > EVICTION_MS {
            self.entries.remove(&id);
            return true;
        }
        let evictable = |e: &Entry| now - e.created > EVICTION_MS || (privileged && !e.privileged);
        let least = self
            .entries
            .iter()
            .filter(|(_, e)| evictable(e))
            .map(|(id, e)| (e.privileged, e.size, *id))
            .min()
            .filter(|least| (privileged, size, 0) >= *least);
        least.is_some_and(|(_, _, id)| self.entries.remove(&id).is_some())
    }
}

/// `max.incremental.fetch.session.cache.slots` sessions in eight shards.
pub struct FetchSessionCache {
    shards: [Mutex<Shard>; SHARDS],
    slots_per_shard: usize,
    next_shard: AtomicUsize,
}

/// The session fields of the request.
#[derive(Clone, Copy, Debug)]
pub struct FetchMetadata {
    pub session_id: i32,
    pub epoch: i32,
    pub is_follower: bool,
    pub uses_topic_ids: bool,
}

/// How one request uses its session.
pub struct FetchContext {
    kind: Kind,
    /// What to read, in order.
    pub partitions: Vec<FetchPartition>,
}

enum Kind {
    Sessionless,
    Full { metadata: FetchMetadata },
    Incremental { session: Arc<Mutex<Session>>, epoch: i32 },
}

/// The session part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Concluded {
    pub error: ErrorCode,
    pub session_id: i32,
    /// For each answer, in order: whether it is sent.
    pub tell: Vec<bool>,
}

impl FetchSessionCache {
    pub fn new(slots: usize) -> Self {
        Self {
            shards: Default::default(),
            slots_per_shard: (slots / SHARDS).max(usize::from(slots > 0)),
            next_shard: AtomicUsize::new(0),
        }
    }

    fn shard_of(&self, session_id: i32) -> Option<&Mutex<Shard>> {
        self.shards.get(usize::try_from(session_id / SHARD_ID_RANGE).ok()?)
    }

    /// Decides what a request asks for. The error is the top-level error of the answer. `resolve` names topics by id, for
    /// those that were unknown when they were added to the session.
    pub fn begin(
        &self,
        now: Millis,
        metadata: FetchMetadata,
        asked: Vec<FetchPartition>,
        forgotten: &[PartitionKey],
        resolve: impl Fn(Uuid) -> Option<Arc<str>>,
    ) -> Result<FetchContext, ErrorCode> {
        if metadata.epoch == INITIAL_EPOCH || metadata.epoch == FINAL_EPOCH {
            if metadata.session_id != NO_SESSION
                && let Some(shard) = self.shard_of(metadata.session_id)
            {
                shard.lock().entries.remove(&metadata.session_id);
            }
            let kind = if metadata.epoch == FINAL_EPOCH { Kind::Sessionless } else { Kind::Full { metadata } };
            return Ok(FetchContext { kind, partitions: asked });
        }
        let mut shard = self.shard_of(metadata.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?.lock();
        let entry = shard.entries.get_mut(&metadata.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        let handle = Arc::clone(&entry.session);
        let mut session = handle.lock();
        if session.epoch != metadata.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != metadata.uses_topic_ids {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        for partition in asked.iter().cloned() {
            match session.partitions.get_mut(&partition.key()) {
                Some(cached) => cached.asked = partition,
                None => session.partitions.push(CachedPartition::new(partition)),
            }
        }
        for key in forgotten {
            session.partitions.remove(key);
        }
        if session.partitions.len() == 0 {
            shard.entries.remove(&metadata.session_id);
            return Ok(FetchContext { kind: Kind::Sessionless, partitions: asked });
        }
        entry.size = session.partitions.len();
        entry.last_used = now;
        session.epoch = next_epoch(session.epoch);
        for cached in session.partitions.by_place.values_mut().filter(|c| c.asked.topic.is_none()) {
            cached.asked.topic = resolve(cached.asked.topic_id);
        }
        let partitions = session.partitions.by_place.values().map(|c| c.asked.clone()).collect();
        let epoch = session.epoch;
        drop(session);
        Ok(FetchContext { kind: Kind::Incremental { session: handle, epoch }, partitions })
    }

    /// Decides what of the answers is sent, and remembers it. `answers` are those of `context.partitions`, in order.
    pub fn conclude(&self, now: Millis, context: FetchContext, answers: &[Answer]) -> Concluded {
        let everything = |session_id| Concluded { error: ErrorCode::None, session_id, tell: vec![true; answers.len()] };
        match context.kind {
            Kind::Sessionless => everything(NO_SESSION),
            Kind::Full { metadata } => everything(self.try_create(now, metadata, context.partitions, answers)),
            Kind::Incremental { session, epoch } => {
                let mut session = session.lock();
                let session_id = session.id;
                if session.epoch != epoch {
                    // The same request came twice; the other one has moved the session on.
                    let error = ErrorCode::InvalidFetchSessionEpoch;
                    return Concluded { error, session_id, tell: vec![false; answers.len()] };
                }
                let mut tell = Vec::with_capacity(answers.len());
                for (asked, answer) in context.partitions.iter().zip(answers) {
                    let key = asked.key();
                    tell.push(session.partitions.get_mut(&key).is_none_or(|cached| cached.absorb(answer)));
                    if answer.has_records
                        && let Some(cached) = session.partitions.remove(&key)
                    {
                        session.partitions.push(cached);
                    }
                }
                Concluded { error: ErrorCode::None, session_id, tell }
            }
        }
    }

    /// The id of the new session, or [`NO_SESSION`] when there is no room for it.
    fn try_create(&self, now: Millis, metadata: FetchMetadata, asked: Vec<FetchPartition>, answers: &[Answer]) -> i32 {
        if self.slots_per_shard == 0 {
            return NO_SESSION;
        }
        let number = self.next_shard.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let mut shard = self.shards[number].lock();
        let (privileged, size) = (metadata.is_follower, asked.len());
        if shard.entries.len() >= self.slots_per_shard && !shard.try_evict(privileged, size, now) {
            return NO_SESSION;
        }
        let first = number as i32 * SHARD_ID_RANGE;
        let id = loop {
            let id = rand::random_range(first.max(1)..first + SHARD_ID_RANGE);
            if !shard.entries.contains_key(&id) {
                break id;
            }
        };
        let mut partitions = Partitions::default();
        for (asked, answer) in asked.into_iter().zip(answers) {
            let mut cached = CachedPartition::new(asked);
            cached.absorb(answer);
            partitions.push(cached);
        }
        let session = Session {
            id,
            epoch: next_epoch(INITIAL_EPOCH),
            privileged,
            uses_topic_ids: metadata.uses_topic_ids,
            partitions,
        };
        let entry = Entry {
            privileged: session.privileged,
            size,
            created: now,
            last_used: now,
            session: Arc::new(Mutex::new(session)),
        };
        shard.entries.insert(id, entry);
        id
    }
}

fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(partition: i32, fetch_offset: Offset) -> FetchPartition {
        FetchPartition {
            topic: Some("t".into()),
            topic_id: Uuid::ZERO,
            partition,
            fetch_offset,
            max_bytes: 1_000,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start_offset: -1,
        }
    }

    fn answer(high_watermark: Offset, has_records: bool) -> Answer {
        let error = ErrorCode::None;
        Answer { has_records, error, high_watermark, log_start_offset: 0, must_tell: false }
    }

    fn metadata(session_id: i32, epoch: i32) -> FetchMetadata {
        FetchMetadata { session_id, epoch, is_follower: false, uses_topic_ids: false }
    }

    fn begin(
        cache: &FetchSessionCache,
        session_id: i32,
        epoch: i32,
        partitions: Vec<FetchPartition>,
    ) -> Result<FetchContext, ErrorCode> {
        cache.begin(0, metadata(session_id, epoch), partitions, &[], |_| None)
    }

    fn create(cache: &FetchSessionCache, now: Millis, is_follower: bool, size: i32) -> i32 {
        let partitions: Vec<_> = (0..size).map(|p| asked(p, 0)).collect();
        let answers = vec![answer(0, false); partitions.len()];
        let metadata = FetchMetadata { is_follower, ..metadata(0, 0) };
        let context = cache.begin(now, metadata, partitions, &[], |_| None).expect("full");
        cache.conclude(now, context, &answers).session_id
    }

    #[test]
    fn an_incremental_answer_tells_only_what_changed_and_rotates_what_had_data() {
        let cache = FetchSessionCache::new(1_000);
        let full = begin(&cache, 0, 0, vec![asked(0, 0), asked(1, 0), asked(2, 0)]).expect("full");
        let first = cache.conclude(0, full, &[answer(5, true), answer(0, false), answer(0, false)]);
        assert_eq!(first.tell, [true; 3]);
        assert_ne!(first.session_id, NO_SESSION);

        let context = begin(&cache, first.session_id, 1, vec![asked(0, 5)]).expect("incremental");
        assert_eq!(context.partitions, [asked(0, 5), asked(1, 0), asked(2, 0)]);
        let second = cache.conclude(0, context, &[answer(9, true), answer(0, false), answer(1, false)]);
        assert_eq!(second.tell, [true, false, true]);

        let context = begin(&cache, first.session_id, 2, vec![]).expect("incremental");
        let order: Vec<i32> = context.partitions.iter().map(|p| p.partition).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn a_partition_is_told_again_when_its_error_goes_away() {
        let cache = FetchSessionCache::new(1_000);
        let id = create(&cache, 0, false, 1);
        let failed = Answer { error: ErrorCode::KafkaStorageError, ..answer(0, false) };
        for (epoch, answer, told) in
            [(1, failed, true), (2, failed, true), (3, answer(0, false), true), (4, answer(0, false), false)]
        {
            let context = begin(&cache, id, epoch, vec![]).expect("incremental");
            assert_eq!(cache.conclude(0, context, &[answer]).tell, [told], "epoch {epoch}");
        }
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused_with_their_codes() {
        let cache = FetchSessionCache::new(1_000);
        let id = create(&cache, 0, false, 1);
        let error = |id, epoch| begin(&cache, id, epoch, vec![]).err();
        assert_eq!(error(id, 7), Some(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(error(id ^ 1, 1), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(error(-5, 1), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(error(i32::MAX, 1), Some(ErrorCode::FetchSessionIdNotFound));
        let with_ids = FetchMetadata { uses_topic_ids: true, ..metadata(id, 1) };
        assert_eq!(cache.begin(0, with_ids, vec![], &[], |_| None).err(), Some(ErrorCode::FetchSessionTopicIdError));
        let context = begin(&cache, id, 1, vec![]).expect("right epoch");
        begin(&cache, id, 2, vec![]).expect("a second request overtakes");
        assert_eq!(cache.conclude(0, context, &[answer(0, false)]).error, ErrorCode::InvalidFetchSessionEpoch);
    }

    #[test]
    fn forgetting_all_partitions_or_the_final_epoch_closes_the_session() {
        let cache = FetchSessionCache::new(1_000);
        let id = create(&cache, 0, false, 1);
        let key = PartitionKey::Name("t".into(), 0);
        let context = cache.begin(0, metadata(id, 1), vec![], &[key], |_| None).expect("emptied");
        assert!(context.partitions.is_empty());
        assert_eq!(begin(&cache, id, 2, vec![]).err(), Some(ErrorCode::FetchSessionIdNotFound));

        let id = create(&cache, 0, false, 1);
        begin(&cache, id, FINAL_EPOCH, vec![]).expect("final");
        assert_eq!(begin(&cache, id, 1, vec![]).err(), Some(ErrorCode::FetchSessionIdNotFound));
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        assert_eq!(next_epoch(i32::MAX), 1);
    }

    #[test]
    fn a_full_shard_evicts_the_stale_then_the_smaller_and_keeps_the_young() {
        let one_each = FetchSessionCache::new(SHARDS);
        let fill =
            |now, follower, size| (0..SHARDS).map(|_| create(&one_each, now, follower, size)).collect::<Vec<_>>();
        assert!(fill(0, false, 2).iter().all(|id| *id != NO_SESSION));
        assert!(fill(1, false, 9).iter().all(|id| *id == NO_SESSION), "young ones are protected from their equals");
        assert!(fill(1, true, 1).iter().all(|id| *id != NO_SESSION), "followers replace consumers");
        assert!(fill(EVICTION_MS, false, 9).iter().all(|id| *id == NO_SESSION));
        assert!(fill(EVICTION_MS + 2, false, 1).iter().all(|id| *id != NO_SESSION), "stale ones go");
    }
}
