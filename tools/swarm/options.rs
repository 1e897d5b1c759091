//! The command line: arguments into a [`Plan`], and the text of `--help`.

use std::ops::RangeInclusive;

use clap::Args;
use tools::arguments::{seconds_as_us, within};

/// The least bytes that a message's sender, number and time can take.
const SIZE_MIN: usize = "65535 4294967295 86400000000".len();
/// The longest message that an option of the server can allow.
const SIZE_MAX: usize = 1024 * 1024;
/// The most connections to one address: Linux has about 28,000 ports for them.
const CONNECTIONS_MAX: usize = 28_000;
const CONNECTIONS: RangeInclusive<usize> = 0..=CONNECTIONS_MAX;
const SOME: RangeInclusive<usize> = 1..=CONNECTIONS_MAX;
/// The longest message that a server takes if it is not told.
const SERVER_MESSAGE_MAX: usize = 1024;
/// The bytes that a server's log has if it is not told.
const SERVER_LOG_BYTES: usize = 64 * 1024;
/// The bytes that the system keeps for a server's connection if it is not told. Messages that do
/// not fit wait for acknowledgements that come late.
const SERVER_SOCKET_BUFFER: usize = 32 * 1024;
/// The longest idle time that a server grants if it is not told, in seconds.
const SERVER_IDLE_MAX: u64 = 3600;

/// When messages are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A number of them a second in all, whether they get through or not.
    Rate(u32),
    /// The next one when fewer than this many are under way.
    Window(u32),
}

