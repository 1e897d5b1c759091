//! The example clients do what they say, in every language: over a network that is cut off in the
//! middle of lines, with sessions that end, servers that restart, a later version of the server,
//! and no server at all.
//!
//! A failure names its seed; `CHINWAG_SEED=<seed>` breaks the network in the same places again.

mod languages;
mod later;
pub mod proxy;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::process::{Client, Finished, Process, Server, TempDir, Watch, in_ci, program};
use languages::{LANGUAGES, Language, each, examples};
use proxy::{Fate, Proxy};

const PROGRAMS: [&str; 3] = ["say", "watch", "poll"];

/// A server on which names need keys: the clients join as `ann`, the test itself as `bob`.
struct Keyed {
    address: String,
    key: String,
    bobs_key: String,
    _server: Mutex<Server>,
    _dir: TempDir,
}

impl Keyed {
    fn start(args: &[&str]) -> Keyed {
        let dir = TempDir::new();
        let users = dir.join("users");
        let users = users.to_str().unwrap();
        let key = |name| {
            let mut command = program();
            command.args(["--users", users, "--new-key", name]);
            let finished = Process::start(&mut command).finish();
            assert_eq!(finished.code, Some(0), "{finished:?}");
            finished.out.trim().to_owned()
        };
        let (key, bobs_key) = (key("ann"), key("bob"));
        let server = Server::start(&[&["--users", users], args].concat());
        Keyed {
            address: server.address().to_owned(),
            key,
            bobs_key,
            _server: Mutex::new(server),
            _dir: dir,
        }
    }

    fn port(&self) -> &str {
        port(&self.address)
    }

    /// Bob, in the language's own room.
    fn bob(&self, language: &Language) -> Bob {
        Bob::join(&self.address, language, &format!("key={}", self.bobs_key))
    }
}

/// Ends a session that is detached.
fn leave(address: &str, token: &str) {
    let mut client = Client::greeted(address);
    client.ask(&format!("RESUME {token}"), "OK RESUME ");
    client.send("LEAVE");
    // A push session gets its events first.
    while !client.expect("").starts_with("OK LEAVE") {}
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// The member who speaks, and who records all events.
struct Bob {
    client: Client,
    /// The events of the room that it has fetched so far, from the first on.
    events: Vec<String>,
}

impl Bob {
    fn join(address: &str, language: &Language, more: &str) -> Bob {
        let mut client = Client::greeted(address);
        // Bob says nothing for as long as a client takes, so an open connection has to be enough.
        client.join(&format!(
            "bob room={} mode=pull idle=3600 alive=tcp {more}",
            language.folder
        ));
        Bob {
            client,
            events: Vec::new(),
        }
    }

    fn say(&mut self, text: &str) {
        self.client.ask(&format!("SAY {text}"), "OK SAY ");
    }

    fn wait(&mut self, time: Duration) {
        self.client.expect_nothing(time);
    }

    /// All events of the room until now.
    fn events(&mut self) -> &[String] {
        loop {
            let ask = format!("POLL max=1000 after={}", self.events.len());
            let head = self.client.ask(&ask, "OK POLL ");
            let count: usize = head.split(' ').nth(2).unwrap().parse().unwrap();
            for _ in 0..count {
                let event = self.client.expect("");
                assert_eq!(number(&event), self.events.len() + 1, "{event}");
                self.events.push(event);
            }
            if head.ends_with(" more=0") {
                return &self.events;
            }
        }
    }

    /// Waits for an event that ends like this; returns its number.
    fn await_event(&mut self, end: &str) -> usize {
        let watch = Watch::start();
        loop {
            let events = self.events();
            if let Some(event) = events.iter().find(|event| event.ends_with(end)) {
                return number(event);
            }
            assert!(watch.elapsed() < proxy::PATIENCE, "no {end:?}: {events:?}");
            self.wait(Duration::from_millis(25));
        }
    }
}

/// The seed of everything random, printed if the test fails.
struct Seed(u64);

impl Seed {
    fn new() -> Seed {
        let seed = std::env::var("CHINWAG_SEED");
        Seed(seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap()))
    }

    fn rng(&self, language: &Language) -> Rng {
        let folder = language.folder.bytes();
        Rng::with_seed(folder.fold(self.0, |seed, byte| seed.wrapping_mul(31) + u64::from(byte)))
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("CHINWAG_SEED={}", self.0);
        }
    }
}

