import static java.nio.charset.StandardCharsets.UTF_8;
import static java.nio.file.StandardOpenOption.*;

import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.*;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.*;

/**
 * Prints what happened in a room since the last run, each event once; FILE keeps the session.
 * For cron. An hour without a run ends its session; the next run joins again where it was.
 */
class Poll {
    static String token;
    static String log = "";
    static String last; // the last event of that log that was shown

    public static void main(String[] args) {
        if (args.length != 5) {
            System.err.println(
                "usage: java Poll.java HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)");
            System.exit(2);
        }
        var key = System.getenv().getOrDefault("CHINWAG_KEY", "");
        var join = "JOIN " + args[3] + " room=" + args[2] + " mode=pull idle=3600";
        if (!key.isEmpty()) join += " key=" + key;
        try (var conn = new Socket()) {
            conn.connect(new InetSocketAddress(args[0], Integer.parseInt(args[1])), 10_000);
            conn.setSoTimeout(10_000);
            visit(conn, join.replaceAll("[\\x00-\\x1f\\x7f]", " "), Path.of(args[4]));
        } catch (IOException | IllegalArgumentException error) {
            System.err.println("poll: " + args[0] + " port " + args[1] + ": " + error.getMessage());
            System.exit(1);
        }
    }

    static void visit(Socket conn, String join, Path file) throws IOException {
        var in = new BufferedInputStream(conn.getInputStream());
        var out = new PrintStream(conn.getOutputStream(), true);
        if (Files.exists(file)) {
            var saved = Files.readString(file).split("\\s");
            token = saved[0];
            last = saved[1];
            log = saved[2];
        }
        for (var more = true; more; ) {
            var line = line(in);
            var word = (line + "  ").split(" ");
            switch (line.replaceFirst("^(\\S+ \\S+).*", "$1").replaceFirst("^HELLO .*", "HELLO")) {
                case "HELLO" -> {
                    if (!line.matches("HELLO \\S+ protocol=1( .*)?")) throw new IOException(line);
                    out.print((token == null ? joining(join) : "RESUME " + token) + "\n");
                }
                case "ERR session-ended", "ERR unknown-session" -> {
                    System.err.println("poll: " + line + "; joining again");
                    out.print(joining(join) + "\n");
                }
                case "OK JOIN" -> {
                    token = field(line, "session");
                    if (!log.equals(field(line, "log"))) {
                        log = field(line, "log");
                        last = Long.toString(Long.parseLong(field(line, "seq")) - 1);
                    }
                    save(file);
                    out.print("POLL after=" + last + "\n");
                }
                case "OK RESUME" -> out.print("POLL after=" + last + "\n");
                case "OK POLL" -> {
                    var events = new ArrayList<String>();
                    for (int n = Integer.parseInt(word[2]); n > 0; n--) events.add(line(in));
                    var shown = new PrintStream(new FileOutputStream(FileDescriptor.out));
                    for (var event : events) {
                        if (event.startsWith("LOST ")) {
                            var count = event.split(" ")[1];
                            System.err.println("poll: " + count + " events are missing");
                        } else if (event.matches("(MSG|JOINED|LEFT) .*")) {
                            shown.write((event + "\n").getBytes(UTF_8));
                        }
                    }
                    // If this is killed between showing and saving, the next run shows these events
                    // again; in the other order they would be lost.
                    if (shown.checkError()) throw new IOException("standard output is gone");
                    last = field(line, "last");
                    save(file);
                    more = !field(line, "more").equals("0");
                    if (more) out.print("POLL after=" + last + "\n");
                }
                default -> {
                    if (line.matches("(ERR|BYE) .*")) throw new IOException(line);
                }
            }
        }
    }

    static String joining(String join) {
        return log.isEmpty() ? join : join + " after=" + last + " log=" + log;
    }

    static void save(Path file) throws IOException {
        var created = Path.of(file + ".new");
        var mode = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
        try (var out = FileChannel.open(created, Set.of(CREATE, TRUNCATE_EXISTING, WRITE), mode)) {
            out.write(ByteBuffer.wrap((token + " " + last + " " + log + "\n").getBytes(UTF_8)));
            out.force(true);
        }
        Files.move(created, file, StandardCopyOption.ATOMIC_MOVE);
    }

    /** The next line; it has to be complete. */
    static String line(InputStream in) throws IOException {
        var bytes = new ByteArrayOutputStream();
        for (int b; (b = in.read()) != '\n'; bytes.write(b)) {
            if (b < 0) throw new EOFException("cut off; the next run continues from here");
        }
        return bytes.toString(UTF_8).replace("\r", "");
    }

    static String field(String line, String name) {
        return line.replaceFirst(".* " + name + "=(\\S+).*", "$1");
    }
}
