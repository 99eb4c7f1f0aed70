import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/**
 * Drives the Java client, of whatever version is on the class path: it uses only what 0.10.0 had.
 *
 * <pre>StockClient BOOTSTRAP RECORDS_FILE (produce:CODEC:TOPIC | consume:TOPIC)...</pre>
 *
 * Line i of the file is `key TAB value` and goes to partition i modulo 3. Each action prints one JSON line.
 */
public final class StockClient {
    private static final int PARTITIONS = 3;
    private static final long DEADLINE_MS = 120_000;

    private final String bootstrap;
    private final List<byte[][]> records = new ArrayList<>();

    private StockClient(String bootstrap, String file) throws Exception {
        this.bootstrap = bootstrap;
        try (BufferedReader lines = Files.newBufferedReader(Paths.get(file), StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                int tab = line.indexOf('\t');
                records.add(new byte[][] {
                    line.substring(0, tab).getBytes(StandardCharsets.UTF_8),
                    line.substring(tab + 1).getBytes(StandardCharsets.UTF_8)
                });
            }
        }
    }

    private void produce(String codec, String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        config.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
        config.put("compression.type", codec);
        config.put("acks", "all");
        config.put("linger.ms", "5");
        config.put("batch.size", "65536");
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(config)) {
            for (int i = 0; i < records.size(); i++) {
                byte[][] r = records.get(i);
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, r[0], r[1]), (meta, e) -> {
                    if (e != null) {
                        failure.compareAndSet(null, e);
                    }
                });
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }

    private String consume(String topic) throws Exception {
        Properties config = new Properties();
        config.put("bootstrap.servers", bootstrap);
        config.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        config.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
        config.put("enable.auto.commit", "false");
        MessageDigest[] digests = new MessageDigest[PARTITIONS];
        long[] next = new long[PARTITIONS];
        List<TopicPartition> assignment = new ArrayList<>();
        for (int p = 0; p < PARTITIONS; p++) {
            digests[p] = MessageDigest.getInstance("SHA-256");
            assignment.add(new TopicPartition(topic, p));
        }
        long missing = records.size();
        long deadline = System.currentTimeMillis() + DEADLINE_MS;
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config)) {
            consumer.assign(assignment);
            consumer.seekToBeginning(assignment);
            while (missing > 0) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException(missing + " records not read in time");
                }
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(1000)) {
                    int p = r.partition();
                    if (r.offset() != next[p]) {
                        throw new IllegalStateException("partition " + p + ": offset " + r.offset() + " where " + next[p] + " was due");
                    }
                    next[p]++;
                    missing--;
                    digests[p].update(r.key());
                    digests[p].update((byte) '\t');
                    digests[p].update(r.value());
                    digests[p].update((byte) '\n');
                }
            }
        }
        StringBuilder out = new StringBuilder();
        for (int p = 0; p < PARTITIONS; p++) {
            StringBuilder hex = new StringBuilder();
            for (byte b : digests[p].digest()) {
                hex.append(String.format("%02x", b));
            }
            out.append(p == 0 ? "" : ", ").append(String.format(
                "\"%d\": {\"records\": %d, \"next_offset\": %d, \"sha256\": \"%s\"}", p, next[p], next[p], hex));
        }
        return out.toString();
    }

    public static void main(String[] args) throws Exception {
        StockClient client = new StockClient(args[0], args[1]);
        for (int i = 2; i < args.length; i++) {
            String[] words = args[i].split(":");
            if (words[0].equals("produce")) {
                client.produce(words[1], words[2]);
                System.out.printf("{\"action\": \"%s\"}%n", args[i]);
            } else {
                System.out.printf("{\"action\": \"%s\", \"partitions\": {%s}}%n", args[i], client.consume(words[1]));
            }
        }
    }
}
