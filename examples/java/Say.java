import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.*;
import java.net.*;
import java.util.*;

/** Says something in a room, for cron jobs and alarms; exits with 0 if it was said. */
class Say {
    public static void main(String[] args) {
        if (args.length < 5) {
            System.err.println(
                "usage: java Say.java HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)");
            System.exit(2);
        }
        var key = System.getenv().getOrDefault("CHINWAG_KEY", "");
        var join = "JOIN " + args[3] + " room=" + args[2] + " mode=pull idle=10 quiet=yes";
        if (!key.isEmpty()) join += " key=" + key;
        var text = String.join(" ", Arrays.asList(args).subList(4, args.length));
        // In a locale such as C, Java cannot read letters outside ASCII in its arguments.
        if (text.contains("\uFFFD")) fail("unreadable in this locale; try LC_ALL=C.UTF-8");
        var said = false;
        try (var conn = new Socket()) {
            conn.connect(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 10_000);
            conn.setSoTimeout(10_000);
            var in = new BufferedInputStream(conn.getInputStream());
            for (String line; (line = line(in)) != null; ) {
                if (line.matches("HELLO \\S+ protocol=1( .*)?")) {
                    var lines = clean(join) + clean("SAY " + text) + "QUIT\n";
                    conn.getOutputStream().write(lines.getBytes(UTF_8));
                } else if (line.startsWith("OK SAY ")) {
                    said = true;
                } else if (line.matches("(HELLO|ERR|BYE) .*") && !said) {
                    fail(line);
                }
            }
        } catch (IOException | IllegalArgumentException error) {
            if (!said) fail(args[0] + " port " + args[1] + ": " + error);
        }
        if (!said) fail(args[0] + " port " + args[1] + ": cut off; it may still have been said");
    }

    /** The next line, or null if there is no complete one. */
    static String line(InputStream in) throws IOException {
        var bytes = new ByteArrayOutputStream();
        for (int b; (b = in.read()) != '\n'; bytes.write(b)) if (b < 0) return null;
        return bytes.toString(UTF_8).replace("\r", "");
    }

    /** Ends a line. A line end within an argument would begin another command. */
    static String clean(String line) {
        return line.replaceAll("[\\x00-\\x1f\\x7f]", " ") + "\n";
    }

    static void fail(String text) {
        System.err.println("say: " + text);
        System.exit(1);
    }
}
