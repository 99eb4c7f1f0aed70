import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.BaseRecords;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;

/**
 * Sends the same random and edge requests of every API and version to two brokers whose state is the same, and compares
 * the answers field by field. Requests come from Kafka's own schemas. What the brokers choose for themselves (ids of
 * topics, members, sessions) is known by pairs: each broker is asked with its own, and answers count as the same.
 *
 * Prints each difference that the list does not allow, with its request. Exit code 1 when there is one.
 *
 * OWN is what is a broker's own and may stand in its answers, with | in between; its log directory comes first.
 *
 * <pre>CompareAnswers PORT PORT OWN OWN SEED COUNT SECONDS LIST [API,...]</pre>
 */
public final class CompareAnswers {
    private static final int SIDES = 2;
    /** A request that neither broker has answered by then waits for something. */
    private static final int WAITS_MS = 400;
    private static final int ANSWER_MS = 5_000;
    /** Of an API to which one broker is known to say nothing at times. */
    private static final int MUTE_MS = 1_000;
    private static final int SETTLE_MS = 3_000;
    private static final int SHOWN = 600;

    private static final List<String> BASE = Arrays.asList("a", "b", "compacted", "zstd", "stamped", "nodown");
    private static final List<String> NO_TOPICS = Arrays.asList("unknown", "", "bad name", "..", "x".repeat(250), "__cluster_metadata");
    /** Of these the names that ZooKeeper takes: by another one Apache fails all topics of a CreatePartitions. */
    private static final List<String> PATHS = Arrays.asList("unknown", "bad name", "x".repeat(250), "__cluster_metadata");
    private static final List<String> GROUPS = Arrays.asList("g1", "g2", "g3", "g4", "nogroup", "");
    private static final List<String> TRANSACTIONS = Arrays.asList("t1", "t2", "t3", "");
    private static final String[] TOPIC_KEYS = {"retention.ms", "cleanup.policy", "compression.type", "max.message.bytes",
        "min.insync.replicas", "segment.bytes", "unclean.leader.election.enable", "message.format.version", "unknown.key", "",
        "follower.replication.throttled.replicas", "message.timestamp.type", "min.cleanable.dirty.ratio", "local.retention.ms",
        "message.downconversion.enable", "preallocate", "compression.gzip.level", "remote.storage.enable"};
    private static final String[] BROKER_KEYS = {"log.retention.ms", "message.max.bytes", "log.cleaner.threads", "num.io.threads",
        "listeners", "broker.id", "ssl.keystore.password", "max.connections", "unknown.key", "log.dirs", "zookeeper.connect",
        "leader.replication.throttled.rate", "log.message.format.version", "sasl.enabled.mechanisms", "auto.create.topics.enable"};
    private static final String[] VALUES = {"1000", "-1", "0", "abc", "", "compact", "delete", "compact,delete", "zstd", "gzip",
        "true", "false", "9223372036854775808", "0.5", "*", "0:1,1:1", "LogAppendTime", " 5 ", "3.9-IV0", "2.0", "producer", "1"};
    private static final Set<ApiKeys> READS = EnumSet.of(ApiKeys.LIST_OFFSETS, ApiKeys.METADATA, ApiKeys.OFFSET_FETCH,
        ApiKeys.FIND_COORDINATOR, ApiKeys.DESCRIBE_GROUPS, ApiKeys.LIST_GROUPS, ApiKeys.API_VERSIONS, ApiKeys.DESCRIBE_CONFIGS,
        ApiKeys.DESCRIBE_LOG_DIRS, ApiKeys.LIST_PARTITION_REASSIGNMENTS, ApiKeys.DESCRIBE_CLUSTER, ApiKeys.DESCRIBE_PRODUCERS,
        ApiKeys.DESCRIBE_TRANSACTIONS, ApiKeys.LIST_TRANSACTIONS, ApiKeys.OFFSET_FOR_LEADER_EPOCH, ApiKeys.FETCH);
    /** What tells elements of an array apart, for pairing them; Kafka's own order is that of its hash maps. */
    private static final Set<String> KEYS = Set.of("name", "topic", "topic_name", "topic_id", "partition", "partition_index",
        "partition_id", "group_id", "resource_type", "resource_name", "transactional_id", "key", "api_key", "feature", "log_dir",
        "user", "node_id", "broker_id", "producer_id", "index");

    /** One thing that a broker made up, as each of the two calls it. */
    private static final class Pair {
        final Object[] names;
        final String label;

        Pair(Object first, Object second, String label) {
            names = new Object[] {first, second};
            this.label = label;
        }
    }

    /** One value of an answer: its text with the brokers' own names replaced, what stands below it, the value itself. */
    private static final class Node {
        final String path;
        final String text;
        final String key;
        final Object raw;
        final List<Node> below;

        Node(String path, String text, String key, Object raw, List<Node> below) {
            this.path = path;
            this.text = text;
            this.key = key;
            this.raw = raw;
            this.below = below;
        }
    }

    /** Where two answers differ, with what stands there in each. */
    private static final class Difference {
        final String path;
        final String first;
        final String second;

        Difference(String path, String first, String second) {
            this.path = path;
            this.first = first;
            this.second = second;
        }

        @Override
        public String toString() {
            return path + ": " + part(first, second) + " -> " + part(second, first);
        }
    }

    /** A line of the list: where answers may differ, and how. */
    private static final class Allowed {
        final Pattern path;
        /** Null for numbers that may differ by a tenth. */
        final Pattern how;

