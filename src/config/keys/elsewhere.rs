//! Owns the keys that are parsed and checked as Kafka does but act only without ZooKeeper, or with tiered storage.

use super::rows;

rows! {
    "broker.heartbeat.interval.ms" Int = "2000", Any, Medium, ReadOnly:
        "KRaft broker heartbeat period; used by a ZK broker only while migrating.";
    "broker.session.timeout.ms" Int = "9000", Any, Medium, ReadOnly:
        "KRaft broker session length; used by a ZK broker only while migrating.";
    "controller.listener.names" String = null, Any, High, ReadOnly:
        "KRaft controller listeners; must be empty on a ZK broker unless migrating.";
    "controller.quorum.append.linger.ms" Int = "25", Any, Medium, ReadOnly:
        "KRaft raft leader batching delay. Only for a migration away from ZooKeeper.";
    "controller.quorum.bootstrap.servers" List = "", HostPorts, High, ReadOnly:
        "KRaft quorum bootstrap endpoints; needed by a ZK broker only while migrating.";
    "controller.quorum.election.backoff.max.ms" Int = "1000", Any, High, ReadOnly:
        "KRaft election backoff ceiling. Only for a migration away from ZooKeeper.";
    "controller.quorum.election.timeout.ms" Int = "1000", Any, High, ReadOnly:
        "KRaft election wait before candidacy. Only for a migration away from ZooKeeper.";
    "controller.quorum.fetch.timeout.ms" Int = "2000", Any, High, ReadOnly:
        "KRaft follower fetch silence before election. Only for a migration away from ZooKeeper.";
    "controller.quorum.request.timeout.ms" Int = "2000", Any, Medium, ReadOnly:
        "KRaft quorum request timeout. Only for a migration away from ZooKeeper.";
    "controller.quorum.retry.backoff.ms" Int = "20", Any, Low, ReadOnly:
        "KRaft quorum retry pause. Only for a migration away from ZooKeeper.";
    "controller.quorum.voters" List = "", QuorumVoters, High, ReadOnly:
        "KRaft voter map id@host:port; needed by a ZK broker only while migrating.";
    "early.start.listeners" String = null, Any, High, ReadOnly: "Listeners opened before the authorizer is ready.";
    "eligible.leader.replicas.enable" Boolean = "false", Any, High, ReadOnly:
        "KRaft eligible-leader-replica feature switch. Without effect on a ZooKeeper broker.";
    "group.consumer.assignors" List =
        "org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor",
        Any, Medium, ReadOnly:
        "Server-side assignors of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.consumer.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly:
        "Heartbeat interval of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.consumer.max.heartbeat.interval.ms" Int = "15000", AtLeast(1.0), Medium, ReadOnly:
        "Upper bound of group heartbeat interval. Without effect on a ZooKeeper broker.";
    "group.consumer.max.session.timeout.ms" Int = "60000", AtLeast(1.0), Medium, ReadOnly:
        "Upper bound of group session timeout. Without effect on a ZooKeeper broker.";
    "group.consumer.max.size" Int = "2147483647", AtLeast(1.0), Medium, ReadOnly:
        "Members allowed in one new-protocol group. Without effect on a ZooKeeper broker.";
    "group.consumer.migration.policy" String = "disabled",
        OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, internal:
        "Whether groups may move between the classic and the consumer protocol. Without ZooKeeper only.";
    "group.consumer.min.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly:
        "Lower bound of group heartbeat interval. Without effect on a ZooKeeper broker.";
    "group.consumer.min.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly:
        "Lower bound of group session timeout. Without effect on a ZooKeeper broker.";
    "group.consumer.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly:
        "Session timeout of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.coordinator.append.linger.ms" Int = "10", AtLeast(0.0), Medium, ReadOnly:
        "Write batching delay of the new coordinator. Without effect on a ZooKeeper broker.";
    "group.coordinator.new.enable" Boolean = "false", Any, Medium, ReadOnly, internal:
        "Asks for the newer group coordinator. Without ZooKeeper only.";
    "group.coordinator.threads" Int = "1", AtLeast(1.0), Medium, ReadOnly:
        "Event-loop threads of the new coordinator. Without effect on a ZooKeeper broker.";
    "group.share.delivery.count.limit" Int = "5", Between(2.0, 10.0), Medium, ReadOnly:
        "Share group delivery attempts (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.enable" Boolean = "false", Any, Medium, ReadOnly, internal:
        "Turns share groups on. Without ZooKeeper only.";
    "group.share.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly:
        "Share group heartbeat interval (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.groups" Short = "10", Between(1.0, 100.0), Medium, ReadOnly:
        "Share groups allowed (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.heartbeat.interval.ms" Int = "15000", AtLeast(1.0), Medium, ReadOnly:
        "Share heartbeat upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.record.lock.duration.ms" Int = "60000", Between(30000.0, 3600000.0), Medium, ReadOnly:
        "Share lock upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.session.timeout.ms" Int = "60000", AtLeast(1.0), Medium, ReadOnly:
        "Share session upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.size" Short = "200", Between(10.0, 1000.0), Medium, ReadOnly:
        "Share group member limit (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly:
        "Share heartbeat lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.record.lock.duration.ms" Int = "15000", Between(1000.0, 30000.0), Medium, ReadOnly:
        "Share lock lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly:
        "Share session lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.partition.max.record.locks" Int = "200", Between(100.0, 10000.0), Medium, ReadOnly:
        "Share records in flight per partition (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.record.lock.duration.ms" Int = "30000", Between(1000.0, 60000.0), Medium, ReadOnly:
        "Share acquisition lock time (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly:
        "Share session timeout (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "initial.broker.registration.timeout.ms" Int = "60000", Any, Medium, ReadOnly:
        "KRaft first-registration timeout; used only while migrating.";
    "log.dir.failure.timeout.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly:
        "Wait for the controller to accept an offline directory before the broker stops. Without effect with ZooKeeper.";
    "log.local.retention.bytes" Long = "-2", AtLeast(-2.0), Medium, ClusterWide:
        "Tiered storage: local bytes kept; -2 follows log.retention.bytes. Tiered storage only.";
    "log.local.retention.ms" Long = "-2", AtLeast(-2.0), Medium, ClusterWide:
        "Tiered storage: local time kept; -2 follows log.retention.ms. Tiered storage only.";
    "max.request.partition.size.limit" Int = "2000", AtLeast(1.0), Medium, ReadOnly:
        "Partitions in one DescribeTopicPartitions answer, an API that a ZooKeeper broker does not serve.";
    "metadata.log.dir" String = null, Any, High, ReadOnly:
        "KRaft metadata log directory; read by a ZK broker only while migrating.";
    "metadata.log.max.record.bytes.between.snapshots" Long = "20971520", AtLeast(1.0), High, ReadOnly:
        "KRaft snapshot trigger by bytes. Only for a migration away from ZooKeeper.";
    "metadata.log.max.snapshot.interval.ms" Long = "3600000", AtLeast(0.0), High, ReadOnly:
        "KRaft snapshot trigger by time. Only for a migration away from ZooKeeper.";
    "metadata.log.segment.bytes" Int = "1073741824", AtLeast(12.0), High, ReadOnly:
        "KRaft metadata segment size. Only for a migration away from ZooKeeper.";
    "metadata.log.segment.min.bytes" Int = "8388608", AtLeast(12.0), High, ReadOnly, internal:
        "Lower bound of metadata.log.segment.bytes, for tests. Without ZooKeeper only.";
    "metadata.log.segment.ms" Long = "604800000", Any, High, ReadOnly:
        "KRaft metadata segment age. Only for a migration away from ZooKeeper.";
    "metadata.max.idle.interval.ms" Int = "500", AtLeast(0.0), Low, ReadOnly:
        "KRaft no-op record interval. Only for a migration away from ZooKeeper.";
    "metadata.max.retention.bytes" Long = "104857600", Any, High, ReadOnly:
        "KRaft metadata retention by size. Only for a migration away from ZooKeeper.";
    "metadata.max.retention.ms" Long = "604800000", Any, High, ReadOnly:
        "KRaft metadata retention by time. Only for a migration away from ZooKeeper.";
    "node.id" Int = "-1", Any, High, ReadOnly: "KRaft name of broker.id; if both are set they must be equal.";
    "process.roles" List = "", ListOf(&["broker", "controller"]), High, ReadOnly:
        "KRaft roles; must stay empty in ZK mode. Without effect on a ZooKeeper broker.";
    "remote.fetch.max.wait.ms" Int = "500", AtLeast(1.0), Medium, ClusterWide:
        "Tiered storage: longest wait for a remote read. Tiered storage only.";
    "remote.log.index.file.cache.total.size.bytes" Long = "1073741824", AtLeast(1.0), Low, ClusterWide:
        "Tiered storage: index cache size on disk. Tiered storage only.";
    "remote.log.manager.copier.thread.pool.size" Int = "-1", PoolSize, Medium, ReadOnly:
        "Tiered storage: copy threads. Tiered storage only.";
    "remote.log.manager.copy.max.bytes.per.second" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide:
        "Tiered storage: upload quota. Tiered storage only.";
    "remote.log.manager.copy.quota.window.num" Int = "11", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: upload quota samples. Tiered storage only.";
    "remote.log.manager.copy.quota.window.size.seconds" Int = "1", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: upload quota sample length. Tiered storage only.";
    "remote.log.manager.expiration.thread.pool.size" Int = "-1", PoolSize, Medium, ReadOnly:
        "Tiered storage: expiry threads. Tiered storage only.";
    "remote.log.manager.fetch.max.bytes.per.second" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide:
        "Tiered storage: read quota. Tiered storage only.";
    "remote.log.manager.fetch.quota.window.num" Int = "11", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: read quota samples. Tiered storage only.";
    "remote.log.manager.fetch.quota.window.size.seconds" Int = "1", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: read quota sample length. Tiered storage only.";
    "remote.log.manager.task.interval.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly:
        "Tiered storage: period of copy and expiry tasks. Tiered storage only.";
    "remote.log.manager.task.retry.backoff.max.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly, internal:
        "Longest pause before a failed tiered storage request is tried again, in ms.";
    "remote.log.manager.task.retry.backoff.ms" Long = "500", AtLeast(1.0), Low, ReadOnly, internal:
        "First pause before a failed tiered storage request is tried again, in ms.";
    "remote.log.manager.task.retry.jitter" Double = "0.2", Between(0.0, 0.5), Low, ReadOnly, internal:
        "Random share, 0 to 0.5, that is added to the pauses of failed tiered storage requests.";
    "remote.log.manager.thread.pool.size" Int = "10", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: task threads. Tiered storage only.";
    "remote.log.metadata.custom.metadata.max.bytes" Int = "128", AtLeast(0.0), Low, ReadOnly:
        "Tiered storage: limit of plugin metadata. Tiered storage only.";
    "remote.log.metadata.manager.class.name" String =
        "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", NonEmpty,
        Medium, ReadOnly: "Tiered storage: metadata manager class. Tiered storage only.";
    "remote.log.metadata.manager.class.path" String = null, Any, Medium, ReadOnly:
        "Tiered storage: its class path. Tiered storage only.";
    "remote.log.metadata.manager.impl.prefix" String = "rlmm.config.", NonEmpty, Medium, ReadOnly:
        "Tiered storage: prefix of its settings. Tiered storage only.";
    "remote.log.metadata.manager.listener.name" String = null, NonEmpty, Medium, ReadOnly:
        "Tiered storage: listener used by its clients. Tiered storage only.";
    "remote.log.reader.max.pending.tasks" Int = "100", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: queued remote reads. Tiered storage only.";
    "remote.log.reader.threads" Int = "10", AtLeast(1.0), Medium, ReadOnly:
        "Tiered storage: remote reader threads. Tiered storage only.";
    "remote.log.storage.manager.class.name" String = null, NonEmpty, Medium, ReadOnly:
        "Tiered storage: storage plugin class. Tiered storage only.";
    "remote.log.storage.manager.class.path" String = null, Any, Medium, ReadOnly:
        "Tiered storage: its class path. Tiered storage only.";
    "remote.log.storage.manager.impl.prefix" String = "rsm.config.", NonEmpty, Medium, ReadOnly:
        "Tiered storage: prefix of its settings. Tiered storage only.";
    "remote.log.storage.system.enable" Boolean = "false", Any, Medium, ReadOnly:
        "Turns on tiered storage. Tiered storage only.";
    "sasl.mechanism.controller.protocol" String = "GSSAPI", Any, High, ReadOnly:
        "SASL mechanism towards KRaft controllers. Only for a migration away from ZooKeeper.";
    "server.max.startup.time.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ReadOnly, internal:
        "Longest time that start-up may take before the server gives up, in ms.";
    "telemetry.max.bytes" Int = "1048576", AtLeast(1.0), Low, ReadOnly:
        "Largest client telemetry push. Without effect on a ZooKeeper broker.";
    "unstable.api.versions.enable" Boolean = "false", Any, High, ReadOnly, internal:
        "Serves API versions that are still in development.";
    "unstable.feature.versions.enable" Boolean = "false", Any, High, ReadOnly, internal:
        "Offers feature versions that are still in development.";
    "zookeeper.metadata.migration.enable" Boolean = "false", Any, High, ReadOnly:
        "Starts ZK-to-KRaft migration mode; turns on request forwarding.";
    "zookeeper.metadata.migration.min.batch.size" Int = "200", AtLeast(1.0), Medium, ReadOnly, internal:
        "Smallest number of records in one batch of a migration away from ZooKeeper.";
}
