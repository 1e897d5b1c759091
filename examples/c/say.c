/* Says something in a room, for cron jobs and alarms; exits with 0 if it was said. */
#include "chinwag.h"

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: say HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)\n");
        return 2;
    }
    char *text, *line;
    size_t length;
    FILE *words = open_memstream(&text, &length);
    for (int i = 5; i < argc; i++) fprintf(words, " %s", argv[i]);
    fclose(words);

    int said = 0;
    FILE *in = dial(argv[1], argv[2]);
    while (in && (line = next_line(in))) {
        if (begins(line, "HELLO ") && number(line, " protocol=") == 1) {
            send_line(in, "JOIN %s room=%s mode=pull idle=10 quiet=yes%s", argv[4], argv[3],
                      key_option());
            send_line(in, "SAY%s", text);
            send_line(in, "QUIT");
        } else if (begins(line, "OK SAY ")) {
            said = 1;
        } else if (!said
                   && (begins(line, "HELLO ") || begins(line, "ERR ") || begins(line, "BYE "))) {
            fprintf(stderr, "say: %s\n", line);
            return 1;
        }
    }
    if (!said)
        fprintf(stderr, "say: %s port %s: %s%s\n", argv[1], argv[2], reason,
                in ? "; it may still have been said" : "");
    return !said;
}