fn number(event: &str) -> usize {
    event.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Checks that a client has shown every event once and in order, from its own JOINED to the last.
fn expect_all(shown: &str, events: &[String]) {
    let shown: Vec<_> = shown.lines().collect();
    let first = shown.first().expect("nothing shown");
    let is_own = first.starts_with("JOINED ") && first.ends_with(" ann");
    assert!(is_own, "{first:?} is not ann's JOINED");
    let expected = &events[number(first) - 1..];
    let differ = shown.iter().zip(expected).find(|(a, b)| a != b);
    assert_eq!(differ, None);
    assert_eq!(shown.len(), expected.len());
}

fn expect_failure(finished: &Finished, program: &str, text: &str) {
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.out, "", "{finished:?}");
    assert!(
        finished.err.starts_with(&format!("{program}: ")),
        "{finished:?}"
    );
    assert!(finished.err.contains(text), "no {text:?} in {finished:?}");
}

/// The first arguments of all clients: host, port, room and name.
fn at<'a>(language: &Language, port: &'a str) -> [&'a str; 4] {
    ["127.0.0.1", port, language.folder, "ann"]
}

/// Starts a client with those arguments and more.
fn start(
    language: &Language,
    program: &str,
    port: &str,
    more: &[&str],
    key: Option<&str>,
) -> Process {
    language.start(program, &[&at(language, port)[..], more].concat(), key)
}

/// Ends a client that would go on, and gives it time to clean up.
fn end(client: Process) -> Finished {
    client.signal("TERM");
    client.finish()
}

#[test]
fn too_few_or_too_many_arguments_get_the_usage() {
    let five = ["127.0.0.1", "1", "lobby", "ann", "more"];
    each(|language| {
        for (program, args) in [
            ("say", &five[..4]),
            ("watch", &five[..3]),
            ("watch", &five),
            ("poll", &five[..4]),
        ] {
            let finished = language.start(program, args, None).finish();
            finished.expect_refusal(2, &["usage: ", " HOST PORT ROOM NAME"]);
            assert!(
                finished.err.to_lowercase().contains(program),
                "{finished:?}"
            );
        }
    });
}

#[test]
fn say_sends_its_text_unchanged() {
    let keyed = Keyed::start(&[]);
    let words = [
        "-n",
        "It's",
        r#""50%""#,
        r"\n \\ $(id) `id` *",
        "¡olé! 🎉",
        "",
        "x\nQUIT",
    ];
    let text = r#"-n It's "50%" \n \\ $(id) `id` * ¡olé! 🎉  x QUIT"#;
    each(|language| {
        let mut bob = keyed.bob(language);
        for locale in ["C.UTF-8", "C"] {
            let args = [&at(language, keyed.port())[..], &words].concat();
            let mut command = language.command("say", &args, Some(&keyed.key));
            let mut client = Process::start(command.env("LC_ALL", locale));
            client.be_patient(proxy::PATIENCE);
            let finished = client.finish();
            if locale == "C" && language.folder == "java" {
                expect_failure(&finished, "say", "C.UTF-8");
                continue;
            }
            assert_eq!(finished.code, Some(0), "{finished:?}");
            assert_eq!((&*finished.out, &*finished.err), ("", ""));
        }
        let told = bob.events()[1..].iter();
        let told: Vec<_> = told.map(|e| e.splitn(4, ' ').nth(3).unwrap()).collect();
        let times = if language.folder == "java" { 1 } else { 2 };
        assert_eq!(told, vec![&format!("ann {text}"); times]);
    });
}

