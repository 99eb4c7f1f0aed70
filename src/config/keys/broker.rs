//! Owns the keys of the server itself: listeners, sockets, threads, controller, replication, quotas, metrics.

use super::rows;

rows! {
    "advertised.listeners" String = null, Any, High, PerBroker:
        "Endpoints published in ZK and Metadata responses; falls back to listeners; may not contain 0.0.0.0.";
    "alter.config.policy.class.name" Class = null, Classes(&[]), Low, ReadOnly:
        "Java plugin class vetting config changes; rejects with POLICY_VIOLATION.";
    "alter.log.dirs.replication.quota.window.num" Int = "11", AtLeast(1.0), Low, ReadOnly:
        "Samples kept for the intra-broker log-dir move quota.";
    "alter.log.dirs.replication.quota.window.size.seconds" Int = "1", AtLeast(1.0), Low, ReadOnly:
        "Length of each sample of the log-dir move quota.";
    "auto.create.topics.enable" Boolean = "true", Any, High, ReadOnly:
        "Metadata requests for unknown topics create them with num.partitions and default.replication.factor.";
    "auto.include.jmx.reporter" Boolean = "true", Any, Low, ReadOnly:
        "Deprecated; adds the JMX reporter even when metric.reporters omits it.";
    "auto.leader.rebalance.enable" Boolean = "true", Any, High, ReadOnly:
        "Controller periodically moves leadership back to preferred replicas.";
    "background.threads" Int = "10", AtLeast(1.0), High, ClusterWide:
        "Size of the shared scheduler pool for retention, flush, checkpoints and other housekeeping.";
    "broker.id" Int = "-1", Any, High, ReadOnly: "Node id; -1 asks for generation from ZK; must match meta.properties.";
    "broker.id.generation.enable" Boolean = "true", Any, Medium, ReadOnly:
        "Allows ZK-sequenced ids, allocated above reserved.broker.max.id.";
    "broker.rack" String = null, Any, Medium, ReadOnly:
        "Rack label used for replica spreading and nearest-replica fetch.";
    "client.quota.callback.class" Class = null, Classes(&[]), Low, ReadOnly:
        "Plugin that replaces the built-in user/client-id quota resolution.";
    "connections.max.idle.ms" Long = "600000", Any, Medium, ReadOnly:
        "Idle sockets are closed after this; also bounds in-flight ACL updates.";
    "control.plane.listener.name" String = null, Any, High, ReadOnly:
        "Dedicated listener for controller-to-broker requests with its own handler thread.";
    "controlled.shutdown.enable" Boolean = "true", Any, Medium, ReadOnly:
        "Move leaderships away through the controller before stopping.";
    "controlled.shutdown.max.retries" Int = "3", Any, Medium, ReadOnly:
        "Attempts at controlled shutdown before an unclean stop.";
    "controlled.shutdown.retry.backoff.ms" Long = "5000", Any, Medium, ReadOnly:
        "Pause between controlled shutdown attempts.";
    "controller.quota.window.num" Int = "11", AtLeast(1.0), Low, ReadOnly:
        "Samples kept for the controller mutation token bucket.";
    "controller.quota.window.size.seconds" Int = "1", AtLeast(1.0), Low, ReadOnly:
        "Length of each controller mutation quota sample.";
    "controller.socket.timeout.ms" Int = "30000", Any, Medium, ReadOnly:
        "Socket timeout for controller-to-broker channels.";
    "create.topic.policy.class.name" Class = null, Classes(&[]), Low, ReadOnly:
        "Java plugin class vetting topic creation; rejects with POLICY_VIOLATION.";
    "default.replication.factor" Int = "1", Any, Medium, ReadOnly:
        "Replicas for auto-created topics and CreateTopics with -1.";
    "delete.records.purgatory.purge.interval.requests" Int = "1", Any, Medium, ReadOnly:
        "Completed-entry purge threshold of the DeleteRecords purgatory.";
    "delete.topic.enable" Boolean = "true", Any, High, ReadOnly:
        "When false DeleteTopics answers TOPIC_DELETION_DISABLED and ZK delete markers are dropped.";
    "fetch.max.bytes" Int = "57671680", AtLeast(1024.0), Medium, ReadOnly:
        "Cap on bytes of one fetch response, applied to the request's own maximum.";
    "fetch.purgatory.purge.interval.requests" Int = "1000", Any, Medium, ReadOnly:
        "Completed-entry purge threshold of the fetch purgatory.";
    "inter.broker.listener.name" String = null, Any, Medium, ReadOnly:
        "Listener for broker-to-broker traffic; exclusive with security.inter.broker.protocol.";
    "inter.broker.protocol.version" String = "3.9-IV0", MetadataVersion, Medium, ReadOnly:
        "Feature gate for inter-broker RPC versions, record format and ZK features; raised last in upgrades.";
    "kafka.metrics.polling.interval.secs" Int = "10", AtLeast(1.0), Low, ReadOnly:
        "Polling period of kafka.metrics.reporters.";
    "kafka.metrics.reporters" List = "", Any, Low, ReadOnly: "Legacy Yammer reporter classes (KafkaMetricsReporter).";
    "leader.imbalance.check.interval.seconds" Long = "300", AtLeast(1.0), High, ReadOnly:
        "Period of the preferred-leader imbalance check.";
    "leader.imbalance.per.broker.percentage" Int = "10", Any, High, ReadOnly:
        "Imbalance percentage per broker that triggers rebalancing.";
    "listener.security.protocol.map" String =
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Any, Low, PerBroker:
        "Maps listener names to PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; required for custom names.";
    "listeners" String = "PLAINTEXT://:9092", Any, High, PerBroker:
        "Bind endpoints NAME://host:port; empty host binds default interface; names and ports unique.";
    "max.connection.creation.rate" Int = "2147483647", AtLeast(0.0), Medium, ClusterWide:
        "New connections per second; also per listener prefix; acceptor blocks beyond it.";
    "max.connections" Int = "2147483647", AtLeast(0.0), Medium, ClusterWide:
        "Open connections limit, broker-wide or per listener prefix.";
    "max.connections.per.ip" Int = "2147483647", AtLeast(0.0), Medium, ClusterWide:
        "Open connections allowed from one address; excess is closed at accept.";
    "max.connections.per.ip.overrides" String = "", Any, Medium, ClusterWide:
        "Host:count list overriding max.connections.per.ip.";
    "max.incremental.fetch.session.cache.slots" Int = "1000", AtLeast(0.0), Medium, ReadOnly:
        "Incremental fetch sessions kept, split over 8 shards.";
    "metric.reporters" List = "", Any, Low, ClusterWide: "Metrics reporter classes for client-style (Kafka) metrics.";
    "metrics.num.samples" Int = "2", AtLeast(1.0), Low, ReadOnly: "Samples kept per Kafka metric.";
    "metrics.recording.level" String = "INFO", Any, Low, ReadOnly: "Sensor detail: INFO, DEBUG or TRACE.";
    "metrics.sample.window.ms" Long = "30000", AtLeast(1.0), Low, ReadOnly: "Length of a Kafka metric sample.";
    "num.io.threads" Int = "8", AtLeast(1.0), High, ClusterWide: "Request handler threads.";
    "num.network.threads" Int = "3", AtLeast(1.0), High, ClusterWide:
        "Network processors per listener; listener prefix allowed.";
    "num.partitions" Int = "1", AtLeast(1.0), Medium, ReadOnly:
        "Partitions for auto-created topics and CreateTopics with -1.";
    "num.replica.alter.log.dirs.threads" Int = null, Any, High, ReadOnly:
        "Threads moving replicas between dirs; null means one per dir.";
    "num.replica.fetchers" Int = "1", Any, High, ClusterWide: "Fetcher threads per source broker.";
    "producer.purgatory.purge.interval.requests" Int = "1000", Any, Medium, ReadOnly:
        "Completed-entry purge threshold of the produce purgatory.";
    "queued.max.request.bytes" Long = "-1", Any, Medium, ReadOnly:
        "Bytes of requests read and not yet worked on; sockets stop being read beyond; -1 unlimited.";
    "queued.max.requests" Int = "500", AtLeast(1.0), High, ReadOnly:
        "Accepted and without effect: the thread that reads a request works on it, so that none is queued.";
    "quota.window.num" Int = "11", AtLeast(1.0), Low, ReadOnly: "Samples kept for client quotas.";
    "quota.window.size.seconds" Int = "1", AtLeast(1.0), Low, ReadOnly:
        "Length of a client quota sample; also bounds request-quota throttling.";
    "replica.fetch.backoff.ms" Int = "1000", AtLeast(0.0), Medium, ReadOnly:
        "Follower pause after a partition fetch error.";
    "replica.fetch.max.bytes" Int = "1048576", AtLeast(0.0), Medium, ReadOnly:
        "Follower bytes per partition (first batch always returned).";
    "replica.fetch.min.bytes" Int = "1", Any, High, ReadOnly: "Follower fetch minimum bytes.";
    "replica.fetch.response.max.bytes" Int = "10485760", AtLeast(0.0), Medium, ReadOnly:
        "Follower bytes per whole response.";
    "replica.fetch.wait.max.ms" Int = "500", Any, High, ReadOnly:
        "Follower fetch max wait; must not exceed replica.lag.time.max.ms.";
    "replica.high.watermark.checkpoint.interval.ms" Long = "5000", Any, High, ReadOnly:
        "Period of writing replication-offset-checkpoint.";
    "replica.lag.time.max.ms" Long = "30000", Any, High, ReadOnly:
        "Follower not caught up for this long leaves the ISR.";
    "replica.selector.class" String = null, Any, Medium, ReadOnly:
        "Plugin choosing a replica for consumers; RackAwareReplicaSelector ships.";
    "replica.socket.receive.buffer.bytes" Int = "65536", Any, High, ReadOnly: "SO_RCVBUF of follower connections.";
    "replica.socket.timeout.ms" Int = "30000", Any, High, ReadOnly:
        "Follower request timeout; at least replica.fetch.wait.max.ms.";
    "replication.quota.window.num" Int = "11", AtLeast(1.0), Low, ReadOnly: "Samples kept for replication throttling.";
    "replication.quota.window.size.seconds" Int = "1", AtLeast(1.0), Low, ReadOnly:
        "Length of a replication throttle sample.";
    "request.timeout.ms" Int = "30000", Any, High, ReadOnly:
        "Timeout of broker-originated requests and txn marker appends.";
    "reserved.broker.max.id" Int = "1000", AtLeast(0.0), Medium, ReadOnly:
        "Highest manual broker id; generated ids start above.";
    "socket.connection.setup.timeout.max.ms" Long = "30000", Any, Medium, ReadOnly:
        "Ceiling of outgoing connection setup timeout.";
    "socket.connection.setup.timeout.ms" Long = "10000", Any, Medium, ReadOnly:
        "Initial outgoing connection setup timeout.";
    "socket.listen.backlog.size" Int = "50", AtLeast(1.0), Medium, ReadOnly: "listen() backlog.";
    "socket.receive.buffer.bytes" Int = "102400", Any, High, ReadOnly: "SO_RCVBUF of accepted sockets; -1 OS default.";
    "socket.request.max.bytes" Int = "104857600", AtLeast(1.0), High, ReadOnly:
        "Largest request size prefix accepted; larger closes the connection.";
    "socket.send.buffer.bytes" Int = "102400", Any, High, ReadOnly: "SO_SNDBUF of accepted sockets; -1 OS default.";
    "unclean.leader.election.enable" Boolean = "false", Any, High, ClusterWide:
        "Allow a non-ISR replica to lead, risking loss; enabling dynamically triggers elections.";
    "unclean.leader.election.interval.ms" Long = "300000", AtLeast(1.0), Medium, ReadOnly, internal:
        "Period of looking for partitions that only an unclean election can bring back, in ms.";
}
