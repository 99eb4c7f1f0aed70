//! Owns the requests that wait for one broker, merged so that a slow or offline broker costs memory per partition and
//! not per event. Pure. Kafka's queue is unbounded.
//!
//! The merge rules follow from a broker's handling of the requests:
//! * UpdateMetadata is merged into the last one, the later state winning, unless a LeaderAndIsr of its partitions waits
//!   after that: no broker learns of a leader before it leads. Its list of brokers is merged into all that wait.
//! * LeaderAndIsr is merged into the last one, unless the first UpdateMetadata waits after that: a broker does not
//!   follow a leader that it does not know. "New" sticks.
//! * LeaderAndIsr and StopReplica of one partition keep their order. "Delete" sticks.

use super::batch::ControlRequest;
use crate::protocol::messages::update_metadata_request::UpdateMetadataBroker;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Requests for one broker, oldest first.
#[derive(Default)]
pub(super) struct Backlog {
    requests: VecDeque<ControlRequest>,
}

impl Backlog {
    pub(super) fn pop(&mut self) -> Option<ControlRequest> {
        self.requests.pop_front()
    }

    pub(super) fn push(&mut self, request: ControlRequest) {
        if let ControlRequest::UpdateMetadata(news) = &request {
            self.tell_of_brokers(&news.live_brokers);
        }
        let at = self.requests.iter().rposition(|waiting| is_same_kind(waiting, &request));
        let at = at.filter(|at| self.may_go_to(*at, &request));
        match at.and_then(|at| self.requests.get_mut(at)) {
            Some(waiting) => absorb(waiting, request),
            None => self.requests.push_back(request),
        }
    }

    fn tell_of_brokers(&mut self, live: &[UpdateMetadataBroker]) {
        for waiting in &mut self.requests {
            if let ControlRequest::UpdateMetadata(waiting) = waiting {
                waiting.live_brokers = live.to_vec();
            }
        }
    }

    /// Whether `request` may be merged into the one at `at`, before all that wait after that.
    fn may_go_to(&self, at: usize, request: &ControlRequest) -> bool {
        // All waiting requests name the same brokers.
        let knows_brokers = self.requests.range(..at).any(|r| matches!(r, ControlRequest::UpdateMetadata(_)));
        self.requests.range(at + 1..).all(|behind| may_overtake(request, behind, knows_brokers))
    }
}

fn is_same_kind(one: &ControlRequest, other: &ControlRequest) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether `request` may be sent before `waiting`, which is of another kind. `knows_brokers`: the brokers that
/// `waiting` names are sent before both.
fn may_overtake(request: &ControlRequest, waiting: &ControlRequest, knows_brokers: bool) -> bool {
    use ControlRequest::{LeaderAndIsr, StopReplica, UpdateMetadata};
    match (request, waiting) {
        (UpdateMetadata(_), StopReplica(_)) | (StopReplica(_), UpdateMetadata(_)) => true,
        (LeaderAndIsr(_), UpdateMetadata(_)) => knows_brokers,
        _ => partitions(request).is_disjoint(&partitions(waiting)),
    }
}

fn partitions(request: &ControlRequest) -> BTreeSet<(&str, i32)> {
    match request {
        ControlRequest::LeaderAndIsr(request) => request
            .topic_states
            .iter()
            .flat_map(|t| t.partition_states.iter().map(|p| (&*t.topic_name, p.partition_index)))
            .collect(),
        ControlRequest::StopReplica(request) => request
            .topic_states
            .iter()
            .flat_map(|t| t.partition_states.iter().map(|p| (&*t.topic_name, p.partition_index)))
            .collect(),
        ControlRequest::UpdateMetadata(request) => request
            .topic_states
            .iter()
            .flat_map(|t| t.partition_states.iter().map(|p| (&*t.topic_name, p.partition_index)))
            .collect(),
    }
}

