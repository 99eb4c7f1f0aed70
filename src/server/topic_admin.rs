//! Owns the creation and deletion of topics on request: what is refused, and what the requests wait for.
//! Kafka: `ZkAdminManager`, `AutoTopicCreationManager`. The znodes are written by `controller::topics`.

use super::context::Broker;
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerId, ErrorCode, TopicPartition, Uuid};
use crate::config::{ConfigError, Props, topic};
use crate::controller::topics::{self, Assignment, Refusal, Start, TopicError};
use crate::coordinator::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::zk::client::Error;
use crate::zk::paths;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// A topic to create, checked as far as it can be without the cluster.
pub(super) struct NewTopic<'a> {
    pub name: &'a str,
    /// -1: `num.partitions`.
    pub partitions: i32,
    /// -1: `default.replication.factor`.
    pub replication_factor: i32,
    /// Assigned manually; empty for the algorithm.
    pub assignment: Assignment,
    pub config: Props,
}

/// The outcome of a creation.
pub(super) struct Created {
    /// None where it was only validated.
    pub id: Option<Uuid>,
    pub assignment: Assignment,
}

impl NewTopic<'_> {
    pub(super) fn replication_factor(assignment: &Assignment) -> i32 {
        assignment.values().next().map_or(0, Vec::len) as i32
    }
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> TopicError {
    Refusal { code, message: message.into() }.into()
}

impl From<ConfigError> for TopicError {
    fn from(error: ConfigError) -> Self {
        refuse(ErrorCode::InvalidConfig, error.to_string())
    }
}

/// Creates a topic in ZooKeeper; the controller does the rest. With `validate_only` nothing is written.
pub(super) async fn create(broker: &Broker, new: &NewTopic<'_>, validate_only: bool) -> Result<Created, TopicError> {
    if broker.image.load().topic(new.name).is_some() {
        return Err(refuse(ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", new.name)));
    }
    let given = !new.assignment.is_empty();
    if given && (new.partitions != -1 || new.replication_factor != -1) {
        return Err(refuse(
            ErrorCode::InvalidRequest,
            "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time.",
        ));
    }
    let config = Arc::clone(&broker.config.load());
    let or_default = |asked: i32, default: i32| if asked == -1 { default } else { asked };
    let assignment = if given {
        new.assignment.clone()
    } else {
        let candidates = topics::candidates(&broker.zk).await?;
        let factor = or_default(new.replication_factor, config.default_replication_factor);
        let start = Start::random(candidates.len());
        topics::assign_replicas(&candidates, or_default(new.partitions, config.num_partitions), factor, start)?
    };
    topics::check_creation(&broker.zk, new.name, &assignment).await?;
    topic::validate(&new.config, &config.log_defaults)?;
    let id = match validate_only {
        true => None,
        false => Some(topics::create(&broker.zk, new.name, &new.config, &assignment).await?),
    };
    Ok(Created { id, assignment })
}

/// Creates a topic because someone asked for its metadata. The result is the code of the answer: the client has to ask again.
pub(super) async fn auto_create(broker: &Broker, name: &str) -> ErrorCode {
    let Some(_claim) = Claim::take(broker, name) else { return ErrorCode::UnknownTopicOrPartition };
    let new = creatable(broker, name);
    match create(broker, &new, false).await {
        Ok(_) => ErrorCode::LeaderNotAvailable,
        Err(TopicError::Refused(refusal)) => match refusal.code {
            ErrorCode::TopicAlreadyExists => ErrorCode::LeaderNotAvailable,
            code => {
                info!(topic = name, reason = refusal.message, "not created");
                code
            }
        },
        Err(TopicError::Zk(error)) => {
            warn!(topic = name, %error, "not created");
            ErrorCode::UnknownTopicOrPartition
        }
    }
}

/// What a topic that no one planned is made of. Kafka: `AutoTopicCreationManager.creatableTopic`.
fn creatable<'a>(broker: &Broker, name: &'a str) -> NewTopic<'a> {
    let config = broker.config.load();
    let internal = match name {
        OFFSETS_TOPIC => Some(config.offsets_topic.clone()),
        TRANSACTIONS_TOPIC => Some(config.transactions_topic.clone()),
        _ => None,
    };
    let (partitions, replication_factor, config) = match internal {
        Some(topic) => (topic.partitions, topic.replication_factor, topic.overrides),
        None => (-1, -1, Props::new()),
    };
    NewTopic { name, partitions, replication_factor, assignment: Assignment::new(), config }
}

/// One creation of a name at a time: a hundred clients that request a missing topic cause one creation.
struct Claim<'a> {
    broker: &'a Broker,
    name: &'a str,
}

