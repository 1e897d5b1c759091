#!/usr/bin/env php
<?php
// Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
function fail(string $text): never
{
    fwrite(STDERR, "say: $text\n");
    exit(1);
}

if ($argc < 6) {
    fwrite(STDERR, "usage: say.php HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)\n");
    exit(2);
}
[, $host, $port, $room, $name] = $argv;
$key = getenv('CHINWAG_KEY') ? ' key=' . getenv('CHINWAG_KEY') : '';
$text = implode(' ', array_slice($argv, 5));
// A line end within an argument would begin another command.
$lines = preg_replace('/[\x00-\x1f\x7f]/', ' ', [
    "JOIN $name room=$room mode=pull idle=10 quiet=yes$key", "SAY $text", 'QUIT',
]);

$address = str_contains($host, ':') ? "[$host]:$port" : "$host:$port";
$conn = @stream_socket_client("tcp://$address", $code, $reason, 10) or fail("$address: $reason");
stream_set_timeout($conn, 10);
$said = false;
while (str_ends_with($line = (string) @fgets($conn), "\n")) {
    if (preg_match('/^HELLO \S+ protocol=1\s/', $line)) {
        @fwrite($conn, implode("\n", $lines) . "\n");
    } elseif (str_starts_with($line, 'OK SAY ')) {
        $said = true;
    } elseif (preg_match('/^(HELLO|ERR|BYE) /', $line) && !$said) {
        fail(rtrim($line));
    }
}
$said or fail("$address: cut off; it may still have been said");
