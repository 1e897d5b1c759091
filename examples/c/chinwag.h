/* What the example clients in C share: connecting, and reading whole lines. */
#define _XOPEN_SOURCE 700
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Why nothing came, or could be sent. */
static const char *reason = "cut off";

/* Limits each wait on a socket, including the wait for its connection. */
static void patience(int fd, long ms) {
    struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

/* Opens a connection. Read from the FILE, and send to its fileno(). */
static FILE *dial(const char *host, const char *port) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list, *at;
    signal(SIGPIPE, SIG_IGN);
    int failed = getaddrinfo(host, port, &hints, &list), fd = -1;
    if (failed) {
        reason = gai_strerror(failed);
        return NULL;
    }
    for (at = list; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (fd < 0) continue;
        patience(fd, 10000);
        if (connect(fd, at->ai_addr, at->ai_addrlen)) {
            reason = errno == EINPROGRESS ? "no answer" : strerror(errno);
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd < 0 ? NULL : fdopen(fd, "r");
}

/* The next line without its end, valid until the next call; NULL if there is no whole line. */
static char *next_line(FILE *in) {
    static char *line;
    static size_t size;
    errno = 0;
    ssize_t length = getline(&line, &size, in);
    if (length < 1 || line[length - 1] != '\n') {
        reason = errno == EAGAIN ? "no answer" : errno ? strerror(errno) : "cut off";
        return NULL;
    }
    line[strcspn(line, "\r\n")] = '\0';
    return line;
}

/* Sends a line. Control characters become spaces: a line end would begin another command. */
static void send_line(FILE *in, const char *format, ...) {
    char *line;
    size_t length;
    FILE *out = open_memstream(&line, &length);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    fclose(out);
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) line[i] = ' ';
    line[length] = '\n';
    /* If this fails, so will reading. */
    if (write(fileno(in), line, length + 1) < 0) reason = strerror(errno);
    free(line);
}

/* The option that JOIN needs on a server with keys. */
static const char *key_option(void) {
    static char option[2048];
    const char *key = getenv("CHINWAG_KEY");
    if (key && *key) snprintf(option, sizeof option, " key=%s", key);
    return option;
}

static int begins(const char *line, const char *with) {
    return strncmp(line, with, strlen(with)) == 0;
}

/* Copies what stands between some text in a line and the next space, if it fits. */
static inline void word(char *to, size_t size, const char *line, const char *behind) {
    const char *at = strstr(line, behind);
    size_t length = at ? strcspn(at += strlen(behind), " ") : size;
    if (length < size) snprintf(to, length + 1, "%s", at);
}

/* The number after some text in a line. */
static long number(const char *line, const char *behind) {
    const char *at = strstr(line, behind);
    return at ? strtol(at + strlen(behind), NULL, 10) : 0;
}