impl<'a> Claim<'a> {
    fn take(broker: &'a Broker, name: &'a str) -> Option<Self> {
        let is_first = broker.topics_in_creation.lock().insert(name.to_owned());
        // Made only when it holds: its drop takes the lock and removes the name.
        is_first.then(|| Self { broker, name })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.broker.topics_in_creation.lock().remove(self.name);
    }
}

/// Waits until every one of these partitions has a leader in the metadata. Returns the topics that have none in time.
pub(super) async fn wait_led(
    broker: &Broker,
    topics: &[(String, BTreeSet<i32>)],
    timeout: Duration,
) -> BTreeSet<String> {
    wait(broker, timeout, || {
        let image = broker.image.load();
        let led = |topic: &str, p: i32| image.partition(topic, p).is_some_and(|p| p.leader.0 >= 0);
        let missing = topics.iter().filter(|(topic, partitions)| !partitions.iter().all(|p| led(topic, *p)));
        missing.map(|(topic, _)| topic.clone()).collect()
    })
    .await
}

/// A topic to delete, as the metadata had it before its deletion was requested: the controller may be done before the
/// request's task runs again.
pub(super) struct Deletion {
    pub topic: String,
    brokers: BTreeSet<BrokerId>,
    has_offline_replica: bool,
}

impl Deletion {
    /// None where the metadata does not know the topic.
    pub(super) fn of(image: &MetadataImage, topic: &str) -> Option<Self> {
        let partitions = &image.topic(topic)?.partitions;
        Some(Self {
            topic: topic.to_owned(),
            brokers: partitions.values().flat_map(|p| p.replicas.iter().copied()).collect(),
            has_offline_replica: partitions.values().any(|p| !p.offline_replicas.is_empty()),
        })
    }

    /// The deletion completes once the replica is back, which can take days.
    fn waits_for_replica(&self, image: &MetadataImage) -> bool {
        self.has_offline_replica || self.brokers.iter().any(|id| !image.brokers.contains_key(id))
    }
}

/// Waits until the metadata has dropped these topics. Returns those that are still there at the timeout.
///
/// Kafka answers then. But the name is taken until the znodes are removed, which is the last step. So for the rest of
/// the timeout they are waited for too, and a creation right after the answer succeeds. Not while a replica is offline.
pub(super) async fn wait_gone(broker: &Broker, deletions: &[Deletion], timeout: Duration) -> BTreeSet<String> {
    let deadline = Instant::now() + timeout;
    let left = wait(broker, timeout, || {
        let image = broker.image.load();
        let topics = deletions.iter().map(|deletion| &deletion.topic);
        topics.filter(|topic| image.topic(topic).is_some()).cloned().collect()
    })
    .await;
    if left.is_empty() {
        let marks_gone = async {
            for deletion in deletions {
                wait_mark_gone(broker, deletion).await?;
            }
            Ok::<(), Error>(())
        };
        // Late or unknown, the deletion was accepted and is in progress.
        match tokio::time::timeout_at(deadline, marks_gone).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "end of the deletion not seen"),
            Err(_) => debug!("znodes outlast the timeout of the deletion"),
        }
    }
    left
}

/// The mark in `/admin/delete_topics` is removed last.
async fn wait_mark_gone(broker: &Broker, deletion: &Deletion) -> Result<(), Error> {
    let mark = paths::delete_topic(&deletion.topic);
    let watcher = broker.zk.watcher();
    let replica_away = async {
        loop {
            let image_changed = broker.image_changed.notified();
            tokio::pin!(image_changed);
            image_changed.as_mut().enable();
            if deletion.waits_for_replica(&broker.image.load()) {
                return;
            }
            image_changed.await;
        }
    };
    let mark_gone = async {
        while broker.zk.exists_watched(&mark, Some(&watcher)).await?.is_some() {
            watcher.next().await;
        }
        Ok(())
    };
    tokio::select! {
        biased;
        () = replica_away => Ok(()),
        gone = mark_gone => gone,
    }
}

/// Waits until the metadata names these leaders. Returns the partitions of which it does not at the timeout.
pub(super) async fn wait_elected(
    broker: &Broker,
    leaders: &BTreeMap<TopicPartition, BrokerId>,
    timeout: Duration,
) -> BTreeSet<TopicPartition> {
    wait(broker, timeout, || {
        let image = broker.image.load();
        let leads = |tp: &TopicPartition, leader: BrokerId| {
            image.partition(&tp.topic, tp.partition).is_some_and(|known| known.leader == leader)
        };
        leaders.iter().filter(|(tp, leader)| !leads(tp, **leader)).map(|(tp, _)| tp.clone()).collect()
    })
    .await
}

async fn wait<T>(broker: &Broker, timeout: Duration, missing: impl Fn() -> BTreeSet<T>) -> BTreeSet<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let changed = broker.image_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let left = missing();
        if left.is_empty() || tokio::time::timeout_at(deadline, changed).await.is_err() {
            return left;
        }
    }
}
