//! Owns the life of one fetcher: it asks one leader for the records of its partitions, appends them, cuts logs that have
//! diverged, and asks again. Kafka: `ReplicaFetcherThread`, `RemoteLeaderEndPoint`, `BrokerBlockingSender`.
//!
//! The state's lock is held while records are appended and logs are cut, so a caller that takes a partition away knows that
//! nothing happens to it any more. Appends run on a data worker, as those of producers do; what waits for the disk runs
//! on the blocking pool.

use super::state::{Asked, Due, FetcherState, Plan, ReplicaView, Said, Start, Verdict};
use crate::client::broker_client::{BrokerConnection, CallError};
use crate::cluster::partition::LeaderRecords;
use crate::common::{BrokerId, ErrorCode, LeaderEpoch, Millis, Now, Offset, TopicPartition, Uuid};
use crate::config::endpoint::{Endpoint, SecurityProtocol};
use crate::log::UnifiedLog;
use crate::log::epoch_cache::EpochEndOffset;
use crate::log::log_dir::{LogDir, reported};
use crate::protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
use crate::protocol::messages::fetch_response::PartitionData;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::protocol::messages::{FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse};
use crate::protocol::{ApiKey, Message, Records};
use crate::replica::host::Host;
use crate::replica::settings::FetcherSettings;
use crate::replica::truncation::{IntoRange, into_range, truncation_offset};
use crate::util::clock::wall_ms;
use crate::util::task;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// What inter.broker.protocol.version 3.9 means for each request.
const FETCH_VERSION: i16 = 17;
/// The last one that names topics: for a session with topics that have no id.
const FETCH_VERSION_BY_NAME: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 9;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// See the module's page.
pub(in crate::replica) struct Fetcher {
    leader: BrokerId,
    pub(super) endpoint: Endpoint,
    /// Of `num.replica.fetchers`.
    number: usize,
    host: Arc<Host>,
    pub(super) state: Mutex<FetcherState>,
    changed: Notify,
    stop: CancellationToken,
}

/// The connection, and for how long there was none.
#[derive(Default)]
struct Link {
    connection: Option<BrokerConnection>,
    failures: u32,
}

/// What is left to do after the records of an answer were appended.
#[derive(Default)]
struct FollowUp {
    diverged: Vec<(TopicPartition, LeaderEpoch, EpochEndOffset)>,
    out_of_range: Vec<(TopicPartition, LeaderEpoch)>,
    to_flush: Vec<Arc<UnifiedLog>>,
    /// Partitions with a new high watermark.
    committed: Vec<TopicPartition>,
    /// By code: how many, and one of them.
    errors: BTreeMap<ErrorCode, (usize, TopicPartition)>,
}

pub(super) async fn run(fetcher: Arc<Fetcher>, stop: CancellationToken) {
    let mut link = Link::default();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = fetcher.stop.cancelled() => return,
            () = fetcher.step(&mut link) => {}
        }
    }
}

impl Fetcher {
    pub(super) fn new(host: Arc<Host>, leader: BrokerId, endpoint: Endpoint, number: usize) -> Self {
        Self {
            leader,
            endpoint,
            number,
            host,
            state: Mutex::default(),
            changed: Notify::new(),
            stop: CancellationToken::new(),
        }
    }

    fn settings(&self) -> &FetcherSettings {
        &self.host.settings.fetchers
    }

    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Ends the fetcher. Gives back what it had.
    pub(super) fn stop(&self) -> Vec<(TopicPartition, Start)> {
        self.stop.cancel();
        self.state.lock().drain()
    }

