//! A partition as leader and as follower, on real logs.

use super::*;
use crate::config::LogConfig;
use crate::disk::FilePool;
use crate::log::log_dir::LogDir;
use crate::log::producer_state::ProducerStateConfig;
use crate::log::{FetchIsolation, LoadLimits, LogManager, LogManagerOptions, LogOptions, MoveStep};
use crate::record::validate::{ValidationContext, validate};
use crate::record::{BatchBuilder, BatchOptions, TimestampType};
use bytes::Bytes;
use std::path::Path;

const LAG: Millis = 30_000;

fn alive(_: BrokerId) -> bool {
    true
}

fn around(now: Millis) -> ClusterView<'static> {
    ClusterView { now, lag_time_max_ms: LAG, is_alive: &alive }
}

fn open(dir: &Path, min_insync_replicas: i32) -> Arc<UnifiedLog> {
    let (failures, _) = tokio::sync::mpsc::channel(1);
    let log_dir = Arc::new(LogDir::new(dir.to_owned(), failures, Arc::new(FilePool::new(8))));
    let options = LogOptions {
        config: Arc::new(LogConfig { min_insync_replicas, ..LogConfig::default() }),
        producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false },
        log_start: 0,
        recovery_point: 0,
        had_clean_shutdown: true,
        topic_id: None,
        limits: LoadLimits::default(),
    };
    UnifiedLog::open(&dir.join("t-0"), tp(), log_dir, options, 0).expect("log")
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn state(leader: i32, epoch: i32, isr: &[i32]) -> LeadershipState {
    LeadershipState {
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(epoch),
        isr: ids(isr),
        replicas: ids(&[1, 2]),
        partition_epoch: epoch,
        controller_epoch: ControllerEpoch(1),
    }
}

fn batch(count: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default()).expect("builder");
    for _ in 0..count {
        builder.append(1_000, None, Some(b"value"), &[]).expect("append");
    }
    builder.finish().expect("finish")
}

fn validated(count: usize) -> ValidatedBatches {
    let tp = tp();
    let context = ValidationContext {
        topic_partition: &tp,
        now: 1_000,
        origin: AppendOrigin::Client,
        compression: None,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        max_message_bytes: 1 << 20,
    };
    validate(&batch(count), &context).expect("valid")
}

fn append(partition: &Partition, count: usize, acks_all: bool) -> Result<LeaderAppend, PartitionAppendError> {
    let terms = AppendTerms { origin: AppendOrigin::Client, guard: None, acks_all, led_since: None };
    let appended = partition.append_as_leader(&validated(count), &terms, 1_000)?;
    assert_eq!(partition.on_log_end(&appended.log, appended.info.log_end, &around(1_000)).submit, None);
    Ok(appended)
}

fn fetched(partition: &Partition, epoch: i32, from: Offset, now: Millis) -> Progress {
    let log = partition.log().expect("a log");
    let leader_log_end = log.log_end_offset();
    let fetch = FollowerFetch { from: OffsetMetadata::offset_only(from), log_start: 0, leader_log_end };
    partition.on_follower_fetch(LeaderEpoch(epoch), BrokerId(2), &log, &fetch, &around(now))
}

/// Broker 1 leads in epoch 5, 2 follows.
fn led(dir: &Path, isr: &[i32], min_insync_replicas: i32) -> (Partition, Arc<UnifiedLog>) {
    let partition = Partition::new(tp(), BrokerId(1));
    let log = open(dir, min_insync_replicas);
    let (is_new, _) = partition.become_leader(Arc::clone(&log), state(1, 5, isr), &around(0));
    assert!(is_new);
    (partition, log)
}

#[test]
fn records_are_committed_when_the_follower_has_fetched_beyond_them() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1, 2], 1);
    append(&partition, 3, true).expect("appended");
    assert_eq!((log.log_end_offset(), log.high_watermark()), (3, 0));
    assert_eq!(partition.is_committed(3, LeaderEpoch(5)), Ok(false));
    assert!(!fetched(&partition, 5, 0, 1_000).is_committed_more);
    assert!(fetched(&partition, 5, 3, 1_001).is_committed_more);
    assert_eq!((log.high_watermark(), partition.is_committed(3, LeaderEpoch(5))), (3, Ok(true)));
}

#[test]
fn fetches_of_another_epoch_do_not_count() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1, 2], 1);
    append(&partition, 3, true).expect("appended");
    assert_eq!(fetched(&partition, 4, 3, 1_000), Progress::default());
    assert_eq!(log.high_watermark(), 0);
}

