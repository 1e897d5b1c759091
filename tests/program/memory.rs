//! What the server says of its memory, and a search for the settings and loads that make it take
//! the most, by a seed: it must stay below the number that it logged when it started.
//!
//! All of it is the server's own process, so other tests may run at the same time.
//!
//! `CHINWAG_MEMORY_TRIES` sets how many loads are tried, from the seed `CHINWAG_MEMORY_SEED` on.
//! With `--nocapture` each is printed, with its settings and the largest part of the ceiling that
//! was resident.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use chinwag::protocol::OPERATORS_MAX;
use fastrand::Rng;

use crate::process::{Client, Process, Server, TempDir, Watch, program, raise_descriptors, unix};
use crate::steps::{HASH_OF_ABC, run, users_file};

/// How many loads are tried by default.
const TRIES: u64 = 6;
/// The most bytes that all logs of a try hold: more takes longer and shows nothing new.
const LOGS_BYTES_MAX: usize = 12 * 1024 * 1024;
/// The most bytes that are sent before the replies are read: the server stops reading from a client
/// that does not read.
const PIPELINED_BYTES: usize = 64 * 1024;

/// What a server is started with.
#[derive(Clone, Copy, Debug)]
struct Settings {
    connections: usize,
    sessions: usize,
    rooms: usize,
    keep_rooms_s: usize,
    log_bytes: usize,
    message_bytes: usize,
    /// Whether there is a socket for the operator.
    is_operated: bool,
}

impl Settings {
    /// The defaults.
    const USUAL: Settings = Settings {
        connections: 1024,
        sessions: 4096,
        rooms: 64,
        keep_rooms_s: 86_400,
        log_bytes: 64 * 1024,
        message_bytes: 1024,
        is_operated: false,
    };
    /// Almost everything is logs.
    const LOGS: Settings = Settings {
        connections: 12,
        sessions: 256,
        rooms: 256,
        ..Settings::USUAL
    };
    /// Logs and connections take the same.
    const BOTH: Settings = Settings {
        connections: 280,
        rooms: 256,
        ..Settings::USUAL
    };
    /// Almost everything is connections.
    const CONNECTIONS: Settings = Settings {
        sessions: 1024,
        rooms: 2,
        ..Settings::USUAL
    };

    fn random(rng: &mut Rng) -> Settings {
        let message_bytes = if rng.u8(0..4) == 0 {
            64 << rng.u32(0..9)
        } else {
            1024
        };
        let log_bytes_min = 4096.max(2 * (message_bytes + 256));
        let log_bytes = log_bytes_min.max(up_to(rng, 4096, 1 << 20));
        let rooms = up_to(rng, 1, 256).min(LOGS_BYTES_MAX / log_bytes).max(1);
        Settings {
            connections: up_to(rng, 8, 700),
            sessions: rooms.max(up_to(rng, 8, 4096)),
            rooms,
            // Rooms whose logs stay, or logs that come and go.
            keep_rooms_s: if rng.bool() { 86_400 } else { 0 },
            log_bytes,
            message_bytes,
            is_operated: rng.bool(),
        }
    }

    /// Starts a server, whose operator's socket is at `operators` if it has one.
    fn start(&self, operators: &Path) -> Server {
        let numbers = [
            ("--max-connections", self.connections),
            ("--max-sessions", self.sessions),
            ("--max-rooms", self.rooms),
            ("--keep-rooms", self.keep_rooms_s),
            ("--log-bytes", self.log_bytes),
            ("--max-message", self.message_bytes),
        ];
        let words = numbers.map(|(option, number)| [option.to_owned(), number.to_string()]);
        let words = words.as_flattened().iter().map(String::as_str);
        // Connections without a session stay as long as the others.
        let words = words.chain(["--handshake", "3600"]);
        let operators = unix(operators);
        let args: Vec<_> = match self.is_operated {
            true => words.chain(["--admin", &operators]).collect(),
            false => words.collect(),
        };
        Server::start(&args)
    }
}

/// A number as likely between 10 and 20 as between 100 and 200.
fn up_to(rng: &mut Rng, least: usize, most: usize) -> usize {
    let (least, most) = (least as f64, most as f64);
    (least * (most / least).powf(rng.f64())).round() as usize
}

/// A session that no connection holds, or one that does not read.
struct Member {
    token: String,
    room: usize,
}

