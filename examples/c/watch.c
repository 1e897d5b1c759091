/* Prints what happens in a room, each event once, however often the connection breaks. */
#include "chinwag.h"

static char **args, token[41], log_id[17];
static long last /* the last event of that log that was shown */, wait_ms = 1000;

static void fail(const char *text) {
    fprintf(stderr, "watch: %s\n", text);
    exit(1);
}

static void join(FILE *in) {
    char after[64] = "";
    if (*log_id) snprintf(after, sizeof after, " after=%ld log=%s", last, log_id);
    send_line(in, "JOIN %s room=%s idle=60%s%s", args[4], args[3], after, key_option());
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Reads the server's lines until the connection ends. */
static void listen_to(FILE *in) {
    static char goodbye[256];
    char *line;
    long limit = 10000, deadline = now() + limit;
    for (;;) {
        patience(fileno(in), deadline > now() ? deadline - now() : 1);
        if (!(line = next_line(in))) return;
        if (begins(line, "HELLO ") && number(line, " protocol=") == 1) {
            if (*token) send_line(in, "RESUME %s after=%ld", token, last);
            else join(in);
        } else if (begins(line, "OK JOIN ") || begins(line, "OK RESUME ")) {
            if (begins(line, "OK JOIN ")) {
                char new[17] = "";
                word(token, sizeof token, line, " session=");
                word(new, sizeof new, line, " log=");
                if (strcmp(log_id, new)) last = number(line, " seq=") - 1;
                strcpy(log_id, new);
            }
            /* EXPIRING comes two thirds into the idle time, unless the connection is dead. */
            limit = number(line, " idle=") * 750;
            deadline = now() + limit;
            wait_ms = 1000;
        } else if (begins(line, "EXPIRING ")) {
            send_line(in, "PING");
            deadline = now() + limit;
        } else if (begins(line, "MSG ") || begins(line, "JOINED ") || begins(line, "LEFT ")) {
            if (printf("%s\n", line) < 0 || fflush(stdout)) fail(strerror(errno));
            last = number(line, " ");
        } else if (begins(line, "LOST ")) {
            fprintf(stderr, "watch: %ld events are missing\n", number(line, " "));
            last = number(strrchr(line, ' '), " ") - 1;
        } else if (begins(line, "ERR session-ended ") || begins(line, "ERR unknown-session ")) {
            fprintf(stderr, "watch: %s; joining again\n", line);
            *token = '\0';
            join(in);
        } else if (begins(line, "ERR full ") || begins(line, "ERR name-taken ")
                   || begins(line, "BYE full ") || begins(line, "BYE shutdown ")) {
            snprintf(goodbye, sizeof goodbye, "%s", line);
            reason = goodbye;
            return;
        } else if (begins(line, "HELLO ") || begins(line, "ERR ") || begins(line, "BYE replaced ")
                   || begins(line, "BYE abuse ")) {
            fail(line);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: watch HOST PORT ROOM NAME   (the key in CHINWAG_KEY)\n");
        return 2;
    }
    args = argv;
    srandom(time(NULL) ^ getpid());
    for (;;) {
        FILE *in = dial(argv[1], argv[2]);
        if (in) {
            listen_to(in);
            fclose(in);
        }
        long ms = random() % wait_ms;
        fprintf(stderr, "watch: %s; trying again in %.1f s\n", reason, ms / 1000.0);
        nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
        wait_ms = wait_ms < 15000 ? 2 * wait_ms : 30000;
    }
}