#[test]
fn what_say_says_into_an_empty_room_is_the_only_event_there() {
    let server = Server::start(&[]);
    let address = server.address();
    each(|language| {
        let client = start(language, "say", port(address), &["the disk is full"], None);
        let finished = client.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let mut bob = Client::greeted(address);
        let join = format!("JOIN bob room={} history=10", language.folder);
        bob.ask(&join, "OK JOIN ");
        let first = bob.expect("MSG 1 ");
        assert!(first.ends_with(" ann the disk is full"), "{first}");
        bob.expect("JOINED 2 ");
    });
}

#[test]
fn say_reports_why_nothing_was_said() {
    let keyed = Keyed::start(&[]);
    let occupied = Server::start(&["--max-connections", "1", "--handshake", "3600"]);
    let _only = occupied.connect();
    let (occupied, long) = (occupied.port(), "x".repeat(1025));
    each(|language| {
        let port = keyed.port();
        let try_to = |port: &str, name: &str, key: Option<&str>, text: &str, why: &str| {
            let args = ["127.0.0.1", port, language.folder, name, text];
            let finished = language.start("say", &args, key).finish();
            expect_failure(&finished, "say", why);
        };
        let key = Some(&*keyed.key);
        try_to(port, "_ann", key, "hello", "bad-name");
        try_to(port, "ann", Some("open-sesame"), "hello", "not-authorized");
        try_to(port, "ann", None, "hello", "not-authorized");
        try_to(port, "ann", Some(""), "hello", "not-authorized");
        try_to(port, "ann", key, "", "message-empty");
        try_to(port, "ann", key, &long, "message-too-long");
        try_to(occupied, "ann", key, "hello", "full");
        try_to("1", "ann", key, "hello", "127.0.0.1");
    });
}

#[test]
fn say_reports_that_it_was_cut_off() {
    let keyed = Keyed::start(&[]);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        for round in 0..6 {
            // HELLO, OK JOIN, OK SAY, and OK QUIT with BYE have about 70, 145, 25 and 30 bytes.
            let bytes = [0, 60, 180, 200, 220, 235][round] + rng.usize(..30);
            let fate = [Fate::End, Fate::Reset][round % 2](bytes);
            let proxy = Proxy::start(&keyed.address, &[fate]);
            let client = start(language, "say", &proxy.port(), &["hello"], Some(&keyed.key));
            let finished = client.finish();
            let delivered = proxy.delivered();
            let is_told = delivered.lines().zip(delivered.split_inclusive('\n'));
            let is_told = is_told.filter(|(_, line)| line.ends_with('\n'));
            let is_told = is_told
                .into_iter()
                .any(|(line, _)| line.starts_with("OK SAY "));
            // A reset may discard what has already reached the client's machine.
            match fate {
                Fate::Reset(_) if finished.code == Some(0) => assert!(is_told, "{finished:?}"),
                Fate::End(_) if is_told => assert_eq!(finished.code, Some(0), "{finished:?}"),
                _ => expect_failure(&finished, "say", ""),
            }
        }
    });
}

/// These mostly wait, so they wait together.
#[test]
fn a_network_that_breaks_stalls_or_says_nothing_is_waited_out() {
    thread::scope(|scope| {
        scope.spawn(nobody_waits_for_a_server_that_says_nothing);
        scope.spawn(watch_tries_again_without_haste);
        scope.spawn(watch_shows_each_event_once_however_often_it_is_cut_off);
        scope.spawn(watch_shows_that_it_is_alive_and_notices_that_the_network_is_not);
    });
}

fn nobody_waits_for_a_server_that_says_nothing() {
    // The system takes connections, but nobody accepts them.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let dir = TempDir::new();
    each(|language| {
        let file = dir.join(language.folder);
        let mut watch = start(language, "watch", &port, &[], None);
        let say = start(language, "say", &port, &["hello"], None);
        let poll = start(language, "poll", &port, &[file.to_str().unwrap()], None);
        expect_failure(&say.finish(), "say", "");
        expect_failure(&poll.finish(), "poll", "");
        watch.expect_error("; trying again in ");
        end(watch);
        assert!(!file.exists());
    });
}