/// A server under load, and what is known of it from outside.
struct Load {
    rng: Rng,
    settings: Settings,
    server: Server,
    /// What the server says that it can need, in bytes.
    ceiling: u64,
    /// The client that speaks, asks, and creates sessions.
    ann: Client,
    members: Vec<Member>,
    /// How many members each room has.
    counts: Vec<usize>,
    /// How many bytes of text were said in each room since it began.
    said: Vec<usize>,
    /// Connections that take nothing, with the session that each holds.
    silent: Vec<(Client, Option<Member>)>,
    /// The operator's connections, which take nothing either.
    operators: Vec<Client>,
    /// The folder of the operator's socket.
    dir: TempDir,
    /// The most that was resident, as a part of the ceiling, and what was done before.
    worst: (f64, &'static str),
}

impl Load {
    fn start(settings: Settings, rng: Rng) -> Load {
        let dir = TempDir::new();
        let server = settings.start(&dir.join("operators"));
        let mut ann = server.connect();
        let ceiling = ann.stat("memory-ceiling");
        Load {
            rng,
            settings,
            server,
            ceiling,
            ann,
            members: Vec::new(),
            counts: vec![0; settings.rooms],
            said: vec![0; settings.rooms],
            silent: Vec::new(),
            operators: Vec::new(),
            dir,
            worst: (0.0, ""),
        }
    }

    /// Sends lines and reads the first line of each reply, skipping the events behind the replies
    /// to POLL; returns the replies.
    fn ask(&mut self, lines: &[String]) -> Vec<String> {
        let mut replies = Vec::new();
        let mut rest = lines;
        while !rest.is_empty() {
            let mut bytes = String::new();
            let mut count = 0;
            for line in rest {
                bytes.push_str(line);
                bytes.push_str("\r\n");
                count += 1;
                if bytes.len() > PIPELINED_BYTES || count == 500 {
                    break;
                }
            }
            self.ann.send_bytes(bytes.as_bytes());
            replies.extend((0..count).map(|_| self.ann.expect("")));
            rest = &rest[count..];
        }
        replies
    }

    /// Adds members, in rooms at random, or one in each room that is empty.
    fn join(&mut self, count: usize) {
        let left = self.settings.sessions - self.members.len() - self.held();
        let mut lines = Vec::new();
        let mut rooms = Vec::new();
        for n in 0..count.min(left) {
            let room = match n < self.settings.rooms && self.counts[n] == 0 {
                true => n,
                false => self.rng.usize(0..self.settings.rooms),
            };
            if self.counts[room] == 0 {
                self.said[room] = 0;
            }
            self.counts[room] += 1;
            let name = self.rng.u64(..);
            lines.push(format!(
                "JOIN m{name:x} room=room{room} mode=pull idle=3600"
            ));
            lines.push("DETACH".to_owned());
            rooms.push(room);
        }
        let replies = self.ask(&lines);
        for (reply, room) in replies.iter().step_by(2).zip(rooms) {
            let token = reply.split(' ').find_map(|w| w.strip_prefix("session="));
            let token = token.unwrap_or_else(|| panic!("{reply}")).to_owned();
            self.members.push(Member { token, room });
        }
    }

    /// Takes some members out; the logs of the rooms that this empties go.
    fn leave(&mut self, is_to_go: impl Fn(&mut Rng, &Member) -> bool) {
        let mut lines = Vec::new();
        let (rng, counts) = (&mut self.rng, &mut self.counts);
        self.members.retain(|member| {
            let goes = is_to_go(rng, member);
            if goes {
                lines.push(format!("RESUME {}", member.token));
                lines.push("LEAVE".to_owned());
                counts[member.room] -= 1;
            }
            !goes
        });
        for reply in self.ask(&lines) {
            assert!(reply.starts_with("OK "), "{reply}");
        }
    }

    /// A member of each of these rooms speaks until `bytes` were said there.
    fn fill(&mut self, rooms: &[usize], bytes: usize) {
        let mut lines = Vec::new();
        // Short messages fill the index of a log as well.
        let len_max = match self.rng.bool() {
            true => self.settings.message_bytes,
            false => self.settings.message_bytes.min(16),
        };
        for &room in rooms {
            let speaker = self.members.iter().find(|member| member.room == room);
            let Some(speaker) = speaker else { continue };
            lines.push(format!("RESUME {}", speaker.token));
            while self.said[room] < bytes {
                let left = bytes - self.said[room];
                let len = self.rng.usize(1..=len_max).min(left);
                // What an event's line contains besides its text.
                self.said[room] += len + 40;
                lines.push(format!("SAY {}", "x".repeat(len)));
            }
            lines.push("DETACH".to_owned());
            if lines.iter().map(String::len).sum::<usize>() > 1 << 20 {
                self.ask(&lines);
                lines.clear();
            }
        }
        self.ask(&lines);
    }

