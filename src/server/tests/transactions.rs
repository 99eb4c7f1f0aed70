//! Transactional requests that no client sends: empty, foreign, old or out of order ones get Kafka's code, and do no
//! harm.

use super::*;
use crate::protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use crate::protocol::messages::add_partitions_to_txn_response::AddPartitionsToTxnTopicResult;
use crate::protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};

const TXN: &str = "tx";
const TIMEOUT_MS: i32 = 60_000;

fn started() -> Fixture {
    let fixture = Fixture::start_with(&[
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "2"),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
    ]);
    fixture.create_topic("t");
    let request = FindCoordinatorRequest { key_type: 1, coordinator_keys: vec![TXN.into()], ..Default::default() };
    loop {
        let answer: FindCoordinatorResponse = fixture.connect().ask(ApiKey::FindCoordinator, 4, &request);
        if answer.coordinators[0].error_code == 0 {
            return fixture;
        }
        std::thread::yield_now();
    }
}

impl Client {
    fn init(&mut self, id: &str, timeout_ms: i32, expected: (i64, i16)) -> (ErrorCode, i64, i16) {
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: timeout_ms,
            producer_id: expected.0,
            producer_epoch: expected.1,
            ..Default::default()
        };
        loop {
            let answer: InitProducerIdResponse = self.ask(ApiKey::InitProducerId, 4, &request);
            match ErrorCode::from_wire(answer.error_code) {
                // The coordinator or its log is not ready.
                ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::ConcurrentTransactions => std::thread::yield_now(),
                code => return (code, answer.producer_id, answer.producer_epoch),
            }
        }
    }

    fn producer(&mut self) -> (i64, i16) {
        let (code, producer_id, epoch) = self.init(TXN, TIMEOUT_MS, (-1, -1));
        assert_eq!(code, ErrorCode::None);
        (producer_id, epoch)
    }

    fn add(&mut self, version: i16, id: &str, (producer_id, epoch): (i64, i16), topics: &[&str]) -> Vec<ErrorCode> {
        let topic =
            |name: &&str| AddPartitionsToTxnTopic { name: (*name).into(), partitions: vec![0], ..Default::default() };
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: id.into(),
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: epoch,
            v3_and_below_topics: topics.iter().map(topic).collect(),
            ..Default::default()
        };
        let answer: AddPartitionsToTxnResponse = self.ask(ApiKey::AddPartitionsToTxn, version, &request);
        let topics = answer.results_by_topic_v3_and_below.iter();
        topics.map(|t| ErrorCode::from_wire(t.results_by_partition[0].partition_error_code)).collect()
    }

    fn end(&mut self, version: i16, id: &str, (producer_id, epoch): (i64, i16), committed: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: id.into(),
            producer_id,
            producer_epoch: epoch,
            committed,
            ..Default::default()
        };
        let answer: EndTxnResponse = self.ask(ApiKey::EndTxn, version, &request);
        ErrorCode::from_wire(answer.error_code)
    }

    fn produce(&mut self, version: i16, id: Option<&str>, records: Bytes) -> ErrorCode {
        let request = ProduceRequest { transactional_id: id.map(Into::into), ..produce("t", -1, records) };
        let answer: ProduceResponse = self.ask(ApiKey::Produce, version, &request);
        produced(&answer).0
    }

    /// The code of partition 0 of `topic`.
    fn mark(&mut self, topic: &str, (producer_id, epoch): (i64, i16), coordinator_epoch: i32) -> ErrorCode {
        let marker = WritableTxnMarker {
            producer_id,
            producer_epoch: epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: topic.into(),
                // Twice is once.
                partition_indexes: vec![0, 0],
                ..Default::default()
            }],
            coordinator_epoch,
            ..Default::default()
        };
        let request = WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() };
        let answer: WriteTxnMarkersResponse = self.ask(ApiKey::WriteTxnMarkers, 1, &request);
        assert_eq!(answer.markers[0].producer_id, producer_id);
        ErrorCode::from_wire(answer.markers[0].topics[0].partitions[0].error_code)
    }

    fn described(&mut self, id: &str) -> (ErrorCode, String) {
        let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()], ..Default::default() };
        let answer: DescribeTransactionsResponse = self.ask(ApiKey::DescribeTransactions, 0, &request);
        let state = &answer.transaction_states[0];
        (ErrorCode::from_wire(state.error_code), state.transaction_state.to_string())
    }

    /// The last stable offset of partition 0 of `t`.
    fn last_stable(&mut self) -> i64 {
        let answer: FetchResponse = self.ask(ApiKey::Fetch, 12, &fetch("t", 0, 0));
        answer.responses[0].partitions[0].last_stable_offset
    }
}

