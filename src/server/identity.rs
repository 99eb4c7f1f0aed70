//! Owns who this broker is: the agreement of `broker.id`, `meta.properties` in every log directory, and `/cluster/id`.
//! Kafka: `BrokerMetadataCheckpoint`, `MetaPropertiesEnsemble.verify`, `KafkaServer.getOrGenerateBrokerId`. Pure.

use crate::common::BrokerId;
use crate::log::checkpoint::MetaProperties;
use std::path::{Path, PathBuf};

/// The `meta.properties` of one log directory; None where the directory is new.
pub(super) type DirMeta = (PathBuf, Option<MetaProperties>);

/// Why the broker must not start here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "The Cluster ID {ours} doesn't match stored clusterId {stored} in {}: this broker is trying to join the wrong \
         cluster. The znode /cluster/id under zookeeper.connect says {ours}.",
        dir.display()
    )]
    OtherCluster { ours: String, stored: String, dir: PathBuf },
    #[error(
        "The znode /cluster/id under zookeeper.connect is missing, but {} is of cluster {stored}: ZooKeeper came back empty, or \
         zookeeper.connect leads elsewhere. Restore ZooKeeper's data; to begin anew with these logs, create the znode as \
         {{\"version\":\"1\",\"id\":\"{stored}\"}}.",
        dir.display()
    )]
    ClusterLost { stored: String, dir: PathBuf },
    #[error(
        "Configured broker.id {configured} doesn't match stored broker.id {stored} in {}. If you moved your data, make \
         sure your configured broker.id matches. If you intend to create a new broker, you should remove all data in your \
         data directories (log.dirs).",
        dir.display()
    )]
    OtherBroker { configured: BrokerId, stored: BrokerId, dir: PathBuf },
    #[error("The broker.id of the log directories differs: {first} in {}, {second} in {}", first_dir.display(), second_dir.display())]
    DirsDisagree { first: BrokerId, first_dir: PathBuf, second: BrokerId, second_dir: PathBuf },
    #[error(
        "broker.id is to be generated, and {} cannot be read: it may know the id that this broker has. Set broker.id, or \
         take the directory out of log.dirs.",
        dir.display()
    )]
    MayHaveId { dir: PathBuf },
    #[error("{} has version {version} of meta.properties, which is not that of a ZooKeeper broker", dir.display())]
    NotZooKeeper { version: i32, dir: PathBuf },
}

/// Stops a broker that has been in a cluster when the ensemble has no cluster id. Kafka's broker generates a new id
/// first, which locks out every other broker of its cluster.
pub(super) fn check_not_lost(cluster_id: Option<&str>, dirs: &[DirMeta]) -> Result<(), IdentityError> {
    let stored = dirs.iter().find_map(|(dir, meta)| Some((dir, meta.as_ref()?.cluster_id.clone()?)));
    match (cluster_id, stored) {
        (None, Some((dir, stored))) => Err(IdentityError::ClusterLost { stored, dir: dir.clone() }),
        _ => Ok(()),
    }
}

