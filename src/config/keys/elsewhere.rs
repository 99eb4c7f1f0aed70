//! Owns the keys that are parsed and checked as Kafka does but have an effect only without ZooKeeper, or with tiered
//! storage.

use super::{KRAFT, MIGRATION, TIERED, keys};

keys! {
    "broker.heartbeat.interval.ms" Int = "2000", Any, Medium, ReadOnly, no_effect(MIGRATION):
        "KRaft broker heartbeat period; used by a ZK broker only while migrating.";
    "broker.session.timeout.ms" Int = "9000", Any, Medium, ReadOnly, no_effect(MIGRATION):
        "KRaft broker session length; used by a ZK broker only while migrating.";
    "controller.quorum.append.linger.ms" Int = "25", Any, Medium, ReadOnly, no_effect(MIGRATION):
        "KRaft raft leader batching delay. Only for a migration away from ZooKeeper.";
    "controller.quorum.bootstrap.servers" List = "", HostPorts, High, ReadOnly, no_effect(MIGRATION):
        "KRaft quorum bootstrap endpoints; needed by a ZK broker only while migrating.";
    "controller.quorum.election.backoff.max.ms" Int = "1000", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft election backoff ceiling. Only for a migration away from ZooKeeper.";
    "controller.quorum.election.timeout.ms" Int = "1000", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft election wait before candidacy. Only for a migration away from ZooKeeper.";
    "controller.quorum.fetch.timeout.ms" Int = "2000", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft follower fetch silence before election. Only for a migration away from ZooKeeper.";
    "controller.quorum.request.timeout.ms" Int = "2000", Any, Medium, ReadOnly, no_effect(MIGRATION):
        "KRaft quorum request timeout. Only for a migration away from ZooKeeper.";
    "controller.quorum.retry.backoff.ms" Int = "20", Any, Low, ReadOnly, no_effect(MIGRATION):
        "KRaft quorum retry pause. Only for a migration away from ZooKeeper.";
    "controller.quorum.voters" List = "", QuorumVoters, High, ReadOnly, no_effect(MIGRATION):
        "KRaft voter map id@host:port; needed by a ZK broker only while migrating.";
    "eligible.leader.replicas.enable" Boolean = "false", Any, High, ReadOnly, no_effect(KRAFT):
        "KRaft eligible-leader-replica feature switch. Without effect on a ZooKeeper broker.";
    "group.consumer.assignors" List =
        "org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor",
        Any, Medium, ReadOnly,
        no_effect(KRAFT): "Server-side assignors of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.consumer.max.size" Int = "2147483647", AtLeast(1.0), Medium, ReadOnly, no_effect(KRAFT):
        "Members allowed in one new-protocol group. Without effect on a ZooKeeper broker.";
    "group.consumer.migration.policy" String =
        "disabled",
        OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly,
        internal(), no_effect(KRAFT):
        "Whether groups may move between the classic and the consumer protocol. Without ZooKeeper only.";
    "group.coordinator.append.linger.ms" Int = "10", AtLeast(0.0), Medium, ReadOnly, no_effect(KRAFT):
        "Write batching delay of the new coordinator. Without effect on a ZooKeeper broker.";
    "group.coordinator.new.enable" Boolean = "false", Any, Medium, ReadOnly, internal(), no_effect(KRAFT):
        "Asks for the newer group coordinator. Without ZooKeeper only.";
    "group.coordinator.threads" Int = "1", AtLeast(1.0), Medium, ReadOnly, no_effect(KRAFT):
        "Event-loop threads of the new coordinator. Without effect on a ZooKeeper broker.";
    "group.share.delivery.count.limit" Int = "5", Between(2.0, 10.0), Medium, ReadOnly, no_effect(KRAFT):
        "Share group delivery attempts (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.enable" Boolean = "false", Any, Medium, ReadOnly, internal(), no_effect(KRAFT):
        "Turns share groups on. Without ZooKeeper only.";
    "group.share.max.groups" Short = "10", Between(1.0, 100.0), Medium, ReadOnly, no_effect(KRAFT):
        "Share groups allowed (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.size" Short = "200", Between(10.0, 1000.0), Medium, ReadOnly, no_effect(KRAFT):
        "Share group member limit (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.partition.max.record.locks" Int = "200", Between(100.0, 10000.0), Medium, ReadOnly, no_effect(KRAFT):
        "Share records in flight per partition (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "initial.broker.registration.timeout.ms" Int = "60000", Any, Medium, ReadOnly, no_effect(MIGRATION):
        "KRaft first-registration timeout; used only while migrating.";
    "log.dir.failure.timeout.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly, no_effect(KRAFT):
        "Wait for the controller to accept an offline directory before the broker stops. Without effect with ZooKeeper.";
    "max.request.partition.size.limit" Int = "2000", AtLeast(1.0), Medium, ReadOnly, no_effect(KRAFT):
        "Partitions in one DescribeTopicPartitions answer, an API that a ZooKeeper broker does not serve.";
    "metadata.log.dir" String = null, Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft metadata log directory; read by a ZK broker only while migrating.";
    "metadata.log.max.record.bytes.between.snapshots" Long = "20971520", AtLeast(1.0), High, ReadOnly,
        no_effect(MIGRATION): "KRaft snapshot trigger by bytes. Only for a migration away from ZooKeeper.";
    "metadata.log.max.snapshot.interval.ms" Long = "3600000", AtLeast(0.0), High, ReadOnly, no_effect(MIGRATION):
        "KRaft snapshot trigger by time. Only for a migration away from ZooKeeper.";
    "metadata.log.segment.bytes" Int = "1073741824", AtLeast(12.0), High, ReadOnly, no_effect(MIGRATION):
        "KRaft metadata segment size. Only for a migration away from ZooKeeper.";
    "metadata.log.segment.min.bytes" Int = "8388608", AtLeast(12.0), High, ReadOnly, internal(), no_effect(KRAFT):
        "Lower bound of metadata.log.segment.bytes, for tests. Without ZooKeeper only.";
    "metadata.log.segment.ms" Long = "604800000", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft metadata segment age. Only for a migration away from ZooKeeper.";
    "metadata.max.idle.interval.ms" Int = "500", AtLeast(0.0), Low, ReadOnly, no_effect(MIGRATION):
        "KRaft no-op record interval. Only for a migration away from ZooKeeper.";
    "metadata.max.retention.bytes" Long = "104857600", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft metadata retention by size. Only for a migration away from ZooKeeper.";
    "metadata.max.retention.ms" Long = "604800000", Any, High, ReadOnly, no_effect(MIGRATION):
        "KRaft metadata retention by time. Only for a migration away from ZooKeeper.";
    "process.roles" List = "", ListOf(&["broker", "controller"]), High, ReadOnly,
        refused("this broker is coordinated by ZooKeeper; leave process.roles unset"):
        "KRaft roles; must stay empty in ZK mode. Without effect on a ZooKeeper broker.";
    "remote.fetch.max.wait.ms" Int = "500", AtLeast(1.0), Medium, ClusterWide, no_effect(TIERED):
        "Tiered storage: longest wait for a remote read. Tiered storage only.";
    "remote.log.index.file.cache.total.size.bytes" Long = "1073741824", AtLeast(1.0), Low, ClusterWide,
        no_effect(TIERED): "Tiered storage: index cache size on disk. Tiered storage only.";
    "remote.log.manager.copier.thread.pool.size" Int = "-1", PoolSize, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: copy threads. Tiered storage only.";
    "remote.log.manager.copy.max.bytes.per.second" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide,
        no_effect(TIERED): "Tiered storage: upload quota. Tiered storage only.";
    "remote.log.manager.copy.quota.window.num" Int = "11", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: upload quota samples. Tiered storage only.";
    "remote.log.manager.copy.quota.window.size.seconds" Int = "1", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: upload quota sample length. Tiered storage only.";
    "remote.log.manager.expiration.thread.pool.size" Int = "-1", PoolSize, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: expiry threads. Tiered storage only.";
    "remote.log.manager.fetch.max.bytes.per.second" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide,
        no_effect(TIERED): "Tiered storage: read quota. Tiered storage only.";
    "remote.log.manager.fetch.quota.window.num" Int = "11", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: read quota samples. Tiered storage only.";
    "remote.log.manager.fetch.quota.window.size.seconds" Int = "1", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: read quota sample length. Tiered storage only.";
    "remote.log.manager.task.interval.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly, no_effect(TIERED):
        "Tiered storage: period of copy and expiry tasks. Tiered storage only.";
    "remote.log.manager.task.retry.backoff.max.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly, internal(),
        no_effect(TIERED): "Longest pause before a failed tiered storage request is tried again, in ms.";
    "remote.log.manager.task.retry.backoff.ms" Long = "500", AtLeast(1.0), Low, ReadOnly, internal(), no_effect(TIERED):
        "First pause before a failed tiered storage request is tried again, in ms.";
    "remote.log.manager.task.retry.jitter" Double = "0.2", Between(0.0, 0.5), Low, ReadOnly, internal(),
        no_effect(TIERED): "Random share, 0 to 0.5, that is added to the pauses of failed tiered storage requests.";
    "remote.log.manager.thread.pool.size" Int = "10", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: task threads. Tiered storage only.";
    "remote.log.metadata.custom.metadata.max.bytes" Int = "128", AtLeast(0.0), Low, ReadOnly, no_effect(TIERED):
        "Tiered storage: limit of plugin metadata. Tiered storage only.";
    "remote.log.metadata.manager.class.name" String =
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
        NonEmpty, Medium, ReadOnly,
        no_effect(TIERED): "Tiered storage: metadata manager class. Tiered storage only.";
    "remote.log.metadata.manager.class.path" String = null, Any, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: its class path. Tiered storage only.";
    "remote.log.metadata.manager.impl.prefix" String = "rlmm.config.", NonEmpty, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: prefix of its settings. Tiered storage only.";
    "remote.log.metadata.manager.listener.name" String = null, NonEmpty, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: listener used by its clients. Tiered storage only.";
    "remote.log.reader.max.pending.tasks" Int = "100", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: queued remote reads. Tiered storage only.";
    "remote.log.reader.threads" Int = "10", AtLeast(1.0), Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: remote reader threads. Tiered storage only.";
    "remote.log.storage.manager.class.name" String = null, NonEmpty, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: storage plugin class. Tiered storage only.";
    "remote.log.storage.manager.class.path" String = null, Any, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: its class path. Tiered storage only.";
    "remote.log.storage.manager.impl.prefix" String = "rsm.config.", NonEmpty, Medium, ReadOnly, no_effect(TIERED):
        "Tiered storage: prefix of its settings. Tiered storage only.";
    "remote.log.storage.system.enable" Boolean = "false", Any, Medium, ReadOnly,
        refused("tiered storage is not supported"): "Turns on tiered storage. Tiered storage only.";
    "sasl.mechanism.controller.protocol" String = "GSSAPI", Any, High, ReadOnly, no_effect(MIGRATION):
        "SASL mechanism towards KRaft controllers. Only for a migration away from ZooKeeper.";
    "server.max.startup.time.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ReadOnly, internal(),
        no_effect(KRAFT): "Longest time that start-up may take before the server gives up, in ms.";
    "telemetry.max.bytes" Int = "1048576", AtLeast(1.0), Low, ReadOnly, no_effect(KRAFT):
        "Largest client telemetry push. Without effect on a ZooKeeper broker.";
    "unstable.api.versions.enable" Boolean = "false", Any, High, ReadOnly, internal(), no_effect(KRAFT):
        "Serves API versions that are still in development.";
    "unstable.feature.versions.enable" Boolean = "false", Any, High, ReadOnly, internal(), no_effect(KRAFT):
        "Offers feature versions that are still in development.";
    "zookeeper.metadata.migration.enable" Boolean = "false", Any, High, ReadOnly,
        refused("migrating the metadata out of ZooKeeper is not supported"):
        "Starts ZK-to-KRaft migration mode; turns on request forwarding.";
    "zookeeper.metadata.migration.min.batch.size" Int = "200", AtLeast(1.0), Medium, ReadOnly, internal(),
        no_effect(MIGRATION): "Smallest number of records in one batch of a migration away from ZooKeeper.";
}
