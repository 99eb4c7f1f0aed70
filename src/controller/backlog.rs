//! Owns what waits for one broker, merged so that a broker that is slow or away costs memory by partitions and not by
//! events. Pure. Kafka's queue is unbounded.
//!
//! What merges where is bounded by what a broker does with it:
//! * UpdateMetadata goes into the one that waits already, the later word winning: news may come earlier.
//! * LeaderAndIsr goes into the last one, unless an UpdateMetadata waits behind that: a broker does not follow a leader
//!   that it has not heard of. "New" sticks.
//! * LeaderAndIsr and StopReplica of one partition keep their order. "Delete" sticks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::batch::ControlRequest;

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
        let at = self.requests.iter().rposition(|waiting| is_same_kind(waiting, &request));
        let at = at.filter(|at| self.requests.range(at + 1..).all(|behind| may_overtake(&request, behind)));
        match at.and_then(|at| self.requests.get_mut(at)) {
            Some(waiting) => absorb(waiting, request),
            None => self.requests.push_back(request),
        }
    }
}

fn is_same_kind(one: &ControlRequest, other: &ControlRequest) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// Whether `request` may go out before `waiting`, which is of another kind.
fn may_overtake(request: &ControlRequest, waiting: &ControlRequest) -> bool {
    use ControlRequest::{LeaderAndIsr, StopReplica, UpdateMetadata};
    match (request, waiting) {
        (UpdateMetadata(_), _) | (StopReplica(_), UpdateMetadata(_)) => true,
        (LeaderAndIsr(_), UpdateMetadata(_)) => false,
        _ => ordered_partitions(request).is_disjoint(&ordered_partitions(waiting)),
    }
}

/// The partitions that a broker is told to do something about.
fn ordered_partitions(request: &ControlRequest) -> BTreeSet<(&str, i32)> {
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
        ControlRequest::UpdateMetadata(_) => BTreeSet::new(),
    }
}

/// Takes a later request of the same kind into one that waits. Both are of one term and one broker epoch: another one
/// comes with a backlog of its own.
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
            waiting.live_brokers = later.live_brokers;
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
        // Only requests of one kind meet here.
        _ => {}
    }
}

/// Puts each later item over the waiting one of its key, or behind all.
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
        let mut context = context(&[1, 2], &[("t", 0, &[1, 2]), ("u", 0, &[1, 2])]);
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

    /// What broker 1 gets of a step of the controller.
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
    fn any_number_of_elections_waits_in_three_requests() {
        let elections = (0..100).map(|epoch| led(epoch, "t", epoch == 50)).collect();
        assert_eq!(drained(elections), ["lead t0", "tell t99", "lead t99new"]);
    }

    #[test]
    fn partitions_of_several_events_add_up() {
        assert_eq!(drained(vec![led(1, "t", false), led(2, "u", false)]), ["lead t1", "tell t1 u2", "lead u2"]);
    }

    #[test]
    fn a_partition_that_is_stopped_and_led_again_is_so_in_that_order() {
        let requests = vec![led(1, "t", false), stopped("t", true), led(2, "t", true)];
        assert_eq!(drained(requests), ["lead t1", "tell t2", "stop tdel", "lead t2new"]);
        let requests = vec![stopped("t", true), led(2, "t", true), stopped("t", false)];
        assert_eq!(drained(requests), ["stop tdel", "lead t2new", "tell t2", "stop t"]);
    }

    #[test]
    fn stops_merge_and_delete_sticks() {
        let requests = vec![stopped("t", false), stopped("u", false), stopped("t", true), stopped("t", false)];
        assert_eq!(drained(requests), ["stop tdel u"]);
    }
}