fn watch_tries_again_without_haste() {
    each(|language| {
        let mut watch = start(language, "watch", "1", &[], None);
        let waits: Vec<_> = (0..5)
            .map(|_| {
                let line = watch.expect_error("; trying again in ");
                let words: Vec<_> = line.split_whitespace().rev().collect();
                assert_eq!(words[0], "s", "{line}");
                words[1].parse::<f64>().unwrap()
            })
            .collect();
        // A random part of 1, 2, 4, 8, 16 s.
        let bounds = (0..5).map(|n| f64::from(1 << n));
        assert!(waits.iter().zip(bounds).all(|(w, b)| *w <= b), "{waits:?}");
        assert!(waits.iter().sum::<f64>() > 0.5, "{waits:?}");
        end(watch);
    });
}

fn watch_shows_each_event_once_however_often_it_is_cut_off() {
    // netcat does not report the end of a stream, so sh waits for three quarters of the idle time:
    // 15 s.
    let args = [
        "--max-idle",
        "20",
        "--log-bytes",
        "1M",
        "--max-message",
        "60000",
    ];
    let keyed = Keyed::start(&args);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        // HELLO has about 70 bytes, the replies to JOIN and RESUME 150 and 100.
        let mut fates = vec![
            Fate::Reset(rng.usize(..70)),
            Fate::Reset(rng.usize(70..220)),
        ];
        // One that breaks again before anything gets through, and others.
        fates.push(Fate::Reset(rng.usize(300..900)));
        fates.push(Fate::Reset(rng.usize(100..170)));
        fates.extend((0..3).map(|_| Fate::Reset(170 + rng.usize(..800))));
        fates.push(Fate::End(170 + rng.usize(..800)));
        fates.push(Fate::Reset(170 + rng.usize(..70_000)));
        let proxy = Proxy::start(&keyed.address, &fates);
        let mut watch = start(language, "watch", &proxy.port(), &[], Some(&keyed.key));

        let mut bob = keyed.bob(language);
        let patience = Watch::start();
        let mut long = 0;
        for n in 0.. {
            bob.say(&format!("{n} {}", "é".repeat(rng.usize(..60))));
            if n % 40 == 20 {
                // No more than the log holds, however long the client takes to come back.
                if long < 2 + proxy.met() {
                    bob.say(&"x".repeat(60_000));
                    long += 1;
                }
                // Before the log drops them.
                bob.events();
            }
            if proxy.met() == fates.len() {
                break;
            }
            assert!(
                patience.elapsed() < 2 * proxy::PATIENCE,
                "{} cuts",
                proxy.met()
            );
            bob.wait(Duration::from_millis(30));
        }
        bob.say("the end ");
        watch.expect(" bob the end ");
        expect_all(&end(watch).out, bob.events());
    });
}

fn watch_shows_that_it_is_alive_and_notices_that_the_network_is_not() {
    // EXPIRING comes after 11 s, and a client has 5 s to answer; if none has come after 12 s, none
    // will.
    let keyed = Keyed::start(&["--max-idle", "16"]);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        let proxy = Proxy::start(&keyed.address, &[]);
        let mut watch = start(language, "watch", &proxy.port(), &[], Some(&keyed.key));
        let mut bob = keyed.bob(language);
        proxy.await_sent("PING", 1);
        bob.say("before ");
        watch.expect(" bob before ");
        // In the middle of a line, with nothing behind it.
        proxy.stall(rng.usize(1..40));
        bob.say("while nothing gets through ");
        proxy.await_connections(2);
        bob.say("behind ");
        watch.expect(" bob behind ");
        expect_all(&end(watch).out, bob.events());
    });
}

