#!/usr/bin/env perl
# Says something in a room, for cron jobs and alarms; exits with 0 if it was said.
use strict;
use warnings;
use IO::Socket::IP;
use Socket qw(SOL_SOCKET SO_RCVTIMEO);

if (@ARGV < 5) {
    print STDERR "usage: say.pl HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)\n";
    exit 2;
}
my ($host, $port, $room, $name, @words) = @ARGV;
my $key = $ENV{CHINWAG_KEY} ? " key=$ENV{CHINWAG_KEY}" : '';
my @lines = ("JOIN $name room=$room mode=pull idle=10 quiet=yes$key", "SAY @words", 'QUIT');
tr/\x00-\x1f\x7f/ / for @lines;    # a line end would begin another command

sub fail { print STDERR "say: @_\n"; exit 1 }

$SIG{PIPE} = 'IGNORE';
my $conn = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 10)
    or fail("$host port $port: $@");
$conn->setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 10, 0));
my $said;
while (defined(my $line = <$conn>)) {
    last unless $line =~ s/\r?\n\z//;    # cut off within a line
    if ($line =~ /^HELLO .* protocol=1( |$)/) {
        syswrite $conn, join('', map { "$_\n" } @lines);
    } elsif ($line =~ /^OK SAY /) {
        $said = 1;
    } elsif ($line =~ /^(HELLO|ERR|BYE) / && !$said) {
        fail($line);
    }
}
fail("$host port $port: cut off; it may still have been said") unless $said;