fn of_producer((producer_id, epoch): (i64, i16), base_sequence: i32, transactional: bool) -> Bytes {
    let options =
        BatchOptions { producer_id, producer_epoch: epoch, base_sequence, transactional, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options).expect("builder");
    builder.append(1_000, None, Some(b"x"), &[]).expect("append");
    builder.finish().expect("finish")
}

#[test]
fn producers_that_are_empty_foreign_or_old_are_refused() {
    let fixture = started();
    let mut client = fixture.connect();
    for (id, timeout_ms, expected, code) in [
        ("", TIMEOUT_MS, (-1, -1), ErrorCode::InvalidRequest),
        (TXN, 0, (-1, -1), ErrorCode::InvalidTransactionTimeout),
        (TXN, i32::MAX, (-1, -1), ErrorCode::InvalidTransactionTimeout),
        (TXN, TIMEOUT_MS, (5, -1), ErrorCode::InvalidRequest),
        (TXN, TIMEOUT_MS, (-1, 5), ErrorCode::InvalidRequest),
    ] {
        assert_eq!(client.init(id, timeout_ms, expected), (code, -1, -1), "{id} {timeout_ms} {expected:?}");
    }
    let (producer_id, epoch) = client.producer();
    assert_eq!(client.init(TXN, TIMEOUT_MS, (producer_id + 1, 0)).0, ErrorCode::ProducerFenced);
    assert_eq!(client.init(TXN, TIMEOUT_MS, (producer_id, 77)).0, ErrorCode::ProducerFenced);
    assert_eq!(client.init(TXN, TIMEOUT_MS, (producer_id, epoch)), (ErrorCode::None, producer_id, epoch + 1));
    let old = (producer_id, epoch);
    assert_eq!(client.add(3, TXN, old, &["t"]), [ErrorCode::ProducerFenced]);
    assert_eq!(client.add(1, TXN, old, &["t"]), [ErrorCode::InvalidProducerEpoch], "as old clients know it");
    assert_eq!(client.end(3, TXN, old, true), ErrorCode::ProducerFenced);
    assert_eq!(client.end(1, TXN, old, true), ErrorCode::InvalidProducerEpoch);
    let foreign = (producer_id + 1, epoch + 1);
    assert_eq!(client.add(3, TXN, foreign, &["t"]), [ErrorCode::InvalidProducerIdMapping]);
    assert_eq!(client.end(3, TXN, foreign, true), ErrorCode::InvalidProducerIdMapping);
    let ours = (producer_id, epoch + 1);
    assert_eq!(client.end(3, "", ours, true), ErrorCode::InvalidRequest);
    assert_eq!(client.end(3, TXN, ours, true), ErrorCode::InvalidTxnState, "nothing has begun");
    assert_eq!(
        client.add(3, TXN, ours, &["t", "nobody"]),
        [ErrorCode::UnknownTopicOrPartition, ErrorCode::OperationNotAttempted]
    );
    assert_eq!(client.described(TXN), (ErrorCode::None, "Empty".to_owned()), "none of it left a trace");
    assert_eq!(client.described("").0, ErrorCode::InvalidRequest);
    let offsets = AddOffsetsToTxnRequest {
        transactional_id: TXN.into(),
        producer_id: foreign.0,
        producer_epoch: foreign.1,
        group_id: "g".into(),
        ..Default::default()
    };
    let answer: AddOffsetsToTxnResponse = client.ask(ApiKey::AddOffsetsToTxn, 3, &offsets);
    assert_eq!(answer.error_code, ErrorCode::InvalidProducerIdMapping.wire());
}