#[test]
fn watch_joins_again_when_its_session_or_its_server_is_gone() {
    each(|language| {
        let server = Server::start(&[]);
        let proxy = Proxy::start(server.address(), &[]);
        let mut watch = start(language, "watch", &proxy.port(), &[], Some(""));
        watch.expect("JOINED 1 ");
        let mut bob = Bob::join(server.address(), language, "");
        bob.say("before ");
        watch.expect(" bob before ");

        proxy.go_away();
        leave(server.address(), &proxy.token());
        bob.say("nobody watches this ");
        proxy.turn_to(Some(server.address()));
        watch.expect_error("session-ended left");
        bob.await_event(" ann");
        bob.say("behind ");
        watch.expect(" bob behind ");
        let events = bob.events();

        // Another log, whose numbers mean something else.
        let newer = Server::start(&[]);
        proxy.turn_to(Some(newer.address()));
        server.process.signal("TERM");
        watch.expect_error("unknown-session");
        watch.expect("JOINED 1 ");

        Client::greeted(newer.address()).ask(&format!("RESUME {}", proxy.token()), "OK RESUME ");
        watch.expect_error("BYE replaced ");
        let finished = watch.finish();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let (shown, last) = finished.out.trim_end().rsplit_once('\n').unwrap();
        assert!(last.starts_with("JOINED 1 "), "{finished:?}");
        expect_all(shown, events);
    });
}

#[test]
fn watch_misses_nothing_when_its_session_expires() {
    let keyed = Keyed::start(&["--max-idle", "8"]);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        let proxy = Proxy::start(&keyed.address, &[]);
        let mut watch = start(language, "watch", &proxy.port(), &[], Some(&keyed.key));
        let mut bob = keyed.bob(language);
        bob.await_event(" ann");
        bob.say("before ");
        watch.expect(" bob before ");
        proxy.go_away();
        bob.say("while it is away ");
        bob.await_event(" ann expired");
        bob.say("after its end ");
        // HELLO has about 70 bytes, the ERR 30, the reply to JOIN 150, and the events 200.
        proxy.push(Fate::Reset(rng.usize(..500)));
        proxy.turn_to(Some(&keyed.address));
        watch.expect_error("session-ended expired ");
        bob.say("behind ");
        watch.expect(" bob behind ");
        // It may have joined behind that.
        bob.say("the end ");
        watch.expect(" bob the end ");
        expect_all(&end(watch).out, bob.events());
    });
}

#[test]
fn watch_reports_what_it_cannot_show() {
    let server = Server::start(&["--log-bytes", "4K"]);
    let address = server.address();
    each(|language| {
        let mut bob = Bob::join(address, language, "");
        for is_ended in [false, true] {
            let proxy = Proxy::start(address, &[]);
            let mut watch = start(language, "watch", &proxy.port(), &[], Some(""));
            watch.expect("JOINED ");
            bob.say("before ");
            watch.expect(" bob before ");
            proxy.go_away();
            if is_ended {
                leave(address, &proxy.token());
            }
            (0..10).for_each(|_| bob.say(&"x".repeat(1000)));
            proxy.turn_to(Some(address));
            watch.expect_error(" events are missing");
            bob.say("behind ");
            watch.expect(" bob behind ");
            expect_gap(&end(watch));
            if !is_ended {
                leave(address, &proxy.token());
            }
        }
    });
}

/// Checks that a client has told how many events are missing from what it has shown.
fn expect_gap(finished: &Finished) {
    let numbers: Vec<_> = finished.out.lines().map(number).collect();
    let gaps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1);
    let gaps: Vec<_> = gaps.map(|pair| pair[1] - pair[0] - 1).collect();
    assert_eq!(gaps.len(), 1, "{finished:?}");
    let told = format!(": {} events are missing\n", gaps[0]);
    assert!(finished.err.contains(&told), "no {told:?}: {finished:?}");
}