#[test]
fn acks_all_is_refused_below_the_minimum_and_what_is_there_waits_for_it() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1], 2);
    assert!(matches!(append(&partition, 1, true), Err(PartitionAppendError::NotEnoughReplicas { have: 1, need: 2 })));
    append(&partition, 2, false).expect("appended");
    assert_eq!(log.high_watermark(), 0);
    let joined = fetched(&partition, 5, 2, 1_000);
    let change = joined.submit.expect("a change");
    assert_eq!(log.high_watermark(), 0, "the controller has not agreed yet");
    let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: 6, isr: ids(&[1, 2]) };
    assert!(partition.on_isr_answer(&change, Ok(altered), &around(1_001)).is_committed_more);
    assert_eq!((log.high_watermark(), partition.leadership().isr), (2, ids(&[1, 2])));
    append(&partition, 1, true).expect("appended");
}

#[test]
fn a_producer_is_told_when_the_minimum_was_lost_after_its_append() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1, 2], 2);
    append(&partition, 1, true).expect("appended");
    assert_eq!(fetched(&partition, 5, 0, 1_000).submit, None);
    assert!(fetched(&partition, 5, 1, 1_000).is_committed_more);
    let change = partition.shrink_isr(&around(1_001 + LAG)).submit;
    assert_eq!(change, None, "at the end of the log nobody lags");
    append(&partition, 1, true).expect("appended");
    let change = partition.shrink_isr(&around(1_001 + LAG)).submit.expect("a change");
    let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: 6, isr: ids(&[1]) };
    assert_eq!(partition.on_isr_answer(&change, Ok(altered), &around(1_002 + LAG)), Progress::default());
    assert_eq!((log.high_watermark(), partition.is_committed(2, LeaderEpoch(5))), (1, Ok(false)));
    assert_eq!(partition.is_committed(1, LeaderEpoch(5)), Err(CommitError::NotEnoughReplicas));
}

#[test]
fn a_leader_that_follows_takes_no_records_of_producers_and_forgets_its_followers() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1, 2], 1);
    append(&partition, 3, false).expect("appended");
    partition.become_follower(Arc::clone(&log), state(2, 6, &[1, 2]));
    assert!(matches!(append(&partition, 1, false), Err(PartitionAppendError::NotLeader(_))));
    assert_eq!(partition.is_committed(3, LeaderEpoch(5)), Err(NotLeader.into()));
    assert_eq!(fetched(&partition, 5, 3, 1_000), Progress::default());
    assert_eq!(fetched(&partition, 6, 3, 1_000), Progress::default());
    let (is_new, _) = partition.become_leader(Arc::clone(&log), state(1, 7, &[1, 2]), &around(2_000));
    assert!(is_new && log.high_watermark() == 0);
    assert!(partition.lags_after_election(&log), "offsets of before the election are not settled");
    let (is_new, _) = partition.become_leader(Arc::clone(&log), state(1, 8, &[1, 2]), &around(2_000));
    assert!(!is_new, "it led before");
    assert_eq!(log.epoch_entries().iter().map(|e| (e.epoch.0, e.start_offset)).collect::<Vec<_>>(), [(5, 0), (8, 3)]);
}

#[test]
fn what_was_appended_in_an_earlier_leadership_is_not_acknowledged_in_a_later_one() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, log) = led(dir.path(), &[1, 2], 1);
    let lost = append(&partition, 3, true).expect("appended");
    partition.become_follower(Arc::clone(&log), state(2, 6, &[1, 2]));
    log.truncate_to(0, 1_000).expect("truncated");
    drop(partition.become_leader(Arc::clone(&log), state(1, 7, &[1, 2]), &around(2_000)));
    let kept = append(&partition, 3, true).expect("appended");
    assert!(fetched(&partition, 7, 3, 2_000).is_committed_more);
    assert_eq!(partition.is_committed(3, lost.led_since), Err(NotLeader.into()));
    assert_eq!(partition.is_committed(3, kept.led_since), Ok(true));
    // Another epoch of the same leadership.
    drop(partition.become_leader(Arc::clone(&log), state(1, 8, &[1, 2]), &around(2_000)));
    assert_eq!(partition.is_committed(3, kept.led_since), Ok(true));
}

#[test]
fn a_producer_is_told_at_once_when_the_replica_goes() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, _) = led(dir.path(), &[1, 2], 1);
    append(&partition, 3, true).expect("appended");
    partition.resign();
    assert_eq!(partition.is_committed(3, LeaderEpoch(5)), Err(NotLeader.into()));
    assert!(matches!(append(&partition, 1, true), Err(PartitionAppendError::NotLeader(_))));
}

