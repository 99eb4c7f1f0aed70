//! What a broker makes of its controller's word, on real logs in two directories.

use super::*;
use crate::cluster::image::MetadataImage;
use crate::common::BrokerEpoch;
use crate::config::{BrokerConfig, LogConfig, Props};
use crate::disk::fault::testing::inject;
use crate::log::producer_state::ProducerStateConfig;
use crate::log::{LogManager, LogManagerOptions};
use crate::replica::{NotHosted, ReplicaManager, ReplicaSettings};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

const CONTROLLER: BrokerId = BrokerId(9);

struct Rig {
    dirs: [tempfile::TempDir; 2],
    replicas: Arc<ReplicaManager>,
}

impl Rig {
    fn new() -> Self {
        Self::on([tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()])
    }

    fn on(dirs: [tempfile::TempDir; 2]) -> Self {
        let config = Arc::new(LogConfig::default());
        let (logs, _failures) = LogManager::open(LogManagerOptions {
            log_dirs: dirs.iter().map(|dir| dir.path().to_owned()).collect(),
            recovery_threads_per_dir: 1,
            producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false },
            default_config: Arc::clone(&config),
            max_open_files: 16,
            disk_reserve_bytes: 0,
        })
        .unwrap();
        logs.load_logs(&HashMap::new(), 0).unwrap();
        let mut props = Props::new();
        props.insert("zookeeper.connect".into(), "localhost".into());
        let settings = ReplicaSettings::new(&BrokerConfig::new(&props).unwrap(), BrokerId(1));
        let image = Arc::new(arc_swap::ArcSwap::from_pointee(MetadataImage::default()));
        let replicas =
            ReplicaManager::new(settings, Arc::new(logs), image, config, HashMap::new(), || BrokerEpoch(1), Vec::new());
        Self { dirs, replicas }
    }

    /// The same directories after a stop.
    fn restarted(self) -> Self {
        let Self { dirs, replicas } = self;
        replicas.logs().shutdown(0);
        drop(replicas);
        Self::on(dirs)
    }

    fn obey(&self, wanted: LeaderAndIsr) -> Result<(), LeaderAndIsrError> {
        self.obey_in(1, wanted).unwrap()
    }

    fn obey_in(
        &self,
        controller_epoch: i32,
        wanted: LeaderAndIsr,
    ) -> Result<Result<(), LeaderAndIsrError>, StaleController> {
        let epoch = ControllerEpoch(controller_epoch);
        Ok(self.replicas.states().become_leader_or_follower(CONTROLLER, epoch, &[wanted], 0)?.outcomes[0])
    }

    fn dir_of(&self, tp: &TopicPartition) -> PathBuf {
        self.replicas.logs().log(tp).unwrap().log_dir().path().to_owned()
    }

    fn fail(&self, dir: &Path) {
        let failing = self.replicas.logs().live_dirs().find(|live| live.path() == dir).unwrap();
        failing.fail(crate::disk::DiskError::new("test", dir, std::io::Error::other("x")));
    }

    /// Directories of partitions, in all log directories.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.dirs.iter().flat_map(|dir| crate::disk::subdirectories(dir.path()).unwrap()).collect();
        names.sort();
        names
    }
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn lead(epoch: i32, topic_id: Uuid, is_new: bool) -> LeaderAndIsr {
    let state = LeadershipState {
        leader: BrokerId(1),
        leader_epoch: LeaderEpoch(epoch),
        isr: vec![BrokerId(1), BrokerId(2)],
        replicas: vec![BrokerId(1), BrokerId(2)],
        partition_epoch: epoch,
        controller_epoch: ControllerEpoch(1),
    };
    LeaderAndIsr { topic_partition: tp(), topic_id, state, is_new }
}

#[test]
fn nobody_leads_in_a_directory_that_has_failed_whichever_comes_first() {
    let id = Uuid::random();
    // The failure is known before its news is handled.
    let host = Rig::new();
    assert_eq!(host.obey(lead(0, id, true)), Ok(()));
    let dir = host.dir_of(&tp());
    host.fail(&dir);
    assert_eq!(host.obey(lead(1, id, false)), Err(LeaderAndIsrError::Offline));
    assert_eq!(host.replicas.partition("t", 0).unwrap_err(), NotHosted::Offline);
    assert!(host.replicas.states().on_dir_failure(&dir), "the controller is notified");
    assert_eq!(host.replicas.partition("t", 0).unwrap_err(), NotHosted::Offline);
    // Its news comes beside the controller's word, in any order.
    for _ in 0..200 {
        let host = Rig::new();
        assert_eq!(host.obey(lead(0, id, true)), Ok(()));
        let dir = host.dir_of(&tp());
        let partition = host.replicas.partition("t", 0).unwrap();
        host.fail(&dir);
        std::thread::scope(|scope| {
            scope.spawn(|| host.replicas.states().on_dir_failure(&dir));
            scope.spawn(|| host.obey(lead(1, id, false)));
        });
        assert_eq!(host.replicas.partition("t", 0).unwrap_err(), NotHosted::Offline);
        assert!(!partition.is_leader(), "no holder of it appends");
    }
}

#[test]
fn all_requests_of_a_controller_share_its_epoch() {
    let host = Rig::new();
    let stop = |epoch| host.replicas.states().stop_replicas(CONTROLLER, ControllerEpoch(epoch), &[]).map(drop);
    let metadata = |epoch| host.replicas.states().hear_controller(CONTROLLER, ControllerEpoch(epoch), "UpdateMetadata");
    let stale = |latest| StaleController { latest: ControllerEpoch(latest) };
    assert_eq!(metadata(100), Ok(()));
    assert_eq!(host.obey_in(99, lead(0, Uuid::random(), true)), Err(stale(100)));
    assert_eq!(stop(99), Err(stale(100)));
    assert_eq!(stop(101), Ok(()));
    assert_eq!((metadata(100), metadata(101)), (Err(stale(101)), Ok(())));
    assert_eq!(host.obey_in(102, lead(0, Uuid::random(), true)), Ok(Ok(())));
    assert_eq!((metadata(101), stop(101)), (Err(stale(102)), Err(stale(102))));
}

