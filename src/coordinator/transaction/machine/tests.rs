//! Rules of the machine one by one, then all of them over random histories with failing writes, lost leadership and
//! late markers.

use super::super::state::NO_START;
use super::*;
use proptest::prelude::*;

const SETTINGS: Settings = Settings {
    timeout_max_ms: 900_000,
    id_expiration_ms: 1_000_000,
    abort_interval_ms: 10_000,
    expiry_interval_ms: 100_000,
    request_timeout_ms: 30_000,
};
const TIMEOUT_MS: i32 = 60_000;
const T: &str = "tx";

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn producer(producer_id: i64, epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch { producer_id, epoch }
}

/// Both clocks show the same.
fn at(ms: Millis) -> Now {
    Now { ticks: ms, wall: ms }
}

fn asked(expected: Option<ProducerIdAndEpoch>) -> InitProducerId {
    InitProducerId { transactional_id: T.into(), timeout_ms: TIMEOUT_MS, expected }
}

fn no_id() -> Option<i64> {
    panic!("no producer id is needed")
}

/// A machine whose log takes everything at once.
struct Bench {
    machine: Machine,
    now: Now,
    out: Vec<Effect>,
}

impl Bench {
    fn new(loaded: BTreeMap<Arc<str>, TransactionMetadata>) -> Self {
        let mut out = Vec::new();
        let machine = Machine::new(SETTINGS, loaded, at(0), &mut out);
        let mut bench = Self { machine, now: at(0), out };
        bench.settle();
        bench
    }

    /// With the transactional id `tx` of producer 7, epoch 0, and partition 0 in its transaction.
    fn ongoing() -> Self {
        let mut bench = Self::new(BTreeMap::new());
        assert_eq!(bench.init(None, Some(7)), Ok(producer(7, 0)));
        assert_eq!(bench.add(producer(7, 0), 0), ErrorCode::None);
        bench
    }

    fn settle(&mut self) {
        loop {
            let next = self.out.iter().position(|effect| matches!(effect, Effect::Append { .. }));
            let Some(at) = next else { break };
            if let Effect::Append { id, .. } = self.out.remove(at) {
                self.machine.on_append_done(self.now, id, Ok(()), &mut self.out);
            }
        }
        self.machine.check();
    }

    fn answer(&mut self) -> Answer {
        let at = self.out.iter().position(|effect| matches!(effect, Effect::Reply(..))).expect("an answer");
        match self.out.remove(at) {
            Effect::Reply(_, answer) => answer,
            _ => unreachable!(),
        }
    }

    fn code(&mut self) -> ErrorCode {
        match self.answer() {
            Answer::Code(code) => code,
            other => panic!("{other:?}"),
        }
    }

    fn init(
        &mut self,
        expected: Option<ProducerIdAndEpoch>,
        fresh_id: Option<i64>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let fresh_id = || fresh_id;
        self.machine.on_init_producer_id(self.now, Ticket(1), asked(expected), fresh_id, &mut self.out);
        self.settle();
        match self.answer() {
            Answer::Producer(told) => told,
            other => panic!("{other:?}"),
        }
    }

    fn add(&mut self, producer: ProducerIdAndEpoch, partition: i32) -> ErrorCode {
        let partitions = [tp(partition)].into();
        self.machine.on_add_partitions(self.now, Ticket(2), T, producer, partitions, &mut self.out);
        self.settle();
        self.code()
    }

    fn end(&mut self, producer: ProducerIdAndEpoch, outcome: Outcome) -> ErrorCode {
        self.machine.on_end_txn(self.now, Ticket(3), T, producer, outcome, &mut self.out);
        self.settle();
        self.code()
    }

    fn markers(&mut self) -> Option<Markers> {
        let at = self.out.iter().position(|effect| matches!(effect, Effect::SendMarkers(_)))?;
        match self.out.remove(at) {
            Effect::SendMarkers(markers) => Some(markers),
            _ => None,
        }
    }

    fn written(&mut self, markers: &Markers, result: MarkerResult) {
        let results = markers.partitions.iter().map(|tp| (tp.clone(), result));
        self.machine.on_markers_written(self.now, T, markers.completion, results, &mut self.out);
        self.settle();
    }

    fn tick(&mut self, ms: Millis) {
        self.now = Now { ticks: self.now.ticks + ms, wall: self.now.wall + ms };
        self.machine.on_tick(self.now, &mut self.out);
        self.settle();
    }