/// Merges a later request of the same kind into a waiting one. Both are of one term and one broker epoch: another epoch
/// has a separate backlog.
fn absorb(waiting: &mut ControlRequest, later: ControlRequest) {
    match (waiting, later) {
        (ControlRequest::LeaderAndIsr(waiting), ControlRequest::LeaderAndIsr(later)) => {
            merge(
                &mut waiting.topic_states,
                later.topic_states,
                |t| t.topic_name.clone(),
                |waiting, later| {
                    waiting.topic_id = later.topic_id;
                    let states = &mut waiting.partition_states;
                    merge(
                        states,
                        later.partition_states,
                        |p| p.partition_index,
                        |waiting, later| {
                            let was_new = waiting.is_new;
                            *waiting = later;
                            waiting.is_new |= was_new;
                        },
                    );
                },
            );
            merge(&mut waiting.live_leaders, later.live_leaders, |l| l.broker_id, |waiting, later| *waiting = later);
        }
        (ControlRequest::UpdateMetadata(waiting), ControlRequest::UpdateMetadata(later)) => {
            merge(
                &mut waiting.topic_states,
                later.topic_states,
                |t| t.topic_name.clone(),
                |waiting, later| {
                    waiting.topic_id = later.topic_id;
                    let states = &mut waiting.partition_states;
                    merge(states, later.partition_states, |p| p.partition_index, |waiting, later| *waiting = later);
                },
            );
        }
        (ControlRequest::StopReplica(waiting), ControlRequest::StopReplica(later)) => {
            merge(
                &mut waiting.topic_states,
                later.topic_states,
                |t| t.topic_name.clone(),
                |waiting, later| {
                    let states = &mut waiting.partition_states;
                    merge(
                        states,
                        later.partition_states,
                        |p| p.partition_index,
                        |waiting, later| {
                            let was_delete = waiting.delete_partition;
                            *waiting = later;
                            waiting.delete_partition |= was_delete;
                        },
                    );
                },
            );
        }
        // Only requests of one kind are merged.
        _ => {}
    }
}