    /// All rooms take each step at the same time, in another order for each step.
    fn fill_in_steps(&mut self) {
        let bound = self.settings.log_bytes * 5 / 4;
        let mut step = self.rng.usize(200..800);
        let mut rooms: Vec<usize> = (0..self.settings.rooms).collect();
        while step < bound {
            step = step * 3 / 2;
            self.rng.shuffle(&mut rooms);
            self.fill(&rooms, step.min(bound));
        }
    }

    /// Connects clients that ask for more than they read, and have begun a line.
    fn come(&mut self, count: usize) {
        let left = self.settings.connections - 1 - self.silent.len();
        // Each asks for as much as it may, or for a random amount.
        let is_greedy = self.rng.bool();
        for _ in 0..count.min(left) {
            let n = self.rng.usize(0..40);
            let source = [127, 1, (n / 20) as u8, n as u8 + 1];
            let client = Client::from(source, self.server.address());
            client.socket.set_recv_buffer_size(4096).unwrap();
            let mut member = None;
            let mut requests = String::new();
            if !self.members.is_empty() && (is_greedy || self.rng.u8(0..8) > 0) {
                let at = self.rng.usize(0..self.members.len());
                let taken = self.members.swap_remove(at);
                requests = format!("RESUME {}\r\n", taken.token);
                member = Some(taken);
                let (line, most) = match self.rng.u8(0..8) {
                    0 => ("POLL max=3 after=0\r\n".to_owned(), 200),
                    1 => (
                        format!("PING {}\r\n", "y".repeat(self.rng.usize(0..2000))),
                        60,
                    ),
                    _ => ("POLL max=1000 after=0\r\n".to_owned(), 200),
                };
                match is_greedy {
                    true => requests.push_str(&"POLL max=1000 after=0\r\n".repeat(30)),
                    false => requests.push_str(&line.repeat(self.rng.usize(0..most))),
                }
            }
            let begun = if is_greedy {
                2040
            } else {
                self.rng.usize(0..2040)
            };
            requests.push_str(&"x".repeat(begun));
            let mut client = client;
            client.send_bytes(requests.as_bytes());
            self.silent.push((client, member));
        }
        self.settle();
    }

    /// Connects the operator, twice: each asks for more than it reads, and has begun a line.
    fn operate(&mut self) {
        let address = unix(&self.dir.join("operators"));
        while self.settings.is_operated && self.operators.len() < OPERATORS_MAX {
            let operator = Client::connect(&address);
            let requests = "SESSIONS\r\n".repeat(self.rng.usize(1..2000));
            operator.socket.set_nonblocking(true).unwrap();
            // What the server does not read stays in the operator's own socket.
            let _ = operator.socket.send(requests.as_bytes());
            let _ = operator.socket.send(&[b'x'; 2040]);
            self.operators.push(operator);
        }
    }

    /// Closes some of those, some of them with a reset.
    fn go(&mut self, is_to_go: impl Fn(&mut Rng) -> bool) {
        let (kept, gone) = std::mem::take(&mut self.silent)
            .into_iter()
            .partition(|_| !is_to_go(&mut self.rng));
        self.silent = kept;
        let gone: Vec<(Client, Option<Member>)> = gone;
        for (client, member) in gone {
            if self.rng.bool() {
                client.socket.set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                client.socket.shutdown(std::net::Shutdown::Both).unwrap();
            }
            self.members.extend(member);
        }
        self.settle();
    }

    /// Lets some of them read a little of what waits for them.
    fn take_a_little(&mut self) {
        let mut buffer = [0; 4096];
        for (client, _) in &mut self.silent {
            if self.rng.bool() {
                let most = self.rng.usize(1..buffer.len());
                client.socket.set_nonblocking(true).unwrap();
                let _ = client.socket.read(&mut buffer[..most]);
                client.socket.set_nonblocking(false).unwrap();
            }
        }
        self.settle();
    }

    fn held(&self) -> usize {
        self.silent.iter().filter(|(_, m)| m.is_some()).count()
    }

    /// Waits until the server has taken in all that it will.
    fn settle(&mut self) {
        let silent = self.silent.len() as u64;
        self.ann.await_stat("connections", 1 + silent);
        let watch = Watch::start();
        let mut before = self.ann.stat("bytes-in");
        loop {
            self.ann.expect_nothing(Duration::from_millis(2));
            let now = self.ann.stat("bytes-in");
            // In between it was asked for one figure.
            if now - before == "STATS\r\n".len() as u64 || watch.is_over() {
                return;
            }
            before = now;
        }
    }

