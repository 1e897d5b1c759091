#!/usr/bin/env perl
# Prints what happens in a room, each event once, however often the connection breaks.
use strict;
use warnings;
use IO::Handle;
use IO::Socket::IP;
use Time::HiRes qw(alarm sleep);

if (@ARGV != 4) {
    print STDERR "usage: watch.pl HOST PORT ROOM NAME   (the key in CHINWAG_KEY)\n";
    exit 2;
}
my ($host, $port, $room, $name) = @ARGV;
my $key = $ENV{CHINWAG_KEY} ? " key=$ENV{CHINWAG_KEY}" : '';
(my $join = "JOIN $name room=$room idle=60$key") =~ tr/\x00-\x1f\x7f/ /;
my ($token, $last, $log, $pause) = ('', 0, '', 1);
STDOUT->autoflush;
$SIG{PIPE} = 'IGNORE';    # a broken connection is no reason to exit
$SIG{ALRM} = sub { die "silence\n" };

sub tell_user { print STDERR "watch: @_\n" }
sub fail { tell_user(@_); exit 1 }
sub joining { $log ? "$join after=$last log=$log" : $join }

# Reads the server's lines until the connection ends; returns why.
sub listen_to {
    my $conn = shift;
    my $limit = 10;
    my $send = sub { syswrite $conn, "@_\n"; alarm $limit };
    while (defined(my $line = <$conn>)) {
        last unless $line =~ s/\r?\n\z//;    # cut off within a line
        if ($line =~ /^HELLO .* protocol=1( |$)/) {
            $send->($token ? "RESUME $token after=$last" : joining());
        } elsif ($line =~ /^OK (?:JOIN|RESUME) /) {
            my %field = $line =~ / ([^ =]+)=(\S*)/g;
            $token = $field{session} // $token;
            ($last, $log) = ($field{seq} - 1, $field{log}) if $field{log} ne $log;
            # EXPIRING comes two thirds into the idle time, unless the connection is dead.
            ($limit, $pause) = ($field{idle} * 3 / 4, 1);
            alarm $limit;
        } elsif ($line =~ /^EXPIRING /) {
            $send->('PING');
        } elsif ($line =~ /^(?:MSG|JOINED|LEFT) (\d+)/) {
            print "$line\n" or fail("standard output: $!");
            $last = $1;
        } elsif ($line =~ /^LOST (\d+) (\d+)/) {
            tell_user("$1 events are missing");
            $last = $2 - 1;
        } elsif ($line =~ /^ERR (?:session-ended|unknown-session) /) {
            tell_user("$line; joining again");
            $token = '';
            $send->(joining());
        } elsif ($line =~ /^(?:ERR (?:full|name-taken)|BYE (?:full|shutdown)) /) {
            return $line;
        } elsif ($line =~ /^(?:HELLO|ERR|BYE (?:replaced|abuse)) /) {
            fail($line);
        }
    }
    return 'cut off';
}

while (1) {
    my $conn = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 10);
    my $reason = $@;
    if ($conn) {
        alarm 10;
        $reason = eval { listen_to($conn) } // $@;
        alarm 0;
        close $conn;
    }
    chomp $reason;
    my $wait = rand $pause;
    tell_user(sprintf '%s; trying again in %.1f s', $reason, $wait);
    sleep $wait;
    $pause = $pause < 15 ? 2 * $pause : 30;
}
