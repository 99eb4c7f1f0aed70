//! Owns what reaches the controller's mailbox from inside the broker. Kafka: `ControllerEvent`. What ZooKeeper tells comes
//! through watches instead.

use crate::common::{BrokerId, ControllerEpoch};
use crate::protocol::messages::{
    LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse, UpdateMetadataResponse,
};

#[derive(Debug)]
pub enum Event {
    /// A broker answered a request of the term `epoch`.
    Answered { broker: BrokerId, epoch: ControllerEpoch, answer: Answer },
}

#[derive(Debug)]
pub enum Answer {
    LeaderAndIsr(LeaderAndIsrResponse),
    UpdateMetadata(UpdateMetadataResponse),
    StopReplica { asked: StopReplicaRequest, answer: StopReplicaResponse },
}
