//! Random histories: whatever clients, log and clock do, the invariants of a group hold.

use super::super::*;
use super::rig::*;
use crate::common::{ErrorCode, Millis, Offset};
use crate::coordinator::runtime::StoreError;
use crate::protocol::Str;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What may happen next. The numbers choose among what there is.
#[derive(Clone, Debug)]
enum Act {
    JoinNew { client: usize, fixed: bool, known_id: bool },
    Rejoin { client: usize, changed: bool },
    Sync { client: usize },
    Heartbeat { client: usize },
    Leave { client: usize },
    Commit { client: usize, partition: i32, foreign: bool },
    CommitOutside { partition: i32 },
    CommitInTransaction { producer: i64, partition: i32 },
    EndTransaction { producer: i64, committed: bool },
    AppendEnds { stored: bool },
    Pass { ms: Millis },
    Move,
}

const CLIENTS: usize = 4;

fn act() -> impl Strategy<Value = Act> {
    let client = 0..CLIENTS;
    prop_oneof![
        4 => (client.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(client, fixed, known_id)| Act::JoinNew { client, fixed, known_id }),
        4 => (client.clone(), any::<bool>()).prop_map(|(client, changed)| Act::Rejoin { client, changed }),
        6 => client.clone().prop_map(|client| Act::Sync { client }),
        3 => client.clone().prop_map(|client| Act::Heartbeat { client }),
        1 => client.clone().prop_map(|client| Act::Leave { client }),
        3 => (client, 0..3i32, prop::bool::weighted(0.2))
            .prop_map(|(client, partition, foreign)| Act::Commit { client, partition, foreign }),
        1 => (0..3i32).prop_map(|partition| Act::CommitOutside { partition }),
        2 => (1..3i64, 0..3i32).prop_map(|(producer, partition)| Act::CommitInTransaction { producer, partition }),
        2 => (1..3i64, any::<bool>()).prop_map(|(producer, committed)| Act::EndTransaction { producer, committed }),
        8 => prop::bool::weighted(0.9).prop_map(|stored| Act::AppendEnds { stored }),
        5 => prop_oneof![Just(1), Just(500), Just(3_000), Just(11_000), Just(61_000)].prop_map(|ms| Act::Pass { ms }),
        1 => Just(Act::Move),
    ]
}

/// What clients believe, and what was promised to them.
struct World {
    rig: Rig,
    ids: [Option<Str>; CLIENTS],
    joins: Vec<(usize, JoinTicket)>,
    syncs: Vec<(SyncTicket, i32, Str)>,
    commits: BTreeMap<CommitTicket, (i32, Offset)>,
    /// By generation and member: what it was told to do.
    assigned: BTreeMap<(i32, Str), bytes::Bytes>,
    /// The largest offset of each partition that was acknowledged.
    acknowledged: BTreeMap<i32, Offset>,
    next_offset: Offset,
    generation: i32,
}

impl World {
    fn new() -> Self {
        Self {
            rig: Rig::new(),
            ids: Default::default(),
            joins: Vec::new(),
            syncs: Vec::new(),
            commits: BTreeMap::new(),
            assigned: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            next_offset: 0,
            generation: 0,
        }
    }

    fn member(&self, client: usize) -> GroupMember {
        let id = self.ids[client].clone().unwrap_or_default();
        self.rig.member(&id, self.generation)
    }

