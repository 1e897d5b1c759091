#!/usr/bin/env php
<?php
// Prints what happens in a room, each event once, however often the connection breaks.
function tell(string $text): void
{
    fwrite(STDERR, "watch: $text\n");
}

function fail(string $text): never
{
    tell($text);
    exit(1);
}

if ($argc != 5) {
    fwrite(STDERR, "usage: watch.php HOST PORT ROOM NAME   (the key in CHINWAG_KEY)\n");
    exit(2);
}
[, $host, $port, $room, $name] = $argv;
$key = getenv('CHINWAG_KEY') ? ' key=' . getenv('CHINWAG_KEY') : '';
$join = preg_replace('/[\x00-\x1f\x7f]/', ' ', "JOIN $name room=$room idle=60$key");
[$token, $last, $log, $pause] = ['', 0, '', 1];

function joining(): string
{
    global $join, $last, $log;
    return $log ? "$join after=$last log=$log" : $join;
}

/** Reads the server's lines until the connection ends; returns why. */
function listen($conn): string
{
    global $token, $last, $log, $pause;
    [$limit, $deadline] = [10, microtime(true) + 10];
    while (true) {
        $left = max(1000, (int) (1e6 * ($deadline - microtime(true))));
        stream_set_timeout($conn, intdiv($left, 1000000), $left % 1000000);
        $line = (string) @fgets($conn);
        if (!str_ends_with($line, "\n")) {
            return stream_get_meta_data($conn)['timed_out'] ? 'silence' : 'cut off';
        }
        $line = rtrim($line, "\r\n");
        [$verb, $second, $third] = explode(' ', "$line  ");
        switch ($verb) {
            case 'HELLO':
                $third == 'protocol=1' or fail($line);
                @fwrite($conn, ($token ? "RESUME $token after=$last" : joining()) . "\n");
                break;
            case 'OK':
                if ($second == 'PING') {
                    break;
                }
                preg_match_all('/ ([^ =]+)=(\S*)/', $line, $found);
                $field = array_combine($found[1], $found[2]);
                $token = $field['session'] ?? $token;
                if ($field['log'] != $log) {
                    [$last, $log] = [$field['seq'] - 1, $field['log']];
                }
                // EXPIRING comes two thirds into the idle time, unless the connection is dead.
                [$limit, $pause] = [$field['idle'] * 0.75, 1];
                $deadline = microtime(true) + $limit;
                break;
            case 'EXPIRING':
                @fwrite($conn, "PING\n");
                $deadline = microtime(true) + $limit;
                break;
            case 'MSG':
            case 'JOINED':
            case 'LEFT':
                @fwrite(STDOUT, "$line\n") or fail('standard output is gone');
                $last = $second;
                break;
            case 'LOST':
                tell("$second events are missing");
                $last = $third - 1;
                break;
            case 'ERR':
            case 'BYE':
                if (in_array($second, ['session-ended', 'unknown-session'])) {
                    tell("$line; joining again");
                    $token = '';
                    @fwrite($conn, joining() . "\n");
                } elseif (in_array($second, ['full', 'name-taken', 'shutdown'])) {
                    return $line;
                } elseif ($verb == 'ERR' || in_array($second, ['replaced', 'abuse'])) {
                    fail($line);
                }
        }
    }
}

$address = str_contains($host, ':') ? "[$host]:$port" : "$host:$port";
while (true) {
    if ($conn = @stream_socket_client("tcp://$address", $code, $reason, 10)) {
        $reason = listen($conn);
        fclose($conn);
    }
    $wait = mt_rand() / mt_getrandmax() * $pause;
    tell(sprintf('%s; trying again in %.1f s', $reason, $wait));
    usleep((int) (1e6 * $wait));
    $pause = min(2 * $pause, 30);
}
