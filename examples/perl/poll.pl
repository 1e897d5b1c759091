#!/usr/bin/env perl
# Prints what happened in a room since the last run, each event once; FILE keeps the session.
# For cron. An hour without a run ends its session; the next run joins again where it was.
use strict;
use warnings;
use Fcntl;
use IO::Handle;
use IO::Socket::IP;
use Socket qw(SOL_SOCKET SO_RCVTIMEO);

if (@ARGV != 5) {
    print STDERR "usage: poll.pl HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)\n";
    exit 2;
}
my ($host, $port, $room, $name, $file) = @ARGV;
my $key = $ENV{CHINWAG_KEY} ? " key=$ENV{CHINWAG_KEY}" : '';
(my $join = "JOIN $name room=$room mode=pull idle=3600$key") =~ tr/\x00-\x1f\x7f/ /;
my ($token, $last, $log) = ('', 0, '');

sub fail { print STDERR "poll: @_\n"; exit 1 }

sub save {
    sysopen my $new, "$file.new", O_WRONLY | O_CREAT | O_TRUNC, 0600 or fail("$file.new: $!");
    print $new "$token $last $log\n" and $new->flush and $new->sync and close $new
        or fail("$file.new: $!");
    rename "$file.new", $file or fail("$file: $!");
}

if (-e $file) {
    open my $saved, '<', $file or fail("$file: $!");
    ($token, $last, $log) = split ' ', <$saved>;
}
$SIG{PIPE} = 'IGNORE';
my $conn = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Timeout => 10)
    or fail("$host port $port: $@");
$conn->setsockopt(SOL_SOCKET, SO_RCVTIMEO, pack('l!l!', 10, 0));

sub receive {
    my $line = <$conn>;
    return $line if defined $line && $line =~ s/\r?\n\z//;
    fail('cut off; the next run continues from here');
}
sub ask { syswrite $conn, "@_\n" }
sub joining { $log ? "$join after=$last log=$log" : $join }

while (defined(my $line = receive())) {
    my %field = $line =~ / ([^ =]+)=(\S*)/g;
    if ($line =~ /^HELLO .* protocol=1( |$)/) {
        ask($token ? "RESUME $token" : joining());
    } elsif ($line =~ /^ERR (session-ended|unknown-session) /) {
        print STDERR "poll: $line; joining again\n";
        ask(joining());
    } elsif ($line =~ /^OK JOIN /) {
        $token = $field{session};
        ($last, $log) = ($field{seq} - 1, $field{log}) if $field{log} ne $log;
        save();
        ask("POLL after=$last");
    } elsif ($line =~ /^OK RESUME /) {
        ask("POLL after=$last");
    } elsif ($line =~ /^OK POLL (\d+) /) {
        for (map { receive() } 1 .. $1) {
            if (/^LOST (\d+) /) { print STDERR "poll: $1 events are missing\n" }
            elsif (/^(MSG|JOINED|LEFT) /) { print "$_\n" or fail("standard output: $!") }
        }
        # If this is killed between showing and saving, the next run shows these events
        # again; in the other order they would be lost.
        STDOUT->flush or fail("standard output: $!");
        $last = $field{last};
        save();
        exit 0 unless $field{more};
        ask("POLL after=$last");
    } elsif ($line =~ /^(HELLO|ERR|BYE) /) {
        fail($line);
    }
}