    fn state(&self) -> TransactionState {
        self.machine.describe(T).expect("known").state
    }
}

#[test]
fn a_transaction_is_committed_before_its_markers_are_written() {
    let mut b = Bench::ongoing();
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::None);
    assert_eq!(b.state(), TransactionState::PrepareCommit);
    let markers = b.markers().unwrap();
    assert_eq!((markers.outcome, markers.producer), (Outcome::Commit, producer(7, 0)));
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::ConcurrentTransactions);
    assert_eq!(b.add(producer(7, 0), 1), ErrorCode::ConcurrentTransactions);
    assert_eq!(b.init(None, None), Err(ErrorCode::ConcurrentTransactions));
    b.written(&markers, MarkerResult::Written);
    assert_eq!(b.state(), TransactionState::CompleteCommit);
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::None, "the answer was lost");
    assert_eq!(b.end(producer(7, 0), Outcome::Abort), ErrorCode::InvalidTxnState);
    assert_eq!(b.add(producer(7, 0), 1), ErrorCode::None, "the next transaction");
}

#[test]
fn strangers_and_old_epochs_are_refused() {
    let mut b = Bench::ongoing();
    let codes = |b: &mut Bench, p| {
        let verified = b.machine.verify(T, p, &[tp(0)].into());
        [b.add(p, 1), b.end(p, Outcome::Commit), verified.expect_err("refused")]
    };
    assert_eq!(codes(&mut b, producer(8, 0)), [ErrorCode::InvalidProducerIdMapping; 3]);
    assert_eq!(codes(&mut b, producer(7, 1)), [ErrorCode::ProducerFenced; 3]);
    assert_eq!(codes(&mut b, producer(7, -1)), [ErrorCode::ProducerFenced; 3]);
    b.machine.on_end_txn(at(0), Ticket(3), "other", producer(7, 0), Outcome::Commit, &mut b.out);
    assert_eq!(b.code(), ErrorCode::InvalidProducerIdMapping);
    b.machine.on_add_partitions(at(0), Ticket(3), "", producer(7, 0), [tp(0)].into(), &mut b.out);
    assert_eq!(b.code(), ErrorCode::InvalidRequest);
}

#[test]
fn bad_timeouts_and_an_empty_id_are_refused() {
    let mut b = Bench::new(BTreeMap::new());
    for (id, timeout_ms, code) in [
        ("", 1, ErrorCode::InvalidRequest),
        (T, 0, ErrorCode::InvalidTransactionTimeout),
        (T, i32::MIN, ErrorCode::InvalidTransactionTimeout),
        (T, SETTINGS.timeout_max_ms + 1, ErrorCode::InvalidTransactionTimeout),
    ] {
        let request = InitProducerId { transactional_id: id.into(), timeout_ms, ..asked(None) };
        b.machine.on_init_producer_id(at(0), Ticket(1), request, no_id, &mut b.out);
        assert_eq!(b.answer(), Answer::Producer(Err(code)));
    }
    assert!(b.machine.is_empty());
}

#[test]
fn a_producer_id_is_taken_only_when_it_is_needed() {
    let mut b = Bench::new(BTreeMap::new());
    assert_eq!(b.init(None, None), Err(ErrorCode::CoordinatorLoadInProgress));
    assert!(b.machine.is_empty());
    assert_eq!(b.init(None, Some(7)), Ok(producer(7, 0)));
    b.machine.on_init_producer_id(at(0), Ticket(1), asked(None), no_id, &mut b.out);
    b.settle();
    assert_eq!(b.answer(), Answer::Producer(Ok(producer(7, 1))), "a new epoch needs no id");
}

#[test]
fn the_next_producer_aborts_what_the_last_one_left_open() {
    let mut b = Bench::ongoing();
    assert_eq!(b.init(None, None), Err(ErrorCode::ConcurrentTransactions));
    let markers = b.markers().unwrap();
    assert_eq!((markers.outcome, markers.producer), (Outcome::Abort, producer(7, 1)));
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::ProducerFenced);
    b.written(&markers, MarkerResult::Written);
    assert_eq!(b.init(None, None), Ok(producer(7, 2)), "the fencing epoch is given to nobody");
}

