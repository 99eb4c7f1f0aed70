//! Owns the events that the controller's mailbox gets from inside the broker. Kafka: `ControllerEvent`. Changes in
//! ZooKeeper arrive through watches instead.

use super::topics::Refusal;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, TopicPartition};
use crate::protocol::messages::{
    AlterPartitionRequest, AlterPartitionResponse, LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse,
    UpdateMetadataResponse,
};
use crate::zk::data::controller::ProducerIdBlock;
use crate::zk::data::topic::ReplicaAssignment;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

#[derive(Debug)]
pub enum Event {
    /// A broker answered a request of the term `epoch`, which was meant for its registration `broker_epoch`.
    Answered { broker: BrokerId, broker_epoch: BrokerEpoch, epoch: ControllerEpoch, answer: Answer },
    /// A request with a waiting caller.
    Asked(Question),
    /// `unclean.leader.election.enable` of the brokers changed.
    UncleanElectionDefault(bool),
    /// A topic's config that allows unclean elections was applied.
    UncleanElectionOfTopic(Arc<str>),
}

#[derive(Debug)]
pub enum Answer {
    LeaderAndIsr(LeaderAndIsrResponse),
    UpdateMetadata(UpdateMetadataResponse),
    StopReplica { asked: StopReplicaRequest, answer: StopReplicaResponse },
}

impl Answer {
    /// The error code of the whole request.
    pub(super) fn error_code(&self) -> ErrorCode {
        ErrorCode::from_wire(match self {
            Self::LeaderAndIsr(response) => response.error_code,
            Self::UpdateMetadata(response) => response.error_code,
            Self::StopReplica { answer, .. } => answer.error_code,
        })
    }
}

/// Errors of allocating producer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerIdsError {
    #[error("this broker is not the controller")]
    NotController,
    #[error("no broker is registered under this id")]
    NotRegistered,
    #[error("the broker has registered again since")]
    StaleEpoch,
    /// The node says nothing that another block could follow.
    #[error("there is no block to give out")]
    NoBlock,
}

/// Errors of a controlled shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlledShutdownError {
    #[error("this broker is not the controller")]
    NotController,
    /// `names_epoch`: the request has a broker epoch.
    #[error("no broker is registered under this id")]
    NotRegistered { names_epoch: bool },
    #[error("the broker has registered again since")]
    StaleEpoch,
}

/// Requests for the active controller, each with a channel for its reply. The `reply` is dropped when this broker is
/// not the controller, or no longer.
#[derive(Debug)]
pub enum Question {
    /// With the version of the request.
    AlterPartition {
        request: AlterPartitionRequest,
        version: i16,
        reply: oneshot::Sender<AlterPartitionResponse>,
    },
    AllocateProducerIds {
        broker: BrokerId,
        epoch: BrokerEpoch,
        reply: oneshot::Sender<Result<ProducerIdBlock, ProducerIdsError>>,
    },
    /// Replies with the partitions that the broker still leads.
    ControlledShutdown {
        broker: BrokerId,
        epoch: BrokerEpoch,
        reply: oneshot::Sender<Result<Vec<TopicPartition>, ControlledShutdownError>>,
    },
    AlterReassignments {
        targets: ReassignmentTargets,
        reply: oneshot::Sender<ReassignmentResults>,
    },
    /// For these partitions, or for all.
    ListReassignments {
        asked: Option<Vec<TopicPartition>>,
        reply: oneshot::Sender<BTreeMap<TopicPartition, ReplicaAssignment>>,
    },
    ElectLeaders {
        partitions: Vec<TopicPartition>,
        kind: ElectionKind,
        reply: oneshot::Sender<ElectionResults>,
    },
}

/// The replicas that partitions move to, in order; None cancels the move in progress.
pub type ReassignmentTargets = BTreeMap<TopicPartition, Option<Vec<BrokerId>>>;

/// Whether each move was started, or why not.
pub type ReassignmentResults = BTreeMap<TopicPartition, Result<(), Refusal>>;

/// Kafka: `ElectionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionKind {
    Preferred,
    /// Out-of-sync replicas may lead, whatever the topic says.
    Unclean,
}

/// The new leader of each partition, or why there is none; a text where Kafka has one.
pub type ElectionResults = BTreeMap<TopicPartition, Result<BrokerId, (ErrorCode, Option<String>)>>;