    /// One request and what follows of it. Dropped half-way, it leaves nothing undone that the next fetcher would not do.
    async fn step(self: &Arc<Self>, link: &mut Link) {
        {
            // What has come until now is in the plan.
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
        }
        self.truncate_logs_without_epochs().await;
        let (plan, deadline) = {
            let mut state = self.state.lock();
            let now = self.host.clock.ticks();
            let plan = state.plan(now, &View { host: &self.host, now }, self.settings().backoff_ms);
            (plan, state.next_deadline())
        };
        let Some(plan) = plan else {
            let backoff = self.settings().backoff_ms;
            let until = deadline.map_or(backoff, |at| (at - self.host.clock.ticks()).min(backoff));
            let pause = tokio::time::sleep(Duration::from_millis(until.max(1) as u64));
            tokio::select! {
                biased;
                () = self.changed.notified() => {}
                () = pause => {}
            }
            return;
        };
        let version = if plan.uses_topic_ids { FETCH_VERSION } else { FETCH_VERSION_BY_NAME };
        let mut request = self.request(&plan, version);
        if let Some(at) = deadline {
            // The leader is not to keep this request beyond the time at which more partitions are asked for.
            request.max_wait_ms = (at - self.host.clock.ticks()).clamp(0, request.max_wait_ms.into()) as i32;
        }
        match self.fetch(link, version, &request).await {
            Ok(Some(answer)) => {
                link.failures = 0;
                self.take(link, &plan, answer).await;
            }
            Ok(None) => {
                debug!(leader = %self.leader, "partitions came while the leader had nothing to send");
                self.state.lock().on_interrupted();
            }
            Err(error) => {
                self.tell_failure(link, &error);
                self.state.lock().on_failure(self.host.clock.ticks(), self.settings().backoff_ms);
            }
        }
    }

    fn tell_failure(&self, link: &mut Link, error: &CallError) {
        link.failures += 1;
        // The controller may need a while to find out that a leader is gone.
        if link.failures == 1 || link.failures.is_multiple_of(60) {
            warn!(leader = %self.leader, endpoint = %self.endpoint, fetcher = self.number, %error, failures = link.failures, "fetch from the leader failed");
        } else {
            debug!(leader = %self.leader, %error, "fetch from the leader failed");
        }
    }

    /// A fetch that waits for records is given up for partitions that came meanwhile: producers of theirs wait for us.
    async fn fetch(
        &self,
        link: &mut Link,
        version: i16,
        request: &FetchRequest,
    ) -> Result<Option<FetchResponse>, CallError> {
        let mut connection = match link.connection.take().filter(BrokerConnection::is_alive) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let within = self.settings().request_timeout;
        let answer = connection.call_unless(ApiKey::Fetch, version, request, within, self.changed.notified()).await?;
        link.connection = answer.is_some().then_some(connection);
        Ok(answer)
    }