    /// Does one thing that clients may do, at random.
    fn step(&mut self) {
        let (sessions, connections) = (self.settings.sessions, self.settings.connections);
        let what = match self.rng.u8(0..12) {
            0 | 1 => {
                self.fill_in_steps();
                "filled in steps"
            }
            2 => {
                let bytes = self.rng.usize(0..=self.settings.log_bytes * 5 / 4);
                let rooms: Vec<usize> = (0..self.settings.rooms)
                    .filter(|_| self.rng.bool())
                    .collect();
                self.fill(&rooms, bytes);
                "filled"
            }
            10 => {
                self.take_a_little();
                "took a little"
            }
            3 | 4 => {
                let count = self.rng.usize(1..=connections);
                self.come(count);
                "came"
            }
            5 | 11 => {
                let part = self.rng.u8(1..=8);
                self.go(|rng| rng.u8(0..8) < part);
                "went"
            }
            6 | 7 => {
                let count = self.rng.usize(1..=sessions);
                self.join(count);
                "joined"
            }
            8 => {
                let part = self.rng.u8(1..=8);
                self.leave(|rng, _| rng.u8(0..8) < part);
                "left"
            }
            _ => {
                let (part, salt) = (self.rng.u8(1..=8), self.rng.usize(..));
                let is_to_go = |room: usize| (room ^ salt).wrapping_mul(2_654_435_761) >> 7 & 7;
                self.leave(|_, member| is_to_go(member.room) < usize::from(part));
                "left rooms"
            }
        };
        self.measure(what);
    }

    /// Creates as much as there may be of everything at the same time.
    fn brim(&mut self) {
        self.join(self.settings.sessions);
        self.fill_in_steps();
        self.operate();
        self.come(self.settings.connections);
        self.measure("filled to the brim");
        for _ in 0..self.rng.usize(0..4) {
            self.take_a_little();
            self.measure("filled to the brim");
        }
    }

    fn measure(&mut self, what: &'static str) {
        let resident = 1024 * self.server.process.peak_kibibytes();
        let part = resident as f64 / self.ceiling as f64;
        if part > self.worst.0 {
            self.worst = (part, what);
        }
    }
}

/// The most that was resident under a load, as a part of the ceiling.
fn try_load(seed: u64) -> f64 {
    let mut rng = Rng::with_seed(seed);
    let settings = match seed % 12 {
        0 => Settings::USUAL,
        1 => Settings::LOGS,
        2 => Settings::BOTH,
        3 => Settings::CONNECTIONS,
        _ => Settings::random(&mut rng),
    };
    let steps = rng.usize(1..16);
    let mut load = Load::start(settings, rng);
    load.join(settings.sessions);
    for _ in 0..steps {
        load.step();
    }
    load.brim();
    let (part, what) = load.worst;
    println!("{part:.3} of the ceiling when it was {what}, seed {seed}: {settings:?}");
    load.ann.expect_service();
    part
}

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text}: not a number")),
    )
}

#[test]
fn no_load_takes_more_memory_than_the_server_says_it_can_need() {
    raise_descriptors();
    let first = given("CHINWAG_MEMORY_SEED").unwrap_or(1);
    let tries = given("CHINWAG_MEMORY_TRIES").unwrap_or(TRIES);
    let parts: Vec<f64> = (first..first + tries).map(try_load).collect();
    let worst = parts.iter().copied().fold(0.0, f64::max);
    println!("{tries} tries: at most {worst:.3} of the ceiling");
    assert!(worst < 1.0, "{worst:.3} of the ceiling was resident");
}

/// Bytes that wait for a server on a Unix socket lie in the client's socket, where the server
/// cannot bound them.
#[test]
fn no_client_of_a_unix_socket_can_keep_more_than_the_server_says() {
    const CONNECTIONS: u64 = 4;
    let dir = TempDir::new();
    let path = dir.join("chat");
    let on_unix = unix(&path);
    let args = ["--max-connections", "4", "--listen", &on_unix];
    let checked = Process::start(program().args(args).arg("--check")).finish();
    let server = Server::start_as(program().args(args));
    let (_, stated) = server
        .memory
        .split_once("clients on Unix sockets ")
        .unwrap();
    let shown = format!("{:>12}  more in the sockets of clients", stated.trim_end());
    assert!(checked.out.contains(&shown), "{checked:?}");
    let (mebibytes, _) = stated.split_once(" MiB").unwrap();
    let stated = (mebibytes.parse::<f64>().unwrap() * 1024.0 * 1024.0) as u64 / CONNECTIONS;

    // The server reads nothing meanwhile.
    server.process.pause();
    let mut most = 0;
    for buffer in [None, Some(i32::MAX as usize)] {
        for len in [1, 700, 4096, 65_536, 1024 * 1024] {
            let client = Client::connect(&on_unix);
            if let Some(buffer) = buffer {
                client.socket.set_send_buffer_size(buffer).unwrap();
            }
            client.socket.set_nonblocking(true).unwrap();
            let bytes = vec![b'x'; len];
            while client.socket.send(&bytes).is_ok() {}
            let kept = output_queued(&client);
            assert!(
                kept <= stated,
                "{kept} of {stated}: {buffer:?}, {len} at once"
            );
            most = most.max(kept);
        }
    }
    // One more message, and rounding.
    assert!(stated - most < 128 * 1024, "{most} of {stated}");
    server.process.go_on();
}

