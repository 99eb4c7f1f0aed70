import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Writes, for every API in its oldest and latest version, each request in which one array has the same small element so
 * often that the request is large, with all numbers nothing, two (a topic, where a number names a kind of resource), the largest or the least. From Kafka's own schemas.
 *
 * To standard output, each: name (a modified UTF-8 string of java.io), whether it may wait, length, frame without its length. What makes the
 * broker another one comes last.
 *
 * <pre>LargestNonsense TOPIC TOPIC_ID BYTES</pre>
 */
public final class LargestNonsense {
    private static final List<ApiKeys> LAST = Arrays.asList(ApiKeys.DELETE_TOPICS, ApiKeys.CONTROLLED_SHUTDOWN,
        ApiKeys.STOP_REPLICA, ApiKeys.LEADER_AND_ISR, ApiKeys.UPDATE_METADATA);

    private enum Numbers { ZERO, TWO, LARGEST, LEAST }

    private final String topic;
    private final Uuid topicId;
    private final int size;
    private final DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
    private Numbers numbers;
    /** The array that is filled, and how often; the others have one element. */
    private String filled;
    private int times;
    private List<String> arrays;
    private int elementSize;
    private boolean mayWait;

    private LargestNonsense(String[] args) {
        topic = args[0];
        topicId = Uuid.fromString(args[1]);
        size = Integer.parseInt(args[2]);
    }

    public static void main(String[] args) throws Exception {
        LargestNonsense nonsense = new LargestNonsense(args);
        List<ApiKeys> apis = new ArrayList<>(ApiKeys.zkBrokerApis());
        apis.removeAll(LAST);
        apis.addAll(LAST);
        for (ApiKeys api : apis) {
            nonsense.write(api, api.oldestVersion());
            if (api.latestVersion(false) != api.oldestVersion()) {
                nonsense.write(api, api.latestVersion(false));
            }
        }
        nonsense.out.flush();
    }

    private void write(ApiKeys api, short version) throws Exception {
        Schema schema = api.messageType.requestSchemas()[version];
        for (Numbers which : Numbers.values()) {
            numbers = which;
            arrays = new ArrayList<>();
            build(schema, null, 0, api.name);
            List<String> all = arrays.isEmpty() ? Collections.singletonList("") : arrays;
            for (String array : all) {
                build(schema, array, 1, api.name);
                mayWait = false;
                Struct body = build(schema, array, Math.max(1, size / Math.max(1, elementSize)), api.name);
                byte[] frame = CompareAnswers.frame(api, version, body);
                out.writeUTF(api.name + " v" + version + ", " + which + ", many " + array);
                out.writeBoolean(mayWait);
                out.writeInt(frame.length - Integer.BYTES);
                out.write(frame, Integer.BYTES, frame.length - Integer.BYTES);
            }
        }
    }

    private Struct build(Schema schema, String array, int count, String name) {
        filled = array;
        times = count;
        return (Struct) value(schema, name);
    }

    private Object value(Type type, String path) {
        String name = path.substring(path.lastIndexOf('.') + 1);
        if (type instanceof Schema) {
            Struct struct = new Struct((Schema) type);
            for (BoundField field : ((Schema) type).fields()) {
                struct.set(field, value(field.def.type, path + "." + field.def.name));
            }
            return struct;
        }
        if (type instanceof TaggedFields) {
            return Collections.emptyNavigableMap();
        }
        if (type.arrayElementType().isPresent()) {
            if (!arrays.contains(path)) {
                arrays.add(path);
            }
            Object element = value(type.arrayElementType().get(), path);
            if (path.equals(filled)) {
                elementSize = type.arrayElementType().get().sizeOf(element);
            }
            Object[] elements = new Object[path.equals(filled) ? times : 1];
            Arrays.fill(elements, element);
            return elements;
        }
        mayWait |= name.endsWith("_ms") && numbers == Numbers.LARGEST;
        String kind = type.toString();
        if (kind.contains("RECORDS")) {
            return null;
        }
        if (kind.contains("STRING")) {
            return name.contains("topic") || name.contains("name") ? topic : name.equals("group_id") ? "g" : "";
        }
        if (kind.contains("BYTES")) {
            return ByteBuffer.allocate(0);
        }
        switch (kind) {
            case "UUID": return topicId;
            case "BOOLEAN": return numbers == Numbers.LARGEST;
            case "INT8": return (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
            case "INT16": return (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
            case "UINT16": return (int) number(0, 65_535);
            case "INT32": return (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            case "UINT32": return number(0, (1L << 32) - 1);
            case "INT64": return number(Long.MIN_VALUE, Long.MAX_VALUE);
            case "FLOAT64": return (double) number(Long.MIN_VALUE, Long.MAX_VALUE);
            default: throw new IllegalStateException("a field of type " + kind + ": " + path);
        }
    }

    private long number(long least, long largest) {
        switch (numbers) {
            case ZERO: return 0;
            case TWO: return 2;
            case LARGEST: return largest;
            default: return least;
        }
    }
}