#[test]
fn strangers_and_wrong_epochs_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let (partition, _) = led(dir.path(), &[1, 2], 1);
    let current = LeaderEpoch(5);
    assert_eq!(partition.check_follower(BrokerId(2), current), Ok(()));
    let stranger = BrokerId(3);
    assert_eq!(partition.check_follower(stranger, current), Err(PartitionError::UnknownReplica(stranger)));
    assert_eq!(partition.check_follower(stranger, LeaderEpoch::NONE), Err(PartitionError::NotLeader));
    let log_for = |epoch| partition.log_for(LeaderEpoch(epoch), true).map(drop);
    assert_eq!(log_for(4), Err(PartitionError::Fenced { current }));
    assert_eq!(log_for(6), Err(PartitionError::UnknownEpoch { current }));
}

fn all_of(log: &UnifiedLog) -> Vec<u8> {
    let read = log.read(0, 1 << 20, FetchIsolation::LogEnd, true).expect("read").records.expect("records");
    let mut records = vec![0; read.len as usize];
    assert_eq!(read.read(0, &mut records).expect("read"), records.len());
    records
}

/// What is read of a leader that follows meanwhile may be what it has taken over since.
#[test]
fn a_follower_takes_nothing_of_an_epoch_that_it_has_not_heard_of() {
    let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
    let (leader, log) = led(dirs[0].path(), &[1, 2], 1);
    append(&leader, 3, false).expect("appended");
    drop(leader.become_leader(Arc::clone(&log), state(1, 6, &[1, 2]), &around(0)));
    append(&leader, 2, false).expect("appended");
    let records = all_of(&log);

    let follower = Partition::new(tp(), BrokerId(2));
    follower.become_follower(open(dirs[1].path(), 1), state(1, 5, &[1, 2]));
    let take = |epoch, from: Offset, records: &[u8]| {
        follower.append_as_follower(&sent(records, LeaderEpoch(epoch), from, 0, 0)).expect("appended").next_offset
    };
    assert_eq!(take(5, 0, &records), 3);
    let newer = &records[batches(&records).next().expect("a batch").expect("whole").size()..];
    assert_eq!(take(5, 3, newer), 3);
    assert_eq!(take(6, 3, newer), 5);
}

#[test]
fn a_follower_takes_over_records_high_watermark_and_log_start() {
    let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
    let (leader, log) = led(dirs[0].path(), &[1, 2], 1);
    append(&leader, 3, false).expect("appended");
    append(&leader, 2, false).expect("appended");
    let mut records = all_of(&log);

    let follower = Partition::new(tp(), BrokerId(2));
    let own = open(dirs[1].path(), 1);
    follower.become_follower(Arc::clone(&own), state(1, 5, &[1, 2]));
    let followed = follower.append_as_follower(&sent(&records, LeaderEpoch(5), 0, 4, 0)).expect("appended");
    assert_eq!(followed, Followed { next_offset: 5, has_new_high_watermark: true, flush_due: false });
    assert_eq!((own.high_watermark(), own.latest_epoch()), (4, Some(LeaderEpoch(5))));
    let followed = follower.append_as_follower(&sent(&[], LeaderEpoch(5), 5, 9, 3)).expect("nothing to append");
    assert_eq!(followed, Followed { next_offset: 5, has_new_high_watermark: true, flush_due: false });
    assert_eq!((own.high_watermark(), own.log_start_offset()), (5, 3), "never beyond its own end");

    let again = follower.append_as_follower(&sent(&records, LeaderEpoch(5), 0, 5, 3));
    assert!(matches!(again, Err(FollowError::OffsetMismatch { fetch_offset: 0, log_end: 5 })));
    let last = records.len() - 1;
    records[last] ^= 1;
    let damaged = follower.append_as_follower(&sent(&records, LeaderEpoch(5), 5, 5, 3));
    assert!(matches!(damaged, Err(FollowError::Append(AppendError::Record(_) | AppendError::UnexpectedOffset { .. }))));
    assert_eq!(own.log_end_offset(), 5);
}

/// A partition on a host of two directories, and its log on the way to the other one: both end at the same offset.
struct Moving {
    _dirs: [tempfile::TempDir; 2],
    logs: LogManager,
    partition: Partition,
    old: Arc<UnifiedLog>,
}

