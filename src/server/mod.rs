//! Owns the broker: one file an API, dispatch, and its life from start to stop. Kafka: `KafkaServer`, `KafkaApis`.

pub mod fetch_session;