#[test]
fn an_exhausted_producer_gets_a_new_id_and_its_retry_gets_it_too() {
    let mut last = TransactionMetadata::new(7, TIMEOUT_MS, 0);
    last.producer.epoch = i16::MAX - 1;
    let mut b = Bench::new([(T.into(), last)].into());
    let old = producer(7, i16::MAX - 1);
    assert_eq!(b.init(Some(old), Some(8)), Ok(producer(8, 0)));
    assert_eq!(b.init(Some(old), None), Ok(producer(8, 0)), "its answer was lost");
    assert_eq!(b.init(Some(producer(7, 5)), None), Err(ErrorCode::ProducerFenced));
    assert_eq!(b.init(None, None), Ok(producer(8, 1)));
    assert_eq!(b.init(Some(old), None), Err(ErrorCode::ProducerFenced), "somebody else came");
}

#[test]
fn a_transaction_that_is_too_old_is_aborted_once() {
    let mut b = Bench::ongoing();
    b.tick(TIMEOUT_MS.into());
    assert_eq!(b.state(), TransactionState::Ongoing, "not longer than its timeout");
    b.tick(SETTINGS.abort_interval_ms);
    let markers = b.markers().unwrap();
    assert_eq!((markers.outcome, markers.producer), (Outcome::Abort, producer(7, 1)));
    b.tick(SETTINGS.abort_interval_ms);
    assert_eq!(b.markers(), None, "they are under way");
    b.written(&markers, MarkerResult::Written);
    assert_eq!(b.add(producer(7, 0), 1), ErrorCode::ProducerFenced);
}

#[test]
fn old_ids_are_buried_unless_a_transaction_is_open() {
    let b = Bench::ongoing();
    let open = b.machine.transactions[T].clone();
    let idle: BTreeMap<Arc<str>, TransactionMetadata> =
        (0..EXPIRED_AT_ONCE_MAX + 1).map(|n| (n.to_string().into(), TransactionMetadata::new(1, 1, 0))).collect();
    let mut b = Bench::new(idle);
    b.machine.transactions.insert(T.into(), open);
    b.machine.settings.abort_interval_ms = Millis::MAX / 2;
    b.machine.next_abort_sweep = Millis::MAX;
    b.tick(SETTINGS.id_expiration_ms - 1);
    assert_eq!(b.machine.len(), EXPIRED_AT_ONCE_MAX + 2);
    b.tick(SETTINGS.expiry_interval_ms);
    assert_eq!(b.machine.len(), 2, "a sweep has a bound");
    assert_eq!(b.machine.next_deadline(), b.now.ticks + RETRY_MS);
    b.tick(RETRY_MS);
    assert_eq!(b.machine.transactions.keys().map(|id| &**id).collect::<Vec<_>>(), [T]);
}

#[test]
fn a_wall_clock_that_is_set_changes_no_wait() {
    for set in [-3_600_000, 3_600_000] {
        let mut b = Bench::ongoing();
        b.now.wall += set;
        b.tick(TIMEOUT_MS.into());
        assert_eq!(b.state(), TransactionState::Ongoing, "{set}");
        b.tick(SETTINGS.abort_interval_ms);
        assert_eq!(b.state(), TransactionState::PrepareAbort, "{set}");
        let markers = b.markers().unwrap();
        b.written(&markers, MarkerResult::Failed(ErrorCode::NetworkException));
        b.now.wall += set;
        b.tick(RETRY_MS);
        let again = b.markers().expect("sent again");
        b.written(&again, MarkerResult::Written);
        b.now.wall += set;
        b.tick(SETTINGS.id_expiration_ms - 1_000);
        assert_eq!(b.state(), TransactionState::CompleteAbort, "{set}");
        b.tick(SETTINGS.expiry_interval_ms);
        assert!(b.machine.is_empty(), "{set}");
    }
}

#[test]
fn what_is_loaded_times_out_after_its_timeout_at_the_latest() {
    for written_at in [-10_000_000, 10_000_000] {
        let mut ongoing = TransactionMetadata::new(7, TIMEOUT_MS, written_at);
        ongoing.producer.epoch = 3;
        ongoing.state = TransactionState::Ongoing;
        ongoing.started = written_at;
        ongoing.partitions = [tp(0)].into();
        let mut b = Bench::new([(T.into(), ongoing)].into());
        if written_at > 0 {
            b.tick(TIMEOUT_MS.into());
            assert_eq!(b.state(), TransactionState::Ongoing, "its record is from before the clock was set back");
        }
        b.tick(SETTINGS.abort_interval_ms);
        assert_eq!(b.state(), TransactionState::PrepareAbort, "{written_at}");
    }
}

