//! Owns the cluster's decisions: which broker is the controller, and while we are, which broker leads which partition.
//! Kafka: `kafka.controller`.
//!
//! | file | contents |
//! |---|---|
//! | [`mod@self`] | the actor: election, resignation, sessions |
//! | `failover`, `changes`, `deletion`, `reassignment` | what an active controller does, at its start and at each event |
//! | `term` | moving partitions and replicas between states: read, decide, write, send |
//! | `requests` | requests of brokers and administrators |
//! | `context`, `election`, `isr_updates`, `rebalance`, `restored`, `moves`, `batch`, `backlog`, `partition_state`, `replica_state` | the decisions, pure |
//! | [`channels`] | one ordered channel to each broker |
//! | [`topics`] | creating topics and partitions, on any broker |
//!
//! Every write of a controller to topics succeeds only under its own epoch, so a controller that was superseded
//! unnoticed changes nothing; brokers in turn refuse its requests by their epoch.
//!
//! Errors of producer ids and controlled shutdowns are enums. AlterPartition, elections and reassignments are judged
//! partition by partition, with the codes of their answers: they are requests of another broker or of an administrator,
//! and Kafka's protocol has a code for each refusal.
//!
//! The reasons for unhealthy partitions, which Kafka leaves to the logs of all brokers, are logged every half minute:
//! [`diagnosis`].

mod backlog;
mod batch;
mod changes;
pub mod channels;
mod context;
mod deletion;
pub mod diagnosis;
mod election;
pub mod events;
mod failover;
mod isr_updates;
mod moves;
mod partition_state;
mod reassignment;
mod rebalance;
mod replica_state;
mod requests;
mod restored;
mod term;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod topics;

use crate::util::unless_gone;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use self::batch::ControlRequest;
pub use self::channels::{BrokerChannels, ChannelSettings, TcpChannels};
pub use self::context::LiveBroker;
pub use self::events::{ControlledShutdownError, ProducerIdsError, ReassignmentTargets};
use self::events::{ElectionKind, ElectionResults, Event, Question, ReassignmentResults};
pub use self::term::ControllerSettings;
use self::term::{Term, TermError};
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, TopicPartition};
use crate::protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use crate::util::clock::wall_ms;
use crate::util::task::Group;
use crate::zk::batch::Fence;
use crate::zk::client::{Client, CreateMode, Error, MultiError, Write, Written};
use crate::zk::data::controller::{self as data, ProducerIdBlock};
use crate::zk::data::topic::ReplicaAssignment;
use crate::zk::paths;
use crate::zk::session::Phase;
use crate::zk::startup::{Registrar, StartupError};
use crate::zk::watch::Watcher;

/// The most events that wait for the controller; further senders wait.
const MAILBOX_CAPACITY: usize = 1_024;

/// The first pause before a retry after a transient error.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, after many failures in a row.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(60);

/// This broker's role in the cluster. Kafka: `activeControllerId`, `brokerEpoch` and `epoch` of `KafkaController`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerStatus {
    /// The broker that `/controller` named last.
    pub controller: Option<BrokerId>,
    /// We are the controller, and may create, change and delete topics.
    pub is_active: bool,
    /// The term, while we are active; else 0.
    pub epoch: ControllerEpoch,
    /// Our own registration, which changes with every session.
    pub broker_epoch: BrokerEpoch,
}

/// A handle of the controller for other parts of the broker. A clone is another handle.
#[derive(Clone)]
pub struct ControllerHandle {
    status: watch::Receiver<ControllerStatus>,
    mailbox: mpsc::Sender<Event>,
}

impl ControllerHandle {
    pub fn status(&self) -> ControllerStatus {
        *self.status.borrow()
    }

    pub fn is_active(&self) -> bool {
        self.status().is_active
    }

