//! Owns the keys that may be set per listener, as `listener.name.<name>.<key>`, with an effect in this broker.

use super::{NO_SECURITY, keys};

keys! {
    /// The settings of one listener: its own value where it is set, else the broker's.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ListenerConfig {}

    "max.connection.creation.rate" Int = "2147483647", AtLeast(0.0), Medium, ClusterWide, of_listener(),
        no_effect("the rate of new connections is not limited yet") => max_connection_creation_rate:
        "New connections per second; also per listener prefix; acceptor blocks beyond it.";
    "max.connections" Int = "2147483647", AtLeast(0.0), Medium, ClusterWide, of_listener() => max_connections:
        "Open connections limit, broker-wide or per listener prefix.";
    "num.network.threads" Int = "3", AtLeast(1.0), High, ClusterWide, of_listener(), thread_count(),
        no_effect("connections are served by the threads of num.io.threads") => num_network_threads:
        "Network processors per listener; listener prefix allowed.";
    "sasl.enabled.mechanisms" List = "GSSAPI", Any, Medium, PerBroker, no_effect(NO_SECURITY) => sasl_enabled_mechanisms:
        "Mechanisms offered on SASL listeners.";
}
