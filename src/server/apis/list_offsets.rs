//! ListOffsets: offsets by time, or at an end of a log. Kafka: `KafkaApis.handleListOffsetRequest`,
//! `Partition.fetchOffsetForTimestamp`.

use crate::common::{ErrorCode, LeaderEpoch, Millis, Offset};
use crate::log::OffsetQuery;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::list_offsets_request::ListOffsetsPartition;
use crate::protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use crate::protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::util::clock::wall_ms;
use std::collections::{HashMap, HashSet};

const LATEST: Millis = -1;
const EARLIEST: Millis = -2;
const MAX_TIMESTAMP: Millis = -3;
const EARLIEST_LOCAL: Millis = -4;
const LATEST_TIERED: Millis = -5;
const CONSUMER: i32 = -1;
const DEBUGGER: i32 = -2;
const READ_UNCOMMITTED: i8 = 0;
const READ_COMMITTED: i8 = 1;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ListOffsetsRequest) -> Reply {
    let mut times_asked: HashMap<(&Str, i32), u32> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times_asked.entry((&topic.name, partition.partition_index)).or_default() += 1;
        }
    }
    let lookup = Lookup { broker, version: call.version(), request: &request };
    let topics = request.topics.iter().map(|topic| {
        // Version 0 lists every segment: once, however often the partition is named.
        let mut listed = HashSet::new();
        let is_new = |asked: &&ListOffsetsPartition| lookup.version > 0 || listed.insert(asked.partition_index);
        let partitions = topic.partitions.iter().filter(is_new).map(|asked| {
            let found = match times_asked.get(&(&topic.name, asked.partition_index)) {
                Some(2..) if call.version() > 0 => Err(ErrorCode::InvalidRequest),
                _ => lookup.find(&topic.name, asked),
            };
            found.unwrap_or_else(|error| ListOffsetsPartitionResponse {
                error_code: error.wire(),
                ..unknown(asked.partition_index)
            })
        });
        ListOffsetsTopicResponse { name: topic.name.clone(), partitions: partitions.collect(), ..Default::default() }
    });
    call.reply(&ListOffsetsResponse { topics: topics.collect(), ..Default::default() })
}

/// Nothing found, which is no error.
fn unknown(partition_index: i32) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, ..Default::default() }
}

/// The first version in which a negative timestamp has a meaning.
fn known_from(timestamp: Millis) -> Option<i16> {
    match timestamp {
        LATEST | EARLIEST => Some(0),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        0.. => Some(0),
        _ => None,
    }
}

struct Lookup<'a> {
    broker: &'a Broker,
    version: i16,
    request: &'a ListOffsetsRequest,
}

impl Lookup<'_> {
    fn find(&self, topic: &str, asked: &ListOffsetsPartition) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
        if known_from(asked.timestamp).is_none_or(|from| self.version < from) {
            return Err(ErrorCode::UnsupportedVersion);
        }
        let is_consumer = self.request.replica_id == CONSUMER;
        if is_consumer && !matches!(self.request.isolation_level, READ_UNCOMMITTED | READ_COMMITTED) {
            // An exception that Kafka has no code for.
            return Err(ErrorCode::UnknownServerError);
        }
        let partition = self.broker.replicas.partition(topic, asked.partition_index)?;
        let leader_only = self.request.replica_id != DEBUGGER;
        let log = partition.log_for(LeaderEpoch(asked.current_leader_epoch), leader_only)?;
        let last_fetchable = match self.request.isolation_level {
            _ if !is_consumer => log.log_end_offset(),
            READ_COMMITTED => log.last_stable_offset(),
            _ => log.high_watermark(),
        };
        if self.version == 0 {
            // Kafka fails to allocate an array of a negative size.
            let max = usize::try_from(asked.max_num_offsets).map_err(|_| ErrorCode::UnknownServerError)?;
            let offsets = log.legacy_offsets_before(asked.timestamp, max, wall_ms())?;
            return Ok(ListOffsetsPartitionResponse {
                old_style_offsets: legacy_for_consumers(offsets, is_consumer, last_fetchable),
                ..unknown(asked.partition_index)
            });
        }
        let not_yet = if is_consumer && partition.lags_after_election(&log) {
            Some(if self.version >= 5 { ErrorCode::OffsetNotAvailable } else { ErrorCode::LeaderNotAvailable })
        } else {
            None
        };
        let answer = |timestamp: Millis, offset: Offset, epoch: Option<LeaderEpoch>| ListOffsetsPartitionResponse {
            timestamp,
            offset,
            leader_epoch: epoch.filter(|_| self.version >= 4).map_or(-1, |epoch| epoch.0),
            ..unknown(asked.partition_index)
        };
        match asked.timestamp {
            LATEST => match not_yet {
                Some(error) => Err(error),
                None => Ok(answer(-1, last_fetchable, Some(partition.leader_epoch()))),
            },
            EARLIEST | EARLIEST_LOCAL => {
                let start = log.log_start_offset();
                Ok(answer(-1, start, log.epoch_for_offset(start)))
            }
            // No tier: nothing is in it.
            LATEST_TIERED => Ok(answer(-1, -1, Some(LeaderEpoch::NONE))),
            timestamp => {
                let query =
                    if timestamp == MAX_TIMESTAMP { OffsetQuery::MaxTimestamp } else { OffsetQuery::At(timestamp) };
                let found = log.fetch_offset(query)?;
                match found.filter(|found| found.offset < last_fetchable) {
                    Some(found) => Ok(answer(found.timestamp, found.offset, found.leader_epoch)),
                    None => not_yet.map_or_else(|| Ok(unknown(asked.partition_index)), Err),
                }
            }
        }
    }
}

/// Version 0 lists where segments begin, newest first; for consumers nothing above the high watermark, but the high
/// watermark itself.
fn legacy_for_consumers(offsets: Vec<Offset>, is_consumer: bool, high_watermark: Offset) -> Vec<Offset> {
    if !is_consumer || offsets.iter().all(|offset| *offset <= high_watermark) {
        return offsets;
    }
    std::iter::once(high_watermark).chain(offsets.into_iter().skip_while(|offset| *offset > high_watermark)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_timestamps_appear_with_their_versions() {
        let known: Vec<_> = (-6..=0).map(known_from).collect();
        assert_eq!(known, [None, Some(9), Some(8), Some(7), Some(0), Some(0), Some(0)]);
    }

    #[test]
    fn legacy_offsets_end_at_the_high_watermark_for_consumers() {
        assert_eq!(legacy_for_consumers(vec![9, 5, 0], true, 7), [7, 5, 0]);
        assert_eq!(legacy_for_consumers(vec![9, 5, 0], false, 7), [9, 5, 0]);
        assert_eq!(legacy_for_consumers(vec![7, 5], true, 7), [7, 5]);
    }
}