/// How much memory the system uses for bytes that a client has sent: TIOCOUTQ.
#[expect(unsafe_code, reason = "no crate has this call without it")]
fn output_queued(client: &Client) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: The descriptor is open, and the request writes one int.
    let result = unsafe { libc::ioctl(client.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0);
    bytes as u64
}

#[test]
fn the_default_ceiling_is_below_20_mib_and_the_log_says_so() {
    let server = Server::start_bounded(&[]);
    let line = &server.memory;
    assert!(server.ceiling() <= 20 * 1024, "{line}");
    for text in ["1024 connections", "4096 sessions", "64 rooms"] {
        assert!(line.contains(text), "{line}");
    }
    let bytes = server.connect().stat("memory-ceiling");
    assert!(bytes.div_ceil(1024) <= server.ceiling() + 1, "{line}");
    println!(
        "resident at the start: {} KiB; {line}",
        server.process.kibibytes()
    );
}

#[test]
fn a_server_that_could_need_more_memory_than_it_may_refuses_to_start() {
    let texts = [
        "--memory",
        "--max-connections",
        "--max-sessions",
        "--max-rooms",
        "--log-bytes",
        "--max-message",
        "MiB",
    ];
    for args in [
        &["--listen", "127.0.0.1:0", "--memory", "10M"][..],
        &["--check", "--memory", "10M"],
        &["--check", "--memory", "19M", "--max-connections", "1100"],
        &["--check", "--memory", "19M", "--max-sessions", "9000"],
        &["--check", "--memory", "19M", "--max-rooms", "80"],
        &["--check", "--memory", "19M", "--log-bytes", "80K"],
        &["--check", "--memory", "19M", "--max-message", "16K"],
    ] {
        run(args).expect_refusal(1, &texts);
    }
    let enough = ["--memory", "19M"];
    Server::start_bounded(&enough).connect().expect_service();
    let small = ["-c", "64", "-s", "128", "-r", "8", "--memory", "3M"];
    Server::start_bounded(&small).connect().expect_service();
    run(&["--memory", "much"]).expect_refusal(2, &["--memory much"]);
}

#[test]
fn a_check_shows_what_memory_each_part_can_need() {
    let dir = TempDir::new();
    let users = users_file(&dir, &format!("ann:{HASH_OF_ABC}\nbob:{HASH_OF_ABC}\n"));
    // A check binds nothing, so a server may be running.
    let server = Server::start_bounded(&[]);
    let finished = run(&[
        "--check",
        "-l",
        server.address(),
        "-u",
        users.to_str().unwrap(),
    ]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.err, "");
    let parts = [
        "1024 connections",
        "4096 sessions",
        "64 rooms",
        "2 names",
        "in all",
        "sockets",
    ];
    for part in parts {
        let line = finished.out.lines().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no {part}: {}", finished.out));
        assert!(line.contains(" MiB "), "{line}");
    }
    server.connect().expect_service();
}

#[test]
fn a_users_file_without_names_is_read_again_below_the_ceiling() {
    let dir = TempDir::new();
    let users = users_file(&dir, "# Nobody yet.\n");
    let file = users.to_str().unwrap();
    let small = ["-c", "4", "-s", "4", "-r", "1", "-b", "4K", "-u", file];
    let mut server = Server::start_bounded(&small);
    for text in ["#\n", "# a longer line, which says nothing either\n", "\n"] {
        let text = text.repeat(1024 * 1024 / text.len());
        users_file(&dir, &text);
        server.process.signal("HUP");
        server.process.expect_error("now has 0 names");
        let (peak, ceiling) = (server.process.peak_kibibytes(), server.ceiling());
        assert!(peak < ceiling, "{peak} KiB, with a ceiling of {ceiling}");
    }
}
