//! Owns the way from a partition of the offsets topic to its groups. Kafka: `doLoadGroupsAndOffsets`. Pure: the caller that reads
//! the log hands the bytes in, in order.
//!
//! A record that cannot be read is skipped with one line that names its offset: a coordinator that does not load would
//! take every group of the partition along.

use super::effects::Note;
use super::member::{Member, Protocol};
use super::metadata::{Group, GroupState};
use super::offsets::StoredOffset;
use super::records::{self, Key};
use super::timers::Timers;
use crate::common::{Now, Offset, TopicPartition};
use crate::protocol::Str;
use crate::protocol::internal::group::GroupMetadataValue;
use crate::record::control::EndTransactionMarker;
use crate::record::{Batch, RecordView, batches, records as records_of};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

type GroupOffsets = BTreeMap<TopicPartition, StoredOffset>;

/// Takes the records of a partition in order.
#[derive(Debug)]
pub struct Loader {
    groups: HashMap<Str, GroupMetadataValue>,
    offsets: HashMap<Str, GroupOffsets>,
    /// Of transactions that are not decided, by producer.
    transactional: BTreeMap<i64, BTreeMap<Str, GroupOffsets>>,
    /// One name for all partitions of a topic.
    topics: HashSet<Arc<str>>,
    next_offset: Offset,
    unreadable: Vec<Unreadable>,
}

/// What was passed over.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) offset: Offset,
    pub(super) what: &'static str,
    pub(super) why: String,
}

/// What a partition had in it.
#[derive(Debug)]
pub struct Loaded {
    pub(super) groups: Vec<Group>,
    pub(super) notes: Vec<(Str, Note)>,
}

impl Loaded {
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    pub fn offsets(&self) -> usize {
        self.groups.iter().map(|group| group.offsets.len()).sum()
    }
}

impl Loader {
    /// Begins at the log's start offset.
    pub fn new(start: Offset) -> Self {
        Self {
            groups: HashMap::new(),
            offsets: HashMap::new(),
            transactional: BTreeMap::new(),
            topics: HashSet::new(),
            next_offset: start,
            unreadable: Vec::new(),
        }
    }

    /// Where to read on.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// What was passed over since the last call.
    pub(super) fn take_unreadable(&mut self) -> Vec<Unreadable> {
        std::mem::take(&mut self.unreadable)
    }

    fn complain(&mut self, offset: Offset, what: &'static str, why: impl ToString) {
        self.unreadable.push(Unreadable { offset, what, why: why.to_string() });
    }

    /// Takes the whole batches of `bytes`. Returns false when there was none to go on with.
    pub fn take(&mut self, bytes: &[u8]) -> bool {
        let before = self.next_offset;
        for batch in batches(bytes) {
            match batch {
                Ok(batch) => {
                    // A read begins with the batch that holds the offset, which may begin before it.
                    self.take_batch(&batch);
                    self.next_offset = batch.next_offset().max(self.next_offset);
                }
                Err(error) => {
                    self.complain(self.next_offset, "log unreadable from here", error);
                    break;
                }
            }
        }
        self.next_offset > before
    }

    fn take_batch(&mut self, batch: &Batch<'_>) {
        let mut reader = match records_of(batch) {
            Ok(reader) => reader,
            Err(error) => {
                return self.complain(batch.base_offset(), "batch skipped", error);
            }
        };
        let producer = batch.is_transactional().then(|| batch.producer_id());
        let mut first = None;
        loop {
            match reader.next_record() {
                Ok(None) => return,
                Ok(Some(record)) => {
                    let at = *first.get_or_insert(record.offset);
                    let taken = if batch.is_control() {
                        self.take_marker(batch.producer_id(), &record)
                    } else {
                        self.take_record(producer, at, &record)
                    };
                    if let Err(reason) = taken {
                        self.complain(record.offset, "record skipped", reason);
                    }
                }
                Err(error) => {
                    return self.complain(batch.base_offset(), "the rest of a batch is skipped", error);
                }
            }
        }
    }

    fn take_marker(&mut self, producer: i64, record: &RecordView<'_>) -> Result<(), String> {
        let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
        let marker = EndTransactionMarker::parse(key, value).map_err(|error| error.to_string())?;
        let ended = self.transactional.remove(&producer);
        if !marker.is_some_and(|marker| marker.committed) {
            return Ok(());
        }
        for (group, offsets) in ended.unwrap_or_default() {
            let stored = self.offsets.entry(group).or_default();
            for (tp, offset) in offsets {
                if stored.get(&tp).is_none_or(|current| current.at < offset.at) {
                    stored.insert(tp, offset);
                }
            }
        }
        Ok(())
    }

