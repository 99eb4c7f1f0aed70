//! Owns requests that go to the leaders of partitions: they are split by leader, and retried while leaders move. Kafka:
//! `PartitionLeaderStrategy`, `AdminApiDriver`.

use super::admin::{Admin, AdminError, Target};
use crate::common::ErrorCode;
use crate::protocol::{ApiKey, Message};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A topic's name and a partition of it.
pub(crate) type Partition = (String, i32);

/// One kind of request to leaders.
pub(crate) trait LeaderRequest {
    /// Kafka's name of the call.
    const NAME: &'static str;
    const KEY: ApiKey;
    type Request: Message;
    type Response: Message;
    type Answer;

    fn request(&self, partitions: &[Partition]) -> Self::Request;
    /// The answers by partition: an error code, and the value without an error.
    fn answers(&self, response: Self::Response) -> Vec<(Partition, i16, Self::Answer)>;
}

/// The answer of each partition's leader.
pub(crate) fn ask<R: LeaderRequest>(
    admin: &mut Admin,
    kind: &R,
    partitions: impl IntoIterator<Item = Partition>,
) -> BTreeMap<Partition, Result<R::Answer, AdminError>> {
    let deadline = Instant::now() + admin.api_timeout();
    let mut open: Vec<Partition> = partitions.into_iter().collect();
    let mut told = BTreeMap::new();
    let mut attempts = 0;
    while !open.is_empty() {
        attempts += 1;
        for (leader, asked) in by_leader(admin, R::NAME, &open, &mut told) {
            let answer: Result<R::Response, _> =
                admin.call(R::NAME, Target::Broker(leader), R::KEY, &kind.request(&asked));
            match answer {
                Ok(response) => {
                    for (partition, code, answer) in kind.answers(response) {
                        match AdminError::of(code, None) {
                            Some(e) if is_retriable(&e) => {}
                            Some(e) => {
                                told.insert(partition, Err(e));
                            }
                            None => {
                                told.insert(partition, Ok(answer));
                            }
                        }
                    }
                }
                Err(e) => told.extend(asked.into_iter().map(|p| (p, Err(e.clone())))),
            }
        }
        open.retain(|partition| !told.contains_key(partition));
        if !open.is_empty() && Instant::now() + RETRY_PAUSE >= deadline {
            let name = R::NAME;
            let text = format!("Call(callName={name}(api=METADATA)) timed out after {attempts} attempt(s)");
            told.extend(open.drain(..).map(|p| (p, Err(AdminError::Timeout(text.clone())))));
        } else if !open.is_empty() {
            std::thread::park_timeout(RETRY_PAUSE);
        }
    }
    told
}

/// The partitions whose leader is known; those that cannot have one get their error.
fn by_leader<A>(
    admin: &mut Admin,
    name: &str,
    partitions: &[Partition],
    told: &mut BTreeMap<Partition, Result<A, AdminError>>,
) -> BTreeMap<i32, Vec<Partition>> {
    let mut topics: Vec<&str> = partitions.iter().map(|(topic, _)| topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    let found = match admin.topics(name, &topics) {
        Ok(found) => found,
        Err(e) => {
            told.extend(partitions.iter().map(|p| (p.clone(), Err(e.clone()))));
            return BTreeMap::new();
        }
    };
    let mut leaders: BTreeMap<i32, Vec<Partition>> = BTreeMap::new();
    for partition in partitions {
        let Some(topic) = found.iter().find(|t| t.name.as_deref() == Some(&partition.0)) else { continue };
        if let Some(e) = AdminError::of(topic.error_code, None) {
            if !is_retriable(&e) {
                told.insert(partition.clone(), Err(e));
            }
            continue;
        }
        if let Some(p) = topic.partitions.iter().find(|p| p.partition_index == partition.1 && p.leader_id >= 0) {
            leaders.entry(p.leader_id).or_default().push(partition.clone());
        }
    }
    leaders
}

fn is_retriable(e: &AdminError) -> bool {
    matches!(
        e.code(),
        Some(
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::OffsetNotAvailable
                | ErrorCode::KafkaStorageError
                | ErrorCode::NetworkException
                | ErrorCode::RequestTimedOut
        )
    )
}
