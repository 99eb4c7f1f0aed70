//! Owns the keys whose text has a special form, or that have a meaning only together: `config/broker.rs` makes fields
//! of `BrokerConfig` from them.

use super::keys;

keys! {
    pub(in crate::config) struct Forms {}

    "advertised.listeners" String = null, Any, High, PerBroker => advertised_listeners:
        "Endpoints published in ZK and Metadata responses; falls back to listeners; may not contain 0.0.0.0.";
    "broker.id" Int = "-1", Any, High, ReadOnly => broker_id:
        "Node id; -1 asks for generation from ZK; must match meta.properties.";
    "control.plane.listener.name" String = null, Any, High, ReadOnly => control_plane_listener_name:
        "Dedicated listener for controller-to-broker requests with its own handler thread.";
    "controller.listener.names" String = null, Any, High, ReadOnly => controller_listener_names:
        "KRaft controller listeners; must be empty on a ZK broker unless migrating.";
    "early.start.listeners" String = null, Any, High, ReadOnly,
        no_effect("there is no authorizer to wait for") => early_start_listeners:
        "Listeners opened before the authorizer is ready.";
    "inter.broker.listener.name" String = null, Any, Medium, ReadOnly => inter_broker_listener_name:
        "Listener for broker-to-broker traffic; exclusive with security.inter.broker.protocol.";
    "inter.broker.protocol.version" String = "3.9-IV0", MetadataVersion, Medium, ReadOnly
        => inter_broker_protocol_version:
        "Feature gate for inter-broker RPC versions, record format and ZK features; raised last in upgrades.";
    "listener.security.protocol.map" String =
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, Low, PerBroker
        => listener_security_protocol_map:
        "Maps listener names to PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; required for custom names.";
    "listeners" String = "PLAINTEXT://:9092", Any, High, PerBroker => listeners:
        "Bind endpoints NAME://host:port; empty host binds default interface; names and ports unique.";
    "log.dir" String = "/tmp/kafka-logs", Any, High, ReadOnly => log_dir:
        "Single data directory, used when log.dirs is unset.";
    "log.dirs" String = null, Any, High, ReadOnly => log_dirs:
        "Comma list of data directories; new replicas go to the one with fewest.";
    "max.connections.per.ip.overrides" String = "", Any, Medium, ClusterWide => max_connections_per_ip_overrides:
        "Host:count list overriding max.connections.per.ip.";
    "node.id" Int = "-1", Any, High, ReadOnly => node_id:
        "KRaft name of broker.id; if both are set they must be equal.";
    "num.replica.alter.log.dirs.threads" Int = null, Any, High, ReadOnly => num_replica_alter_log_dirs_threads:
        "Threads moving replicas between dirs; null means one per dir.";
    "sasl.mechanism.inter.broker.protocol" String = "GSSAPI", Any, Medium, PerBroker
        => sasl_mechanism_inter_broker_protocol: "SASL mechanism between brokers; must be enabled on that listener.";
    "security.inter.broker.protocol" String =
        "PLAINTEXT",
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]), Medium, ReadOnly
        => security_inter_broker_protocol: "Protocol between brokers when inter.broker.listener.name is unset.";
    "zookeeper.connect" String = null, Any, High, ReadOnly => zookeeper_connect:
        "ZK hosts and optional chroot; required in ZK mode.";
    "zookeeper.connection.timeout.ms" Int = null, Any, High, ReadOnly => zookeeper_connection_timeout_ms:
        "Wait for the first ZK connection; null uses session timeout.";
    "zookeeper.session.timeout.ms" Int = "18000", Any, High, ReadOnly => zookeeper_session_timeout_ms:
        "ZK session timeout; its loss drops the broker's ephemeral node.";
}
