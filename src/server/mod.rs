//! Owns the broker: one file per API, dispatch, start and stop. Kafka: `KafkaServer`, `KafkaApis`.

mod apis;
pub mod broker;
mod codes;
pub mod context;
mod controlled_shutdown;
pub mod dispatch;
pub mod dynamic_config;
mod features;
pub mod fetch_session;
mod identity;
mod jobs;
pub mod runtimes;
#[cfg(test)]
mod tests;
mod topic_admin;
mod transactional;