#[test]
fn markers_are_sent_again_to_those_that_refused_them() {
    let mut b = Bench::ongoing();
    assert_eq!(b.add(producer(7, 0), 1), ErrorCode::None);
    assert_eq!(b.end(producer(7, 0), Outcome::Abort), ErrorCode::None);
    let markers = b.markers().unwrap();
    let results = [(tp(0), MarkerResult::Written), (tp(1), MarkerResult::Failed(ErrorCode::NotLeaderOrFollower))];
    b.machine.on_markers_written(at(0), T, markers.completion, results, &mut b.out);
    assert_eq!(b.markers(), None, "not at once");
    b.tick(RETRY_MS);
    let again = b.markers().unwrap();
    assert_eq!(again.partitions, [tp(1)].into());
    // Of a transaction before this one, or of another coordinator's time.
    b.written(&Markers { completion: CompletionId(7), ..again.clone() }, MarkerResult::Written);
    assert_eq!(b.state(), TransactionState::PrepareAbort, "an answer for another transaction is none");
    b.written(&again, MarkerResult::Gone);
    assert_eq!(b.state(), TransactionState::CompleteAbort);
}

#[test]
fn a_late_answer_completes_nothing_of_the_producers_next_transaction() {
    let mut b = Bench::ongoing();
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::None);
    let first = b.markers().unwrap();
    b.written(&first, MarkerResult::Written);
    assert_eq!(b.add(producer(7, 0), 0), ErrorCode::None);
    assert_eq!(b.end(producer(7, 0), Outcome::Abort), ErrorCode::None);
    let second = b.markers().unwrap();
    assert_eq!(second.producer, first.producer);
    b.written(&first, MarkerResult::Written);
    assert_eq!(b.state(), TransactionState::PrepareAbort, "its own marker is not written");
    b.written(&second, MarkerResult::Written);
    assert_eq!(b.state(), TransactionState::CompleteAbort);
}

#[test]
fn a_marker_that_a_later_coordinator_overtook_ends_the_work_here() {
    for error in [ErrorCode::TransactionCoordinatorFenced, ErrorCode::InvalidProducerEpoch] {
        let mut b = Bench::ongoing();
        assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::None);
        let markers = b.markers().unwrap();
        b.written(&markers, MarkerResult::Failed(error));
        b.tick(1_000_000);
        assert_eq!((b.markers(), b.state()), (None, TransactionState::PrepareCommit));
        assert_eq!(b.init(None, None), Err(ErrorCode::ConcurrentTransactions));
    }
}

#[test]
fn a_completion_that_the_log_refused_is_written_again() {
    let mut b = Bench::ongoing();
    assert_eq!(b.end(producer(7, 0), Outcome::Commit), ErrorCode::None);
    let markers = b.markers().unwrap();
    b.machine.on_markers_written(at(0), T, markers.completion, [(tp(0), MarkerResult::Written)], &mut b.out);
    let Some(Effect::Append { id, state: Some(_), .. }) = b.out.pop() else { panic!("a completion") };
    b.machine.on_append_done(at(0), id, Err(StoreError::NotEnoughReplicas), &mut b.out);
    b.machine.check();
    assert_eq!(b.state(), TransactionState::PrepareCommit);
    b.tick(RETRY_MS);
    assert_eq!(b.state(), TransactionState::CompleteCommit);
}

#[test]
fn errors_of_the_log_are_those_of_a_coordinator() {
    for (log, told) in [
        (StoreError::NotEnoughReplicas, ErrorCode::CoordinatorNotAvailable),
        (StoreError::TimedOut, ErrorCode::CoordinatorNotAvailable),
        (StoreError::NotLeader, ErrorCode::NotCoordinator),
        (StoreError::Offline, ErrorCode::NotCoordinator),
        (StoreError::BatchTooLarge, ErrorCode::UnknownServerError),
    ] {
        let mut b = Bench::ongoing();
        b.machine.on_end_txn(at(0), Ticket(3), T, producer(7, 0), Outcome::Commit, &mut b.out);
        let Some(Effect::Append { id, .. }) = b.out.pop() else { panic!("an append") };
        b.machine.on_append_done(at(0), id, Err(log), &mut b.out);
        assert_eq!((b.code(), b.state(), b.markers()), (told, TransactionState::Ongoing, None));
        assert_eq!(b.end(producer(7, 0), Outcome::Abort), ErrorCode::None, "another try may end otherwise");
    }
}

