//! Owns the answers to four-letter words. Counterpart: `org.apache.zookeeper.server.command`.

use super::connection::Connection;
use super::owner::{Owner, Stats};
use crate::zookeeper::model::SessionId;
use std::sync::Arc;

/// The version that `srvr` and its kin report: clients choose features by it.
const VERSION: &str = concat!("3.8.4-zurau-", env!("CARGO_PKG_VERSION"));

impl Owner {
    pub(super) fn four_letter_word(&self, word: &[u8; 4]) -> String {
        let word = String::from_utf8_lossy(word);
        if !self.config.allows(&word) {
            return format!("{word} is not executed because it is not in the whitelist.\n");
        }
        match &*word {
            "ruok" => "imok".to_owned(),
            "isro" => "rw".to_owned(),
            "srvr" => format!("Zookeeper version: {VERSION}\n{}", self.summary()),
            "stat" => format!("Zookeeper version: {VERSION}\nClients:\n{}\n{}", self.clients(), self.summary()),
            "cons" => format!("{}\n", self.clients()),
            "conf" => self.configuration(),
            "mntr" => self.monitor(),
            _ => format!(
                "Environment:\nzookeeper.version={VERSION}\nos.name={}\nos.arch={}\n",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        }
    }

    fn summary(&self) -> String {
        let Stats { received, sent, latency_min, latency_max, .. } = self.stats;
        format!(
            "Latency min/avg/max: {latency_min}/{:.4}/{latency_max}\nReceived: {received}\nSent: {sent}\n\
             Connections: {}\nOutstanding: 0\nZxid: {:#x}\nMode: standalone\nNode count: {}\n",
            self.stats.latency_avg(),
            self.connections.len(),
            self.model.last_zxid(),
            self.znode_count(),
        )
    }

    /// ZooKeeper counts the root twice.
    fn znode_count(&self) -> usize {
        self.model.tree().count() + 1
    }

    fn clients(&self) -> String {
        let line = |(connection, session): &(Arc<Connection>, SessionId)| {
            format!(" /{}:{}[1](sid={session:#x})\n", connection.address, connection.port)
        };
        self.connections.values().map(line).collect()
    }

    fn configuration(&self) -> String {
        let (config, timing) = (&self.config, self.config.timing());
        let data_dir = config.data_dir.as_ref().map_or_else(String::new, |dir| dir.display().to_string());
        format!(
            "clientPort={}\ndataDir={data_dir}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\n\
             maxSessionTimeout={}\nserverId=0\n",
            config.client_address.port(),
            config.tick_ms,
            config.max_client_cnxns,
            timing.min_timeout,
            timing.max_timeout,
        )
    }

    fn monitor(&self) -> String {
        let tree = self.model.tree();
        let data_size: usize =
            tree.nodes().map(|(path, node)| path.len() + node.data.as_ref().map_or(0, |d| d.len())).sum();
        let values = [
            ("version", VERSION.to_owned()),
            ("server_state", "standalone".to_owned()),
            ("avg_latency", format!("{:.4}", self.stats.latency_avg())),
            ("max_latency", self.stats.latency_max.to_string()),
            ("min_latency", self.stats.latency_min.to_string()),
            ("packets_received", self.stats.received.to_string()),
            ("packets_sent", self.stats.sent.to_string()),
            ("num_alive_connections", self.connections.len().to_string()),
            ("outstanding_requests", "0".to_owned()),
            ("znode_count", self.znode_count().to_string()),
            ("watch_count", self.model.watch_count().to_string()),
            ("ephemerals_count", tree.ephemerals_count().to_string()),
            ("approximate_data_size", data_size.to_string()),
            ("global_sessions", self.model.sessions().len().to_string()),
            ("uptime", self.clock.ticks().to_string()),
        ];
        values.iter().map(|(name, value)| format!("zk_{name}\t{value}\n")).collect()
    }
}
