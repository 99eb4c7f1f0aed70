//! Owns the settings of topics, their own over the broker's, and hands them to the logs that are open. Kafka:
//! `TopicConfigHandler`, `LogManager.fetchLogConfig`.

use crate::config::Props;
use crate::config::topic::LogConfig;
use crate::log::LogManager;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::warn;

/// See the module's page.
pub struct TopicConfigs {
    logs: Arc<LogManager>,
    default: ArcSwap<LogConfig>,
    /// Topics with settings of their own.
    own: Mutex<HashMap<Arc<str>, Arc<LogConfig>>>,
}

impl TopicConfigs {
    pub(super) fn new(logs: Arc<LogManager>, default: Arc<LogConfig>, own: HashMap<Arc<str>, Arc<LogConfig>>) -> Self {
        Self { logs, default: ArcSwap::new(default), own: Mutex::new(own) }
    }

    /// The settings of a topic.
    pub fn of(&self, topic: &str) -> Arc<LogConfig> {
        let own = self.own.lock().get(topic).cloned();
        own.unwrap_or_else(|| self.default.load_full())
    }

    /// The topics with settings of their own.
    pub fn topics(&self) -> Vec<Arc<str>> {
        self.own.lock().keys().cloned().collect()
    }

    /// Takes over new settings of a topic. None: it has none of its own any more.
    pub fn set(&self, topic: &str, config: Option<Arc<LogConfig>>) {
        {
            let mut own = self.own.lock();
            match config {
                Some(config) => own.insert(Arc::from(topic), config),
                None => own.remove(topic),
            };
        }
        self.refresh(topic);
    }

    /// Takes over new defaults of the broker, as `config` and as the `defaults` that it came from. Topics with settings of
    /// their own keep those.
    pub fn set_default(&self, config: Arc<LogConfig>, defaults: &Props) {
        {
            let mut topics = self.own.lock();
            for (topic, own) in topics.iter_mut() {
                match LogConfig::resolve(defaults, &own.overridden) {
                    Ok(resolved) => *own = Arc::new(resolved),
                    Err(error) => warn!(%topic, %error, "topic config ignored"),
                }
            }
            self.default.store(config);
        }
        self.logs.take_configs(|_| true, |topic| self.of(topic));
    }

    /// Hands the settings of now to a topic's logs: those with which they were opened may have changed meanwhile. Kafka:
    /// `LogManager.initializingLog`.
    pub(super) fn refresh(&self, topic: &str) {
        self.logs.take_configs(|other| other == topic, |topic| self.of(topic));
    }
}