/// Puts load on a chinwag server, checks that every session gets everything exactly once and in
/// order, and reports how fast that went and what it took.
///
/// With several addresses it does that to servers whose rooms are linked, and checks for each server
/// what it passes on from every other. With 'measure' it starts servers of its own and measures what a million sessions cost them: see
/// 'swarm measure --help'.
#[derive(Args, Debug)]
#[command(after_long_help = EXPLANATION)]
pub struct Plan {
    /// The server; may appear several times, for servers whose rooms are linked
    #[arg(
        long = "addr",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8255"
    )]
    #[arg(value_parser = address)]
    pub addresses: Vec<String>,
    /// Sessions that read what comes: push sessions, or people's
    #[arg(long, value_name = "N", default_value = "50", value_parser = within(CONNECTIONS))]
    pub receivers: usize,
    /// Receivers are people: their sessions are in talk form
    #[arg(long)]
    pub talk: bool,
    /// Sessions that say messages, in turn
    #[arg(long, value_name = "M", default_value = "1", value_parser = within(CONNECTIONS))]
    pub senders: usize,
    /// A message's length in bytes, at least 28
    #[arg(long, value_name = "B", default_value = "64", value_parser = within(1..=SIZE_MAX))]
    pub size: usize,
    /// Messages a second in all, each at its time, whether the others got through or not
    #[arg(long, value_name = "R", value_parser = within(1..=10_000_000_u32))]
    rate: Option<u32>,
    /// Or this many messages under way at once, each until all receivers have it [default: 100]
    #[arg(long, value_name = "W", value_parser = within(1..=1_000_000_u32))]
    #[arg(conflicts_with = "rate")]
    window: Option<u32>,
    /// Pull sessions
    #[arg(long = "pull", value_name = "P", default_value = "0")]
    #[arg(value_parser = within(0..=10_000_000_usize))]
    pub pulls: usize,
    /// The time between two polls of a pull session
    #[arg(long = "poll-every", value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds_as_us)]
    pub poll_every_us: u64,
    /// Connections that serve the pull sessions, in turn if there are fewer
    #[arg(long, value_name = "N", default_value = "64", value_parser = within(SOME))]
    pull_connections: usize,
    /// Push sessions that join and never read again
    #[arg(long, value_name = "D", default_value = "0", value_parser = within(CONNECTIONS))]
    pub dead: usize,
    /// Rooms over which all are spread evenly
    #[arg(long, value_name = "N", default_value = "1", value_parser = within(SOME))]
    rooms: usize,
    /// Or this room; may appear several times. Nobody else may be in it [default: rooms of its own]
    #[arg(long = "room", value_name = "ROOM", conflicts_with = "rooms")]
    named: Vec<String>,
    /// For how long messages are said; may have decimals
    #[arg(long = "seconds", value_name = "T", default_value = "10", value_parser = seconds_as_us)]
    pub run_us: u64,
    /// How long the server may be silent when something has to come
    #[arg(long = "patience", value_name = "SECONDS", default_value = "10")]
    #[arg(value_parser = seconds_as_us)]
    pub patience_us: u64,
    /// The server's process, to show what it takes
    #[arg(long, value_name = "PID", value_parser = within(1..=i32::MAX as u32))]
    pub pid: Option<u32>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Plan {
    pub fn pace(&self) -> Pace {
        match self.rate {
            Some(rate) => Pace::Rate(rate),
            None => Pace::Window(self.window.unwrap_or(100)),
        }
    }

    /// The server, if there is only one.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// Whether the load is on servers whose rooms are linked.
    pub fn is_linked(&self) -> bool {
        self.addresses.len() > 1
    }

    /// How many rooms there are.
    pub fn rooms(&self) -> usize {
        match self.named.len() {
            0 => self.rooms,
            named => named,
        }
    }

    /// The names of the rooms: those of --room, or some that no other run has.
    pub fn room_names(&self) -> Vec<String> {
        if !self.named.is_empty() {
            return self.named.clone();
        }
        let run = fastrand::u32(..);
        (0..self.rooms)
            .map(|room| format!("swarm-{run:08x}-{room}"))
            .collect()
    }

    /// Messages a second in all, where only --rate says when they are said.
    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(1)
    }

    /// Connections that serve the pull sessions. If servers are linked, each has its own.
    pub fn carriers(&self) -> usize {
        match self.is_linked() {
            true => self.pulls,
            false => self.pull_connections.min(self.pulls),
        }
    }

    pub fn connections(&self) -> usize {
        self.carriers() + self.receivers + self.dead + self.senders
    }

    pub fn sessions(&self) -> usize {
        self.pulls + self.receivers + self.dead + self.senders
    }

    /// The idle time that pull sessions need so as not to expire between two polls, in seconds.
    pub fn pull_idle(&self) -> u64 {
        2 * self.poll_every_us.div_ceil(1_000_000) + 120
    }

    /// A command line that starts a server which bears this load.
    pub fn server(&self) -> String {
        // One connection more asks for figures.
        let connections = self.connections() + 1;
        let each = connections.max(self.sessions());
        let mut command = format!(
            "chinwag -c {connections} -s {} -a {each} -r {} --rate 0",
            self.sessions(),
            self.rooms()
        );
        if self.size > SERVER_MESSAGE_MAX {
            command += &format!(" -m {}", self.size);
        }
        if 2 * self.size + 146 > SERVER_LOG_BYTES {
            command += &format!(" -b {}", 4 * self.size);
        }
        if 2 * self.size > SERVER_SOCKET_BUFFER {
            command += &format!(" --socket-buffer {}", 4 * self.size);
        }
        if self.pulls > 0 && self.pull_idle() > SERVER_IDLE_MAX {
            command += &format!(" --max-idle {}", self.pull_idle());
        }
        command
    }

    /// Checks what several options have to agree on.
    pub fn check(&self) -> Result<(), String> {
        let connections = self.addresses.len() * self.connections();
        if connections == 0 {
            return Err("there is nobody to connect: give --receivers, --senders or --pull".into());
        }
        if connections > CONNECTIONS_MAX {
            return Err(format!(
                "{connections} connections: one machine has ports for about {CONNECTIONS_MAX}; \
                 give fewer --receivers, --senders, --dead or --pull-connections"
            ));
        }
        if self.is_linked() {
            self.check_linked()?;
        }
        if self.size < SIZE_MIN && self.senders > 0 {
            return Err(format!(
                "--size {}: each message holds its sender, number and time, which take up to \
                 {SIZE_MIN} bytes; give at least {SIZE_MIN}",
                self.size
            ));
        }
        Ok(())
    }
}

