import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FilterInputStream;
import java.io.InputStreamReader;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.common.utils.Exit;
import org.apache.zookeeper.util.ServiceUtils;

/**
 * Runs the main methods of Apache's tools, one after the other, in one JVM: a start of the JVM for each costs more than
 * the tools themselves.
 *
 * A request is one JSON line {"class": name, "args": [...], "stdin": text}; the answer is one line
 * {"exit": code, "stdout": text, "stderr": text}.
 */
public final class ToolHost {
    /** Unwinds a tool from where it would have ended its process, so that its `finally` blocks close what it opened. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** Tools keep the stream that they found first, so that one has to stay and only its target may change. */
    private static final class Switch extends OutputStream {
        volatile OutputStream target = OutputStream.nullOutputStream();

        @Override
        public void write(int b) throws IOException {
            target.write(b);
        }

        @Override
        public void write(byte[] b, int from, int length) throws IOException {
            target.write(b, from, length);
        }
    }

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    private static volatile ByteArrayInputStream input = new ByteArrayInputStream(new byte[0]);
    private static volatile Integer exitCode;

    /** The first call counts, and nothing is printed after it: many tools catch what is thrown here and exit again. */
    private static void end(int code) {
        if (exitCode == null) {
            exitCode = code;
            System.out.flush();
            System.err.flush();
            OUT.target = OutputStream.nullOutputStream();
            ERR.target = OutputStream.nullOutputStream();
        }
        throw new Ended();
    }

    public static void main(String[] ignored) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        System.setOut(new PrintStream(OUT, true, "UTF-8"));
        System.setErr(new PrintStream(ERR, true, "UTF-8"));
        System.setIn(new FilterInputStream(input) {
            @Override
            public int read() {
                return input.read();
            }

            @Override
            public int read(byte[] b, int from, int length) {
                return input.read(b, from, length);
            }

            @Override
            public int available() {
                return input.available();
            }
        });
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        ServiceUtils.setSystemExitProcedure(ToolHost::end);
        ObjectMapper json = new ObjectMapper();
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            String[] args = json.convertValue(request.get("args"), String[].class);
            input = new ByteArrayInputStream(request.path("stdin").asText("").getBytes(StandardCharsets.UTF_8));
            ByteArrayOutputStream stdout = new ByteArrayOutputStream();
            ByteArrayOutputStream stderr = new ByteArrayOutputStream();
            OUT.target = stdout;
            ERR.target = stderr;
            exitCode = null;
            try {
                Class.forName(request.get("class").asText()).getMethod("main", String[].class).invoke(null, (Object) args);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Ended)) {
                    e.getCause().printStackTrace();
                    exitCode = 1;
                }
            }
            System.out.flush();
            System.err.flush();
            ObjectNode answer = json.createObjectNode();
            answer.put("exit", exitCode == null ? 0 : exitCode);
            answer.put("stdout", stdout.toString(StandardCharsets.UTF_8));
            answer.put("stderr", stderr.toString(StandardCharsets.UTF_8));
            answers.println(json.writeValueAsString(answer));
        }
    }
}