        Allowed(String path, String how) {
            this.path = Pattern.compile(path);
            this.how = how.equals("near") ? null : Pattern.compile(how, Pattern.DOTALL);
        }

        boolean allows(Difference difference) {
            if (!path.matcher(difference.path).matches()) {
                return false;
            }
            if (how == null) {
                double first = Double.parseDouble(difference.first);
                double second = Double.parseDouble(difference.second);
                return Math.abs(first - second) <= Math.max(first, second) / 10;
            }
            return how.matcher(difference.first + " -> " + difference.second).matches();
        }
    }

    private final int[] ports;
    private final String[][] own;
    private final List<Allowed> allowed = new ArrayList<>();
    /** Arrays in which what is repeated counts once. */
    private final List<Pattern> unique = new ArrayList<>();
    /** Arrays in which what is under one name several times, or none, is under it once. */
    private final List<Pattern> merged = new ArrayList<>();
    private final Map<String, List<Pair>> pairs = new HashMap<>();
    private final List<String> created = new ArrayList<>();
    private final Map<ApiKeys, Integer> asked = new EnumMap<>(ApiKeys.class);
    private final Map<String, Integer> kinds = new TreeMap<>();
    private final Socket[] sockets = new Socket[SIDES];
    private final long seed;
    private int number;
    private int differences;
    /** What the request at hand has settled: choices that later fields depend on. */
    private Map<String, Object> chosen;
    private int side;

    private CompareAnswers(String[] args) throws IOException {
        ports = new int[] {Integer.parseInt(args[0]), Integer.parseInt(args[1])};
        own = new String[][] {args[2].split("\\|"), args[3].split("\\|")};
        seed = Long.parseLong(args[4]);
        for (String line : Files.readAllLines(Paths.get(args[7]))) {
            if (!line.isEmpty() && !line.startsWith("#")) {
                String[] words = line.split("\t");
                if (words[1].equals("once")) {
                    unique.add(Pattern.compile(words[0]));
                } else if (words[1].equals("merged")) {
                    merged.add(Pattern.compile(words[0]));
                } else {
                    allowed.add(new Allowed(words[0], words[1]));
                }
            }
        }
    }

    public static void main(String[] args) throws Exception {
        CompareAnswers compare = new CompareAnswers(args);
        long end = System.nanoTime() + Long.parseLong(args[6]) * 1_000_000_000L;
        int count = Integer.parseInt(args[5]);
        List<ApiKeys> apis = new ArrayList<>(ApiKeys.zkBrokerApis());
        if (args.length > 8) {
            List<String> asked = Arrays.asList(args[8].split(","));
            apis.removeIf(api -> !asked.contains(api.name));
            if (apis.size() != asked.size()) {
                throw new IllegalArgumentException("of " + asked + " there are " + apis);
            }
        }
        compare.learnTopics();
        Random choice = new Random(compare.seed);
        while (compare.number < count && System.nanoTime() < end) {
            ApiKeys api = apis.get(choice.nextInt(apis.size()));
            short[] versions = versions(api);
            compare.compare(api, versions[choice.nextInt(versions.length)], choice.nextLong());
        }
        compare.kinds.forEach((kind, times) -> System.out.println(times + " times " + kind));
        System.out.println(compare.number + " requests, " + compare.differences + " differences, " + compare.asked.size() + " APIs, seed " + compare.seed);
        System.exit(compare.differences == 0 ? 0 : 1);
    }

    /** Also one version that does not exist. */
    private static short[] versions(ApiKeys api) {
        short[] versions = new short[api.latestVersion(false) - api.oldestVersion() + 1];
        for (int i = 0; i < versions.length; i++) {
            versions[i] = (short) (api.oldestVersion() + i);
        }
        return versions;
    }

    // ---- The exchange

    private void compare(ApiKeys api, short version, long requestSeed) throws Exception {
        Schema schema = api.messageType.requestSchemas()[version];
        asked.merge(api, 1, Integer::sum);
        number++;
        Struct[] requests = new Struct[SIDES];
        for (side = 0; side < SIDES; side++) {
            chosen = new HashMap<>();
            requests[side] = (Struct) generate(schema, api, version, api.name, new Random(requestSeed));
        }
        boolean answered = !(api == ApiKeys.PRODUCE && requests[0].get("acks").equals((short) 0));
        boolean repeatable = READS.contains(api) && !(api == ApiKeys.FETCH && version >= 7 && (int) requests[0].get("session_epoch") >= 0);
        long settled = System.nanoTime() + SETTLE_MS * 1_000_000L;
        while (true) {
            List<Difference> different = exchange(api, version, requests, answered);
            boolean again = repeatable || different.stream().anyMatch(CompareAnswers::isOfTheMoment);
            if (different.isEmpty()) {
                return;
            }
            boolean known = different.stream().allMatch(one -> kinds.containsKey(one.toString()));
            if (again && !known && System.nanoTime() < settled) {
                Thread.sleep(20);
                continue;
            }
            report(api, version, requests, different);
            return;
        }
    }

    /** CONCURRENT_TRANSACTIONS and COORDINATOR_LOAD_IN_PROGRESS end by themselves. */
    private static boolean isOfTheMoment(Difference difference) {
        return difference.path.endsWith("error_code") && (difference.first.equals("51") || difference.second.equals("51") || difference.first.equals("14"));
    }

    private void report(ApiKeys api, short version, Struct[] requests, List<Difference> different) {
        differences++;
        boolean isNew = false;
        for (Difference one : different) {
            isNew |= kinds.merge(one.toString(), 1, Integer::sum) <= 2;
        }
        if (isNew) {
            System.out.println("seed " + seed + " #" + number + " " + api.name + " v" + version + " " + shorten(requests[0].toString()));
            different.forEach(one -> System.out.println("    " + one));
        }
    }

