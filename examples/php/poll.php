#!/usr/bin/env php
<?php
// Prints what happened in a room since the last run, each event once; FILE keeps the session.
// For cron. An hour without a run ends its session; the next run joins again where it was.
function fail(string $text): never
{
    fwrite(STDERR, "poll: $text\n");
    exit(1);
}

function save(): void
{
    global $file, $token, $last, $log;
    $new = fopen("$file.new", 'w');
    $new && fwrite($new, "$token $last $log\n") && fsync($new) && fclose($new)
        && rename("$file.new", $file) or fail("cannot write $file");
}

function receive(): string
{
    global $conn;
    $line = (string) @fgets($conn);
    str_ends_with($line, "\n") or fail('cut off; the next run continues from here');
    return rtrim($line, "\r\n");
}

function joining(): string
{
    global $join, $last, $log;
    return $log ? "$join after=$last log=$log" : $join;
}

/** The value of a word key=value in a line. */
function field(string $line, string $key): string
{
    return preg_match("/ $key=(\S*)/", $line, $found) ? $found[1] : '';
}

function ask(string $line): void
{
    global $conn;
    @fwrite($conn, preg_replace('/[\x00-\x1f\x7f]/', ' ', $line) . "\n");
}

if ($argc != 6) {
    fwrite(STDERR, "usage: poll.php HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)\n");
    exit(2);
}
[, $host, $port, $room, $name, $file] = $argv;
$key = getenv('CHINWAG_KEY') ? ' key=' . getenv('CHINWAG_KEY') : '';
$join = "JOIN $name room=$room mode=pull idle=3600$key";
[$token, $last, $log] = file_exists($file)
    ? explode(' ', trim(file_get_contents($file))) : ['', 0, ''];
umask(0077);

$address = str_contains($host, ':') ? "[$host]:$port" : "$host:$port";
$conn = @stream_socket_client("tcp://$address", $code, $reason, 10) or fail("$address: $reason");
stream_set_timeout($conn, 10);
while ($line = receive()) {
    if (preg_match('/^HELLO \S+ protocol=1( |$)/', $line)) {
        ask($token ? "RESUME $token" : joining());
    } elseif (preg_match('/^ERR (session-ended|unknown-session) /', $line)) {
        fwrite(STDERR, "poll: $line; joining again\n");
        ask(joining());
    } elseif (str_starts_with($line, 'OK JOIN ')) {
        $token = field($line, 'session');
        if (field($line, 'log') != $log) {
            [$last, $log] = [field($line, 'seq') - 1, field($line, 'log')];
        }
        save();
        ask("POLL after=$last");
    } elseif (str_starts_with($line, 'OK RESUME ')) {
        ask("POLL after=$last");
    } elseif (preg_match('/^OK POLL (\d+) /', $line, $found)) {
        $events = [];
        while (count($events) < $found[1]) {
            $events[] = receive();
        }
        foreach ($events as $event) {
            if (preg_match('/^LOST (\d+) /', $event, $found)) {
                fwrite(STDERR, "poll: $found[1] events are missing\n");
            } elseif (preg_match('/^(MSG|JOINED|LEFT) /', $event)) {
                @fwrite(STDOUT, "$event\n") or fail('standard output is gone');
            }
        }
        // If this is killed between showing and saving, the next run shows these events
        // again; in the other order they would be lost.
        $last = field($line, 'last');
        save();
        if (field($line, 'more') == 0) {
            exit(0);
        }
        ask("POLL after=$last");
    } elseif (preg_match('/^(HELLO|ERR|BYE) /', $line)) {
        fail($line);
    }
}