#[test]
fn an_earlier_topics_log_gives_way_to_a_new_one_and_is_kept() {
    let host = Rig::new();
    let (earlier, id) = (Uuid::random(), Uuid::random());
    assert_eq!(host.obey(lead(3, earlier, true)), Ok(()));
    // Served now: the controller's word on another topic is not about it.
    assert_eq!(host.obey(lead(4, id, true)), Err(LeaderAndIsrError::OtherTopic));
    let host = host.restarted();
    // In sync, and not new: it may be the topic itself under the id that another controller has given it.
    assert_eq!(host.obey(lead(4, id, false)), Err(LeaderAndIsrError::OtherTopic));
    assert_eq!(host.names(), ["t-0"]);
    assert!(host.obey_in(0, lead(0, id, true)).is_err(), "not of an old controller");
    assert_eq!(host.obey(lead(0, id, true)), Ok(()));
    let names = host.names();
    assert!(names.len() == 2 && names[0] == "t-0" && names[1].ends_with("-stray"), "{names:?}");
    let log = host.replicas.partition("t", 0).unwrap().log().unwrap();
    assert_eq!((log.topic_id(), log.log_end_offset()), (Some(id), 0));
    // It stays there: deletion and restarts are about the new one.
    let host = host.restarted();
    assert_eq!(host.obey(lead(1, id, false)), Ok(()));
    let gone = StopReplica { topic_partition: tp(), leader_epoch: LeaderEpoch(-2), delete: true };
    host.replicas.states().stop_replicas(CONTROLLER, ControllerEpoch(1), &[gone]).unwrap();
    for dir in host.replicas.logs().live_dirs() {
        dir.scheduler().run_due(i64::MAX);
    }
    assert_eq!(host.names(), [names[1].clone()]);
    // Not in sync, it copies everything from its leader.
    let host = host.restarted();
    assert_eq!(host.obey(lead(0, id, true)), Ok(()));
    let host = host.restarted();
    let mut follow = lead(5, earlier, false);
    follow.state.isr = vec![BrokerId(2)];
    assert_eq!(host.obey(follow), Ok(()));
    assert_eq!(host.names().iter().filter(|name| name.ends_with("-stray")).count(), 2);
}

#[test]
fn a_directory_that_hangs_holds_up_its_own_partitions_only() {
    let host = Rig::new();
    let of =
        |topic: &str, wanted: LeaderAndIsr| LeaderAndIsr { topic_partition: TopicPartition::new(topic, 0), ..wanted };
    let new = |topic| host.obey(of(topic, lead(0, Uuid::random(), true)));
    let (hangs, hanging) = mpsc::channel();
    let (others_done, others) = mpsc::channel();
    std::thread::scope(|scope| {
        // Goes on when the other end is gone, too.
        let (release, released) = mpsc::channel::<()>();
        let hung = scope.spawn(move || {
            let _faults = inject(move |op| {
                if op.changes() && hangs.send(()).is_ok() {
                    released.recv().unwrap_err();
                }
                None
            });
            new("hung")
        });
        hanging.recv().unwrap();
        scope.spawn(|| {
            assert_eq!(new("healthy"), Ok(()));
            let tp = TopicPartition::new("healthy", 0);
            let target = host.dirs[1].path();
            assert_eq!(host.replicas.alter_log_dir(&tp, target, 0), Ok(()));
            while host.replicas.advance_moves(1, 0).left > 0 {}
            assert_eq!(host.dir_of(&tp), target);
            let gone = StopReplica { topic_partition: tp, leader_epoch: LeaderEpoch(-2), delete: true };
            let stopped = host.replicas.states().stop_replicas(CONTROLLER, ControllerEpoch(1), &[gone]).unwrap();
            assert_eq!(stopped.outcomes, [Ok(())]);
            host.fail(target);
            assert!(host.replicas.states().on_dir_failure(target));
            others_done.send(()).unwrap();
        });
        others.recv_timeout(Duration::from_secs(60)).expect("the others go on");
        assert!(!hung.is_finished());
        drop(release);
        assert_eq!(hung.join().unwrap(), Ok(()));
    });
    assert!(host.replicas.partition("hung", 0).unwrap().is_leader());
}

#[test]
fn a_log_made_in_a_directory_that_failed_meanwhile_is_not_served() {
    let host = Rig::new();
    let dir = host.dirs[0].path().to_owned();
    let failing = host.replicas.logs().live_dirs().find(|live| live.path() == dir).unwrap().clone();
    let replicas = Arc::clone(&host.replicas);
    let mut is_first = true;
    let faults = inject(move |op| {
        // As of another call to the same device, while this one waits for it and comes back in the end.
        if op.changes() && std::mem::take(&mut is_first) {
            failing.fail(crate::disk::DiskError::new("test", failing.path(), std::io::Error::other("x")));
            assert!(replicas.states().on_dir_failure(failing.path()));
        }
        None
    });
    assert_eq!(host.obey(lead(0, Uuid::random(), true)), Err(LeaderAndIsrError::Offline));
    drop(faults);
    assert_eq!(host.replicas.partition("t", 0).unwrap_err(), NotHosted::Offline);
    assert!(host.replicas.logs().log(&tp()).is_none());
}