    async fn call<Q: Message, A: Message>(
        &self,
        link: &mut Link,
        key: ApiKey,
        version: i16,
        request: &Q,
    ) -> Result<A, CallError> {
        let mut connection = match link.connection.take().filter(BrokerConnection::is_alive) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.call(key, version, request, self.settings().request_timeout).await?;
        link.connection = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<BrokerConnection, CallError> {
        if self.endpoint.protocol != SecurityProtocol::Plaintext {
            return Err(std::io::Error::other(format!("{} is not PLAINTEXT", self.endpoint)).into());
        }
        let host = self.endpoint.host.as_deref().unwrap_or("localhost");
        // Kafka's name of the thread.
        let client_id = format!("broker-{}-fetcher-{}", self.settings().local, self.number);
        let within = self.settings().connect_timeout;
        let buffer = self.settings().receive_buffer_bytes;
        BrokerConnection::connect_with(host, self.endpoint.port, client_id.as_str().into(), within, buffer).await
    }

    fn request(&self, plan: &Plan, version: i16) -> FetchRequest {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (tp, asked) in &plan.asked {
            let partition = to_partition(tp.partition, asked, self.settings().partition_max_bytes);
            match topics.last_mut().filter(|t| *t.topic == *tp.topic && t.topic_id == asked.topic_id) {
                Some(topic) => topic.partitions.push(partition),
                None => topics.push(FetchTopic {
                    topic: (&*tp.topic).into(),
                    topic_id: asked.topic_id,
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        let mut forgotten: Vec<ForgottenTopic> = Vec::new();
        for (tp, id) in &plan.forgotten {
            match forgotten.last_mut().filter(|t| *t.topic == *tp.topic && t.topic_id == *id) {
                Some(topic) => topic.partitions.push(tp.partition),
                None => forgotten.push(ForgottenTopic {
                    topic: (&*tp.topic).into(),
                    topic_id: *id,
                    partitions: vec![tp.partition],
                    ..Default::default()
                }),
            }
        }
        let mut request = FetchRequest {
            max_wait_ms: self.settings().wait_max_ms,
            min_bytes: self.settings().min_bytes,
            max_bytes: self.settings().response_max_bytes,
            session_id: plan.session.id,
            session_epoch: plan.session.epoch,
            topics,
            forgotten_topics_data: forgotten,
            ..Default::default()
        };
        if version >= 15 {
            let replica_epoch = (self.host.broker_epoch)().0;
            request.replica_state =
                ReplicaState { replica_id: self.settings().local.0, replica_epoch, ..Default::default() };
        } else {
            request.replica_id = self.settings().local.0;
        }
        request
    }

    // ---- answers

    async fn take(self: &Arc<Self>, link: &mut Link, plan: &Plan, answer: FetchResponse) {
        let rest = self.append_all(plan, answer);
        rest.committed.iter().for_each(|tp| self.host.waits.fetches.wake(tp));
        for (code, (count, example)) in &rest.errors {
            warn!(leader = %self.leader, %code, partitions = count, %example, "partitions can't be fetched for now");
        }
        if !rest.to_flush.is_empty() {
            // What is due comes before the next fetch, which tells the leader that we have it.
            blocking(move || {
                for log in rest.to_flush {
                    // A failure is logged by the directory, which takes its partitions along.
                    reported(log.flush(wall_ms()));
                }
            })
            .await;
        }
        if !rest.diverged.is_empty() {
            let fetcher = Arc::clone(self);
            blocking(move || fetcher.truncate_diverged(rest.diverged)).await;
        }
        for (tp, epoch) in rest.out_of_range {
            self.find_range(link, tp, epoch).await;
        }
    }

    fn append_all(&self, plan: &Plan, answer: FetchResponse) -> FollowUp {
        let now = self.host.clock.now();
        let backoff = self.settings().backoff_ms;
        let mut rest = FollowUp::default();
        let mut state = self.state.lock();
        let error = ErrorCode::from_wire(answer.error_code);
        let mut answered = BTreeSet::new();
        let mut partitions = Vec::new();
        for topic in answer.responses {
            let known = if plan.uses_topic_ids { state.topic_name(topic.topic_id).cloned() } else { None };
            // An id that no one asked for: no partition has this name.
            let name = known.unwrap_or_else(|| {
                if plan.uses_topic_ids { topic.topic_id.to_string().into() } else { (*topic.topic).into() }
            });
            for data in topic.partitions {
                let tp = TopicPartition { topic: Arc::clone(&name), partition: data.partition_index };
                answered.insert(tp.clone());
                partitions.push((tp, data));
            }
        }
        if !state.on_answer(now.ticks, plan, error, answer.session_id, &answered, backoff) {
            info!(leader = %self.leader, code = %error, "fetch session ends");
            return rest;
        }
        for (tp, data) in partitions {
            let error = ErrorCode::from_wire(data.error_code);
            let diverging = (data.diverging_epoch.epoch >= 0).then_some(EpochEndOffset {
                epoch: LeaderEpoch(data.diverging_epoch.epoch),
                end_offset: data.diverging_epoch.end_offset,
            });
            match state.judge(&tp, &Said { error, diverging }, now.ticks, backoff) {
                Verdict::Append(due) => self.append(&mut state, &mut rest, tp, due, data, now),
                Verdict::Cut(epoch, end) => rest.diverged.push((tp, epoch, end)),
                Verdict::FindRange(epoch) => rest.out_of_range.push((tp, epoch)),
                Verdict::Pass => {}
                Verdict::Report => rest.errors.entry(error).or_insert((0, tp)).0 += 1,
            }
        }
        rest
    }

    fn append(
        &self,
        state: &mut FetcherState,
        rest: &mut FollowUp,
        tp: TopicPartition,
        due: Due,
        data: PartitionData,
        now: Now,
    ) {
        let Ok(partition) = self.host.partition(&tp.topic, tp.partition) else {
            state.remove(&tp);
            return;
        };
        let records = match data.records {
            Some(Records::Bytes(records)) => records,
            _ => bytes::Bytes::new(),
        };
        let appended = partition.append_as_follower(&LeaderRecords {
            records: &records,
            leader_epoch: due.leader_epoch,
            fetch_offset: due.fetch_offset,
            high_watermark: data.high_watermark,
            log_start: data.log_start_offset,
            now: now.wall,
        });
        match appended {
            Ok(followed) => {
                let log = partition.log();
                let has_grown = followed.next_offset != due.fetch_offset;
                let last_epoch = log.as_ref().filter(|_| has_grown).and_then(|log| log.latest_epoch());
                state.on_appended(&tp, followed.next_offset, last_epoch, data.high_watermark);
                if let Some(log) = log {
                    self.host.record_followed(&log, records.len() as u64, now.ticks);
                    if followed.flush_due {
                        rest.to_flush.push(log);
                    }
                }
                if followed.has_new_high_watermark {
                    rest.committed.push(tp);
                }
            }
            Err(error) => state.on_append_failed(&tp, &error, now.ticks, self.settings().backoff_ms),
        }
    }

    // ---- truncation

    async fn truncate_logs_without_epochs(self: &Arc<Self>) {
        if self.state.lock().to_truncate().is_empty() {
            return;
        }
        let fetcher = Arc::clone(self);
        blocking(move || {
            let mut state = fetcher.state.lock();
            let truncated = state.to_truncate();
            for (tp, high_watermark) in &truncated {
                fetcher.truncate(&mut state, tp, *high_watermark, None);
            }
            drop(state);
            checkpoint_recovery_points_of(&fetcher.host, truncated.iter().map(|(tp, _)| tp));
        })
        .await;
    }

    fn truncate_diverged(&self, diverged: Vec<(TopicPartition, LeaderEpoch, EpochEndOffset)>) {
        let mut state = self.state.lock();
        for (tp, epoch, leader) in &diverged {
            let Some(fallback) = state.fetch_offset_in(tp, *epoch) else { continue };
            let Some(log) = self.host.online_log(tp) else {
                state.remove(tp);
                continue;
            };
            let offset =
                truncation_offset(*leader, log.end_offset_for_epoch(leader.epoch), log.log_end_offset(), fallback);
            info!(%tp, leader_epoch = %leader.epoch, leader_end = leader.end_offset, log_end = log.log_end_offset(), offset, "the log has diverged from the leader's");
            if offset < log.high_watermark() {
                warn!(%tp, offset, high_watermark = log.high_watermark(), "truncating below the high watermark");
            }
            self.truncate(&mut state, tp, offset, None);
        }
        drop(state);
        checkpoint_recovery_points_of(&self.host, diverged.iter().map(|(tp, ..)| tp));
    }

    fn truncate(&self, state: &mut FetcherState, tp: &TopicPartition, offset: Offset, lag: Option<Offset>) {
        let truncated = self.host.online(tp).and_then(|partition| {
            partition
                .on_log(|log| log.truncate_to(offset, wall_ms()).map(|_| (log.log_end_offset(), log.latest_epoch())))
        });
        match truncated {
            None => {
                state.remove(tp);
            }
            // The log may end before it already.
            Some(Ok((log_end, latest_epoch))) => state.on_truncated(tp, log_end, latest_epoch, lag),
            Some(Err(error)) => state.on_disk_error(tp, &error, self.host.clock.ticks(), self.settings().backoff_ms),
        }
    }

    // ---- out of range

    /// The leader has nothing at our end: it lost what we have, or deleted what we lack. Kafka: `fetchOffsetAndTruncate`.
    async fn find_range(self: &Arc<Self>, link: &mut Link, tp: TopicPartition, epoch: LeaderEpoch) {
        let range = async {
            let end = self.list_offset(link, &tp, epoch, LATEST).await?;
            let start = self.list_offset(link, &tp, epoch, EARLIEST).await?;
            Ok::<_, ListFailed>((start, end))
        };
        let outcome = range.await;
        let fetcher = Arc::clone(self);
        blocking(move || {
            let mut state = fetcher.state.lock();
            if state.fetch_offset_in(&tp, epoch).is_none() {
                return;
            }
            match outcome {
                Ok((start, end)) => fetcher.go_into_range(&mut state, &tp, start, end),
                Err(error) => {
                    info!(%tp, %epoch, %error, "the leader's offsets are not known");
                    let refusal = match error {
                        ListFailed::Refused(code) => Some(code),
                        ListFailed::Call(_) => None,
                    };
                    let now = fetcher.host.clock.ticks();
                    state.on_range_unknown(&tp, refusal, now, fetcher.settings().backoff_ms);
                }
            }
        })
        .await;
    }

    fn go_into_range(&self, state: &mut FetcherState, tp: &TopicPartition, leader_start: Offset, leader_end: Offset) {
        let Some((partition, log)) = self.host.online(tp).and_then(|partition| {
            let log = partition.log()?;
            Some((partition, log))
        }) else {
            state.remove(tp);
            return;
        };
        let log_end = log.log_end_offset();
        let offset = match into_range(leader_start, leader_end, log_end) {
            IntoRange::CutToEnd => {
                warn!(%tp, log_end, leader_end, "the leader's log is shorter: truncating to its end");
                self.truncate(state, tp, leader_end, Some(0));
                return;
            }
            IntoRange::BeginAnew => {
                warn!(%tp, log_end, leader_start, "the leader's log starts after ours ends: beginning anew at its start");
                let begun = partition.on_log(|log| log.truncate_fully_and_start_at(leader_start, None, wall_ms()));
                if let Some(Err(error)) = begun {
                    state.on_disk_error(tp, &error, self.host.clock.ticks(), self.settings().backoff_ms);
                    return;
                }
                leader_start
            }
            IntoRange::GoOn => log_end,
        };
        info!(%tp, offset, "fetching resumes within the leader's range");
        let last_epoch = partition.log().and_then(|log| log.latest_epoch());
        state.on_truncated(tp, offset, last_epoch, Some(leader_end - offset));
    }

    async fn list_offset(
        &self,
        link: &mut Link,
        tp: &TopicPartition,
        epoch: LeaderEpoch,
        timestamp: i64,
    ) -> Result<Offset, ListFailed> {
        let partition = ListOffsetsPartition {
            partition_index: tp.partition,
            current_leader_epoch: epoch.0,
            timestamp,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name: (&*tp.topic).into(), partitions: vec![partition], ..Default::default() };
        let request =
            ListOffsetsRequest { replica_id: self.settings().local.0, topics: vec![topic], ..Default::default() };
        let answer: ListOffsetsResponse = self.call(link, ApiKey::ListOffsets, LIST_OFFSETS_VERSION, &request).await?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let Some(found) = found.filter(|found| found.partition_index == tp.partition) else {
            return Err(ListFailed::Refused(ErrorCode::UnknownServerError));
        };
        match ErrorCode::from_wire(found.error_code) {
            ErrorCode::None => Ok(found.offset),
            code => Err(ListFailed::Refused(code)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ListFailed {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("{0}")]
    Refused(ErrorCode),
}

/// The logs as a plan looks at them.
struct View<'a> {
    host: &'a Host,
    /// Ticks.
    now: Millis,
}

impl ReplicaView for View<'_> {
    fn log_start(&self, tp: &TopicPartition) -> Option<Offset> {
        self.host.online_log(tp).map(|log| log.log_start_offset())
    }

    fn is_throttled(&self, tp: &TopicPartition) -> bool {
        self.host.throttles_as_follower(tp, self.now)
    }

    fn may_throttle(&self) -> bool {
        self.host.follower_quota.is_set()
    }
}

fn to_partition(partition: i32, asked: &Asked, max_bytes: i32) -> FetchPartition {
    FetchPartition {
        partition,
        current_leader_epoch: asked.leader_epoch.0,
        fetch_offset: asked.fetch_offset,
        last_fetched_epoch: asked.last_fetched_epoch.map_or(-1, |epoch| epoch.0),
        log_start_offset: asked.log_start,
        partition_max_bytes: max_bytes,
        replica_directory_id: Uuid::ZERO,
        ..Default::default()
    }
}

/// After a truncation: a crash must not take what is written again for what was flushed.
fn checkpoint_recovery_points_of<'a>(host: &Host, partitions: impl Iterator<Item = &'a TopicPartition>) {
    let logs: Vec<_> = partitions.filter_map(|tp| host.online_log(tp)).collect();
    let logs_in = |dir: &Arc<LogDir>| logs.iter().any(|log| Arc::ptr_eq(log.log_dir(), dir));
    // Other directories may be hanging.
    host.logs.live_dirs().filter(|dir| logs_in(dir)).for_each(|dir| host.logs.checkpoint_recovery_points_in(dir));
}

/// Waits for work that waits for the disk. Its panic is the fetcher's.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking("follow", work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