#[test]
fn a_loaded_coordinator_goes_on_with_markers() {
    let mut ended = TransactionMetadata::new(7, TIMEOUT_MS, 5);
    ended.producer.epoch = 3;
    ended.state = TransactionState::PrepareAbort;
    ended.started = 5;
    ended.partitions = [tp(0), tp(2)].into();
    let mut empty = ended.clone();
    empty.partitions.clear();
    let mut b = Bench::new([(T.into(), ended), ("none".into(), empty)].into());
    let markers = b.markers().unwrap();
    assert_eq!((markers.outcome, markers.partitions.len()), (Outcome::Abort, 2));
    assert_eq!(b.machine.describe("none").unwrap().state, TransactionState::CompleteAbort);
    b.written(&markers, MarkerResult::Written);
    assert_eq!(b.state(), TransactionState::CompleteAbort);
}

#[test]
fn verification_tells_what_is_in_the_transaction() {
    let mut b = Bench::ongoing();
    let ask = |b: &Bench| b.machine.verify(T, producer(7, 0), &[tp(0), tp(1)].into());
    assert_eq!(ask(&b), Ok(vec![(tp(0), ErrorCode::None), (tp(1), ErrorCode::TransactionAbortable)]));
    b.end(producer(7, 0), Outcome::Commit);
    assert_eq!(ask(&b), Err(ErrorCode::ConcurrentTransactions));
}

#[test]
fn lists_are_filtered_by_producer_state_and_age() {
    let mut b = Bench::ongoing();
    b.now = at(100);
    let ids = |b: &Bench, filter: ListFilter| b.machine.list(b.now, &filter).len();
    let all = ListFilter { duration_ms: -1, ..Default::default() };
    assert_eq!(ids(&b, all.clone()), 1);
    assert_eq!(ids(&b, ListFilter { producer_ids: [8].into(), ..all.clone() }), 0);
    assert_eq!(ids(&b, ListFilter { states: Some([TransactionState::Ongoing].into()), ..all.clone() }), 1);
    assert_eq!(ids(&b, ListFilter { states: Some(BTreeSet::new()), ..all.clone() }), 0);
    assert_eq!(ids(&b, ListFilter { duration_ms: 99, ..all.clone() }), 1);
    assert_eq!(ids(&b, ListFilter { duration_ms: 100, ..all }), 0);
}

// ---- random histories

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The number picks who asks: the current producer, an old one, or no one in particular.
    Init(usize, u8),
    Add(usize, u8, i32),
    End(usize, u8, bool),
    /// The write at this place, of those under way, ends.
    Wrote(usize),
    /// It fails, and whether it is in the log all the same.
    Failed(usize, bool),
    /// Markers at this place are answered; bits say which partitions took them.
    Markers(usize, u8),
    Tick(u16),
    /// Another broker leads for a while.
    Reload,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let id = 0..2usize;
    let op = prop_oneof![
        3 => (id.clone(), any::<u8>()).prop_map(|(id, who)| Op::Init(id, who)),
        6 => (id.clone(), any::<u8>(), 0..4i32).prop_map(|(id, who, p)| Op::Add(id, who, p)),
        4 => (id, any::<u8>(), any::<bool>()).prop_map(|(id, who, commit)| Op::End(id, who, commit)),
        12 => any::<usize>().prop_map(Op::Wrote),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, in_log)| Op::Failed(at, in_log)),
        6 => (any::<usize>(), any::<u8>()).prop_map(|(at, bits)| Op::Markers(at, bits)),
        2 => (1..30_000u16).prop_map(Op::Tick),
        1 => Just(Op::Reload),
    ];
    prop::collection::vec(op, 1..120)
}

/// What one transaction is: its id and when it began, since time never stands still here.
type Key = (Arc<str>, Millis);

enum Asked {
    Init {
        id: Arc<str>,
        fresh: bool,
    },
    /// By whom, of whom.
    Add {
        id: Arc<str>,
        by: ProducerIdAndEpoch,
    },
    End {
        id: Arc<str>,
        by: ProducerIdAndEpoch,
        outcome: Outcome,
    },
}