    private static List<Difference> connection(ApiKeys api, String first, String second) {
        return Collections.singletonList(new Difference(api.name + ".connection", first, second));
    }

    private static String shorten(String text) {
        return text.length() > 2000 ? text.substring(0, 2000) + "…" : text;
    }

    /** Where the answers differ; empty where they do not, or may. */
    private List<Difference> exchange(ApiKeys api, short version, Struct[] requests, boolean answered) throws IOException {
        Object[] answers = new Object[SIDES];
        for (int i = 0; i < SIDES; i++) {
            send(i, frame(api, version, requests[i]));
            if (!answered) {
                // What is answered next says that this was taken.
                send(i, frame(ApiKeys.API_VERSIONS, (short) 0, new Struct(ApiKeys.API_VERSIONS.messageType.requestSchemas()[0])));
            }
        }
        byte[][] frames = new byte[SIDES][];
        String[] ends = new String[SIDES];
        boolean mute = filtered(connection(api, "waits", "answered")).isEmpty();
        for (int round = 0; round < 2; round++) {
            for (int i = 0; i < SIDES; i++) {
                boolean other = frames[1 - i] != null || "closed".equals(ends[1 - i]);
                if (frames[i] == null && !"closed".equals(ends[i])) {
                    try {
                        frames[i] = receive(i, round == 1 && other ? mute ? MUTE_MS : ANSWER_MS : WAITS_MS);
                        ends[i] = answered ? "answered" : "taken";
                    } catch (SocketTimeoutException e) {
                        ends[i] = "waits";
                    } catch (IOException e) {
                        ends[i] = "closed";
                    }
                }
            }
        }
        for (int i = 0; i < SIDES; i++) {
            if (frames[i] == null) {
                close(i);
            }
        }
        if (!ends[0].equals(ends[1])) {
            return filtered(connection(api, ends[0], ends[1]));
        }
        if (frames[0] == null || !answered) {
            return Collections.emptyList();
        }
        Node[] nodes = new Node[SIDES];
        for (int i = 0; i < SIDES; i++) {
            ByteBuffer in = ByteBuffer.wrap(frames[i]);
            in.getInt();
            if (api.responseHeaderVersion(version) >= 1) {
                in.get();
            }
            try {
                Schema schema = api.messageType.responseSchemas()[version];
                nodes[i] = node(api.name, "", (Object) schema.read(in), i);
            } catch (RuntimeException e) {
                if (Arrays.equals(frames[0], frames[1])) {
                    // Kafka's own description cannot read a structure that is null.
                    return Collections.emptyList();
                }
                return Collections.singletonList(new Difference(api.name, i == 0 ? "not readable: " + e : "", i == 0 ? "" : "not readable: " + e));
            }
        }
        List<Difference> different = new ArrayList<>();
        differ(nodes[0], nodes[1], different);
        different = filtered(different);
        if (different.isEmpty()) {
            learn(api, nodes[0], nodes[1], new String[] {""});
        }
        return different;
    }

    private List<Difference> filtered(List<Difference> different) {
        List<Difference> left = new ArrayList<>(different);
        left.removeIf(one -> allowed.stream().anyMatch(entry -> entry.allows(one)));
        return left;
    }

    static byte[] frame(ApiKeys api, short version, Struct body) {
        int header = api.requestHeaderVersion(version);
        ByteBuffer out = ByteBuffer.allocate(64 + body.sizeOf());
        out.putInt(0).putShort(api.id).putShort(version).putInt(7);
        if (header >= 1) {
            out.putShort((short) 1).put((byte) 'c');
        }
        if (header >= 2) {
            out.put((byte) 0);
        }
        body.writeTo(out);
        out.putInt(0, out.position() - 4);
        return Arrays.copyOf(out.array(), out.position());
    }

    private void send(int i, byte[] frame) throws IOException {
        for (int attempt = 0; ; attempt++) {
            try {
                if (sockets[i] == null) {
                    sockets[i] = new Socket(InetAddress.getByName("127.0.0.1"), ports[i]);
                    sockets[i].setTcpNoDelay(true);
                }
                sockets[i].getOutputStream().write(frame);
                return;
            } catch (IOException e) {
                close(i);
                if (attempt == 3) {
                    throw e;
                }
            }
        }
    }

    private byte[] receive(int i, int millis) throws IOException {
        sockets[i].setSoTimeout(millis);
        DataInputStream in = new DataInputStream(sockets[i].getInputStream());
        byte[] frame = new byte[in.readInt()];
        in.readFully(frame);
        return frame;
    }

    private void close(int i) throws IOException {
        if (sockets[i] != null) {
            sockets[i].close();
            sockets[i] = null;
        }
    }

    // ---- Comparing

    private Node node(String path, String name, Object value, int who) {
        List<Node> below = new ArrayList<>();
        if (value instanceof Struct) {
            Struct struct = (Struct) value;
            for (BoundField field : struct.schema().fields()) {
                if (field.def.type instanceof TaggedFields) {
                    Map<Integer, Field> known = tags(field.def.type);
                    for (Map.Entry<?, ?> entry : ((Map<?, ?>) struct.get(field)).entrySet()) {
                        Field tagged = known.get(entry.getKey());
                        String called = tagged == null ? "tag " + entry.getKey() : tagged.name;
                        below.add(node(path + "." + called, called, tagged == null ? entry.getValue().toString() : entry.getValue(), who));
                    }
                } else {
                    below.add(node(path + "." + field.def.name, field.def.name, struct.get(field), who));
                }
            }
            return struct(path, below);
        }
        if (value instanceof Object[]) {
            for (Object one : (Object[]) value) {
                below.add(node(path, name, one, who));
            }
            return array(path, value, below);
        }
        String text = text(path, name, value, who);
        return new Node(path, text, text, value, below);
    }

