//! Owns the keys of the ZooKeeper client.

use super::rows;

rows! {
    "zookeeper.clientCnxnSocket" String = null, Any, Medium, ReadOnly: "Netty socket class needed for TLS to ZK.";
    "zookeeper.connect" String = null, Any, High, ReadOnly: "ZK hosts and optional chroot; required in ZK mode.";
    "zookeeper.connection.timeout.ms" Int = null, Any, High, ReadOnly:
        "Wait for the first ZK connection; null uses session timeout.";
    "zookeeper.max.in.flight.requests" Int = "10", AtLeast(1.0), High, ReadOnly:
        "Unanswered requests a ZK client keeps pipelined.";
    "zookeeper.session.timeout.ms" Int = "18000", Any, High, ReadOnly:
        "ZK session timeout; its loss drops the broker's ephemeral node.";
    "zookeeper.set.acl" Boolean = "false", Any, High, ReadOnly: "Create ZK nodes with restrictive ACLs.";
    "zookeeper.ssl.cipher.suites" List = null, Any, Low, ReadOnly: "Cipher suites for ZK TLS.";
    "zookeeper.ssl.client.enable" Boolean = "false", Any, Medium, ReadOnly: "Use TLS towards ZK.";
    "zookeeper.ssl.crl.enable" Boolean = "false", Any, Low, ReadOnly: "Check CRLs on ZK TLS.";
    "zookeeper.ssl.enabled.protocols" List = null, Any, Low, ReadOnly: "TLS versions towards ZK.";
    "zookeeper.ssl.endpoint.identification.algorithm" String = "HTTPS", Any, Low, ReadOnly:
        "Host name check for ZK TLS; empty disables.";
    "zookeeper.ssl.keystore.location" String = null, Any, Medium, ReadOnly: "Client key store for ZK TLS.";
    "zookeeper.ssl.keystore.password" Password = null, Any, Medium, ReadOnly: "Its password.";
    "zookeeper.ssl.keystore.type" String = null, Any, Medium, ReadOnly: "Its type; null detects by extension.";
    "zookeeper.ssl.ocsp.enable" Boolean = "false", Any, Low, ReadOnly: "Check OCSP on ZK TLS.";
    "zookeeper.ssl.protocol" String = "TLSv1.2", Any, Low, ReadOnly: "SSLContext protocol for ZK TLS.";
    "zookeeper.ssl.truststore.location" String = null, Any, Medium, ReadOnly: "Trust store for ZK TLS.";
    "zookeeper.ssl.truststore.password" Password = null, Any, Medium, ReadOnly: "Its password.";
    "zookeeper.ssl.truststore.type" String = null, Any, Medium, ReadOnly: "Its type; null detects by extension.";
}