#[test]
fn watch_gives_up_when_trying_again_would_not_help() {
    let keyed = Keyed::start(&[]);
    each(|language| {
        for (name, key, why) in [
            ("_ann", &*keyed.key, "bad-name"),
            ("ann", "open-sesame", "not-authorized"),
            ("ann x=y", &*keyed.key, "bad-argument"),
            ("ann\nQUIT", &*keyed.key, "bad-argument"),
        ] {
            let args = ["127.0.0.1", keyed.port(), language.folder, name];
            let finished = language.start("watch", &args, Some(key)).finish();
            expect_failure(&finished, "watch", why);
        }
        // Nobody reads what it shows.
        let args = at(language, keyed.port());
        let mut command =
            language.command_after("exec >/dev/full", "watch", &args, Some(&keyed.key));
        let mut watch = Process::start(&mut command);
        watch.be_patient(proxy::PATIENCE);
        let finished = watch.finish();
        assert_ne!(finished.code, Some(0), "{finished:?}");
    });
}

/// A client that polls, with the folder of its file.
struct Poll<'a> {
    language: &'a Language,
    key: Option<&'a str>,
    dir: TempDir,
    /// All that it has shown.
    shown: String,
}

impl<'a> Poll<'a> {
    fn new(language: &'a Language, key: Option<&'a str>) -> Poll<'a> {
        Poll {
            language,
            key,
            dir: TempDir::new(),
            shown: String::new(),
        }
    }

    /// A name that needs quoting.
    fn file(&self) -> PathBuf {
        self.dir.join("it's a $(file)")
    }

    fn token(&self) -> String {
        self.saved()[0].clone()
    }

    /// The number of the last event that it has shown.
    fn last(&self) -> String {
        self.saved()[1].clone()
    }

    /// Token, number, and the log that the number is from.
    fn saved(&self) -> [String; 3] {
        let saved = fs::read_to_string(self.file()).unwrap();
        let words: Vec<_> = saved.split_whitespace().map(str::to_owned).collect();
        words.try_into().expect("three words")
    }

    fn start(&self, port: &str) -> Process {
        let file = self.file();
        let file = file.to_str().unwrap();
        start(self.language, "poll", port, &[file], self.key)
    }

    fn run(&mut self, port: &str) -> Finished {
        let finished = self.start(port).finish();
        self.shown += &finished.out;
        finished
    }

    /// A run that succeeds.
    fn succeed(&mut self, port: &str) -> Finished {
        let finished = self.run(port);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let mode = fs::metadata(self.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(self.dir.join("")).unwrap().count();
        assert_eq!(files, 1);
        finished
    }
}

#[test]
fn poll_shows_each_event_once_however_often_it_is_cut_off_or_killed() {
    let keyed = Keyed::start(&["--log-bytes", "1M", "--max-message", "60000"]);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        let mut bob = keyed.bob(language);
        let proxy = Proxy::start(&keyed.address, &[]);
        let mut poll = Poll::new(language, Some(&keyed.key));
        // Outside of CI, each fate comes half as many times.
        for round in 0..if in_ci() { 12 } else { 6 } {
            // The fifth is answered in several replies.
            for n in 0..[4, 4, 4, 4, 130, 4][round % 6] {
                bob.say(&format!("{round} {n} {}", "é".repeat(20 + rng.usize(..40))));
            }
            if round == 3 {
                bob.say(&"x".repeat(60_000));
            }
            // HELLO has about 70 bytes, the replies to JOIN and RESUME 150 and 100, the events more
            // than 250.
            let bytes = match round {
                0 => rng.usize(..70),
                1 | 2 => rng.usize(70..220),
                _ => rng.usize(..420),
            };
            let killed = round % 3 == 2;
            let met = proxy.met();
            proxy.push(match round % 3 {
                0 => Fate::Reset(bytes),
                1 => Fate::End(bytes),
                _ => Fate::Stall(bytes),
            });
            let mut client = poll.start(&proxy.port());
            if killed {
                proxy.await_met(met + 1);
                client.kill();
                proxy.cut();
            }
            let finished = client.finish();
            poll.shown += &finished.out;
            let is_told = finished.code == Some(1) && finished.err.starts_with("poll: ");
            assert!(is_told || killed, "{finished:?}");
            if round == 2 {
                poll.succeed(&proxy.port());
            }
        }
        poll.succeed(&proxy.port());
        expect_all(&poll.shown, bob.events());
        // Nothing new.
        assert_eq!(poll.succeed(keyed.port()).out, "");
        bob.say("one more");
        poll.succeed(keyed.port());
        expect_all(&poll.shown, bob.events());
    });
}