    private static Node struct(String path, List<Node> below) {
        StringBuilder text = new StringBuilder("{");
        StringBuilder key = new StringBuilder();
        for (Node one : below) {
            String called = one.path.substring(path.length() + 1);
            text.append(called).append('=').append(one.text).append(' ');
            if (KEYS.contains(called)) {
                key.append(one.text).append(' ');
            }
        }
        return new Node(path, text.append('}').toString(), key.toString(), null, below);
    }

    private Node array(String path, Object value, List<Node> elements) {
        List<Node> below = elements;
        if (merged.stream().anyMatch(pattern -> pattern.matcher(path).matches())) {
            Map<String, Node> byKey = new TreeMap<>();
            below.forEach(one -> byKey.merge(one.key, one, this::merge));
            below = new ArrayList<>(byKey.values());
            below.removeIf(one -> one.below.stream().anyMatch(field -> field.raw instanceof Object[] && field.below.isEmpty()));
        }
        if (below.stream().anyMatch(one -> !one.below.isEmpty() || one.raw instanceof String)) {
            below.sort(Comparator.comparing((Node one) -> one.key).thenComparing(one -> one.text));
        }
        if (unique.stream().anyMatch(pattern -> pattern.matcher(path).matches())) {
            Set<String> seen = new HashSet<>();
            below.removeIf(one -> !seen.add(one.text));
        }
        StringBuilder text = new StringBuilder("[");
        below.forEach(one -> text.append(one.text).append(' '));
        return new Node(path, text.append(']').toString(), "", value, below);
    }

    /** Two structures of one name: the first, with the arrays of both. */
    private Node merge(Node first, Node second) {
        List<Node> fields = new ArrayList<>();
        for (int i = 0; i < first.below.size(); i++) {
            Node field = first.below.get(i);
            if (field.raw instanceof Object[]) {
                List<Node> both = new ArrayList<>(field.below);
                both.addAll(second.below.get(i).below);
                field = array(field.path, field.raw, both);
            }
            fields.add(field);
        }
        return struct(first.path, fields);
    }

    private String text(String path, String name, Object value, int who) {
        if (value instanceof BaseRecords) {
            return records((MemoryRecords) value);
        }
        if (value instanceof ByteBuffer) {
            byte[] bytes = new byte[((ByteBuffer) value).remaining()];
            ((ByteBuffer) value).duplicate().get(bytes);
            value = new String(bytes, StandardCharsets.ISO_8859_1);
        }
        if (value instanceof Uuid || value instanceof String || value instanceof Number) {
            String kind = kind(name, value);
            for (Pair pair : pairs.getOrDefault(kind, Collections.emptyList())) {
                if (pair.names[who].equals(value)) {
                    return "<" + pair.label + ">";
                }
            }
            if (kind != null && isMadeUp(kind, value)) {
                return "<new " + kind + ">";
            }
        }
        if (value instanceof String) {
            String text = (String) value;
            for (int i = 0; i < own[who].length; i++) {
                text = text.replace(own[who][i], "<own " + i + ">");
            }
            text = text.replaceAll("\\b" + ports[who] + "\\b", "<port>");
            for (List<Pair> some : pairs.values()) {
                for (Pair pair : some) {
                    if (pair.names[who] instanceof String || pair.names[who] instanceof Uuid) {
                        text = text.replace(pair.names[who].toString(), "<" + pair.label + ">");
                    }
                }
            }
            return "\"" + text + "\"";
        }
        if (value instanceof Number && name.equals("port") && ((Number) value).intValue() == ports[who]) {
            return "<port>";
        }
        return String.valueOf(value);
    }