/// Replaces the waiting item of each later item's key, or appends it.
fn merge<T, K: Ord>(waiting: &mut Vec<T>, later: Vec<T>, key: impl Fn(&T) -> K, over: impl Fn(&mut T, T)) {
    let places: BTreeMap<K, usize> = waiting.iter().enumerate().map(|(at, item)| (key(item), at)).collect();
    for item in later {
        match places.get(&key(&item)).and_then(|at| waiting.get_mut(*at)) {
            Some(place) => over(place, item),
            None => waiting.push(item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::BatchBuilder;
    use super::super::context::{Context, Leadership};
    use super::super::testing::{context, ids, tp};
    use super::*;
    use crate::common::{BrokerId, ControllerEpoch, LeaderEpoch};
    use crate::zk::data::topic::LeaderAndIsr;

    /// Leadership of `t-0` and `u-0` in an epoch, on brokers 1 and 2.
    fn at_epoch(epoch: i32) -> Context {
        among(&[1, 2], epoch)
    }

    fn among(brokers: &[i32], epoch: i32) -> Context {
        let mut context = context(brokers, &[("t", 0, &[1, 2]), ("u", 0, &[1, 2])]);
        for topic in ["t", "u"] {
            let leader_and_isr = LeaderAndIsr {
                leader: BrokerId(2),
                leader_epoch: LeaderEpoch(epoch),
                isr: ids(&[1, 2]),
                recovery: Default::default(),
            };
            let leadership = Leadership { leader_and_isr, partition_epoch: 0, controller_epoch: ControllerEpoch(7) };
            context.set_leadership(&tp(topic, 0), leadership);
        }
        context
    }

    /// The requests of one step of the controller to broker 1.
    fn step(context: &Context, fill: impl FnOnce(&mut BatchBuilder)) -> Vec<ControlRequest> {
        let mut batch = BatchBuilder::default();
        fill(&mut batch);
        let all = batch.finish(context, BrokerId(1), "PLAINTEXT");
        all.into_iter().filter(|(to, _)| *to == BrokerId(1)).map(|(_, request)| request).collect()
    }

    fn led(epoch: i32, topic: &str, is_new: bool) -> Vec<ControlRequest> {
        let context = at_epoch(epoch);
        step(&context, |batch| batch.leader_and_isr(&context, &ids(&[1]), &tp(topic, 0), is_new))
    }

    fn stopped(topic: &str, delete: bool) -> Vec<ControlRequest> {
        let context = at_epoch(0);
        step(&context, |batch| batch.stop_replica(&context, BrokerId(1), &tp(topic, 0), delete))
    }

    /// The kinds in the order of sending, with topics and leader epochs.
    fn drained(requests: Vec<Vec<ControlRequest>>) -> Vec<String> {
        let mut backlog = Backlog::default();
        requests.into_iter().flatten().for_each(|request| backlog.push(request));
        std::iter::from_fn(|| backlog.pop())
            .map(|request| match request {
                ControlRequest::LeaderAndIsr(r) => {
                    let of = |t: &crate::protocol::messages::leader_and_isr_request::LeaderAndIsrTopicState| {
                        let state = &t.partition_states[0];
                        format!("{}{}{}", t.topic_name, state.leader_epoch, if state.is_new { "new" } else { "" })
                    };
                    format!("lead {}", r.topic_states.iter().map(of).collect::<Vec<_>>().join(" "))
                }
                ControlRequest::UpdateMetadata(r) => {
                    let of = |t: &crate::protocol::messages::update_metadata_request::UpdateMetadataTopicState| {
                        format!("{}{}", t.topic_name, t.partition_states[0].leader_epoch)
                    };
                    format!("tell {}", r.topic_states.iter().map(of).collect::<Vec<_>>().join(" "))
                }
                ControlRequest::StopReplica(r) => {
                    let of = |t: &crate::protocol::messages::stop_replica_request::StopReplicaTopicState| {
                        format!("{}{}", t.topic_name, if t.partition_states[0].delete_partition { "del" } else { "" })
                    };
                    format!("stop {}", r.topic_states.iter().map(of).collect::<Vec<_>>().join(" "))
                }
            })
            .collect()
    }

    #[test]
    fn any_number_of_elections_waits_in_four_requests() {
        let elections = (0..100).map(|epoch| led(epoch, "t", epoch == 50)).collect();
        assert_eq!(drained(elections), ["lead t0", "tell t0", "lead t99new", "tell t99"]);
    }

    #[test]
    fn partitions_of_several_events_add_up() {
        let events = vec![led(1, "t", false), led(2, "u", false), led(3, "t", false)];
        assert_eq!(drained(events), ["lead t1", "tell t1", "lead u2 t3", "tell u2 t3"]);
    }

    #[test]
    fn no_client_hears_of_a_leader_before_it_leads() {
        let context = at_epoch(0);
        let brokers = step(&context, |batch| batch.update_metadata(&context, &[BrokerId(1)], &[]));
        let requests = vec![brokers, led(0, "t", true)];
        assert_eq!(drained(requests), ["tell ", "lead t0new", "tell t0"]);
    }

    #[test]
    fn brokers_are_told_of_before_any_leader_among_them() {
        let mut backlog = Backlog::default();
        let mut push = |requests: Vec<ControlRequest>| requests.into_iter().for_each(|request| backlog.push(request));
        push(led(1, "t", false));
        push(led(2, "t", false));
        let more = among(&[1, 2, 3], 3);
        push(step(&more, |batch| batch.leader_and_isr(&more, &ids(&[1]), &tp("t", 0), false)));
        let known: Vec<usize> = std::iter::from_fn(|| backlog.pop())
            .filter_map(|request| match request {
                ControlRequest::UpdateMetadata(request) => Some(request.live_brokers.len()),
                _ => None,
            })
            .collect();
        assert_eq!(known, [3, 3]);
    }

    #[test]
    fn a_partition_that_is_stopped_and_led_again_is_so_in_that_order() {
        let requests = vec![led(1, "t", false), stopped("t", true), led(2, "t", true)];
        assert_eq!(drained(requests), ["lead t1", "tell t1", "stop tdel", "lead t2new", "tell t2"]);
        let requests = vec![stopped("t", true), led(2, "t", true), stopped("t", false)];
        assert_eq!(drained(requests), ["stop tdel", "lead t2new", "tell t2", "stop t"]);
    }

    #[test]
    fn stops_merge_and_delete_sticks() {
        let requests = vec![stopped("t", false), stopped("u", false), stopped("t", true), stopped("t", false)];
        assert_eq!(drained(requests), ["stop tdel u"]);
    }
}
