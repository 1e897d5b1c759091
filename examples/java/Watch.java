import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.*;
import java.net.*;
import java.util.concurrent.ThreadLocalRandom;

/** Prints what happens in a room, each event once, however often the connection breaks. */
class Watch {
    static String join;
    static String token;
    static String log = "";
    static long last; // the last event of that log that was shown
    static int pause = 1000;

    public static void main(String[] args) throws InterruptedException {
        if (args.length != 4) {
            System.err.println(
                "usage: java Watch.java HOST PORT ROOM NAME   (the key in CHINWAG_KEY)");
            System.exit(2);
        }
        var key = System.getenv().getOrDefault("CHINWAG_KEY", "");
        join = "JOIN " + args[3] + " room=" + args[2] + " idle=60";
        if (!key.isEmpty()) join += " key=" + key;
        join = join.replaceAll("[\\x00-\\x1f\\x7f]", " ");
        while (true) {
            String reason;
            try (var conn = new Socket()) {
                conn.connect(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 10_000);
                reason = listen(conn);
            } catch (IOException | IllegalArgumentException error) {
                reason = error.toString();
            }
            int wait = ThreadLocalRandom.current().nextInt(pause);
            System.err.printf("watch: %s; trying again in %.1f s%n", reason, wait / 1000.0);
            Thread.sleep(wait);
            pause = Math.min(2 * pause, 30_000);
        }
    }

    /** Reads the server's lines until the connection ends; returns why. */
    static String listen(Socket conn) throws IOException {
        var in = new BufferedInputStream(conn.getInputStream());
        var out = new PrintStream(conn.getOutputStream(), true);
        var shown = new PrintStream(new FileOutputStream(FileDescriptor.out), true);
        long limit = 10_000, deadline = now() + limit;
        while (true) {
            conn.setSoTimeout((int) Math.max(1, deadline - now()));
            var line = line(in);
            if (line == null) return "cut off";
            var word = (line + "  ").split(" ", 4);
            switch (word[0]) {
                case "HELLO" -> {
                    if (!word[2].equals("protocol=1")) fail(line);
                    var resume = "RESUME " + token + " after=" + last;
                    out.print((token == null ? joining() : resume) + "\n");
                }
                case "OK" -> {
                    if (word[1].equals("PING")) break;
                    if (word[1].equals("JOIN")) token = field(line, "session");
                    if (!log.equals(field(line, "log"))) {
                        log = field(line, "log");
                        last = Long.parseLong(field(line, "seq")) - 1;
                    }
                    // EXPIRING comes two thirds into the idle time, unless the connection is dead.
                    limit = Long.parseLong(field(line, "idle")) * 750;
                    deadline = now() + limit;
                    pause = 1000;
                }
                case "EXPIRING" -> {
                    out.print("PING\n");
                    deadline = now() + limit;
                }
                case "MSG", "JOINED", "LEFT" -> {
                    shown.write((line + "\n").getBytes(UTF_8));
                    if (shown.checkError()) fail("standard output is gone");
                    last = Long.parseLong(word[1]);
                }
                case "LOST" -> {
                    System.err.println("watch: " + word[1] + " events are missing");
                    last = Long.parseLong(word[2].strip()) - 1;
                }
                case "ERR", "BYE" -> {
                    switch (word[1]) {
                        case "session-ended", "unknown-session" -> {
                            System.err.println("watch: " + line + "; joining again");
                            token = null;
                            out.print(joining() + "\n");
                        }
                        case "full", "name-taken", "shutdown" -> { return line; }
                        case "replaced", "abuse" -> fail(line);
                        default -> {
                            if (word[0].equals("ERR")) fail(line);
                        }
                    }
                }
            }
        }
    }

    static String joining() {
        return log.isEmpty() ? join : join + " after=" + last + " log=" + log;
    }

    /** The next line, or null if there is no complete one. */
    static String line(InputStream in) throws IOException {
        var bytes = new ByteArrayOutputStream();
        for (int b; (b = in.read()) != '\n'; bytes.write(b)) if (b < 0) return null;
        return bytes.toString(UTF_8).replace("\r", "");
    }

    static long now() {
        return System.nanoTime() / 1_000_000;
    }

    static String field(String line, String name) {
        return line.replaceFirst(".* " + name + "=(\\S+).*", "$1");
    }

    static void fail(String text) {
        System.err.println("watch: " + text);
        System.exit(1);
    }
}
