//! Owns the epoch of the finalised features: the version of `/feature`, which ApiVersions gives. Kafka:
//! `FinalizedFeatureChangeListener`, the features of `ZkMetadataCache`.
//! Absent on purpose: the features themselves. Brokers of a ZooKeeper cluster support none, so none can be finalised.

use super::context::Broker;
use crate::zk::client::{Client, Error};
use crate::zk::data::cluster::FeatureNode;
use crate::zk::paths;
use crate::zk::watch::Watcher;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The epoch while nothing is finalised.
pub(super) const UNKNOWN_EPOCH: i64 = -1;

/// The pause before ZooKeeper is read again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The current epoch; [`UNKNOWN_EPOCH`] where the node is missing, unreadable or disabled. Arms `watch`, if given.
pub(super) async fn read_epoch(zk: &Client, watch: Option<&Watcher>) -> Result<i64, Error> {
    // Exists, not get: its watch also reports the creation of a missing node.
    if zk.exists_watched(paths::FEATURE, watch).await?.is_none() {
        return Ok(UNKNOWN_EPOCH);
    }
    let node = match zk.get(paths::FEATURE).await {
        Ok(node) => node,
        Err(Error::NoNode) => return Ok(UNKNOWN_EPOCH),
        Err(error) => return Err(error),
    };
    Ok(match FeatureNode::decode(node.data.as_deref()) {
        Ok(feature) if feature.enabled => node.stat.version.into(),
        Ok(_) => UNKNOWN_EPOCH,
        Err(error) => {
            error!(%error, "feature node not read");
            UNKNOWN_EPOCH
        }
    })
}

/// Follows `/feature` until the broker stops.
pub(super) async fn follow(broker: Arc<Broker>, stop: CancellationToken) {
    let watcher = broker.zk.watcher();
    let mut session = broker.zk.session();
    loop {
        let retry = match read_epoch(&broker.zk, Some(&watcher)).await {
            Ok(epoch) => {
                let known = broker.features_epoch.swap(epoch, Ordering::Relaxed);
                if known != epoch {
                    info!(epoch, known, "finalized features changed");
                }
                Duration::MAX
            }
            Err(error) => {
                warn!(%error, "feature node not read");
                RETRY_AFTER
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = watcher.next() => {}
            // Watches end with their session.
            ended = session.changed() => if ended.is_err() { return },
            () = tokio::time::sleep(retry) => {}
        }
    }
}