#[test]
fn poll_joins_again_when_its_session_is_gone() {
    let (server, newer) = (Server::start(&[]), Server::start(&[]));
    let (server, newer) = (server.address(), newer.address());
    each(|language| {
        let mut poll = Poll::new(language, Some(""));
        poll.succeed(port(server));
        let mut bob = Bob::join(server, language, "");
        leave(server, &poll.token());
        bob.say("nobody polls this ");
        let finished = poll.succeed(port(server));
        assert!(finished.err.contains("session-ended left "), "{finished:?}");
        expect_all(&poll.shown, bob.events());

        // Another log, whose numbers mean something else.
        let mut bob = Bob::join(newer, language, "");
        let finished = poll.succeed(port(newer));
        assert!(finished.err.contains("unknown-session"), "{finished:?}");
        assert!(finished.out.starts_with("JOINED 2 "), "{finished:?}");
        expect_all(&finished.out, bob.events());
    });
}

#[test]
fn poll_misses_nothing_when_its_session_expires() {
    let keyed = Keyed::start(&["--max-idle", "8"]);
    let seed = Seed::new();
    each(|language| {
        let mut rng = seed.rng(language);
        let mut bob = keyed.bob(language);
        let proxy = Proxy::start(&keyed.address, &[]);
        let mut poll = Poll::new(language, Some(&keyed.key));
        poll.succeed(&proxy.port());
        bob.say("before ");
        bob.await_event(" ann expired");
        bob.say("after its end ");
        // HELLO has about 70 bytes, the ERR 30, the reply to JOIN 150, the one to POLL 200.
        for _ in 0..2 {
            proxy.push(Fate::Reset(rng.usize(..500)));
            poll.run(&proxy.port());
        }
        poll.succeed(&proxy.port());
        expect_all(&poll.shown, bob.events());
    });
}

#[test]
fn poll_reports_what_it_cannot_show_and_keeps_what_nobody_took() {
    let server = Server::start(&["--log-bytes", "4K"]);
    let address = server.address();
    each(|language| {
        let mut bob = Bob::join(address, language, "");
        for is_ended in [false, true] {
            let mut poll = Poll::new(language, Some(""));
            let mut finished = poll.succeed(port(address));
            if is_ended {
                leave(address, &poll.token());
            }
            (0..10).for_each(|_| bob.say(&"x".repeat(1000)));
            let saved = poll.last();
            let file = poll.file();
            let args = [&at(language, port(address))[..], &[file.to_str().unwrap()]].concat();
            let mut command = language.command_after("exec >/dev/full", "poll", &args, None);
            let failed = Process::start(&mut command).finish();
            assert_ne!(failed.code, Some(0), "{failed:?}");
            assert_eq!(poll.last(), saved);
            let next = poll.succeed(port(address));
            finished.out += &next.out;
            finished.err += &next.err;
            expect_gap(&finished);
            if !is_ended {
                leave(address, &poll.token());
            }
        }
    });
}

#[test]
fn poll_gives_up_when_trying_again_would_not_help() {
    let keyed = Keyed::start(&[]);
    let dir = TempDir::new();
    each(|language| {
        let file = dir.join(language.folder);
        for (port, name, key, why) in [
            (keyed.port(), "_ann", &*keyed.key, "bad-name"),
            (keyed.port(), "ann", "open-sesame", "not-authorized"),
            (keyed.port(), "ann\nQUIT", &*keyed.key, "bad-argument"),
            ("1", "ann", &*keyed.key, "127.0.0.1"),
        ] {
            let args = [
                "127.0.0.1",
                port,
                language.folder,
                name,
                file.to_str().unwrap(),
            ];
            let finished = language.start("poll", &args, Some(key)).finish();
            expect_failure(&finished, "poll", why);
        }
        assert!(!file.exists());
    });
}