    fn take_record(&mut self, producer: Option<i64>, at: Offset, record: &RecordView<'_>) -> Result<(), String> {
        let key = record.key.ok_or("it has no key")?;
        match records::read_key(key).map_err(|error| format!("key: {error}"))? {
            Key::Unknown(version) => Err(format!("a key of version {version} is of another coordinator")),
            Key::Group(group) => self.take_group(group, record.value),
            Key::Offset { group, topic, partition } => {
                let committed = record.value.map(records::read_offset).transpose();
                let committed = committed.map_err(|error| format!("offset of group {group}: {error}"))?;
                let tp = TopicPartition { topic: self.intern(&topic), partition };
                self.take_offset(producer, group, tp, committed.map(|committed| StoredOffset { committed, at }));
                Ok(())
            }
        }
    }

    fn take_offset(&mut self, producer: Option<i64>, group: Str, tp: TopicPartition, stored: Option<StoredOffset>) {
        let groups = match producer {
            None => {
                let offsets = self.offsets.entry(group).or_default();
                match stored {
                    Some(stored) => {
                        offsets.insert(tp, stored);
                    }
                    None => {
                        offsets.remove(&tp);
                    }
                }
                return;
            }
            Some(producer) => self.transactional.entry(producer).or_default(),
        };
        let offsets = groups.entry(group).or_default();
        match stored {
            Some(stored) => {
                offsets.insert(tp, stored);
            }
            None => {
                offsets.remove(&tp);
            }
        }
    }

    fn take_group(&mut self, group: Str, value: Option<&[u8]>) -> Result<(), String> {
        let Some(value) = value else {
            self.groups.remove(&group);
            return Ok(());
        };
        let value = records::read_group(value).map_err(|error| format!("group {group}: {error}"))?;
        if !value.members.is_empty() && value.protocol.is_none() {
            return Err(format!("group {group} has members and no protocol"));
        }
        self.groups.insert(group, value);
        Ok(())
    }

    fn intern(&mut self, topic: &str) -> Arc<str> {
        if let Some(known) = self.topics.get(topic) {
            return Arc::clone(known);
        }
        let name: Arc<str> = topic.into();
        self.topics.insert(Arc::clone(&name));
        name
    }

    /// The groups, once everything was read.
    pub fn finish(mut self, now: Now) -> Loaded {
        // Who only stores offsets has no record of a group.
        let mut ids: Vec<Str> = self.groups.keys().cloned().collect();
        ids.extend(self.offsets.iter().filter(|(_, offsets)| !offsets.is_empty()).map(|(id, _)| id.clone()));
        ids.extend(self.transactional.values().flat_map(|groups| groups.keys().cloned()));
        ids.sort_unstable();
        ids.dedup();
        let (mut groups, mut notes) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            let mut group = match self.groups.remove(&id) {
                Some(value) => loaded_group(id.clone(), value, now, &mut notes),
                None => Group::new(id.clone(), now),
            };
            for (tp, stored) in self.offsets.remove(&id).unwrap_or_default() {
                group.offsets.load(tp, stored);
            }
            for (producer, of_producer) in &mut self.transactional {
                for (tp, stored) in of_producer.remove(&id).unwrap_or_default() {
                    group.offsets.load_transactional(*producer, tp, stored);
                }
            }
            groups.push(group);
        }
        Loaded { groups, notes }
    }
}

/// Kafka: `readGroupMessageValue`, `GroupMetadata.loadGroup`. Sessions begin when the machine takes the group over.
fn loaded_group(id: Str, value: GroupMetadataValue, now: Now, notes: &mut Vec<(Str, Note)>) -> Group {
    let mut group = Group::new(id, now);
    let (protocol, mut unused) = (value.protocol.clone().unwrap_or_default(), Timers::default());
    for member in value.members {
        group.add(
            Member {
                id: member.member_id,
                instance_id: member.group_instance_id,
                client_id: member.client_id,
                client_host: member.client_host,
                rebalance_timeout_ms: member.rebalance_timeout,
                session_timeout_ms: member.session_timeout,
                protocols: vec![Protocol {
                    name: protocol.clone(),
                    metadata: Bytes::copy_from_slice(&member.subscription),
                }],
                assignment: Bytes::copy_from_slice(&member.assignment),
                waits_for_join: None,
                waits_for_sync: None,
                is_new: false,
                deadline: None,
            },
            &mut unused,
        );
    }
    if let Some(leader) = value.leader.filter(|leader| group.members.contains_key(leader)) {
        group.leader = Some(leader);
    }
    group.state = if group.members.is_empty() { GroupState::Empty } else { GroupState::Stable };
    group.state_since = Some(value.current_state_timestamp).filter(|at| *at != -1);
    group.generation = value.generation;
    group.protocol_type = Some(value.protocol_type).filter(|kind| !kind.is_empty());
    group.protocol = value.protocol;
    group.subscribed = group.subscribed_topics().unwrap_or_else(|note| {
        notes.push((group.id.clone(), note));
        None
    });
    group
}

#[cfg(test)]
impl Loader {
    pub(super) fn offset(&self, group: &str, tp: &TopicPartition) -> Option<&super::offsets::CommittedOffset> {
        self.offsets.get(group)?.get(tp).map(|stored| &stored.committed)
    }
}
