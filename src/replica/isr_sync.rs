//! Owns the changes of in-sync replicas on their way to the controller: one request at a time, with all that waits. Kafka:
//! `AlterPartitionManager`.
//!
//! Nothing is given up: while no controller answers, changes stay in their queue.

use super::host::Host;
use super::isr_queue::IsrItem;
use crate::client::controller_channel::ControllerChannel;
use crate::cluster::isr::{Altered, IsrRefusal};
use crate::common::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, TopicPartition, Uuid};
use crate::protocol::ApiKey;
use crate::protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use crate::protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use crate::util::rate_limit::RateLimit;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// After a request that failed as a whole, and before a change is asked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// How long one request looks for the controller; then the next one starts with what is new.
const ATTEMPT: Duration = Duration::from_secs(60);

/// The last version that names topics; later ones need their ids.
const LAST_VERSION_BY_NAME: i16 = 1;
/// From here on members of the ISR carry broker epochs.
const FIRST_VERSION_WITH_EPOCHS: i16 = 3;

static UNANSWERED: RateLimit = RateLimit::every(Duration::from_secs(60));

/// Asks until the broker stops.
pub(super) async fn run(host: &Host, controller: &ControllerChannel, stop: &CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sync_once(host, controller) => {}
        }
    }
}

async fn sync_once(host: &Host, controller: &ControllerChannel) {
    let items: BTreeMap<TopicPartition, IsrItem> = host.isr_changes.all();
    if items.is_empty() {
        host.isr_changes.arrived().await;
        return;
    }
    let has_ids = items.values().all(|item| !item.topic_id.is_zero());
    let (local, epoch) = (host.local(), (host.broker_epoch)());
    let newest = if has_ids { *ApiKey::AlterPartition.versions().end() } else { LAST_VERSION_BY_NAME };
    let versions = *ApiKey::AlterPartition.versions().start()..=newest;
    let build = |version| request(local, epoch, &items, version);
    debug!(partitions = items.len(), "asking the controller to change in-sync replicas");
    let answer = controller.call_with(ApiKey::AlterPartition, versions, ATTEMPT, build).await;
    let retry = match answer {
        Ok(answer) => on_answer(host, items, answer),
        Err(error) => {
            if let Some(left_out) = UNANSWERED.permit() {
                warn!(%error, left_out, partitions = items.len(), "in-sync replicas can't be changed");
            }
            true
        }
    };
    if retry {
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// True when something is to be asked again.
fn on_answer(host: &Host, items: BTreeMap<TopicPartition, IsrItem>, answer: AlterPartitionResponse) -> bool {
    let code = ErrorCode::from_wire(answer.error_code);
    if code.is_error() {
        warn!(%code, "the controller refuses to change in-sync replicas, asking again");
        return true;
    }
    let mut outcomes = outcomes(&items, answer);
    let mut retry = false;
    for (tp, item) in items {
        let Some(outcome) = outcomes.remove(&tp) else {
            warn!(%tp, "the controller has not answered for the partition");
            retry = true;
            continue;
        };
        host.isr_changes.remove(&tp);
        let (code, outcome) = match outcome {
            Ok(altered) => (ErrorCode::None, Ok(altered)),
            Err(code) => (code, Err(refusal(code))),
        };
        let progress = host.around(|around| item.partition.on_isr_answer(&item.change, outcome, around));
        if progress.submit.is_some() {
            warn!(%tp, %code, "in-sync replicas not changed, asking again");
            retry = true;
        } else if code.is_error() {
            info!(%tp, %code, isr = ?item.partition.leadership().isr, "in-sync replicas not changed");
        }
        host.run(&item.partition, progress);
    }
    retry
}

fn request(
    local: BrokerId,
    epoch: BrokerEpoch,
    items: &BTreeMap<TopicPartition, IsrItem>,
    version: i16,
) -> AlterPartitionRequest {
    let mut topics: Vec<TopicData> = Vec::new();
    for (tp, item) in items {
        let mut partition = PartitionData {
            partition_index: tp.partition,
            leader_epoch: item.change.leader_epoch.0,
            partition_epoch: item.change.partition_epoch,
            ..Default::default()
        };
        let isr = item.change.isr.iter();
        if version >= FIRST_VERSION_WITH_EPOCHS {
            // A broker in ZooKeeper mode does not know the epochs of others.
            let state = |id: &BrokerId| BrokerState { broker_id: id.0, broker_epoch: -1, ..Default::default() };
            partition.new_isr_with_epochs = isr.map(state).collect();
        } else {
            partition.new_isr = isr.map(|id| id.0).collect();
        }
        match topics.last_mut().filter(|topic| *topic.topic_name == *tp.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(TopicData {
                topic_name: (&*tp.topic).into(),
                topic_id: item.topic_id,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    AlterPartitionRequest { broker_id: local.0, broker_epoch: epoch.0, topics, ..Default::default() }
}

/// What the controller says of each partition that was asked for.
fn outcomes(
    items: &BTreeMap<TopicPartition, IsrItem>,
    answer: AlterPartitionResponse,
) -> HashMap<TopicPartition, Result<Altered, ErrorCode>> {
    let names: HashMap<Uuid, &Arc<str>> = items.iter().map(|(tp, item)| (item.topic_id, &tp.topic)).collect();
    let mut outcomes = HashMap::new();
    for topic in answer.topics {
        let name = match names.get(&topic.topic_id) {
            Some(name) if !topic.topic_id.is_zero() => Arc::clone(name),
            _ => Arc::from(&*topic.topic_name),
        };
        for partition in topic.partitions {
            let tp = TopicPartition { topic: Arc::clone(&name), partition: partition.partition_index };
            let outcome = match ErrorCode::from_wire(partition.error_code) {
                ErrorCode::None => Ok(Altered {
                    leader_epoch: LeaderEpoch(partition.leader_epoch),
                    partition_epoch: partition.partition_epoch,
                    isr: partition.isr.into_iter().map(BrokerId).collect(),
                }),
                code => Err(code),
            };
            outcomes.insert(tp, outcome);
        }
    }
    outcomes
}

/// What follows of a controller's code. Kafka: `Partition.handleAlterPartitionError`.
fn refusal(code: ErrorCode) -> IsrRefusal {
    match code {
        ErrorCode::OperationNotAttempted | ErrorCode::IneligibleReplica => IsrRefusal::NotNow,
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::UnknownTopicId
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::InvalidUpdateVersion
        | ErrorCode::InvalidRequest
        | ErrorCode::NewLeaderElected => IsrRefusal::Superseded,
        // Also what this version does not know.
        _ => IsrRefusal::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::isr::IsrChange;
    use crate::cluster::partition::Partition;
    use crate::protocol::messages::alter_partition_response as response;

    fn items() -> BTreeMap<TopicPartition, IsrItem> {
        let item = |topic: &str, number, id| {
            let tp = TopicPartition::new(topic, number);
            let partition = Arc::new(Partition::new(tp.clone(), BrokerId(1)));
            let change = IsrChange {
                leader_epoch: LeaderEpoch(5),
                partition_epoch: 7,
                isr: vec![BrokerId(1), BrokerId(2)],
                joining: None,
            };
            (tp, IsrItem { partition, topic_id: Uuid([id; 16]), change })
        };
        [item("a", 0, 1), item("a", 1, 1), item("b", 0, 2)].into()
    }

    #[test]
    fn a_request_has_each_topic_once_in_the_form_of_its_version() {
        for (version, has_epochs) in [(2, false), (3, true)] {
            let request = request(BrokerId(1), BrokerEpoch(9), &items(), version);
            let shape: Vec<_> = request.topics.iter().map(|t| (&*t.topic_name, t.partitions.len())).collect();
            assert_eq!((request.broker_id, request.broker_epoch, shape), (1, 9, vec![("a", 2), ("b", 1)]));
            let partition = &request.topics[0].partitions[0];
            assert_eq!((partition.leader_epoch, partition.partition_epoch), (5, 7));
            assert_eq!(partition.new_isr_with_epochs.len(), if has_epochs { 2 } else { 0 });
            assert_eq!(partition.new_isr.len(), if has_epochs { 0 } else { 2 });
        }
    }

    #[test]
    fn refusals_revert_wait_or_repeat_as_in_kafka() {
        use ErrorCode::{
            FencedLeaderEpoch, IneligibleReplica, InvalidRequest, InvalidUpdateVersion, NewLeaderElected,
            OperationNotAttempted, UnknownTopicId, UnknownTopicOrPartition,
        };
        let of = |wanted| ErrorCode::ALL.iter().copied().filter(|c| refusal(*c) == wanted).collect::<Vec<_>>();
        assert_eq!(of(IsrRefusal::NotNow), [OperationNotAttempted, IneligibleReplica]);
        let superseded = [
            UnknownTopicOrPartition,
            InvalidRequest,
            FencedLeaderEpoch,
            InvalidUpdateVersion,
            UnknownTopicId,
            NewLeaderElected,
        ];
        assert_eq!(of(IsrRefusal::Superseded), superseded);
    }

    #[test]
    fn answers_are_found_by_id_or_by_name() {
        let partition = |partition_index, error_code| response::PartitionData {
            partition_index,
            error_code,
            leader_epoch: 5,
            partition_epoch: 8,
            isr: vec![1, 2],
            ..Default::default()
        };
        let by_id =
            response::TopicData { topic_id: Uuid([1; 16]), partitions: vec![partition(1, 0)], ..Default::default() };
        let by_name =
            response::TopicData { topic_name: "b".into(), partitions: vec![partition(0, 74)], ..Default::default() };
        let answer = AlterPartitionResponse { topics: vec![by_id, by_name], ..Default::default() };
        let outcomes = outcomes(&items(), answer);
        let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: 8, isr: vec![BrokerId(1), BrokerId(2)] };
        assert_eq!(outcomes.get(&TopicPartition::new("a", 1)), Some(&Ok(altered)));
        assert_eq!(outcomes.get(&TopicPartition::new("b", 0)), Some(&Err(ErrorCode::FencedLeaderEpoch)));
        assert_eq!(outcomes.get(&TopicPartition::new("a", 0)), None, "not answered: it is asked again");
    }
}
