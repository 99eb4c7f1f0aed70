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
    /** Ends a tool where it would have ended its process. */
    private static final class Ended extends Error {
        final int code;

        Ended(int code) {
            super(null, null, false, false);
            this.code = code;
        }
    }

    /** Tools keep the stream that they found first, so that one has to stay and only its target may change. */
    private static final class Switch extends OutputStream {
        volatile OutputStream target;

        @Override
        public void write(int b) throws IOException {
            target.write(b);
        }

        @Override
        public void write(byte[] b, int from, int length) throws IOException {
            target.write(b, from, length);
        }
    }

    private static volatile ByteArrayInputStream input = new ByteArrayInputStream(new byte[0]);

    public static void main(String[] ignored) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, true, "UTF-8");
        Switch out = new Switch();
        Switch err = new Switch();
        out.target = new ByteArrayOutputStream();
        err.target = new ByteArrayOutputStream();
        System.setOut(new PrintStream(out, true, "UTF-8"));
        System.setErr(new PrintStream(err, true, "UTF-8"));
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
        Exit.setExitProcedure((code, message) -> {
            throw new Ended(code);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw new Ended(code);
        });
        ServiceUtils.setSystemExitProcedure(code -> {
            throw new Ended(code);
        });
        ObjectMapper json = new ObjectMapper();
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            String[] args = json.convertValue(request.get("args"), String[].class);
            input = new ByteArrayInputStream(request.path("stdin").asText("").getBytes(StandardCharsets.UTF_8));
            ByteArrayOutputStream stdout = new ByteArrayOutputStream();
            ByteArrayOutputStream stderr = new ByteArrayOutputStream();
            out.target = stdout;
            err.target = stderr;
            int code = 0;
            try {
                Class.forName(request.get("class").asText()).getMethod("main", String[].class).invoke(null, (Object) args);
            } catch (InvocationTargetException e) {
                Throwable cause = e.getCause();
                if (cause instanceof Ended) {
                    code = ((Ended) cause).code;
                } else {
                    cause.printStackTrace();
                    code = 1;
                }
            }
            System.out.flush();
            System.err.flush();
            ObjectNode answer = json.createObjectNode();
            answer.put("exit", code);
            answer.put("stdout", stdout.toString(StandardCharsets.UTF_8));
            answer.put("stderr", stderr.toString(StandardCharsets.UTF_8));
            answers.println(json.writeValueAsString(answer));
        }
    }
}
