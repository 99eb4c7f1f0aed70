//! Envelope: closes the connection, as every broker that takes no requests of others does. Kafka:
//! `KafkaApis.handleEnvelope`.

use crate::network::Reply;
use crate::protocol::messages::EnvelopeRequest;
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, _: &mut Call, _: EnvelopeRequest) -> Reply {
    Reply::Close
}