/// The id that this broker has to take, or None when one has to be generated. Generation is refused while a directory
/// is unreadable: Kafka starts then, with a new id.
pub(super) fn verify(
    configured: Option<BrokerId>,
    cluster_id: &str,
    dirs: &[DirMeta],
    unreadable: Option<&Path>,
) -> Result<Option<BrokerId>, IdentityError> {
    let mut stored_id: Option<(BrokerId, &Path)> = None;
    for (dir, meta) in dirs {
        let Some(meta) = meta else { continue };
        if meta.version != 0 {
            return Err(IdentityError::NotZooKeeper { version: meta.version, dir: dir.clone() });
        }
        if let Some(stored) = meta.cluster_id.as_ref().filter(|stored| *stored != cluster_id) {
            let ours = cluster_id.to_owned();
            return Err(IdentityError::OtherCluster { ours, stored: stored.clone(), dir: dir.clone() });
        }
        let Some(stored) = meta.broker_id else { continue };
        match (configured, stored_id) {
            (Some(configured), _) if configured != stored => {
                return Err(IdentityError::OtherBroker { configured, stored, dir: dir.clone() });
            }
            (_, Some((first, first_dir))) if first != stored => {
                return Err(IdentityError::DirsDisagree {
                    first,
                    first_dir: first_dir.to_owned(),
                    second: stored,
                    second_dir: dir.clone(),
                });
            }
            _ => stored_id = Some((stored, dir)),
        }
    }
    match (configured.or_else(|| stored_id.map(|(id, _)| id)), unreadable) {
        (None, Some(dir)) => Err(IdentityError::MayHaveId { dir: dir.to_owned() }),
        (id, _) => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(broker_id: i32, cluster_id: &str) -> Option<MetaProperties> {
        Some(MetaProperties {
            version: 0,
            broker_id: Some(BrokerId(broker_id)),
            cluster_id: Some(cluster_id.to_owned()),
            directory_id: None,
        })
    }

    fn dirs(metas: [Option<MetaProperties>; 2]) -> Vec<DirMeta> {
        metas.into_iter().enumerate().map(|(i, meta)| (PathBuf::from(format!("/d{i}")), meta)).collect()
    }

    #[test]
    fn the_configured_id_wins_and_a_stored_one_replaces_a_missing_one() {
        let id = |n| Ok(Some(BrokerId(n)));
        let verify = |configured, cluster_id, dirs: &[DirMeta]| verify(configured, cluster_id, dirs, None);
        assert_eq!(verify(Some(BrokerId(1)), "c", &dirs([None, None])), id(1));
        assert_eq!(verify(Some(BrokerId(1)), "c", &dirs([meta(1, "c"), None])), id(1));
        assert_eq!(verify(None, "c", &dirs([None, meta(1_001, "c")])), id(1_001));
        assert_eq!(verify(None, "c", &dirs([None, None])), Ok(None));
    }

    #[test]
    fn a_broker_of_a_cluster_does_not_begin_another() {
        assert_eq!(check_not_lost(None, &dirs([None, None])), Ok(()));
        assert_eq!(check_not_lost(Some("x"), &dirs([meta(1, "c"), None])), Ok(()));
        let refused = check_not_lost(None, &dirs([None, meta(1, "c")])).expect_err("refused").to_string();
        assert!(
            refused.contains("/d1 is of cluster c") && refused.contains(r#"{"version":"1","id":"c"}"#),
            "{refused}"
        );
    }

    #[test]
    fn no_id_is_generated_while_a_directory_that_may_know_it_is_unreadable() {
        let bad = Some(Path::new("/bad"));
        let refused = verify(None, "c", &dirs([None, None]), bad);
        assert_eq!(refused, Err(IdentityError::MayHaveId { dir: PathBuf::from("/bad") }));
        assert_eq!(verify(Some(BrokerId(1)), "c", &dirs([None, None]), bad), Ok(Some(BrokerId(1))));
        assert_eq!(verify(None, "c", &dirs([meta(7, "c"), None]), bad), Ok(Some(BrokerId(7))));
    }

    #[test]
    fn disagreement_is_refused_with_both_sides_named() {
        let text = |configured: Option<i32>, metas| {
            verify(configured.map(BrokerId), "c", &dirs(metas), None).expect_err("refused").to_string()
        };
        let other_cluster = text(Some(1), [meta(1, "x"), None]);
        assert!(
            other_cluster.contains(" c ") && other_cluster.contains(" x ") && other_cluster.contains("/cluster/id")
        );
        assert!(
            text(Some(2), [meta(1, "c"), None]).starts_with("Configured broker.id 2 doesn't match stored broker.id 1")
        );
        assert!(text(None, [meta(1, "c"), meta(2, "c")]).contains("1 in /d0, 2 in /d1"));
        let kraft = MetaProperties { version: 1, broker_id: None, cluster_id: None, directory_id: None };
        assert!(text(None, [Some(kraft), None]).contains("version 1"));
    }
}