impl Moving {
    /// Broker 1 leads, with these in sync and, when it is alone, no other replica.
    fn led(isr: &[i32], replicas: &[i32]) -> Self {
        let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
        let config = Arc::new(LogConfig::default());
        let (logs, _failures) = LogManager::open(LogManagerOptions {
            log_dirs: dirs.iter().map(|dir| dir.path().to_owned()).collect(),
            recovery_threads_per_dir: 1,
            producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false },
            default_config: Arc::clone(&config),
            max_open_files: 16,
            disk_reserve_bytes: 0,
        })
        .expect("directories");
        let old = logs.get_or_create(&tp(), true, None, &config, 0).expect("a log");
        let partition = Partition::new(tp(), BrokerId(1));
        let state = LeadershipState { replicas: ids(replicas), ..state(1, 5, isr) };
        drop(partition.become_leader(Arc::clone(&old), state, &around(0)));
        Self { _dirs: dirs, logs, partition, old }
    }

    fn begin(&self) {
        let target = self.logs.live_dirs().find(|dir| dir.path() != self.old.log_dir().path()).expect("two").path();
        self.logs.alter_log_dir(&tp(), target, 0).expect("begun");
        while self.logs.advance_move(&tp(), 1 << 20, 0).expect("copied") != MoveStep::CaughtUp {}
    }

    fn complete(&self) -> Arc<UnifiedLog> {
        let replaced = self.partition.replace_log(|install| self.logs.complete_move(&tp(), 1 << 20, 0, install));
        assert!(replaced.expect("no failure").is_some_and(|old| Arc::ptr_eq(&old, &self.old)));
        self.partition.log().expect("a log")
    }
}

#[test]
fn a_move_between_an_append_and_its_commit_forgets_nothing() {
    let moving = Moving::led(&[1], &[1]);
    let terms = AppendTerms { origin: AppendOrigin::Client, guard: None, acks_all: true, led_since: None };
    let appended = moving.partition.append_as_leader(&validated(3), &terms, 0).expect("appended");
    moving.begin();
    let moved = moving.complete();
    assert_eq!(moving.partition.is_committed(3, LeaderEpoch(5)), Ok(false));
    // The producer's task goes on with what it has appended to.
    assert!(moving.partition.on_log_end(&appended.log, appended.info.log_end, &around(0)).is_committed_more);
    assert_eq!((moved.high_watermark(), moving.partition.is_committed(3, LeaderEpoch(5))), (3, Ok(true)));
    assert_eq!(append(&moving.partition, 1, true).expect("appended").info.first_offset, 3);
}

#[test]
fn what_a_follower_has_counts_in_the_log_that_is_there() {
    let moving = Moving::led(&[1, 2], &[1, 2]);
    append(&moving.partition, 3, true).expect("appended");
    assert!(!fetched(&moving.partition, 5, 0, 1_000).is_committed_more);
    moving.begin();
    // Read before the change, counted after it.
    let read = moving.old.read(3, 1 << 20, FetchIsolation::LogEnd, true).expect("read");
    assert!(read.start.place.is_some());
    let moved = moving.complete();
    let fetch = FollowerFetch { from: read.start, log_start: 0, leader_log_end: 3 };
    let counted = |log| moving.partition.on_follower_fetch(LeaderEpoch(5), BrokerId(2), log, &fetch, &around(1_001));
    assert!(counted(&moving.old).is_committed_more);
    assert_eq!(moved.high_watermark(), 3);
    let leader = moving.partition.leader.lock();
    assert_eq!(leader.as_ref().expect("leads").followers()[0].log_end, OffsetMetadata::offset_only(3));
}

#[test]
fn a_follower_appends_to_the_log_that_has_taken_the_place_of_the_one_it_found() {
    let moving = Moving::led(&[1, 2], &[1, 2]);
    append(&moving.partition, 2, false).expect("appended");
    moving.partition.become_follower(Arc::clone(&moving.old), state(2, 6, &[1, 2]));
    moving.begin();
    let mut finds = 0;
    let outcome = moving.partition.on_log(|log| {
        finds += 1;
        if finds == 1 {
            moving.complete();
        }
        log.maybe_increment_log_start(0).map(|_| log.log_dir().path().to_owned())
    });
    let there = moving.partition.log().expect("a log");
    assert_eq!((finds, outcome.expect("a log").expect("taken")), (2, there.log_dir().path().to_owned()));
}

fn sent(
    records: &[u8],
    leader_epoch: LeaderEpoch,
    fetch_offset: Offset,
    high_watermark: Offset,
    log_start: Offset,
) -> LeaderRecords<'_> {
    LeaderRecords { records, leader_epoch, fetch_offset, high_watermark, log_start, now: 1_000 }
}
