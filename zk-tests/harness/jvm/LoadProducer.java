import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Properties;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * One idempotent producer that lives through restarts of its broker.
 *
 * <pre>LoadProducer BOOTSTRAP TOPIC PARTITIONS ACKS_FILE RECORDS_PER_SECOND [key=value...]</pre>
 *
 * Record n has n as key and goes to partition n modulo PARTITIONS; its value is n and some padding. The acknowledgement of record n is written to ACKS_FILE
 * as `n partition offset timestamp at`, where `at` is when it came in ms, a failure as `n ! reason`. Ends when standard input does, after the last answer.
 */
public final class LoadProducer {
    private static final int UNACKNOWLEDGED_MAX = 2000;
    private static final String PADDING = "x".repeat(80);

    public static void main(String[] args) throws Exception {
        String topic = args[1];
        int partitions = Integer.parseInt(args[2]);
        int perSecond = Integer.parseInt(args[4]);
        Properties config = new Properties();
        config.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, "true");
        config.put(ProducerConfig.ACKS_CONFIG, "all");
        config.put(ProducerConfig.LINGER_MS_CONFIG, "2");
        config.put(ProducerConfig.BATCH_SIZE_CONFIG, "4096");
        config.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, "600000");
        config.put(ProducerConfig.MAX_BLOCK_MS_CONFIG, "600000");
        config.put(ProducerConfig.REQUEST_TIMEOUT_MS_CONFIG, "20000");
        config.put(ProducerConfig.RETRY_BACKOFF_MS_CONFIG, "10");
        config.put(ProducerConfig.RETRY_BACKOFF_MAX_MS_CONFIG, "50");
        config.put(ProducerConfig.RECONNECT_BACKOFF_MS_CONFIG, "10");
        config.put(ProducerConfig.RECONNECT_BACKOFF_MAX_MS_CONFIG, "50");
        for (int i = 5; i < args.length; i++) {
            config.put(args[i].substring(0, args[i].indexOf('=')), args[i].substring(args[i].indexOf('=') + 1));
        }
        Thread stdin = new Thread(() -> {
            try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in))) {
                while (in.readLine() != null) { }
            } catch (Exception e) {
                // The other end is gone: the same as its end.
            }
        });
        stdin.setDaemon(true);
        stdin.start();
        Semaphore room = new Semaphore(UNACKNOWLEDGED_MAX);
        try (BufferedWriter acks = Files.newBufferedWriter(Paths.get(args[3]), StandardCharsets.UTF_8);
                KafkaProducer<String, String> producer = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            long started = System.nanoTime();
            for (long n = 0; stdin.isAlive(); n++) {
                long due = started + n * 1_000_000_000L / perSecond;
                long early = due - System.nanoTime();
                if (early > 1_000_000L) {
                    Thread.sleep(early / 1_000_000L);
                } else if (early < -1_000_000_000L) {
                    // After an outage the rate starts afresh instead of catching up in one burst.
                    started = System.nanoTime() - n * 1_000_000_000L / perSecond;
                }
                room.acquire();
                long id = n;
                long timestamp = System.currentTimeMillis();
                // The time in the answer is no use: to a repeated batch the broker answers with that batch's largest.
                producer.send(new ProducerRecord<>(topic, (int) (n % partitions), timestamp, Long.toString(n), n + PADDING), (meta, e) -> {
                    room.release();
                    try {
                        acks.write(e == null ? id + " " + meta.partition() + " " + meta.offset() + " " + timestamp + " " + System.currentTimeMillis() : id + " ! " + e);
                        acks.write('\n');
                        acks.flush();
                    } catch (Exception broken) {
                        System.exit(3);
                    }
                });
            }
            producer.flush();
        }
    }
}