/// The machine with everything around it: clients, a log, partition leaders.
struct World {
    machine: Machine,
    now: Now,
    ids: [Arc<str>; 2],
    log: BTreeMap<Arc<str>, Option<Transit>>,
    writes: Vec<(AppendId, Arc<str>, Option<Transit>)>,
    markers: Vec<Markers>,
    asked: BTreeMap<Ticket, Asked>,
    next_ticket: u64,
    next_producer_id: i64,
    /// Producers as their clients know them, oldest first.
    granted: BTreeMap<Arc<str>, Vec<ProducerIdAndEpoch>>,
    outcomes: BTreeMap<Key, Outcome>,
}

impl World {
    fn new() -> Self {
        let mut out = Vec::new();
        let machine = Machine::new(SETTINGS, BTreeMap::new(), at(0), &mut out);
        Self {
            machine,
            now: at(0),
            ids: ["a".into(), "b".into()],
            log: BTreeMap::new(),
            writes: Vec::new(),
            markers: Vec::new(),
            asked: BTreeMap::new(),
            next_ticket: 0,
            next_producer_id: 100,
            granted: BTreeMap::new(),
            outcomes: BTreeMap::new(),
        }
    }

    fn ticket(&mut self, asked: Asked) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.asked.insert(ticket, asked);
        ticket
    }

    /// A producer that some client of `id` believes to be.
    fn somebody(&self, id: &Arc<str>, who: u8) -> ProducerIdAndEpoch {
        let known = self.granted.get(id).map(Vec::as_slice).unwrap_or_default();
        match known.len() {
            0 => producer(1, 0),
            n if who < 200 => known[n - 1],
            n => known[usize::from(who) % n],
        }
    }

    fn apply(&mut self, op: Op) {
        self.now = at(self.now.ticks + 1);
        let mut out = Vec::new();
        let now = self.now;
        match op {
            Op::Init(id, who) => {
                let id = Arc::clone(&self.ids[id]);
                let expected = (who % 3 == 0).then(|| self.somebody(&id, who));
                let ticket = self.ticket(Asked::Init { id: Arc::clone(&id), fresh: expected.is_none() });
                let request = InitProducerId { transactional_id: id, ..asked(expected) };
                self.next_producer_id += 1;
                let fresh = self.next_producer_id;
                self.machine.on_init_producer_id(now, ticket, request, || Some(fresh), &mut out);
            }
            Op::Add(id, who, partition) => {
                let id = Arc::clone(&self.ids[id]);
                let by = self.somebody(&id, who);
                let ticket = self.ticket(Asked::Add { id: Arc::clone(&id), by });
                self.machine.on_add_partitions(now, ticket, &id, by, [tp(partition)].into(), &mut out);
            }
            Op::End(id, who, commit) => {
                let id = Arc::clone(&self.ids[id]);
                let (by, outcome) = (self.somebody(&id, who), Outcome::of(commit));
                let ticket = self.ticket(Asked::End { id: Arc::clone(&id), by, outcome });
                self.machine.on_end_txn(now, ticket, &id, by, outcome, &mut out);
            }
            Op::Wrote(at) if !self.writes.is_empty() => {
                let (write, id, state) = self.writes.remove(at % self.writes.len());
                self.log.insert(id, state);
                self.machine.on_append_done(now, write, Ok(()), &mut out);
            }
            Op::Failed(at, in_log) if !self.writes.is_empty() => {
                let (write, id, state) = self.writes.remove(at % self.writes.len());
                if in_log {
                    self.log.insert(id, state);
                }
                self.machine.on_append_done(now, write, Err(StoreError::TimedOut), &mut out);
            }
            Op::Markers(at, bits) if !self.markers.is_empty() => {
                let markers = self.markers.remove(at % self.markers.len());
                let results = markers.partitions.iter().map(|tp| {
                    let took = bits & (1 << tp.partition) != 0;
                    let result =
                        if took { MarkerResult::Written } else { MarkerResult::Failed(ErrorCode::NetworkException) };
                    (tp.clone(), result)
                });
                self.machine.on_markers_written(now, &markers.transactional_id, markers.completion, results, &mut out);
            }
            Op::Tick(ms) => {
                self.now = at(self.now.ticks + Millis::from(ms));
                self.machine.on_tick(self.now, &mut out);
            }
            Op::Reload => {
                self.machine.on_resignation(&mut out);
                self.settle(out);
                out = Vec::new();
                assert!(self.asked.is_empty(), "everybody was told");
                // What was under way reaches no one any more.
                self.writes.clear();
                self.markers.clear();
                self.machine = Machine::new(SETTINGS, self.loaded(), self.now, &mut out);
            }
            Op::Wrote(_) | Op::Failed(..) | Op::Markers(..) => {}
        }
        self.settle(out);
        self.machine.check();
    }

    fn loaded(&self) -> BTreeMap<Arc<str>, TransactionMetadata> {
        let known = self.log.iter().filter_map(|(id, state)| Some((id, state.as_ref()?)));
        known
            .map(|(id, state)| {
                let mut metadata = TransactionMetadata::new(0, 0, 0);
                metadata.pending = Some(state.state);
                metadata.complete(state.clone());
                metadata.last_producer = producer(-1, -1);
                (Arc::clone(id), metadata)
            })
            .collect()
    }

    fn settle(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Reply(ticket, answer) => self.heard(ticket, answer),
                Effect::Append { id, transactional_id, state, .. } => {
                    self.writes.push((id, transactional_id, state));
                }
                Effect::SendMarkers(markers) => {
                    let started = self.machine.transactions[&markers.transactional_id].metadata.started;
                    assert_ne!(started, NO_START);
                    let key = (Arc::clone(&markers.transactional_id), started);
                    let decided = *self.outcomes.entry(key).or_insert(markers.outcome);
                    assert_eq!(decided, markers.outcome, "a transaction ends in one way");
                    self.markers.push(markers);
                }
                Effect::Note(Note::Broken { transactional_id, why }) => panic!("{transactional_id}: {why}"),
                Effect::Note(_) => {}
            }
        }
    }

    fn heard(&mut self, ticket: Ticket, answer: Answer) {
        let asked = self.asked.remove(&ticket).expect("a ticket is answered once");
        let current = |id: &Arc<str>| self.granted.get(id).and_then(|known| known.last()).copied();
        match (asked, answer) {
            (Asked::Init { id, fresh }, Answer::Producer(Ok(told))) => {
                let known = self.granted.entry(id).or_default();
                if fresh {
                    assert!(!known.contains(&told), "{told:?} was given to somebody else before");
                }
                if known.last() != Some(&told) {
                    known.push(told);
                }
            }
            (Asked::Add { id, by }, Answer::Code(ErrorCode::None)) => {
                assert_eq!(current(&id), Some(by), "an old producer went on");
            }
            (Asked::End { id, by, outcome }, Answer::Code(ErrorCode::None)) => {
                assert_eq!(current(&id), Some(by), "an old producer went on");
                let started = self.machine.transactions[&id].metadata.started;
                let decided = *self.outcomes.entry((id, started)).or_insert(outcome);
                assert_eq!(decided, outcome, "told {outcome:?}");
            }
            (Asked::Init { .. }, Answer::Producer(Err(_))) => {}
            (Asked::Add { .. } | Asked::End { .. }, Answer::Code(_)) => {}
            (_, answer) => panic!("{answer:?} is no answer to that"),
        }
    }

    /// The clock moves to what the machine says is due next: a timer that it forgot to say never rings.
    fn wait(&mut self) {
        self.now = at(self.now.ticks.max(self.machine.next_deadline()));
        let mut out = Vec::new();
        self.machine.on_tick(self.now, &mut out);
        self.settle(out);
        self.machine.check();
    }

    /// Nothing fails any more, at this coordinator or at the one that comes after it.
    fn heal(&mut self, moves: bool) {
        if moves {
            self.apply(Op::Reload);
        }
        for _ in 0..1_000 {
            if !self.writes.is_empty() {
                self.apply(Op::Wrote(0));
            } else if !self.markers.is_empty() {
                self.apply(Op::Markers(0, 0xff));
            } else if self.machine.transactions.values().any(|txn| !txn.metadata.state.may_expire()) {
                self.wait();
            } else {
                return;
            }
        }
        panic!("it never comes to rest: {:?}", self.machine);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every request is answered once, a transaction ends in one way and the client was told which, a fenced producer
    /// never goes on, and whatever happened, everything comes to an end by the timers of whoever coordinates then.
    #[test]
    fn random_histories_keep_the_rules(ops in ops(), moves in any::<bool>()) {
        let mut world = World::new();
        for op in ops {
            world.apply(op);
        }
        world.heal(moves);
        prop_assert!(world.asked.is_empty());
    }
}
