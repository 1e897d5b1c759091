/* Prints what happened in a room since the last run, each event once; FILE keeps the session.
 * For cron. An hour without a run ends its session; the next run joins again where it was. */
#include "chinwag.h"
#include <sys/stat.h>

static char token[41], log_id[17];
static long last; /* the last event of that log that was shown */

static void fail(const char *what, const char *why) {
    fprintf(stderr, "poll: %s%s%s\n", what, *why ? ": " : "", why);
    exit(1);
}

static char *joined(const char *one, const char *two) {
    char *both = malloc(strlen(one) + strlen(two) + 1);
    return strcat(strcpy(both, one), two);
}

static void save(const char *file) {
    char *created = joined(file, ".new");
    umask(077);
    FILE *out = fopen(created, "w");
    if (!out || fprintf(out, "%s %ld %s\n", token, last, log_id) < 0 || fflush(out)
        || fsync(fileno(out)) || fclose(out) || rename(created, file))
        fail(file, strerror(errno));
    free(created);
}

static char *receive(FILE *in) {
    char *line = next_line(in);
    if (!line) fail(reason, "the next run continues from here");
    return line;
}

/* Shows a whole reply, or nothing of it if it is cut off. */
static void show(FILE *in, long count) {
    char *shown, *line;
    size_t length;
    long missing = 0;
    FILE *out = open_memstream(&shown, &length);
    for (; count > 0; count--) {
        line = receive(in);
        if (begins(line, "LOST ")) missing = number(line, " ");
        else if (begins(line, "MSG ") || begins(line, "JOINED ") || begins(line, "LEFT "))
            fprintf(out, "%s\n", line);
    }
    fclose(out);
    if (missing) fprintf(stderr, "poll: %ld events are missing\n", missing);
    if (fwrite(shown, 1, length, stdout) < length || fflush(stdout))
        fail("standard output", strerror(errno));
    free(shown);
}

static void ask_join(FILE *in, char **argv) {
    char after[64] = "";
    if (*log_id) snprintf(after, sizeof after, " after=%ld log=%s", last, log_id);
    const char *key = key_option();
    send_line(in, "JOIN %s room=%s mode=pull idle=3600%s%s", argv[4], argv[3], after, key);
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: poll HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)\n");
        return 2;
    }
    const char *file = argv[5];
    FILE *saved = fopen(file, "r");
    if (saved ? fscanf(saved, "%40s %ld %16s", token, &last, log_id) != 3 : errno != ENOENT)
        fail("cannot read", file);
    if (saved) fclose(saved);
    FILE *in = dial(argv[1], argv[2]);
    if (!in) fail(argv[1], reason);

    for (;;) {
        char *line = receive(in);
        if (begins(line, "HELLO ") && number(line, " protocol=") == 1) {
            if (*token) send_line(in, "RESUME %s", token);
            else ask_join(in, argv);
        } else if (begins(line, "ERR session-ended ") || begins(line, "ERR unknown-session ")) {
            fprintf(stderr, "poll: %s; joining again\n", line);
            ask_join(in, argv);
        } else if (begins(line, "OK JOIN ")) {
            char new[17] = "";
            word(token, sizeof token, line, " session=");
            word(new, sizeof new, line, " log=");
            if (strcmp(log_id, new)) last = number(line, " seq=") - 1;
            strcpy(log_id, new);
            save(file);
            send_line(in, "POLL after=%ld", last);
        } else if (begins(line, "OK RESUME ")) {
            send_line(in, "POLL after=%ld", last);
        } else if (begins(line, "OK POLL ")) {
            long next = number(line, " last="), more = number(line, " more=");
            show(in, number(line, "POLL "));
            /* If this is killed between showing and saving, the next run shows these events
             * again; in the other order they would be lost. */
            last = next;
            save(file);
            if (!more) return 0;
            send_line(in, "POLL after=%ld", last);
        } else if (begins(line, "HELLO ") || begins(line, "ERR ") || begins(line, "BYE ")) {
            fail(line, "");
        }
    }
}