impl Plan {
    /// Checks that the options make sense for servers that are linked.
    fn check_linked(&self) -> Result<(), String> {
        let rooms = self.rooms();
        let faults = [
            (
                self.rate.is_none(),
                "give --rate, since no window spans servers",
            ),
            (self.talk, "--talk is for one server"),
            (self.dead > 0, "--dead is for one server"),
            (self.pid.is_some(), "--pid is for one server"),
            (
                self.receivers < rooms,
                "give a receiver for each room at least",
            ),
            (self.senders < rooms, "give a sender for each room at least"),
        ];
        match faults.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, text)) => Err(format!("several --addr: {text}")),
            None => Ok(()),
        }
    }
}

fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(1..)) => Ok(text.into()),
        _ => Err("this is not HOST:PORT; write 127.0.0.1:8255 or the like".into()),
    }
}

const EXPLANATION: &str = "\
A server with its defaults refuses much of this. One for up to 1,000 receivers:

    chinwag -c 1100 -s 1100 -a 1100 --rate 0

-c connections, -s sessions, -a both from one address, -r rooms if there are more than 64,
--rate 0 for no bound to what a client may send, -m for messages above 1,024 bytes.

With several --addr, --receivers, --senders and --pull are on each server, and sessions go on where
they were when a server is stopped, killed, upgraded or started again; what links the servers may fail
for a while. Of all that is said on one server, the others pass on everything once and in order, or
count with MISSED what they do not. When no more is said, all has to be linked and to have arrived
within --patience. These servers need --link-room '*', or the rooms that --room names.

A latency is the time from when a message was said (with --rate: should have been said) to when a
receiver has read it. Ctrl-C ends a run early; the report tells of what there was. The exit code is
1 if anybody missed anything without being told LOST, got it twice or out of order, or if the
server refused something; and 2 if an option is wrong.

The names in the report; those of the server's process are missing, or null, without --pid:

    receivers, senders, pull, dead, rooms, message_bytes
    talk                          whether receivers are people
    rate_per_s, window            one of them is null
    connections, connections_per_s
    sessions, join_s              all of them, and the time from the first connection to the last
                                  OK JOIN
    run_s                         from the first message until no more was said and all had arrived
    messages, messages_per_s
    unsent                        messages that --rate asked for and the server did not take
    deliveries, deliveries_per_s  messages that receivers and pull sessions got
    pull_deliveries               those of pull sessions alone
    lost                          events that LOST told of
    latency_us                    of receivers: p50, p90, p99, p99_9, max
    pull_latency_us               of pull sessions, which includes the wait for the next poll
    polls, polls_per_s
    poll_us                       from when a poll was due to the end of its reply
    cpu_us_per_delivery           the server's processor time during the run
    cpu_percent                   the same, of one processor
    resident_kib_start, resident_kib_joined, resident_kib_peak, resident_kib_end
                                  the server's memory before, after joining, at most since it was
                                  started, and after all have left
    bytes_per_session             by how much it grew until all had joined, connections included
    lines_throttled               how many times the server made clients wait: they sent too fast
    swarm_cpu_us_per_delivery, swarm_resident_kib
                                  what this program took itself

With several --addr, there are these in place of some of them:

    servers                       how many there are; receivers, senders and pull are on each
    run_s                         while messages were said
    settle_s                      from then on until all had arrived everywhere
    join_s                        the time until all had joined, on all servers in the others' eyes
    remote_deliveries             deliveries of messages that were said on another server
    missed                        events that MISSED told of
    splits, heals                 how many times a server said of another that it was lost, or there
    remote_joined, remote_left    JOINED and LEFT of members on other servers
    reconnects                    connections that broke
    lives                         how many times a server had lost its sessions
    remote_latency_us             of messages that were said on another server";
