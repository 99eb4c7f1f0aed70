import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Supplier;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Reads the encodings of a corpus (a line is message, version, bytes in hexadecimal) with Kafka's own classes and writes
 * them again. Prints a line for each one that does not come back as it was, and for each message and version of a broker
 * in ZooKeeper mode that the corpus lacks.
 *
 * <pre>WireCorpus FILE</pre>
 */
public final class WireCorpus {
    private static final String DATA = "Data";

    private WireCorpus() {
    }

    public static void main(String[] args) throws Exception {
        Map<String, Supplier<ApiMessage>> messages = new HashMap<>();
        TreeSet<String> wanted = new TreeSet<>();
        for (ApiKeys key : ApiKeys.zkBrokerApis()) {
            for (Supplier<ApiMessage> message : Arrays.<Supplier<ApiMessage>>asList(
                    key.messageType::newRequest, key.messageType::newResponse)) {
                String data = message.get().getClass().getSimpleName();
                String name = data.substring(0, data.length() - DATA.length());
                messages.put(name, message);
                for (short version = key.oldestVersion(); version <= key.latestVersion(false); version++) {
                    wanted.add(name + " " + version);
                }
            }
        }
        for (String line : Files.readAllLines(Paths.get(args[0]))) {
            if (line.isEmpty() || line.startsWith("#")) {
                continue;
            }
            String[] words = line.split(" ", -1);
            try {
                String problem = through(messages.get(words[0]).get(), Short.parseShort(words[1]), unhex(words[2]));
                if (problem != null) {
                    System.out.println(words[0] + " " + words[1] + ": " + problem);
                }
            } catch (RuntimeException e) {
                System.out.println(words[0] + " " + words[1] + ": " + e);
            }
            wanted.remove(words[0] + " " + words[1]);
        }
        wanted.forEach(missing -> System.out.println(missing + ": not in the corpus"));
    }

    private static String through(ApiMessage message, short version, byte[] bytes) {
        ByteBuffer in = ByteBuffer.wrap(bytes);
        message.read(new ByteBufferAccessor(in), version);
        if (in.hasRemaining()) {
            return in.remaining() + " bytes left";
        }
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        return Arrays.equals(out.array(), bytes) ? null : "comes back different: " + message;
    }

    private static byte[] unhex(String text) {
        byte[] bytes = new byte[text.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }
}
