//! Owns what a zoo.cfg says to a standalone server. Counterpart: `QuorumPeerConfig`, `ServerConfig`.

use crate::common::ids::Millis;
use crate::zookeeper::model::Timing;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use tracing::debug;

/// What a zoo.cfg can say to a standalone server.
#[derive(Debug, Clone)]
pub struct Config {
    /// None keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// `clientPortAddress` and `clientPort`; port 0 takes a free one.
    pub client_address: SocketAddr,
    /// `tickTime`, ms.
    pub tick_ms: i32,
    /// `minSessionTimeout`, ms; 2 ticks if absent.
    pub min_session_timeout_ms: Option<i32>,
    /// `maxSessionTimeout`, ms; 20 ticks if absent.
    pub max_session_timeout_ms: Option<i32>,
    /// `maxClientCnxns`: connections of one address; 0 is no limit.
    pub max_client_cnxns: usize,
    /// `jute.maxbuffer`: bytes of one request.
    pub max_frame: usize,
    /// `4lw.commands.whitelist`; `*` is all.
    pub four_letter_words: Vec<String>,
    /// `forceSync`: whether a reply waits until its write is on disk.
    pub force_sync: bool,
}

/// A zoo.cfg that cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{key}={value}: not a value of this key")]
    Value { key: String, value: String },
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0}: this server does not form an ensemble")]
    Ensemble(String),
}

impl Config {
    /// ZooKeeper's defaults, in memory.
    pub fn new(client_address: SocketAddr) -> Self {
        Self {
            data_dir: None,
            client_address,
            tick_ms: 3000,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            max_client_cnxns: 60,
            max_frame: 0xf_ffff,
            four_letter_words: vec!["srvr".to_owned()],
            force_sync: true,
        }
    }

    /// Reads the text of a zoo.cfg. Keys that a standalone server of ours has no use for are ignored, as `admin.*`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::new(SocketAddr::new(ANY_ADDRESS, 0));
        let (mut port, mut address) = (None, None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let (key, value) = (key.trim(), value.trim());
            let refused = || ConfigError::Value { key: key.to_owned(), value: value.to_owned() };
            match key {
                "dataDir" if !value.is_empty() => config.data_dir = Some(PathBuf::from(value)),
                "clientPort" => port = Some(value.parse().map_err(|_| refused())?),
                "clientPortAddress" if value == "localhost" => address = Some(IpAddr::from([127, 0, 0, 1])),
                "clientPortAddress" => address = Some(value.parse().map_err(|_| refused())?),
                "tickTime" => config.tick_ms = positive(value).ok_or_else(refused)?,
                "minSessionTimeout" => config.min_session_timeout_ms = Some(positive(value).ok_or_else(refused)?),
                "maxSessionTimeout" => config.max_session_timeout_ms = Some(positive(value).ok_or_else(refused)?),
                "maxClientCnxns" => config.max_client_cnxns = value.parse().map_err(|_| refused())?,
                "jute.maxbuffer" => config.max_frame = positive(value).ok_or_else(refused)? as usize,
                "4lw.commands.whitelist" => {
                    config.four_letter_words = value.split(',').map(|word| word.trim().to_owned()).collect();
                }
                "forceSync" => config.force_sync = value != "no",
                _ if key.starts_with("server.") => return Err(ConfigError::Ensemble(key.to_owned())),
                _ => debug!(key, "ignored"),
            }
        }
        if config.data_dir.is_none() {
            return Err(ConfigError::Missing("dataDir"));
        }
        let port = port.ok_or(ConfigError::Missing("clientPort"))?;
        config.client_address = SocketAddr::new(address.unwrap_or(ANY_ADDRESS), port);
        Ok(config)
    }

    pub(super) fn timing(&self) -> Timing {
        let min_timeout = self.min_session_timeout_ms.unwrap_or_else(|| self.tick_ms.saturating_mul(2));
        let max_timeout = self.max_session_timeout_ms.unwrap_or_else(|| self.tick_ms.saturating_mul(20));
        Timing { tick: Millis::from(self.tick_ms), min_timeout, max_timeout: max_timeout.max(min_timeout) }
    }

    pub(super) fn allows(&self, word: &str) -> bool {
        self.four_letter_words.iter().any(|allowed| allowed == "*" || allowed == word)
    }
}

const ANY_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

fn positive(value: &str) -> Option<i32> {
    value.parse().ok().filter(|n| *n > 0)
}