    fn run(&mut self, act: Act) {
        match act {
            Act::JoinNew { client, fixed, known_id } => {
                let join = Join {
                    instance_id: (fixed && client == 0).then(|| "i".into()),
                    requires_known_member_id: known_id && !fixed,
                    ..self.rig.new_member()
                };
                let ticket = self.rig.join(join);
                self.joins.push((client, ticket));
            }
            Act::Rejoin { client, changed } => {
                let Some(id) = self.ids[client].clone() else { return };
                let topics: &[&str] = if changed { &["t", "u"] } else { &["t"] };
                let protocols = vec![Protocol { name: "range".into(), metadata: subscription(topics) }];
                let join = Join { member_id: id, protocols, ..self.rig.new_member() };
                let ticket = self.rig.join(join);
                self.joins.push((client, ticket));
            }
            Act::Sync { client } => {
                let id = self.ids[client].clone().unwrap_or_default();
                // Each leader's word is another one.
                let word = bytes::Bytes::from(format!("{}-{}", self.generation, self.syncs.len()));
                let assignments = self.ids.iter().flatten().map(|id| (id.clone(), word.clone())).collect();
                let member = self.member(client);
                let ticket = self.rig.sync_as(Sync { member, protocol_type: None, protocol: None, assignments });
                self.syncs.push((ticket, self.generation, id));
            }
            Act::Heartbeat { client } => {
                let (id, generation) = (self.ids[client].clone().unwrap_or_default(), self.generation);
                self.rig.heartbeat(&id, generation);
            }
            Act::Leave { client } => {
                if let Some(id) = self.ids[client].take() {
                    self.rig.leave(&id);
                }
            }
            Act::Commit { client, partition, foreign: false } => self.commit(self.member(client), None, partition),
            Act::Commit { client, partition, foreign: true } => {
                // Of a generation that never was: the last ones may be those of the group once more, after a move.
                let member = GroupMember { generation: self.generation + 1_000, ..self.member(client) };
                let ticket = self.rig.commit_as(member, None, vec![(tp(partition), self.rig.offset(0))]);
                let codes = self.rig.commits.get(&ticket).expect("refused at once");
                assert_ne!(codes[0], ErrorCode::None, "it overwrites nothing");
            }
            Act::CommitOutside { partition } => self.commit(self.rig.member("", -1), None, partition),
            Act::CommitInTransaction { producer, partition } => {
                let producer = TxnProducer { id: producer, epoch: 0, guard: None };
                self.commit(self.rig.member("", -1), Some(producer), partition);
            }
            Act::EndTransaction { producer, committed } => {
                // A client ends its transaction once its commits are answered.
                self.rig.settle();
                self.rig.end_transaction(producer, committed);
            }
            Act::AppendEnds { stored } => {
                // What failed stays in the log: the replicas may get it later.
                let outcome = if stored { Ok(()) } else { Err(StoreError::TimedOut) };
                self.rig.end_append(outcome);
            }
            Act::Pass { ms } => self.rig.pass(ms),
            Act::Move => self.rig.reload(),
        }
        self.look();
    }

    fn commit(&mut self, member: GroupMember, producer: Option<TxnProducer>, partition: i32) {
        self.next_offset += 1;
        let offsets = vec![(tp(partition), self.rig.offset(self.next_offset))];
        let ticket = self.rig.commit_as(member, producer, offsets);
        if producer.is_none() {
            self.commits.insert(ticket, (partition, self.next_offset));
        }
    }

    /// Takes in what was answered, and holds it against what must be.
    fn look(&mut self) {
        for (client, ticket) in std::mem::take(&mut self.joins) {
            match self.rig.joins.get(&ticket) {
                None => self.joins.push((client, ticket)),
                Some(answer) => {
                    if !answer.member_id.is_empty() {
                        self.ids[client] = Some(answer.member_id.clone());
                    }
                    self.generation = self.generation.max(answer.generation);
                }
            }
        }
        for (ticket, generation, id) in std::mem::take(&mut self.syncs) {
            match self.rig.syncs.get(&ticket) {
                None => self.syncs.push((ticket, generation, id)),
                Some(answer) if answer.error == ErrorCode::None => {
                    let told = self.assigned.entry((generation, id)).or_insert_with(|| answer.assignment.clone());
                    assert_eq!(*told, answer.assignment, "one assignment per generation");
                }
                Some(_) => {}
            }
        }
        for (ticket, (partition, offset)) in std::mem::take(&mut self.commits) {
            match self.rig.commits.get(&ticket).map(|codes| codes[0]) {
                None => drop(self.commits.insert(ticket, (partition, offset))),
                Some(ErrorCode::None) => {
                    let known = self.acknowledged.entry(partition).or_insert(offset);
                    *known = offset.max(*known);
                }
                Some(_) => {}
            }
        }
        for (partition, offset) in &self.acknowledged {
            assert!(self.rig.committed(*partition) >= *offset, "a committed offset went back by itself");
        }
    }

    /// Clients are gone, the log works: within a bounded time the group is empty and no one waits, at this coordinator or at
    /// the one that comes after it. Only deadlines that the machine names are waited for.
    fn heal(&mut self, moves: bool) {
        self.rig.settle();
        if moves {
            self.run(Act::Move);
            assert!(self.rig.waiting.is_empty(), "everybody was told: {:?}", self.rig.waiting);
        }
        for _ in 0..20 {
            self.rig.pass(61_000);
            self.rig.settle();
        }
        assert!(self.rig.waiting.is_empty(), "every request is answered: {:?}", self.rig.waiting);
        let state = self.rig.state();
        assert!(matches!(state, "Empty" | "Dead"), "a group whose clients are gone is {state}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_request_is_answered_once_and_no_promise_is_broken(
        acts in prop::collection::vec(act(), 1..80),
        moves in any::<bool>(),
    ) {
        let mut world = World::new();
        for act in acts {
            world.run(act);
        }
        world.heal(moves);
    }
}