#[test]
fn records_outside_of_a_transaction_never_reach_a_log() {
    let fixture = started();
    let mut client = fixture.connect();
    let producer = client.producer();
    let first = || of_producer(producer, 0, true);
    assert_eq!(client.produce(9, Some(TXN), first()), ErrorCode::InvalidTxnState);
    assert_eq!(client.produce(11, Some(TXN), first()), ErrorCode::TransactionAbortable);
    assert_eq!(client.produce(9, None, first()), ErrorCode::TransactionalIdAuthorizationFailed);
    assert_eq!(client.produce(9, Some("other"), first()), ErrorCode::InvalidProducerIdMapping);
    let fenced = of_producer((producer.0, producer.1 + 1), 0, true);
    assert_eq!(client.produce(9, Some(TXN), fenced), ErrorCode::InvalidProducerEpoch);
    assert_eq!(client.last_stable(), 0);

    assert_eq!(client.add(3, TXN, producer, &["t"]), [ErrorCode::None]);
    let sent = |client: &mut Client, sequence| client.produce(9, Some(TXN), of_producer(producer, sequence, true));
    assert_eq!(sent(&mut client, 5), ErrorCode::OutOfOrderSequenceNumber, "the first batch has been seen on its way");
    assert_eq!(sent(&mut client, 0), ErrorCode::None);
    assert_eq!(sent(&mut client, 2), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(sent(&mut client, 1), ErrorCode::None);
    assert_eq!(sent(&mut client, 0), ErrorCode::None, "a duplicate");
    assert_eq!(client.produce(9, None, of_producer(producer, 2, false)), ErrorCode::InvalidTxnState);
    assert_eq!(client.last_stable(), 0, "open");
    assert_eq!(client.end(3, TXN, producer, true), ErrorCode::None);
    // The marker is in the log before the coordinator knows; until then a verification finds the end still in progress.
    while client.described(TXN).1 != "CompleteCommit" {
        std::thread::yield_now();
    }
    assert_eq!(client.last_stable(), 3, "two records and the marker");
    assert_eq!(sent(&mut client, 2), ErrorCode::InvalidTxnState, "it is over");
}

#[test]
fn a_partition_that_is_named_twice_is_appended_to_once_and_every_mention_is_looked_at() {
    let fixture = started();
    let mut client = fixture.connect();
    let producer = client.producer();
    let mut twice = |first: Bytes, second: Bytes| {
        let request = produce("t", -1, first);
        let topic_data = [request.topic_data.clone(), produce("t", -1, second).topic_data].concat();
        let request = ProduceRequest { topic_data, ..request };
        let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request);
        assert_eq!((answer.responses.len(), answer.responses[0].partition_responses.len()), (1, 1));
        (produced(&answer), client.last_stable())
    };
    let sound = || batch(&["a"]);
    assert_eq!(twice(batch(&["a", "b"]), sound()), ((ErrorCode::None, 0), 1), "the last");
    let two = Bytes::from([sound(), sound()].concat());
    assert_eq!(twice(sound(), two.clone()), ((ErrorCode::InvalidRecord, -1), 2), "the sound one, and the refusal");
    assert_eq!(twice(two, sound()), ((ErrorCode::InvalidRecord, -1), 3));
    let transactional = of_producer(producer, 0, true);
    let refused = (ErrorCode::TransactionalIdAuthorizationFailed, -1);
    assert_eq!(twice(transactional, sound()), (refused, 3), "replaced, and yet without its id");
    let mut damaged = sound().to_vec();
    damaged[16] = 9;
    assert_eq!(twice(damaged.into(), sound()), ((ErrorCode::CorruptMessage, -1), 3), "a magic that there is not");
}