    /// The generation of our registration, which LeaderAndIsr, UpdateMetadata and StopReplica are checked against.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        self.status().broker_epoch
    }

    /// For callers that wait for a change.
    pub fn watch(&self) -> watch::Receiver<ControllerStatus> {
        self.status.clone()
    }

    /// Sends a request to the controller of this broker. None when it is not the active one, or is no longer when it
    /// should answer: the request may have been carried out or not.
    async fn ask<A>(&self, question: impl FnOnce(oneshot::Sender<A>) -> Question) -> Option<A> {
        let mut status = self.status.clone();
        let term = status.borrow_and_update().epoch;
        if !self.is_active() {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        let answered = async {
            self.mailbox.send(Event::Asked(question(reply))).await.ok()?;
            answer.await.ok()
        };
        tokio::select! {
            biased;
            answer = answered => answer,
            _ = status.wait_for(|status| !status.is_active || status.epoch != term) => None,
        }
    }

    /// Changes ISRs as leaders request it, with the version of the request.
    pub async fn alter_partition(&self, request: AlterPartitionRequest, version: i16) -> AlterPartitionResponse {
        let answer = self.ask(|reply| Question::AlterPartition { request, version, reply }).await;
        answer.unwrap_or_else(|| AlterPartitionResponse {
            error_code: ErrorCode::NotController.wire(),
            ..Default::default()
        })
    }

    /// Allocates a block of producer ids for a broker.
    pub async fn allocate_producer_ids(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<ProducerIdBlock, ProducerIdsError> {
        let answer = self.ask(|reply| Question::AllocateProducerIds { broker, epoch, reply }).await;
        answer.unwrap_or(Err(ProducerIdsError::NotController))
    }

    /// Moves leaderships off a broker that is about to stop. Returns the partitions that it still leads.
    pub async fn controlled_shutdown(
        &self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Vec<TopicPartition>, ControlledShutdownError> {
        let answer = self.ask(|reply| Question::ControlledShutdown { broker, epoch, reply }).await;
        answer.unwrap_or(Err(ControlledShutdownError::NotController))
    }

    /// Elects leaders where needed. Returns the leader, or why there is none, for each of `partitions`.
    pub async fn elect_leaders(&self, partitions: Vec<TopicPartition>, kind: ElectionKind) -> ElectionResults {
        let asked = partitions.clone();
        let answer = self.ask(|reply| Question::ElectLeaders { partitions, kind, reply }).await;
        answer.unwrap_or_else(|| asked.into_iter().map(|tp| (tp, Err((ErrorCode::NotController, None)))).collect())
    }

    /// Moves partitions, or cancels ongoing moves. None when this is not the controller.
    pub async fn alter_reassignments(&self, targets: ReassignmentTargets) -> Option<ReassignmentResults> {
        self.ask(|reply| Question::AlterReassignments { targets, reply }).await
    }

    /// The ongoing moves, among `asked` or all. None when this is not the controller.
    pub async fn list_reassignments(
        &self,
        asked: Option<Vec<TopicPartition>>,
    ) -> Option<BTreeMap<TopicPartition, ReplicaAssignment>> {
        self.ask(|reply| Question::ListReassignments { asked, reply }).await
    }

    /// Sets `unclean.leader.election.enable` for the controller of this broker, active or not.
    pub async fn set_unclean_election_default(&self, allowed: bool) {
        // An ended controller does not need it.
        unless_gone(self.mailbox.send(Event::UncleanElectionDefault(allowed)).await);
    }

    /// Informs the controller of this broker that a topic allows unclean elections.
    pub async fn unclean_election_allowed(&self, topic: &str) {
        if self.is_active() {
            unless_gone(self.mailbox.send(Event::UncleanElectionOfTopic(topic.into())).await);
        }
    }
}

/// Starts the controller of this broker over TCP channels. `registrar` has registered the broker, in the session
/// `generation`, with `broker_epoch`; from now on the controller registers it again after each new session. `image` is what
/// controllers have sent this broker.
#[allow(clippy::too_many_arguments, reason = "each is a part that the controller is made of, given once")]
pub fn start(
    group: &Group,
    zk: Client,
    registrar: Registrar,
    generation: u64,
    broker_epoch: BrokerEpoch,
    settings: ControllerSettings,
    channels: ChannelSettings,
    image: Arc<ArcSwap<MetadataImage>>,
) -> ControllerHandle {
    let inner = group.clone();
    let make_channels = move |mailbox| TcpChannels::new(channels.clone(), inner.clone(), mailbox);
    let stop = group.stop_token().clone();
    let (controller, handle) =
        Controller::new(zk, registrar, generation, broker_epoch, settings, make_channels, image, stop);
    group.spawn("controller", controller.run());
    handle
}

struct Controller<C, F> {
    settings: Arc<ControllerSettings>,
    /// The client of the session of `generation`.
    zk: Client,
    /// The client of any session.
    any_session: Client,
    registrar: Registrar,
    generation: u64,
    /// Watches `/controller`.
    watcher: Watcher,
    status: watch::Sender<ControllerStatus>,
    mailbox: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    make_channels: F,
    /// What controllers have sent this broker.
    image: Arc<ArcSwap<MetadataImage>>,
    /// The current `unclean.leader.election.enable`.
    unclean_default: bool,
    term: Option<Term<C>>,
    /// When to read `/controller` again, after that or a term failed. Until then other brokers may be elected.
    elect_at: Option<Instant>,
    retry_pause: Duration,
    stop: CancellationToken,
}

/// How long the resignation in ZooKeeper may take at the stop.
const RESIGN_WITHIN: Duration = Duration::from_secs(1);

impl<C: BrokerChannels, F: FnMut(mpsc::Sender<Event>) -> C> Controller<C, F> {
    #[allow(clippy::too_many_arguments, reason = "each is a part that the controller is made of, given once")]
    fn new(
        any_session: Client,
        registrar: Registrar,
        generation: u64,
        broker_epoch: BrokerEpoch,
        settings: ControllerSettings,
        make_channels: F,
        image: Arc<ArcSwap<MetadataImage>>,
        stop: CancellationToken,
    ) -> (Self, ControllerHandle) {
        let (mailbox, events) = mpsc::channel(MAILBOX_CAPACITY);
        let (status, watched) = watch::channel(ControllerStatus {
            controller: None,
            is_active: false,
            epoch: ControllerEpoch(0),
            broker_epoch,
        });
        let handle = ControllerHandle { status: watched, mailbox: mailbox.clone() };
        let controller = Self {
            unclean_default: settings.unclean_leader_election_enable,
            settings: Arc::new(settings),
            zk: any_session.bound(),
            watcher: any_session.watcher(),
            any_session,
            registrar,
            generation,
            status,
            mailbox,
            events,
            make_channels,
            image,
            term: None,
            elect_at: None,
            retry_pause: RETRY_PAUSE,
            stop,
        };
        (controller, handle)
    }

    async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.serve() => return,
        }
        // We no longer answer as the controller, and the session continues until the logs are closed.
        match tokio::time::timeout(RESIGN_WITHIN, self.abandon()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(?error, "the controllership ends with the session"),
            Err(_) => debug!("the controllership ends with the session"),
        }
    }

    async fn serve(&mut self) {
        let mut session = self.any_session.session();
        if session.borrow().generation == self.generation {
            let elected = self.elect().await;
            self.settle(elected).await;
        }
        loop {
            // An ended session comes first: everything else belonged to it.
            if session.borrow_and_update().generation != self.generation {
                self.begin_session().await;
                continue;
            }
            let rebalance = async {
                match self.term.as_ref().and_then(|term| term.rebalance_at) {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let diagnosis = async {
                match &self.term {
                    Some(term) => tokio::time::sleep_until(term.diagnosis_at).await,
                    None => std::future::pending().await,
                }
            };
            let election = async {
                match self.elect_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let term_change = async {
                match &self.term {
                    Some(term) => term.watcher.next().await,
                    None => std::future::pending().await,
                }
            };
            let input = tokio::select! {
                biased;
                changed = session.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    continue;
                }
                _ = self.watcher.next() => Input::Election,
                () = election => Input::Election,
                event = term_change => Input::Change(event),
                event = self.events.recv() => match event {
                    Some(event) => Input::Event(event),
                    None => return,
                },
                () = rebalance => Input::Rebalance,
                () = diagnosis => Input::Diagnosis,
            };
            let done = self.apply(input).await;
            self.settle(done).await;
        }
    }

    async fn apply(&mut self, input: Input) -> Result<(), TermError> {
        match input {
            Input::Election => self.elect().await,
            Input::Change(event) => match &mut self.term {
                Some(term) => term.on_change(event).await,
                None => Ok(()),
            },
            Input::Event(event) => self.on_event(event).await,
            Input::Diagnosis => {
                if let Some(term) = &mut self.term {
                    term.log_what_is_wrong();
                }
                // A term that came this far works.
                self.retry_pause = RETRY_PAUSE;
                Ok(())
            }
            Input::Rebalance => match &mut self.term {
                Some(term) => {
                    term.schedule_rebalance(self.settings.leader_imbalance_check_interval);
                    term.rebalance_leaders().await
                }
                None => Ok(()),
            },
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), TermError> {
        if let Event::UncleanElectionDefault(allowed) = &event {
            self.unclean_default = *allowed;
        }
        // Without a term, and so without an answer: the caller finds the reply dropped.
        let Some(term) = &mut self.term else { return Ok(()) };
        match event {
            // Answers to requests of an earlier term are too late.
            Event::Answered { broker, broker_epoch, epoch, answer } if term.context.epoch == epoch => {
                term.on_answer(broker, broker_epoch, answer).await
            }
            Event::Answered { .. } => Ok(()),
            Event::Asked(question) => term.on_question(question).await,
            Event::UncleanElectionDefault(allowed) => term.unclean_default_changed(allowed).await,
            Event::UncleanElectionOfTopic(topic) => term.unclean_allowed_for(&topic).await,
        }
    }

    /// The consequences of a failed event for the role.
    async fn settle(&mut self, done: Result<(), TermError>) {
        match done {
            Ok(()) => {}
            Err(TermError::Moved) => {
                info!("another broker became the controller");
                self.resign();
                self.elect_after(Duration::ZERO);
            }
            // The loop finds the new session.
            Err(TermError::SessionEnd(error)) => {
                info!(%error, "the session of this term ended");
                self.resign();
                let mut session = self.any_session.session();
                let generation = self.generation;
                let settled = |s: &crate::zk::session::Session| {
                    s.generation != generation || matches!(s.phase, Phase::Connected | Phase::Closed)
                };
                if session.wait_for(settled).await.is_ok_and(|s| s.generation == generation) {
                    self.elect_after(Duration::ZERO);
                }
            }
            // In Kafka the event is lost. Here the term ends: the next one, ours or another broker's, reads everything
            // again.
            Err(TermError::Zk(error)) => {
                error!(%error, "controller event failed, leaving the controllership");
                self.resign();
                if let Err(error) = self.abandon().await {
                    // The next election finds the node as it is.
                    debug!(%error, "controllership not left");
                }
                self.elect_after(self.retry_pause);
                self.retry_pause = (2 * self.retry_pause).min(RETRY_PAUSE_MAX);
            }
        }
    }

    fn elect_after(&mut self, pause: Duration) {
        self.elect_at = Some(Instant::now() + pause);
    }

    /// Registers the broker in a new session, and stands for election again.
    async fn begin_session(&mut self) {
        self.resign();
        self.publish(None, None);
        let mut session = self.any_session.session();
        let Ok(current) = session.wait_for(|s| matches!(s.phase, Phase::Connected | Phase::Closed)).await.map(|s| *s)
        else {
            return;
        };
        if current.phase == Phase::Closed {
            // Nothing comes after this; the group's stop ends us.
            std::future::pending::<()>().await;
        }
        self.generation = current.generation;
        self.elect_at = None;
        self.zk = self.any_session.bound();
        self.watcher = self.any_session.watcher();
        match self.registrar.register(wall_ms()).await {
            Ok(epoch) => {
                self.status.send_modify(|status| status.broker_epoch = epoch);
                let elected = self.elect().await;
                self.settle(elected).await;
            }
            Err(StartupError::Zk(error)) if error.is_session_end() => {}
            Err(error) => {
                // Kafka's broker stays unregistered here until it is restarted (KAFKA-14845).
                error!(%error, "cannot register this broker again, trying on");
                tokio::time::sleep(RETRY_PAUSE).await;
                // Any other generation starts over.
                self.generation = u64::MAX;
            }
        }
    }

    fn publish(&self, controller: Option<BrokerId>, term: Option<ControllerEpoch>) {
        self.status.send_if_modified(|status| {
            let epoch = term.unwrap_or(ControllerEpoch(0));
            let next = ControllerStatus { controller, is_active: term.is_some(), epoch, ..*status };
            std::mem::replace(status, next) != next
        });
    }

    fn resign(&mut self) {
        if let Some(term) = self.term.take() {
            info!(epoch = term.context.epoch.0, "resigned as the controller");
        }
        let controller = self.status.borrow().controller.filter(|id| *id != self.settings.us);
        self.publish(controller, None);
    }

    /// Reads `/controller`. If there is none, tries to become the controller; if it names another while we are active,
    /// resigns.
    async fn elect(&mut self) -> Result<(), TermError> {
        let us = self.settings.us;
        // Exists, not get: its watch also reports the creation of a missing node.
        self.zk.exists_watched(paths::CONTROLLER, Some(&self.watcher)).await?;
        let (last, version) = self.raise_epoch().await?;
        if let Some((controller, is_this_session)) = self.read_controller().await? {
            self.elect_at = None;
            // In a restored ensemble the node may name an earlier term of ours.
            let is_fenced = self.term.as_ref().is_some_and(|term| term.fence.version == version);
            if is_fenced && is_this_session {
                return Ok(());
            }
            self.resign();
            // Our own node of an ended session does not count: it is deleted, and then we stand for election.
            self.publish(Some(controller), None);
            if !is_this_session {
                debug!(controller = controller.0, "there is a controller");
                return Ok(());
            }
            // A term of ours that ended early, on a failure: free the place for the others.
            warn!("giving up a controllership that was not taken up");
            return self.abandon().await;
        }
        self.resign();
        self.publish(None, None);
        if self.elect_at.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        self.elect_at = None;
        match self.win(last, version).await? {
            None => Ok(()),
            Some((epoch, fence)) => {
                info!(broker = us.0, epoch = epoch.0, version = fence.version, "elected as the controller");
                self.publish(Some(us), Some(epoch));
                let channels = (self.make_channels)(self.mailbox.clone());
                let mut term = Term::new(Arc::clone(&self.settings), self.zk.clone(), epoch, fence, channels);
                term.unclean_default = self.unclean_default;
                term.fail_over(&self.image.load_full()).await?;
                self.term = Some(term);
                Ok(())
            }
        }
    }

    /// The broker that `/controller` names, and whether our current session owns the node. An unreadable node counts as
    /// another broker's.
    async fn read_controller(&self) -> Result<Option<(BrokerId, bool)>, TermError> {
        let node = match self.zk.get(paths::CONTROLLER).await {
            Ok(node) => node,
            Err(Error::NoNode) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let session = self.zk.session().borrow().id;
        match data::ControllerNode::decode(node.data.as_deref()) {
            Ok(read) => {
                Ok(Some((read.broker, read.broker == self.settings.us && node.stat.ephemeral_owner == session)))
            }
            Err(error) => {
                warn!(%error, "cannot read who is the controller");
                Ok(Some((BrokerId::NONE, false)))
            }
        }
    }

    /// Tries to write ourselves into `/controller` and the next term into `/controller_epoch`, both or neither.
    async fn win(&self, last: ControllerEpoch, version: i32) -> Result<Option<(ControllerEpoch, Fence)>, TermError> {
        let us = self.settings.us;
        let next = ControllerEpoch(last.0 + 1);
        let writes = [
            Write::Create {
                path: paths::CONTROLLER.to_owned(),
                data: Some(data::ControllerNode::encode(us, wall_ms())),
                mode: CreateMode::Ephemeral,
            },
            Write::Set { path: paths::CONTROLLER_EPOCH.to_owned(), data: data::encode_epoch(next), version },
        ];
        match self.zk.multi(&writes).await {
            Ok(written) => match written.last() {
                Some(Written::Set(stat)) => Ok(Some((next, Fence { version: stat.version }))),
                _ => Err(Error::Unreadable.into()),
            },
            Err(MultiError::Operation { error: Error::NodeExists | Error::BadVersion, .. }) => {
                // Also the result of our own success when its answer was lost.
                let ours = self.read_controller().await?.is_some_and(|(_, is_this_session)| is_this_session);
                let (now, version) = self.read_epoch().await?;
                Ok((ours && now == next).then_some((next, Fence { version })))
            }
            Err(error) => Err(Error::from(error).into()),
        }
    }

    async fn read_epoch(&self) -> Result<(ControllerEpoch, i32), TermError> {
        loop {
            match self.zk.get(paths::CONTROLLER_EPOCH).await {
                Ok(node) => {
                    let epoch = data::decode_epoch(node.data.as_deref()).map_err(|error| {
                        error!(%error, "cannot read the controller epoch");
                        TermError::Zk(Error::Unreadable)
                    })?;
                    return Ok((epoch, node.stat.version));
                }
                Err(Error::NoNode) => {
                    let first = data::encode_epoch(ControllerEpoch(0));
                    match self.zk.create(paths::CONTROLLER_EPOCH, Some(&first), CreateMode::Persistent).await {
                        Ok(_) | Err(Error::NodeExists) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last controller epoch and the version of its node, raised to the latest epoch that this broker knows. In an
    /// ensemble that was restored from an older copy the next controller would get an epoch below one that brokers have
    /// seen, and they would refuse it. The copy may contain our session, which then continues: so this is done before
    /// every election, and not once per session. A controller that was elected in between loses its role: its fence
    /// fails. Producer ids that ZooKeeper has lost are skipped. The epoch in the metadata may be one below that in
    /// LeaderAndIsr: the election exceeds it by one.
    async fn raise_epoch(&self) -> Result<(ControllerEpoch, i32), TermError> {
        let heard = self.image.load().controller_epoch;
        loop {
            let (stands, version) = self.read_epoch().await?;
            let Some(heard) = heard.filter(|heard| *heard > stands) else { return Ok((stands, version)) };
            let latest = LatestBlock::read(&self.zk).await?;
            let mut writes =
                vec![Write::Set { path: paths::CONTROLLER_EPOCH.to_owned(), data: data::encode_epoch(heard), version }];
            // An id that is allocated twice is mistaken for its first owner: a batch with a sequence that the first
            // owner has used is acknowledged but not written. If the node is unreadable, no id is allocated.
            if let Ok(block) = &latest.block
                && let Some(next) = ProducerIdBlock::beyond_forgotten(*block, self.settings.us)
            {
                writes.push(latest.followed_by(&next));
            }
            match self.zk.multi(&writes).await {
                Ok(_) => warn!(
                    stood = stands.0,
                    heard = heard.0,
                    "ZooKeeper's controller epoch is below what this broker has heard: it was restored from an older copy. \
                     Raised, for brokers refuse controllers of earlier epochs"
                ),
                // Another broker wrote, or our own write whose answer was lost, or our read was stale.
                Err(MultiError::Operation { error: Error::BadVersion | Error::NodeExists | Error::NoNode, .. }) => {}
                Err(error) => return Err(Error::from(error).into()),
            }
        }
    }

    /// Deletes our `/controller`: the watch starts another election, in which we take part too.
    async fn abandon(&self) -> Result<(), TermError> {
        let node = match self.zk.get(paths::CONTROLLER).await {
            Ok(node) => node,
            Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if node.stat.ephemeral_owner != self.zk.session().borrow().id {
            return Ok(());
        }
        match self.zk.delete(paths::CONTROLLER, node.stat.version).await {
            Ok(()) | Err(Error::NoNode | Error::BadVersion) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The producer ids that were allocated last.
struct LatestBlock {
    block: Result<Option<ProducerIdBlock>, crate::zk::data::Malformed>,
    /// `None`: there is no node, as before the first block of a cluster that no Apache broker has joined.
    version: Option<i32>,
}

impl LatestBlock {
    async fn read(zk: &Client) -> Result<Self, Error> {
        match zk.get(paths::LATEST_PRODUCER_ID_BLOCK).await {
            Ok(node) => {
                let block = ProducerIdBlock::decode(node.data.as_deref());
                Ok(Self { block, version: Some(node.stat.version) })
            }
            Err(Error::NoNode) => Ok(Self { block: Ok(None), version: None }),
            Err(error) => Err(error),
        }
    }

    /// The write that allocates another block after it.
    fn followed_by(&self, next: &ProducerIdBlock) -> Write {
        let (path, data) = (paths::LATEST_PRODUCER_ID_BLOCK.to_owned(), next.encode());
        match self.version {
            Some(version) => Write::Set { path, data, version },
            None => Write::Create { path, data: Some(data), mode: CreateMode::Persistent },
        }
    }
}

/// The actor's next work.
enum Input {
    /// `/controller` changed, or it is time to read it again.
    Election,
    Change(crate::zk::watch::WatchEvent),
    Event(Event),
    /// It is time to check the balance of leaderships.
    Rebalance,
    Diagnosis,
}
