//! Owns the world around a machine under test: a clock, a log, who waits for what.

use super::super::*;
use crate::common::{ErrorCode, LeaderEpoch, Millis, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::runtime::StoreError;
use crate::protocol::Str;
use crate::protocol::consumer_protocol::ConsumerProtocolSubscription;
use crate::record::{BatchBuilder, BatchOptions, NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 60_000;
pub(super) const DELAY_MS: Millis = 3_000;
pub(super) const RETENTION_MS: Millis = 1_000_000_000;

pub(super) fn config() -> GroupConfig {
    GroupConfig {
        min_session_timeout_ms: 6_000,
        max_session_timeout_ms: 1_800_000,
        max_size: 100,
        initial_rebalance_delay_ms: DELAY_MS as i32,
        offset_metadata_max: 16,
        load_buffer_bytes: 1 << 20,
        offsets_retention_ms: RETENTION_MS,
        offsets_retention_check_interval_ms: 600_000,
        commit_timeout_ms: 5_000,
        commit_required_acks: -1,
        compression_codec: 0,
    }
}

pub(super) fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

/// A subscription to these topics, as consumers write it.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
    ConsumerProtocolSubscription { topics, ..Default::default() }.encode_versioned(1).unwrap()
}

pub(super) struct Rig {
    pub(super) machine: GroupMachine,
    pub(super) now: Now,
    config: GroupConfig,
    next_ticket: u64,
    next_id: u128,
    pub(super) joins: BTreeMap<JoinTicket, JoinAnswer>,
    pub(super) syncs: BTreeMap<SyncTicket, SyncAnswer>,
    pub(super) commits: BTreeMap<CommitTicket, CommitAnswer>,
    /// Tickets that are not answered.
    pub(super) waiting: BTreeSet<u64>,
    /// Not yet confirmed.
    pub(super) appends: VecDeque<(AppendId, Offset)>,
    /// Every batch, in order.
    pub(super) log: BytesMut,
    pub(super) log_end: Offset,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: GroupConfig) -> Self {
        let now = Now { ticks: 0, wall: 1_700_000_000_000 };
        let mut out = Effects::default();
        let loaded = Loader::new(0).finish(now);
        let machine = GroupMachine::load(config, loaded, now, &mut out);
        assert!(out.is_empty());
        let mut rig = Self {
            machine,
            now,
            config,
            next_ticket: 0,
            next_id: 0,
            joins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            commits: BTreeMap::new(),
            waiting: BTreeSet::new(),
            appends: VecDeque::new(),
            log: BytesMut::new(),
            log_end: 0,
        };
        // The first look for expired offsets is at once.
        rig.pass(0);
        rig
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.waiting.insert(self.next_ticket);
        self.next_ticket
    }

    pub(super) fn step<T>(&mut self, run: impl FnOnce(&mut GroupMachine, Now, &mut Effects) -> T) -> T {
        let mut out = Effects::default();
        let done = run(&mut self.machine, self.now, &mut out);
        self.take(out);
        self.machine.check();
        done
    }

    fn take(&mut self, out: Effects) {
        for effect in out {
            match effect {
                Effect::AnswerJoin(ticket, answer) => {
                    assert!(self.waiting.remove(&ticket.0), "{ticket:?} is answered once");
                    self.joins.insert(ticket, answer);
                }
                Effect::AnswerSync(ticket, answer) => {
                    assert!(self.waiting.remove(&ticket.0), "{ticket:?} is answered once");
                    self.syncs.insert(ticket, answer);
                }
                Effect::AnswerCommit(ticket, answer) => {
                    assert!(self.waiting.remove(&ticket.0), "{ticket:?} is answered once");
                    self.commits.insert(ticket, answer);
                }
                Effect::Append(append) => {
                    let base = self.write(&append);
                    if let Some(id) = append.id {
                        self.appends.push_back((id, base));
                    }
                }
                Effect::Note(..) | Effect::OffsetsExpired(_) => {}
            }
        }
    }

    fn write(&mut self, append: &Append) -> Offset {
        let base = self.log_end;
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: base,
            producer_id: append.producer.map_or(NO_PRODUCER_ID, |p| p.id),
            producer_epoch: append.producer.map_or(NO_PRODUCER_EPOCH, |p| p.epoch),
            base_sequence: append.base_sequence,
            transactional: append.producer.is_some(),
            ..Default::default()
        })
        .unwrap();
        for record in &append.records {
            builder.append(self.now.wall, Some(&record.key), record.value.as_deref(), &[]).unwrap();
        }
        self.log_end += append.records.len() as Offset;
        self.log.extend_from_slice(&builder.finish().unwrap());
        base
    }

    /// Ends the oldest append.
    pub(super) fn end_append(&mut self, outcome: Result<(), StoreError>) -> bool {
        let Some((id, base)) = self.appends.pop_front() else { return false };
        self.step(|m, now, out| m.on_appended(now, id, outcome.map(|()| base), out));
        true
    }

    /// All replicas have everything.
    pub(super) fn settle(&mut self) {
        while self.end_append(Ok(())) {}
    }

    /// Lets time pass, deadline by deadline.
    pub(super) fn pass(&mut self, ms: Millis) {
        let until = self.now.ticks + ms;
        loop {
            let next = self.machine.next_deadline();
            if next > until {
                break;
            }
            let by = (next - self.now.ticks).max(0);
            self.now = Now { ticks: self.now.ticks + by, wall: self.now.wall + by };
            self.step(|m, now, out| m.on_tick(now, out));
        }
        let by = until - self.now.ticks;
        self.now = Now { ticks: until, wall: self.now.wall + by };
    }

    // ---- requests

    pub(super) fn new_member(&mut self) -> Join {
        self.next_id += 1;
        Join {
            group_id: "g".into(),
            member_id: "".into(),
            instance_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: REBALANCE_MS,
            session_timeout_ms: SESSION_MS,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription(&["t"]) }],
            reason: None,
            requires_known_member_id: false,
            supports_skipping_assignment: true,
            unique: uuid::Uuid::from_u128(self.next_id),
        }
    }

    pub(super) fn join(&mut self, join: Join) -> JoinTicket {
        let ticket = JoinTicket(self.ticket());
        self.step(|m, now, out| m.on_join(now, ticket, join, out));
        ticket
    }

    pub(super) fn joined(&self, ticket: JoinTicket) -> &JoinAnswer {
        self.joins.get(&ticket).unwrap_or_else(|| panic!("{ticket:?} waits"))
    }

    pub(super) fn rejoin(&mut self, member: &str) -> JoinTicket {
        let join = Join { member_id: member.into(), ..self.new_member() };
        self.join(join)
    }

    pub(super) fn member(&self, id: &str, generation: i32) -> GroupMember {
        GroupMember { group_id: "g".into(), id: id.into(), instance_id: None, generation }
    }

    pub(super) fn sync(&mut self, id: &str, generation: i32, assignments: &[(&str, &'static str)]) -> SyncTicket {
        let sync = Sync {
            member: self.member(id, generation),
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignments: assignments.iter().map(|(id, a)| (Str::from(*id), Bytes::from_static(a.as_bytes()))).collect(),
        };
        self.sync_as(sync)
    }

    pub(super) fn sync_as(&mut self, sync: Sync) -> SyncTicket {
        let ticket = SyncTicket(self.ticket());
        self.step(|m, now, out| m.on_sync(now, ticket, sync, out));
        ticket
    }

    pub(super) fn heartbeat(&mut self, id: &str, generation: i32) -> ErrorCode {
        let member = self.member(id, generation);
        self.step(|m, now, out| m.on_heartbeat(now, &member, out))
    }

    pub(super) fn leave(&mut self, id: &str) -> ErrorCode {
        let leave = Leave { id: id.into(), instance_id: None, reason: None };
        self.step(|m, now, out| m.on_leave(now, "g", &[leave], out))[0]
    }

    pub(super) fn offset(&self, offset: Offset) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: LeaderEpoch(-1),
            metadata: Str::new(),
            commit_timestamp: self.now.wall,
            expire_timestamp: None,
        }
    }

    pub(super) fn commit_as(
        &mut self,
        member: GroupMember,
        producer: Option<TxnProducer>,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
    ) -> CommitTicket {
        let ticket = CommitTicket(self.ticket());
        self.step(|m, now, out| m.on_commit(now, ticket, Commit { member, offsets, producer }, out));
        ticket
    }

    /// Someone outside the group commits.
    pub(super) fn commit(&mut self, partition: i32, offset: Offset) -> CommitTicket {
        let offsets = vec![(tp(partition), self.offset(offset))];
        self.commit_as(self.member("", -1), None, offsets)
    }

    pub(super) fn committed(&self, partition: i32) -> Offset {
        self.machine.fetch_offsets("g", Some(&[tp(partition)]), false)[0].1.offset
    }

    /// Two members, the first of which leads: their ids, in a stable generation.
    pub(super) fn stable_pair(&mut self) -> (Str, Str) {
        let (a, b) = (self.new_member(), self.new_member());
        let (a, b) = (self.join(a), self.join(b));
        self.pass(2 * DELAY_MS);
        let (a, b) = (self.joined(a).member_id.clone(), self.joined(b).member_id.clone());
        let sync = self.sync(&a, 1, &[(&a, "A"), (&b, "B")]);
        self.settle();
        assert_eq!(self.syncs[&sync].assignment, "A");
        self.sync(&b, 1, &[]);
        (a, b)
    }

    pub(super) fn state(&self) -> &'static str {
        self.machine.describe("g").map_or("Dead", |group| group.state)
    }

    /// The partition is led elsewhere and comes back: what the log says is what there is.
    pub(super) fn reload(&mut self) {
        self.step(|m, _, out| m.unload(out));
        self.appends.clear();
        let mut loader = Loader::new(0);
        loader.take(&self.log);
        assert_eq!(loader.next_offset(), self.log_end);
        let mut out = Effects::default();
        self.machine = GroupMachine::load(self.config, loader.finish(self.now), self.now, &mut out);
        self.take(out);
        self.machine.check();
    }

    /// A marker that ends the producer's transaction, in the log and in the machine.
    pub(super) fn end_transaction(&mut self, producer: i64, committed: bool) {
        let marker = self.write_marker(producer, committed);
        self.step(|m, _, _| m.on_transaction_marker(producer, committed, marker));
    }

    /// A marker in the log, of which the machine has not heard. Returns where it lies.
    pub(super) fn write_marker(&mut self, producer: i64, committed: bool) -> Offset {
        let marker = crate::record::control::EndTransactionMarker { committed, coordinator_epoch: 0 };
        let batch = marker.batch(self.log_end, LeaderEpoch(0), self.now.wall, producer, 0).unwrap();
        self.log.extend_from_slice(&batch);
        self.log_end += 1;
        self.log_end - 1
    }
}