#[test]
fn markers_of_old_coordinators_and_producers_are_refused() {
    let fixture = started();
    let mut client = fixture.connect();
    let producer = client.producer();
    assert_eq!(client.mark("nobody", producer, 5), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(client.mark("t", producer, 5), ErrorCode::None);
    assert_eq!(client.mark("t", producer, 4), ErrorCode::TransactionCoordinatorFenced);
    assert_eq!(client.mark("t", (producer.0, producer.1 + 3), 5), ErrorCode::None);
    assert_eq!(client.mark("t", producer, 6), ErrorCode::InvalidProducerEpoch);
    assert_eq!(client.last_stable(), 2, "one record for each marker that was taken");
    let request = WriteTxnMarkersRequest::default();
    let answer: WriteTxnMarkersResponse = client.ask(ApiKey::WriteTxnMarkers, 1, &request);
    assert_eq!(answer.markers, []);
}

#[test]
fn brokers_ask_for_many_transactions_at_once_and_only_to_verify() {
    let fixture = started();
    let mut client = fixture.connect();
    let (producer_id, producer_epoch) = client.producer();
    assert_eq!(client.add(3, TXN, (producer_id, producer_epoch), &["t"]), [ErrorCode::None]);
    fixture.create_topic("u");
    let ask = |id: &str, topic: &str, producer_epoch, verify_only| AddPartitionsToTxnTransaction {
        transactional_id: id.into(),
        producer_id,
        producer_epoch,
        verify_only,
        topics: vec![AddPartitionsToTxnTopic { name: topic.into(), partitions: vec![0], ..Default::default() }],
        ..Default::default()
    };
    let cases = [
        (ask(TXN, "t", producer_epoch, true), ErrorCode::None),
        (ask(TXN, "u", producer_epoch, true), ErrorCode::TransactionAbortable),
        (ask(TXN, "nobody", producer_epoch, true), ErrorCode::UnknownTopicOrPartition),
        (ask(TXN, "t", producer_epoch + 1, true), ErrorCode::ProducerFenced),
        (ask("other", "t", producer_epoch, true), ErrorCode::InvalidProducerIdMapping),
        (ask("", "t", producer_epoch, true), ErrorCode::InvalidRequest),
        (ask(TXN, "u", producer_epoch, false), ErrorCode::None),
    ];
    let mut codes = |transactions| -> Vec<ErrorCode> {
        let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let answer: AddPartitionsToTxnResponse = client.ask(ApiKey::AddPartitionsToTxn, 5, &request);
        let results = answer.results_by_transaction.iter();
        let code = |topic: &AddPartitionsToTxnTopicResult| topic.results_by_partition[0].partition_error_code;
        results.map(|result| ErrorCode::from_wire(code(&result.topic_results[0]))).collect()
    };
    assert_eq!(codes(cases.iter().map(|(asked, _)| asked.clone()).collect()), cases.map(|(_, code)| code));
    assert_eq!(codes(vec![ask(TXN, "u", producer_epoch, true)]), [ErrorCode::None]);
}

#[test]
fn lists_name_the_filters_that_nobody_knows() {
    let fixture = started();
    let mut client = fixture.connect();
    let (producer_id, _) = client.producer();
    let list = |client: &mut Client, states: &[&str], duration_filter| -> ListTransactionsResponse {
        let state_filters = states.iter().map(|state| (*state).into()).collect();
        let request = ListTransactionsRequest { state_filters, duration_filter, ..Default::default() };
        client.ask(ApiKey::ListTransactions, 1, &request)
    };
    let all = list(&mut client, &[], -1);
    assert_eq!(all.transaction_states.len(), 1);
    assert_eq!(all.transaction_states[0].producer_id, producer_id);
    let none = list(&mut client, &["Nonsense", "Ongoing"], -1);
    assert_eq!((none.transaction_states.len(), &*none.unknown_state_filters), (0, &["Nonsense".into()][..]));
    assert_eq!(list(&mut client, &["Nonsense"], -1).transaction_states.len(), 0, "an unknown filter lets nothing pass");
    assert_eq!(list(&mut client, &["Empty"], -1).transaction_states.len(), 1);
}
