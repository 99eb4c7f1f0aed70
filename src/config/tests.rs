//! The starting point of several test modules of this layer.

use super::{BrokerConfig, DynamicConfig, Props, parse};
use std::sync::Arc;

pub(super) fn props(entries: &[(&str, &str)]) -> Props {
    entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The configuration, and the settings of a topic, that Apache had when it wrote `testdata/describe-apache-3.9.1.tsv`.
pub(super) fn state() -> (DynamicConfig, Props) {
    let file = parse::properties(include_bytes!("testdata/describe.properties")).unwrap();
    let mut config = DynamicConfig::new(Arc::new(BrokerConfig::new(&file).unwrap()));
    let cluster_default = props(&[
        ("log.retention.ms", "777777"),
        ("some.custom", "1"),
        ("follower.replication.throttled.rate", "5000"),
        ("log.cleaner.threads", "2"),
    ]);
    let broker = props(&[
        ("log.retention.ms", "888888"),
        ("log.flush.interval.ms", "9999"),
        ("listener.name.int.max.connections", "55"),
        ("log.segment.bytes", "1000000"),
        ("listener.name.int.ssl.keystore.type", "PKCS12"),
        ("leader.replication.throttled.rate", "7000"),
    ]);
    assert_eq!(config.load(&cluster_default, &broker), Vec::<String>::new());
    let own = props(&[
        ("cleanup.policy", "compact"),
        ("leader.replication.throttled.replicas", "0:0,1:1"),
        ("retention.ms", "5000"),
        ("min.cleanable.dirty.ratio", "0.25"),
    ]);
    (config, own)
}