    /** The class keeps them to itself. */
    @SuppressWarnings("unchecked")
    private static Map<Integer, Field> tags(Type type) {
        try {
            java.lang.reflect.Field fields = TaggedFields.class.getDeclaredField("fields");
            fields.setAccessible(true);
            return (Map<Integer, Field>) fields.get(type);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    /** What a field names that brokers make up, or null. */
    private static String kind(String name, Object value) {
        if (value instanceof Uuid) {
            return "topic id";
        }
        if (value instanceof String && (name.equals("member_id") || name.equals("leader"))) {
            return "member";
        }
        if (value instanceof Integer && name.equals("session_id")) {
            return "session";
        }
        return name.equals("cluster_id") ? "cluster" : null;
    }

    private static boolean isMadeUp(String kind, Object value) {
        switch (kind) {
            case "topic id": return !value.equals(Uuid.ZERO_UUID);
            case "member": return ((String) value).matches(".*-[0-9a-f]{8}-[0-9a-f-]{27}");
            case "session": return (int) value != 0;
            default: return !value.equals("");
        }
    }

    private static String records(MemoryRecords records) {
        StringBuilder text = new StringBuilder();
        try {
            for (MutableRecordBatch batch : records.batches()) {
                text.append(String.format("batch(magic %d, %d..%d, epoch %d, %s, %s, producer %d/%d/%d%s%s) ", batch.magic(), batch.magic() < 2 ? -1 : batch.baseOffset(),
                    batch.lastOffset(), batch.partitionLeaderEpoch(), batch.compressionType(), batch.timestampType(), batch.producerId(),
                    batch.producerEpoch(), batch.baseSequence(), batch.isTransactional() ? " transactional" : "", batch.isControlBatch() ? " control" : ""));
                for (Record record : batch) {
                    text.append(record.offset());
                    // The broker's own clock.
                    if (batch.timestampType() == TimestampType.CREATE_TIME && !batch.isControlBatch()) {
                        text.append('@').append(record.timestamp());
                    }
                    text.append('=').append(bytes(record.key())).append(':').append(bytes(record.value())).append(' ');
                }
            }
        } catch (RuntimeException e) {
            return text.append(e).toString();
        }
        return text.toString();
    }

    private static String bytes(ByteBuffer bytes) {
        return bytes == null ? "null" : StandardCharsets.ISO_8859_1.decode(bytes.duplicate()).toString();
    }

    private void differ(Node first, Node second, List<Difference> out) {
        if (first.text.equals(second.text)) {
            return;
        }
        boolean arrays = first.raw instanceof Object[] || second.raw instanceof Object[];
        if (arrays || first.below.isEmpty() || second.below.isEmpty() || first.below.size() != second.below.size()) {
            if (arrays && first.below.size() == second.below.size()) {
                for (int i = 0; i < first.below.size(); i++) {
                    differ(first.below.get(i), second.below.get(i), out);
                }
                return;
            }
            out.add(new Difference(first.path, first.text, second.text));
            return;
        }
        for (int i = 0; i < first.below.size(); i++) {
            differ(first.below.get(i), second.below.get(i), out);
        }
    }

    /** From shortly before where two texts part. */
    private static String part(String text, String other) {
        int at = 0;
        while (at < text.length() && at < other.length() && text.charAt(at) == other.charAt(at)) {
            at++;
        }
        int from = at < SHOWN / 2 ? 0 : at - SHOWN / 4;
        return (from > 0 ? "…" : "") + text.substring(from, Math.min(text.length(), from + SHOWN)) + (from + SHOWN < text.length() ? "…" : "");
    }

    /** Answers that count as the same name things that are the same. */
    private void learn(ApiKeys api, Node first, Node second, String[] topic) {
        String name = first.path.substring(first.path.lastIndexOf('.') + 1);
        if (first.below.isEmpty() && first.raw != null && second.raw != null) {
            String kind = kind(name, first.raw);
            if (kind != null && first.text.equals("<new " + kind + ">") && second.text.equals(first.text)) {
                List<Pair> some = pairs.computeIfAbsent(kind, k -> new ArrayList<>());
                some.add(new Pair(first.raw, second.raw, kind + " " + some.size()));
            }
            return;
        }
        if (api == ApiKeys.CREATE_TOPICS && first.path.equals(api.name + ".topics") && !(first.raw instanceof Object[])) {
            String called = null;
            boolean made = false;
            for (Node field : first.below) {
                if (field.path.endsWith(".name")) {
                    called = (String) field.raw;
                } else if (field.path.endsWith(".error_code")) {
                    made = field.raw.equals((short) 0);
                }
            }
            if (made && called != null && called.startsWith("n") && !created.contains(called) && !Boolean.TRUE.equals(chosen.get("validate_only"))) {
                created.add(called);
            }
        }
        for (int i = 0; i < Math.min(first.below.size(), second.below.size()); i++) {
            learn(api, first.below.get(i), second.below.get(i), topic);
        }
    }

    private void learnTopics() throws IOException {
        Schema schema = ApiKeys.METADATA.messageType.requestSchemas()[12];
        Struct[] requests = new Struct[SIDES];
        for (int i = 0; i < SIDES; i++) {
            requests[i] = new Struct(schema);
            requests[i].set("topics", null).set("allow_auto_topic_creation", false).set("include_topic_authorized_operations", false);
            requests[i].set("_tagged_fields", Collections.emptyNavigableMap());
        }
        List<Difference> different = exchange(ApiKeys.METADATA, (short) 12, requests, true);
        if (!different.isEmpty()) {
            throw new IllegalStateException("the brokers differ at the start: " + different);
        }
    }

    // ---- Requests

    private Object generate(Type type, ApiKeys api, short version, String path, Random r) {
        String name = path.substring(path.lastIndexOf('.') + 1);
        if (type instanceof Schema) {
            Struct struct = new Struct((Schema) type);
            for (BoundField field : ((Schema) type).fields()) {
                struct.set(field, generate(field.def.type, api, version, path + "." + field.def.name, r));
            }
            return struct;
        }
        if (type instanceof TaggedFields) {
            Map<Integer, Object> tagged = new TreeMap<>();
            tags(type).forEach((tag, field) -> {
                if (r.nextInt(3) == 0) {
                    tagged.put(tag, generate(field.type, api, version, path.substring(0, path.lastIndexOf('.')) + "." + field.name, r));
                }
            });
            return tagged;
        }
        if (type.isNullable() && r.nextInt(nullsIn(api, name)) == 0 && !type.toString().contains("RECORDS")) {
            return null;
        }
        if (type.arrayElementType().isPresent()) {
            int length = r.nextInt(10) == 0 ? 0 : 1 + r.nextInt(3);
            Object[] elements = new Object[length];
            for (int i = 0; i < length; i++) {
                elements[i] = i > 0 && r.nextInt(5) == 0 ? elements[i - 1] : generate(type.arrayElementType().get(), api, version, path, r);
            }
            String distinct = distinctIn(api, name);
            if (distinct != null) {
                Map<String, Object> sorted = new TreeMap<>();
                Arrays.stream(elements).forEach(one -> sorted.put(String.valueOf(one instanceof Struct ? ((Struct) one).get(distinct) : one), one));
                return sorted.values().toArray();
            }
            return elements;
        }
        Object value = scalar(type, api, version, name, r);
        chosen.put(name, value);
        return value;
    }

    /** By which field the elements of an array differ from each other, where Apache needs that to answer at all, or null. */
    private static String distinctIn(ApiKeys api, String array) {
        switch (api) {
            case JOIN_GROUP:
                // With a name twice Apache finds no protocol that all members know, which is an exception that they wait out.
                // They are in one order: where members prefer different ones, a tie of their votes is decided by a hash.
                return array.equals("protocols") ? "name" : null;
            case ADD_PARTITIONS_TO_TXN:
                return array.equals("transactions") ? "transactional_id" : null;
            case LEADER_AND_ISR:
                // No controller names a topic twice; Apache fails by an exception.
                return array.equals("topic_states") ? "topic_name" : null;
            case WRITE_TXN_MARKERS:
                return array.equals("markers") ? "producer_id" : "name";
            default:
                return null;
        }
    }

    private static int nullsIn(ApiKeys api, String name) {
        return name.endsWith("instance_id") ? 2 : 6;
    }

    private Object scalar(Type type, ApiKeys api, short version, String name, Random r) {
        String kind = type.toString();
        if (kind.contains("RECORDS")) {
            return produced(version, r);
        }
        if (kind.equals("UUID")) {
            List<Pair> known = pairs.getOrDefault("topic id", Collections.emptyList());
            // No id at all fails in Apache's fetch sessions.
            int which = r.nextInt(8) + (api == ApiKeys.FETCH ? 1 : 0);
            if (api == ApiKeys.DELETE_TOPICS) {
                // The topics that everything else works on stay.
                return which < 4 ? Uuid.ZERO_UUID : new Uuid(1, which);
            }
            return which == 0 || known.isEmpty() ? Uuid.ZERO_UUID : which == 1 ? new Uuid(1, 2) : (Uuid) known.get(r.nextInt(known.size())).names[side];
        }
        if (kind.contains("STRING")) {
            return string(api, name, r);
        }
        if (kind.contains("BYTES")) {
            if (api == ApiKeys.JOIN_GROUP) {
                return subscription(r);
            }
            byte[] bytes = new byte[r.nextInt(8)];
            r.nextBytes(bytes);
            return ByteBuffer.wrap(bytes);
        }
        if (kind.equals("BOOLEAN")) {
            boolean flag = r.nextBoolean();
            if (name.equals("is_kraft_controller")) {
                return false;
            }
            if (name.equals("validate_only")) {
                return flag || chosen.containsKey("of broker");
            }
            return flag;
        }
        if (kind.equals("FLOAT64")) {
            return r.nextInt(3) * 1000.5 - 1000;
        }
        long number = number(api, name, r);
        switch (kind) {
            case "INT8": return (byte) number;
            case "INT16": return (short) number;
            case "INT32": return (int) number;
            case "UINT16": return (int) (number & 0xffff);
            case "UINT32": return number & 0xffffffffL;
            default: return number;
        }
    }

    private String string(ApiKeys api, String name, Random r) {
        switch (api) {
            case CREATE_TOPICS:
                if (name.equals("name") && !chosen.containsKey("configs of")) {
                    return r.nextInt(3) > 0 ? "n" + number + "x" + r.nextInt(2) : pick(r, BASE, NO_TOPICS);
                }
                return name.equals("name") ? pick(r, TOPIC_KEYS) : pick(r, VALUES);
            case DELETE_TOPICS:
                return r.nextInt(3) > 0 && !created.isEmpty() ? created.get(r.nextInt(created.size())) : pick(r, NO_TOPICS);
            case CREATE_PARTITIONS:
                return r.nextInt(3) > 0 && !created.isEmpty() ? created.get(r.nextInt(created.size())) : pick(r, BASE, PATHS);
            case ALTER_CONFIGS:
            case INCREMENTAL_ALTER_CONFIGS:
            case DESCRIBE_CONFIGS:
                if (name.equals("resource_name")) {
                    boolean ofBroker = chosen.get("resource_type").equals((byte) 4) || chosen.get("resource_type").equals((byte) 8);
                    if (ofBroker) {
                        chosen.put("of broker", true);
                        return pick(r, "1", "1", "", "2", "x", "-1");
                    }
                    if (api == ApiKeys.DESCRIBE_CONFIGS && r.nextBoolean()) {
                        return pick(r, BASE);
                    }
                    return r.nextInt(3) > 0 && !created.isEmpty() ? created.get(r.nextInt(created.size())) : pick(r, NO_TOPICS);
                }
                if (name.equals("value")) {
                    return pick(r, VALUES);
                }
                return pick(r, Byte.valueOf((byte) 4).equals(chosen.get("resource_type")) ? BROKER_KEYS : TOPIC_KEYS);
            case ALTER_REPLICA_LOG_DIRS:
                if (name.equals("path")) {
                    return pick(r, own[side][0], "/nowhere", "relative", "");
                }
                break;
            case FIND_COORDINATOR:
                return pick(r, GROUPS, TRANSACTIONS);
            case UPDATE_FEATURES:
                return pick(r, "metadata.version", "", "x", "kraft.version");
            case LIST_GROUPS:
            case LIST_TRANSACTIONS:
                return pick(r, "Stable", "empty", "Dead", "", "Ongoing", "CompleteCommit", "classic", "Classic", "consumer", "x");
            case DESCRIBE_CLIENT_QUOTAS:
            case ALTER_CLIENT_QUOTAS:
                return pick(r, "user", "client-id", "ip", "x", "", "127.0.0.1", "producer_byte_rate", "request_percentage", "connection_creation_rate");
            case SASL_HANDSHAKE:
                return pick(r, "PLAIN", "SCRAM-SHA-256", "", "x");
            default:
                break;
        }
        if (name.contains("topic") || name.equals("name") && !name.contains("protocol")) {
            if (api == ApiKeys.JOIN_GROUP || api == ApiKeys.SYNC_GROUP) {
                return pick(r, "range", "roundrobin", "");
            }
            return r.nextInt(3) > 0 ? pick(r, BASE) : pick(r, NO_TOPICS, r.nextInt(4) == 0 && !created.isEmpty() ? created : BASE);
        }
        if (name.contains("transactional_id")) {
            return pick(r, TRANSACTIONS);
        }
        if (name.contains("group_id") || name.equals("groups_names") || name.equals("groups") || name.equals("group_ids")) {
            return pick(r, GROUPS);
        }
        if (name.equals("member_id")) {
            List<Pair> known = pairs.getOrDefault("member", Collections.emptyList());
            int which = r.nextInt(4);
            return which == 0 ? "" : which == 1 || known.isEmpty() ? "nobody" : (String) known.get(Math.max(0, known.size() - 1 - r.nextInt(4))).names[side];
        }
        if (name.equals("group_instance_id")) {
            return pick(r, "i1", "i2");
        }
        if (name.equals("protocol_type")) {
            return pick(r, "consumer", "consumer", "consumer", "connect", "");
        }
        if (name.contains("protocol")) {
            return pick(r, "range", "range", "roundrobin", "");
        }
        if (name.startsWith("client_software")) {
            return pick(r, "java", "3.9.1", "", "-x");
        }
        if (name.contains("principal_type")) {
            return pick(r, "User", "Group", "");
        }
        return pick(r, "", "x", "meta", "meta", r.nextInt(20) == 0 ? "y".repeat(5000) : "y");
    }

    private long number(ApiKeys api, String name, Random r) {
        if (api == ApiKeys.DESCRIBE_ACLS || api == ApiKeys.CREATE_ACLS || api == ApiKeys.DELETE_ACLS) {
            // 3 is a kind of everything: a group, a literal name, a read, an allowance. What is no kind is not parsed.
            return r.nextInt(20) == 0 ? 99 : 3;
        }
        switch (name) {
            case "controller_epoch": return pick(r, -1L, 0L);
            case "broker_epoch": return pick(r, -1L, 0L, 5L);
            case "controller_id": return pick(r, -1L, 1L, 2L);
            case "acks": return pick(r, -1L, -1L, 1L, 1L, 0L, 2L, -2L);
            case "timeout_ms": return api == ApiKeys.PRODUCE || api == ApiKeys.DELETE_RECORDS ? pick(r, 5000L, 5000L, 0L, -1L) : 30_000;
            case "max_wait_ms": return pick(r, 0L, 10L, -1L);
            case "min_bytes": return pick(r, 0L, 1L, -1L);
            case "max_bytes":
            // A negative limit is an exception in Apache, once there is something to read.
            case "partition_max_bytes": return pick(r, 1L << 20, 1L << 20, 1L << 20, 0L, 1L, (long) Integer.MAX_VALUE);
            case "num_partitions": return pick(r, -1L, 1L, 2L, 0L, -2L, 3L);
            case "replication_factor": return pick(r, -1L, 1L, 1L, 0L, 2L, -2L);
            case "count": return pick(r, 1L, 2L, 3L, 4L, 5L, 0L, -1L);
            case "replicas":
            case "broker_ids": return pick(r, 1L, 1L, 1L, 2L, -1L);
            case "broker_id": return api == ApiKeys.CONTROLLED_SHUTDOWN ? pick(r, 2L, -1L, 99L) : pick(r, 1L, 2L, -1L);
            case "replica_id": return pick(r, -1L, -1L, -1L, -2L, 2L, -3L);
            case "partition":
            case "partitions":
            case "partition_index":
            case "partition_indexes":
            case "index": return pick(r, 0L, 0L, 1L, 2L, 3L, -1L, (long) Integer.MAX_VALUE);
            case "session_timeout_ms": return pick(r, 1_800_000L, 1_800_000L, 1_800_000L, 0L, -1L);
            case "rebalance_timeout_ms": return pick(r, 600_000L, 600_000L, -1L);
            case "transaction_timeout_ms": return pick(r, 600_000L, 600_000L, 600_000L, 0L, -1L, (long) Integer.MAX_VALUE);
            case "retention_time_ms":
            case "commit_timestamp": return -1;
            case "timestamp": return pick(r, -1L, -2L, -3L, -4L, -5L, -6L, 0L, 1_700_000_000_003L, Long.MAX_VALUE);
            case "session_id": {
                List<Pair> known = pairs.getOrDefault("session", Collections.emptyList());
                return known.isEmpty() || r.nextBoolean() ? pick(r, 0L, 0L, 12345L) : (int) known.get(Math.max(0, known.size() - 1 - r.nextInt(3))).names[side];
            }
            case "session_epoch": return pick(r, -1L, -1L, 0L, 0L, 1L, 2L);
            case "producer_id":
                if (api == ApiKeys.WRITE_TXN_MARKERS) {
                    // Apache keeps errors by producer, and fails half way through the request at a marker without one.
                    int earlier = (int) chosen.merge("markers", 1, (a, b) -> (int) a + (int) b) - 1;
                    return pick(r, 1L, 2L, 1000L) + 3 * earlier;
                }
                return pick(r, -1L, 0L, 1L, 2L, 3L, 4L, 1000L, Long.MAX_VALUE);
            case "producer_epoch": return api == ApiKeys.WRITE_TXN_MARKERS ? pick(r, 0L, 0L, 1L) : pick(r, -1L, 0L, 0L, 0L, 1L, 32767L);
            case "generation_id":
            case "generation_id_or_member_epoch": return pick(r, -1L, 0L, 1L, 1L, 2L, 3L);
            case "resource_type":
                // Levels of loggers (8) are not served; AlterConfigs refuses them in Apache too.
                if (api == ApiKeys.ALTER_CONFIGS) {
                    return pick(r, 2L, 2L, 2L, 4L, 4L, 4L, 8L, 8L, 16L, 99L);
                }
                if (api == ApiKeys.INCREMENTAL_ALTER_CONFIGS) {
                    return pick(r, 2L, 2L, 2L, 4L, 4L, 4L, 16L, 99L);
                }
                return pick(r, 2L, 2L, 2L, 4L, 4L, 16L, 0L, 99L, 1L, 3L);
            case "config_operation": return pick(r, 0L, 0L, 0L, 1L, 2L, 3L, 4L, -1L);
            case "match_type": return pick(r, 0L, 1L, 2L, 2L, -1L);
            case "election_type": return pick(r, 0L, 1L, 2L);
            case "key_type": return pick(r, 0L, 0L, 1L, 1L, 2L, -1L);
            case "isolation_level": return api == ApiKeys.LIST_OFFSETS ? pick(r, 0L, 1L, 2L) : pick(r, 0L, 1L);
            case "endpoint_type": return pick(r, 1L, 1L, 2L, 0L);
            case "current_leader_epoch":
            case "leader_epoch":
            case "last_fetched_epoch":
            case "committed_leader_epoch": return pick(r, -1L, -1L, 0L, 0L, 1L, 5L);
            case "fetch_offset":
            case "offset":
            case "log_start_offset":
            case "committed_offset": return pick(r, 0L, 0L, 1L, 2L, 5L, -1L, -2L, Long.MAX_VALUE);
            case "max_num_offsets": return pick(r, 1L, 2L, 0L, -1L);
            case "coordinator_epoch": return pick(r, 0L, 0L, 1L, -1L);
            default: return pick(r, 0L, 1L, 2L, 3L, -1L, 1000L);
        }
    }

    @SafeVarargs
    private static <T> T pick(Random r, T... some) {
        return some[r.nextInt(some.length)];
    }

    @SafeVarargs
    private static <T> T pick(Random r, List<T>... some) {
        List<T> list = some[r.nextInt(some.length)];
        return list.get(r.nextInt(list.size()));
    }

    /**
     * What a consumer says of itself: topics, or a byte, which is too short. Of other nonsense Apache fails while it ends
     * the rebalance, by an exception that leaves every member waiting.
     */
    private static ByteBuffer subscription(Random r) {
        ByteBuffer out = ByteBuffer.allocate(64);
        if (r.nextInt(4) == 0) {
            out.put((byte) 0);
        } else {
            int topics = r.nextInt(3);
            out.putShort((short) 0).putInt(topics);
            for (int i = 0; i < topics; i++) {
                byte[] topic = BASE.get(r.nextInt(BASE.size())).getBytes(StandardCharsets.UTF_8);
                out.putShort((short) topic.length).put(topic);
            }
            out.putInt(-1);
        }
        out.flip();
        return out;
    }

    private MemoryRecords produced(short version, Random r) {
        // Apache keeps what is sound and what is not in two maps: of a partition that is named with both it appends the one and
        // answers for the other, and the states part. hostile_test.py has what is not sound, alone.
        byte magic = version >= 3 ? (byte) 2 : version == 2 ? (byte) 1 : (byte) 0;
        CompressionType codec = pick(r, CompressionType.NONE, CompressionType.NONE, CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4,
            magic == 2 ? CompressionType.ZSTD : CompressionType.NONE);
        boolean idempotent = magic == 2 && r.nextInt(3) == 0;
        boolean transactional = idempotent && r.nextInt(3) == 0;
        long id = idempotent ? r.nextInt(5) : RecordBatch.NO_PRODUCER_ID;
        short epoch = idempotent ? (short) r.nextInt(2) : RecordBatch.NO_PRODUCER_EPOCH;
        int sequence = idempotent ? r.nextInt(4) : RecordBatch.NO_SEQUENCE;
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1024), magic, Compression.of(codec).build(), TimestampType.CREATE_TIME, 0,
            RecordBatch.NO_TIMESTAMP, id, epoch, sequence, transactional, RecordBatch.NO_PARTITION_LEADER_EPOCH);
        int count = 1 + r.nextInt(3);
        for (int i = 0; i < count; i++) {
            byte[] key = r.nextInt(4) == 0 ? null : ("k" + r.nextInt(3)).getBytes(StandardCharsets.UTF_8);
            byte[] value = r.nextInt(8) == 0 ? null : ("value " + r.nextInt(1000)).getBytes(StandardCharsets.UTF_8);
            builder.append(magic == 0 ? RecordBatch.NO_TIMESTAMP : 1_700_000_000_000L + r.nextInt(10), key, value);
        }
        return builder.build();
    }
}