#[test]
fn say_passes_over_what_only_a_later_server_says() {
    let keyed = Keyed::start(&[]);
    each(|language| {
        let proxy = Proxy::to_a_later_version(&keyed.address);
        let mut bob = keyed.bob(language);
        let run = |text| {
            let client = start(language, "say", &proxy.port(), &[text], Some(&keyed.key));
            client.finish()
        };
        let finished = run("hello");
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!((&*finished.out, &*finished.err), ("", ""));
        bob.await_event(" ann hello");
        expect_failure(&run(""), "say", "message-empty");
    });
}

#[test]
fn watch_passes_over_what_only_a_later_server_says() {
    let keyed = Keyed::start(&["--max-idle", "8"]);
    let goodbye = TcpListener::bind("127.0.0.1:0").unwrap();
    let goodbye_port = goodbye.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        for client in goodbye.incoming() {
            let said = client
                .unwrap()
                .write_all(b"HELLO x protocol=1\r\nBYE moved to another box\r\n");
            said.unwrap();
        }
    });
    each(|language| {
        let proxy = Proxy::to_a_later_version(&keyed.address);
        let mut watch = start(language, "watch", &proxy.port(), &[], Some(&keyed.key));
        let mut bob = keyed.bob(language);
        bob.await_event(" ann");
        bob.say("before ");
        watch.expect(" bob before ");
        // One answers the hint to type something, the other keeps the session alive.
        proxy.await_sent("PING", 2);
        proxy.go_away();
        bob.say("while it is away ");
        proxy.turn_to(Some(&keyed.address));
        bob.say("behind ");
        watch.expect(" bob behind ");
        expect_all(&end(watch).out, bob.events());

        // A goodbye for a reason that it does not know is no reason to stay away.
        let mut watch = start(language, "watch", &goodbye_port, &[], Some(&keyed.key));
        for _ in 0..2 {
            watch.expect_error("; trying again in ");
        }
        end(watch);
    });
}

#[test]
fn poll_passes_over_what_only_a_later_server_says() {
    let keyed = Keyed::start(&[]);
    each(|language| {
        let proxy = Proxy::to_a_later_version(&keyed.address);
        let mut poll = Poll::new(language, Some(&keyed.key));
        let mut bob = keyed.bob(language);
        for count in [0, 1, 130, 0] {
            (0..count).for_each(|n| bob.say(&format!("{n}")));
            let finished = poll.succeed(&proxy.port());
            assert_eq!(finished.err, "");
        }
        expect_all(&poll.shown, bob.events());
        leave(&keyed.address, &poll.token());
        let finished = poll.succeed(&proxy.port());
        assert!(finished.err.contains("session-ended left "), "{finished:?}");
        fs::remove_file(poll.file()).unwrap();
        poll.key = Some("open-sesame");
        expect_failure(&poll.run(&proxy.port()), "poll", "not-authorized");
    });
}

#[test]
fn the_table_of_clients_is_true() {
    let table = fs::read_to_string(examples().join("README.md")).unwrap();
    let mut files = 0;
    for language in &LANGUAGES {
        let row = table
            .lines()
            .find(|row| row.contains(&format!("]({}/", language.folder)));
        let row = row.unwrap_or_else(|| panic!("{} is missing", language.folder));
        for package in language.packages.split(' ') {
            assert!(
                row.contains(&format!("`{package}`")),
                "no {package} in {row}"
            );
        }
        for program in PROGRAMS {
            let name = format!("{}/{}", language.folder, language.file(program));
            let lines = fs::read_to_string(examples().join(&name))
                .unwrap()
                .lines()
                .count();
            let cell = format!("[{lines}]({name})");
            assert!(row.contains(&cell), "no {cell} in {row}");
            files += 1;
        }
    }
    assert_eq!(
        table.lines().filter(|row| row.contains("](")).count(),
        LANGUAGES.len()
    );
    assert_eq!(files, PROGRAMS.len() * LANGUAGES.len());
}
