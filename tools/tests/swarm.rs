//! The load generator: what it says of the real server, and that it finds out a server that does
//! wrong.

mod fake;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fake::boxes::{Fate, PassedOn, truth};
use serde_json::{Value, json};
use tools::client::Client;
use tools::clock::Clock;
use tools::server::Server;

/// How long a test waits for what is to happen soon. Only a test that fails takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server, to be built by Cargo with the tests.
fn server_program() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_swarm")).with_file_name("chinwag");
    assert!(
        path.exists(),
        "there is no {}: say 'cargo test' without -p, or 'cargo build' before",
        path.display()
    );
    path
}

/// A server whose limits are its defaults, but for these options. It keeps no room that nobody is in.
fn bounded(options: &[&str]) -> Server {
    let options = [&["--keep-rooms", "0"], options].concat();
    Server::start(&server_program(), &options).unwrap()
}

/// One that lets one machine have everything, at any speed.
fn start(options: &[&str]) -> Server {
    bounded(&[&["--rate", "0", "--max-per-address", "100000"], options].concat())
}

fn await_stat(client: &mut Client, name: &str, is_there: impl Fn(u64) -> bool) {
    let clock = Clock::start();
    while !is_there(client.stat(name).unwrap()) {
        assert!(clock.elapsed() < PATIENCE, "{name}");
    }
}

/// Checks that the server has nobody left, as when everyone has said goodbye.
fn expect_empty(server: &Server) {
    let mut client = server.connect().unwrap();
    await_stat(&mut client, "connections", |count| count == 1);
    for name in ["sessions", "sessions-expired"] {
        assert_eq!(client.stat(name), Ok(0), "{name}");
    }
    assert_eq!(client.stat("rooms"), client.stat("rooms-kept"));
}

/// A program that was started, killed if it does not end in time.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Running {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Running(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for its end.
    fn finish(self) -> Finished {
        let (sender, ended) = mpsc::channel();
        let pid = self.0.id();
        thread::spawn(move || sender.send(self.0.wait_with_output()));
        let output = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            signal(pid, "KILL");
            panic!("it does not end: {:?}", ended.recv());
        });
        let output = output.unwrap();
        Finished {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// What a program has left behind.
#[derive(Debug)]
struct Finished {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Finished {
    /// Expects that a program has not done its work, for a reason that has these texts.
    fn expect_failure(&self, texts: &[&str]) {
        self.expect_refusal(1, texts);
    }

    /// The same with another exit code.
    fn expect_refusal(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{texts:?}: {self:?}");
        assert_eq!(self.out, "");
        for text in texts {
            assert!(self.err.contains(text), "no {text:?}: {}", self.err);
        }
    }

    /// Expects that it has done its work, and gives the object of `--json`.
    fn report(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// The load generator.
fn swarm(address: impl ToString, args: &str) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
    command.args(["--addr", &address.to_string()]);
    Running::start(command.args(args.split_whitespace()))
}

/// Runs it to its end.
fn run(address: impl ToString, args: &str) -> Finished {
    swarm(address, args).finish()
}

/// Runs it to its end, which is to be a good one; gives its report.
fn report(server: &Server, args: &str) -> Value {
    let finished = run(server.address, &format!("--json {args}"));
    assert_eq!(finished.err, "");
    finished.report()
}

fn count(report: &Value, name: &str) -> u64 {
    let count = report[name].as_u64();
    count.unwrap_or_else(|| panic!("{name} in {report}"))
}

/// Expects these values in a report, among others.
fn expect(report: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(report.get(name), Some(value), "{name} in {report}");
    }
}

// The real server

#[test]
fn a_window_is_reported_with_all_that_it_took() {
    let server = start(&[]);
    let pid = server.pid();
    let args = format!("--receivers 20 --senders 2 --window 10 --seconds 0.3 --pid {pid}");
    let report = report(&server, &args);
    let messages = count(&report, "messages");
    assert!(messages > 10);
    expect(
        &report,
        &json!({
            "receivers": 20, "talk": false, "senders": 2, "pull": 0, "dead": 0, "rooms": 1, "message_bytes": 64,
            "rate_per_s": null, "window": 10, "connections": 22, "sessions": 22, "unsent": 0,
            "deliveries": 20 * messages, "pull_deliveries": 0, "pull_latency_us": null, "lost": 0,
            "polls": 0, "poll_us": null, "lines_throttled": 0,
        }),
    );
    for name in [
        "connections_per_s",
        "join_s",
        "messages_per_s",
        "deliveries_per_s",
        "polls_per_s",
        "cpu_us_per_delivery",
        "cpu_percent",
        "bytes_per_session",
        "swarm_cpu_us_per_delivery",
    ] {
        assert!(report[name].as_f64().unwrap() >= 0.0, "{name}");
    }
    assert!(report["run_s"].as_f64().unwrap() >= 0.3);
    let latencies = ["p50", "p90", "p99", "p99_9", "max"].map(|n| count(&report["latency_us"], n));
    assert!(latencies.is_sorted() && latencies[4] > 0, "{latencies:?}");
    for name in ["start", "joined", "peak", "end"] {
        let kib = count(&report, &format!("resident_kib_{name}"));
        assert!((100..1_000_000).contains(&kib), "{name}: {kib}");
    }
    assert!(count(&report, "swarm_resident_kib") > 100);
    expect_empty(&server);
}

#[test]
fn all_that_was_said_is_delivered() {
    for (args, expected) in [
        (
            // Without --pid, nothing is known of the server's process.
            "--receivers 5 --senders 3 --rate 400 --seconds 0.5",
            json!({
                "messages": 200, "unsent": 0, "rate_per_s": 400, "window": null,
                "cpu_us_per_delivery": null, "resident_kib_start": null, "bytes_per_session": null,
            }),
        ),
        (
            "--receivers 6 --senders 3 --rooms 3 --window 9 --seconds 0.2",
            json!({ "sessions": 9 }),
        ),
        (
            // The dead are there, and given nothing.
            "--receivers 3 --dead 4 --window 50 --seconds 0.3",
            json!({ "sessions": 8 }),
        ),
        (
            // A few connections serve many pull sessions.
            "--receivers 2 --pull 50 --pull-connections 3 --poll-every 0.1 --rate 100 --seconds 0.5",
            json!({
                "messages": 50, "pull_deliveries": 50 * 50, "connections": 3 + 2 + 1,
                "sessions": 50 + 2 + 1,
            }),
        ),
        (
            // Pull sessions with a connection each keep it.
            "--receivers 0 --pull 4 --poll-every 0.05 --rate 500 --seconds 0.2",
            json!({ "messages": 100, "pull_deliveries": 4 * 100, "connections": 5 }),
        ),
        (
            // People are shown what programs get.
            "--receivers 7 --talk --senders 3 --window 20 --seconds 0.3",
            json!({ "talk": true, "sessions": 10 }),
        ),
        (
            "--receivers 6 --talk --senders 4 --rooms 3 --rate 300 --seconds 0.2 --dead 3 --pull 6 \
             --poll-every 0.1",
            json!({ "messages": 60, "pull_deliveries": 2 * 60 }),
        ),
    ] {
        let server = start(&[]);
        let report = report(&server, args);
        expect(&report, &expected);
        let [messages, pulls, rooms] =
            ["messages", "pull", "rooms"].map(|name| count(&report, name));
        let heard_by = (count(&report, "receivers") + pulls) / rooms;
        assert!(messages > 0);
        assert_eq!(report["deliveries"], heard_by * messages, "{args}");
        if pulls > 0 {
            assert!(count(&report, "polls") >= pulls);
            let latencies = ["p50", "max"].map(|name| count(&report["pull_latency_us"], name));
            assert!(latencies.is_sorted());
            assert!(count(&report["poll_us"], "max") > 0);
        }
        expect_empty(&server);
        let total = server.connect().unwrap().stat("sessions-total");
        assert_eq!(total, Ok(count(&report, "sessions")));
    }
}

#[test]
fn what_a_small_log_loses_is_counted_exactly() {
    let server = start(&["--log-bytes", "4K", "--max-message", "100"]);
    let args = "--receivers 0 --pull 20 --pull-connections 2 --poll-every 60 --rate 1000 \
                --seconds 0.5";
    let report = report(&server, args);
    assert_eq!(report["messages"], 500);
    let lost = count(&report, "lost");
    assert!(lost > 0);
    assert_eq!(count(&report, "pull_deliveries") + lost, 20 * 500);
    expect_empty(&server);
}

#[test]
fn people_are_given_the_names_that_the_help_explains() {
    let server = start(&[]);
    let args = "--receivers 2 --pull 2 --poll-every 0.1 --rate 50 --seconds 0.2";
    let pid = server.pid();
    let finished = run(server.address, &format!("{args} --pid {pid}"));
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.err, "");
    let report = report(&server, args);
    let help = run(server.address, "--help");
    assert_eq!(help.code, Some(0));
    let latency = report["latency_us"].as_object().unwrap();
    for name in report.as_object().unwrap().keys().chain(latency.keys()) {
        let has_it = |text: &str| text.split([' ', ',', ':', '\n']).any(|word| word == name);
        assert!(has_it(&help.out), "the help does not have {name}");
        assert!(has_it(&finished.out) != (name == "window"), "{name}");
    }
    for line in ["messages 10", "deliveries 40", "pull_deliveries 20"] {
        let mut lines = finished.out.lines().map(|l| l.split_whitespace());
        assert!(lines.any(|words| words.eq(line.split(' '))), "{finished:?}");
    }
}

#[test]
fn an_interrupt_ends_the_run_with_its_report() {
    let server = start(&[]);
    let args = "--receivers 3 --pull 9 --rate 500 --seconds 600 --json";
    let process = swarm(server.address, args);
    let mut client = server.connect().unwrap();
    await_stat(&mut client, "events", |count| count >= 100);
    signal(process.0.id(), "INT");
    let report = process.finish().report();
    let messages = count(&report, "messages");
    assert!(messages > 0);
    assert_eq!(report["deliveries"], 12 * messages);
    assert!(report["run_s"].as_f64().unwrap() < 600.0);
    drop(client);
    expect_empty(&server);
}

// What is refused

#[test]
fn wrong_options_are_named() {
    for (args, texts) in [
        ("--bogus", &["unexpected argument '--bogus'"][..]),
        ("--receivers", &["--receivers", "value is required"]),
        ("--receivers many", &["'many'", "--receivers", "0 to 28000"]),
        ("--receivers 28000", &["28001 connections", "--receivers"]),
        ("--receivers 0 --senders 0", &["nobody", "--receivers"]),
        ("--size 27", &["--size 27", "at least 28"]),
        (
            "--rate 1 --window 1",
            &["--rate", "--window", "be used with"],
        ),
        ("--seconds 0", &["'0' for '--seconds", "like 10 or 0.5"]),
        ("--seconds 1.0000001", &["'1.0000001' for '--seconds"]),
        ("--poll-every=-1", &["'-1' for '--poll-every"]),
        ("soon", &["'soon'"]),
        (
            "--rooms 2 --room den",
            &["--rooms", "--room", "be used with"],
        ),
        ("measure --only mem", &["'mem'", "--only", "memory, cost"]),
        ("measure --sessions 5", &["--sessions", "1000 to 10000000"]),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarm"));
        let finished = Running::start(command.args(args.split(' '))).finish();
        finished.expect_refusal(2, texts);
        finished.expect_refusal(2, &["try '--help'"]);
    }
    for address in [
        "here",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:99999",
    ] {
        run(address, "").expect_refusal(2, &["--addr", address, "HOST:PORT"]);
    }
}

#[test]
fn options_that_linked_servers_do_not_have_are_named() {
    for (args, text) in [
        ("--window 5", "--rate"),
        ("--rate 5 --talk", "--talk"),
        ("--rate 5 --dead 1", "--dead"),
        ("--rate 5 --pid 1", "--pid"),
        ("--rate 5 --rooms 2", "a sender for each room"),
        (
            "--rate 5 --rooms 2 --senders 2 --receivers 1",
            "a receiver for each room",
        ),
        ("--rate 5 --receivers 14000", "28002 connections"),
    ] {
        let args = format!("--addr 127.0.0.1:1 {args}");
        run("127.0.0.1:2", &args).expect_refusal(2, &[text]);
    }
    let server = start(&[]);
    let finished = run(
        server.address,
        &format!("--addr {} --rate 5", server.address),
    );
    finished.expect_failure(&["is not linked", "--link"]);
}

#[test]
fn a_server_that_is_not_there_or_another_is_named() {
    // Port 1 of the loopback address, which nobody listens on.
    let finished = run("127.0.0.1:1", "");
    finished.expect_failure(&["127.0.0.1:1", "refused", "chinwag --listen"]);
    let server = start(&[]);
    let finished = run(server.address, "--pid 2147483647");
    finished.expect_failure(&["--pid 2147483647", "No such file"]);
}

#[test]
fn limits_that_are_too_low_are_named_with_the_server_to_start() {
    let server = bounded(&["--max-sessions", "20"]);
    for (args, texts) in [
        (
            "--receivers 70",
            ["BYE full", "chinwag -c 72 -s 71 -a 72 -r 1 --rate 0"],
        ),
        ("--receivers 30", ["JOIN: ERR full", "chinwag -c 32 -s 31 "]),
        (
            "--receivers 30 --talk",
            ["TALK: ERR full", "chinwag -c 32 -s 31 "],
        ),
        (
            "--receivers 1 --pull 30 --pull-connections 2",
            ["ERR full", "chinwag -c 5 -s 32 -a 32 "],
        ),
        (
            "--receivers 1 --size 1025",
            ["s0: SAY: ERR message-too-long", " -m 1025"],
        ),
        ("--pull 1 --poll-every 2000", ["p0", "--max-idle 4120"]),
    ] {
        run(server.address, args).expect_failure(&texts);
    }
    // Whoever was let in has gone again.
    expect_empty(&server);
}

#[test]
fn keys_are_named_as_what_it_does_not_have() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keys");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let users = dir.join("users");
    let path = users.to_str().unwrap();
    let mut command = Command::new(server_program());
    let made = Running::start(command.args(["--users", path, "--new-key", "ann"])).finish();
    assert_eq!(made.code, Some(0), "{made:?}");
    let server = start(&["--users", path]);
    let finished = run(server.address, "--receivers 1");
    finished.expect_failure(&["ERR not-authorized", "--users"]);
}

#[test]
fn a_rate_that_the_server_does_not_grant_is_told() {
    let server = bounded(&["--rate", "20"]);
    let args = "--receivers 1 --rate 200 --seconds 0.5 --json";
    let finished = run(server.address, args);
    for text in ["makes clients wait", "chinwag -c 3 -s 2 -a 3 -r 1 --rate 0"] {
        assert!(finished.err.contains(text), "{finished:?}");
    }
    let report = finished.report();
    assert!(count(&report, "lines_throttled") > 0);
    assert_eq!(report["messages"], 100);
}

#[test]
fn a_server_that_goes_away_is_told() {
    let server = start(&[]);
    let process = swarm(server.address, "--receivers 3 --window 5 --seconds 600");
    let mut client = server.connect().unwrap();
    await_stat(&mut client, "sessions-attached", |count| count == 4);
    signal(server.pid(), "TERM");
    let finished = process.finish();
    finished.expect_failure(&["BYE shutdown"]);
}

#[test]
fn more_descriptors_than_there_may_be_are_told() {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"ulimit -n 50; exec "$@""#, "sh"])
        .arg(env!("CARGO_BIN_EXE_swarm"));
    let process = Running::start(command.args(["--addr", "127.0.0.1:1", "--receivers", "60"]));
    let finished = process.finish();
    finished.expect_failure(&["61 connections take 93 open files", "allows 50", "ulimit"]);
}

// A server that does wrong. Receivers join as r0 and r1 and the sender as s0, in whatever order;
// so the first message is event 4, and message 5 is event 9. With a pull session, p0, it is event
// 13 that is message 9.

/// What is sent in place of a line.
type Wrong = fn(&str) -> String;

/// A run in which those whose names begin with `to` are sent something else for one message.
fn push_wrong(to: &'static str, number: u64, wrong: Wrong) -> Finished {
    let address = fake::start(to, number, wrong);
    let args = "--receivers 2 --rate 100 --seconds 0.2 --patience 2 --json";
    run(address, args)
}

/// The same with a pull session, which polls at once, and when all was said.
fn pull_wrong(number: u64, wrong: Wrong) -> Finished {
    let address = fake::start("p0", number, wrong);
    let args = "--receivers 1 --pull 1 --poll-every 60 --rate 100 --seconds 0.2 --json";
    run(address, args)
}

#[test]
fn a_server_that_does_what_the_protocol_allows_passes() {
    let report = push_wrong("nobody", 0, str::to_owned).report();
    let honest = json!({ "messages": 20, "deliveries": 40, "lost": 0, "lines_throttled": null });
    expect(&report, &honest);
    // A client passes over words that it does not know.
    let report = push_wrong("r1", 5, |line| format!("NEWS today\r\n{line}")).report();
    expect(&report, &honest);
    let report = push_wrong("r1", 5, |_| "LOST 1 10\r\n".into()).report();
    expect(&report, &json!({ "deliveries": 39, "lost": 1 }));
    let report = pull_wrong(99, |_| String::new()).report();
    expect(&report, &json!({ "pull_deliveries": 20, "deliveries": 40 }));
}

#[test]
fn a_gap_is_found_out() {
    push_wrong("r1", 5, |_| String::new())
        .expect_failure(&["r1: event 10 came, with 9 missing before it and no LOST"]);
    push_wrong("r1", 19, |_| String::new())
        .expect_failure(&["silent for 2 s: r1 was not given event 23, message 19 of s0"]);
}

#[test]
fn a_repeat_is_found_out() {
    push_wrong("r1", 5, |line| line.repeat(2))
        .expect_failure(&["r1: event 9 came again or too late: 10 was next"]);
    // Everyone gets a message once more, as another event. Whether its sender or a receiver hears
    // first of message 5 is a matter of chance.
    push_wrong("r", 5, |line| line.replace("s0 0 5 ", "s0 0 4 "))
        .expect_failure(&["event 9 is message 4 of s0, ", "message 5 of s0 "]);
}

#[test]
fn disorder_is_found_out() {
    // What would be the next message comes before.
    let early: Wrong = |line| {
        let next = line.replace("MSG 9 ", "MSG 10 ");
        next.replace("s0 0 5 ", "s0 0 6 ") + line
    };
    push_wrong("r1", 5, early).expect_failure(&["r1: event 10 came, with 9 missing"]);
}

#[test]
fn a_lost_that_does_not_fit_is_found_out() {
    push_wrong("r1", 5, |_| "LOST 2 10\r\n".into())
        .expect_failure(&["r1: LOST 2 10 does not fit: the next event was to be 9"]);
    push_wrong("r1", 5, |_| "LOST 0 9\r\n".into()).expect_failure(&["r1: LOST 0 9 does not fit"]);
    push_wrong("r1", 5, |line| format!("{line}LOST 1 9\r\n"))
        .expect_failure(&["r1: LOST 1 9 does not fit: the next event was to be 10"]);
}

#[test]
fn another_text_than_others_are_given_is_found_out() {
    push_wrong("r1", 5, |line| line.replace("s0 0 5 ", "s0 0 4 "))
        .expect_failure(&["event 9 is message ", " of s0"]);
    push_wrong("r1", 5, |line| line.replace("..\r", ".,\r"))
        .expect_failure(&["r1: this was not said so by anybody here"]);
    push_wrong("r1", 5, |line| line.replace(" 17638", " 17639"))
        .expect_failure(&["event 9 is not what others got"]);
}

#[test]
fn a_sender_that_is_told_another_number_is_found_out() {
    push_wrong("s0", 5, |line| line.replace("SAY 9 ", "SAY 8 "))
        .expect_failure(&["s0: its message 5 is event 8", "the one before was 8"]);
    // A later event than it is: it collides with the next one's.
    push_wrong("s0", 5, |line| line.replace("SAY 9 ", "SAY 10 ")).expect_failure(&["event 10"]);
}

#[test]
fn a_pull_session_that_is_given_something_else_is_found_out() {
    pull_wrong(9, |_| String::new())
        .expect_failure(&["p0: event 14 came, with 13 missing before it and no LOST"]);
    pull_wrong(9, |line| line.repeat(2))
        .expect_failure(&["p0: event 13 came again or too late: 14 was next"]);
    pull_wrong(19, |_| String::new())
        .expect_failure(&["p0: the reply to POLL ended with event 22, and said last=23"]);
    pull_wrong(9, |line| line.replace("s0 0 9 ", "s0 0 8 "))
        .expect_failure(&["p0: event 13 is message 8 of s0, and message 9 of s0 to others"]);
    pull_wrong(9, |_| "OK PING\r\n".into())
        .expect_failure(&["p0: this does not belong there: OK PING"]);
}

/// A run in which a person is shown something else for one message.
fn talk_wrong(number: u64, wrong: Wrong) -> Finished {
    let address = fake::start("r1", number, wrong);
    let args = "--receivers 2 --talk --rate 100 --seconds 0.2 --patience 2 --json";
    run(address, args)
}

#[test]
fn people_may_be_told_the_date_and_what_is_gone() {
    for (number, wrong, deliveries, lost) in [
        (99, (|_| String::new()) as Wrong, 40, 0),
        (
            5,
            |line| format!("-- Friday 27 November 2026\r\n{line}"),
            40,
            0,
        ),
        (
            5,
            |_| "-- one event was gone before you could get it\r\n".into(),
            39,
            1,
        ),
        (
            5,
            |_| "-- 1 events were gone before you could get them\r\n".into(),
            39,
            1,
        ),
    ] {
        let report = talk_wrong(number, wrong).report();
        expect(
            &report,
            &json!({ "messages": 20, "deliveries": deliveries, "lost": lost }),
        );
    }
}

#[test]
fn a_person_who_is_shown_something_else_is_found_out() {
    // People are shown no numbers: the reply to the sender says which message is which event.
    talk_wrong(5, |_| String::new()).expect_failure(&["event 9 is message ", " of s0"]);
    talk_wrong(19, |_| String::new())
        .expect_failure(&["silent for 2 s: r1 was not given event 23, message 19 of s0"]);
    talk_wrong(5, |line| line.repeat(2)).expect_failure(&["event 10 is message ", " of s0"]);
    talk_wrong(5, |line| line.replace("s0> 0 5 ", "s0> 0 4 "))
        .expect_failure(&["event 9 is message ", " of s0"]);
    talk_wrong(5, |line| line.replace("17:32", "17:33"))
        .expect_failure(&["event 9 is not what others got"]);
    talk_wrong(5, |line| line.replace("..\r", ".,\r"))
        .expect_failure(&["r1: this was not said so by anybody here"]);
    talk_wrong(5, |_| {
        "-- 2 events were gone before you could get them\r\n".into()
    })
    .expect_failure(&["of s0"]);
    let lines: [(Wrong, &str); 4] = [
        (|_| "<s0> hi\r\n".into(), "\"<s0> hi"),
        (|_| "17:3x <s0> hi\r\n".into(), "\"17:3x <s0> hi"),
        (|_| "MSG 9 1763800000000 s0 hi\r\n".into(), "\"MSG 9"),
        (
            |_| "-- goodbye: the server is shutting down\r\n".into(),
            "BYE goodbye: the server",
        ),
    ];
    for (wrong, shown) in lines {
        talk_wrong(5, wrong).expect_failure(&["r1: ", shown]);
    }
}

#[test]
fn a_line_of_no_protocol_is_found_out() {
    let lines: [(Wrong, &str); 6] = [
        (|_| "MSG\r\n".into(), "\"MSG"),
        (|_| "MSG x 1 s0 hi\r\n".into(), "\"MSG x 1 s0 hi"),
        (|_| "LOST 1\r\n".into(), "\"LOST 1"),
        (|_| "BYE slow you\r\n".into(), "BYE slow you"),
        (|_| "OK\r\n".into(), "\"OK"),
        (|_| "MSG 9\n".into(), "\"MSG 9"),
    ];
    for (wrong, shown) in lines {
        push_wrong("r1", 5, wrong).expect_failure(&["r1: ", shown]);
    }
}

#[test]
fn a_server_of_another_protocol_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let process = swarm(&address, "");
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    let finished = process.finish();
    finished.expect_failure(&[&address, "not a server of protocol version 1", "220 mail"]);
}

// Servers whose rooms are linked. The attic has one sender, s0, whose message 5 the cellar may get wrong.

/// A run on two servers.
fn linked(passed_on: PassedOn, fate: Fate) -> Finished {
    let [attic, cellar] = fake::boxes::start(passed_on, fate);
    let args = "--room den --receivers 2 --pull 2 --poll-every 0.05 --rate 200 --seconds 0.2 \
                --patience 4 --json";
    run(attic, &format!("--addr {cellar} {args}"))
}

#[test]
fn linked_servers_that_pass_everything_on_pass() {
    let report = linked(truth, Fate::Stays).report();
    let messages = count(&report, "messages");
    assert!(messages >= 40 + 2);
    expect(
        &report,
        &json!({
            "servers": 2, "receivers": 2, "senders": 1, "pull": 2, "rooms": 1, "message_bytes": 64,
            "rate_per_s": 200, "sessions": 10, "deliveries": 8 * messages,
            "pull_deliveries": 4 * messages, "remote_deliveries": 4 * messages, "lost": 0,
            "missed": 0, "splits": 0, "heals": 0, "remote_joined": 9, "remote_left": 0,
            "reconnects": 0, "lives": 0,
        }),
    );
    for name in ["latency_us", "remote_latency_us"] {
        assert!(count(&report[name], "max") > 0, "{name} in {report}");
    }
    let help = run("127.0.0.1:1", "--help");
    for name in report.as_object().unwrap().keys() {
        let mut words = help.out.split([' ', ',', ':', '\n', ';']);
        assert!(
            words.any(|word| word == name),
            "the help does not have {name}"
        );
    }
}

#[test]
fn what_a_server_counts_as_missed_may_be_missing() {
    let missed: PassedOn = |number, said| match number {
        3 | 4 => Vec::new(),
        5 => vec!["MISSED 1763800000000 attic 2".into(), said[5].clone()],
        _ => truth(number, said),
    };
    let report = linked(missed, Fate::Stays).report();
    expect(&report, &json!({ "missed": 2, "lost": 0 }));
    let messages = count(&report, "messages");
    assert_eq!(count(&report, "deliveries"), 8 * messages - 2 * 4);
    let split: PassedOn = |number, said| match number {
        5 => vec![
            "SPLIT 1763800000000 attic 5".into(),
            "HEALED 1763800000000 attic 5".into(),
            said[5].clone(),
        ],
        _ => truth(number, said),
    };
    let report = linked(split, Fate::Stays).report();
    expect(&report, &json!({ "splits": 1, "heals": 1 }));
}

#[test]
fn what_is_not_passed_on_as_it_was_said_is_found_out() {
    let wrong: [(PassedOn, &[&str]); 12] = [
        // Lost.
        (
            |number, said| {
                if number == 5 {
                    Vec::new()
                } else {
                    truth(number, said)
                }
            },
            &[
                "1 missing before it, and MISSED counts 0",
                "this was next: MSG ",
                "s0 0 5 ",
            ],
        ),
        // Doubled.
        (
            |number, said| vec![said[number].clone(); 1 + usize::from(number == 5)],
            &["came again or too late: MSG ", "s0 0 5 "],
        ),
        // In another order.
        (
            |number, said| match number {
                5 => Vec::new(),
                6 => vec![said[6].clone(), said[5].clone()],
                _ => truth(number, said),
            },
            &["1 missing before it", "s0 0 6 "],
        ),
        // Too few, and too many.
        (
            |number, said| match number {
                4 | 5 => Vec::new(),
                6 => vec!["MISSED 1763800000000 attic 1".into(), said[6].clone()],
                _ => truth(number, said),
            },
            &["2 missing before it, and MISSED counts 1"],
        ),
        (
            |number, said| match number {
                5 => vec!["MISSED 1763800000000 attic 1".into(), said[5].clone()],
                _ => truth(number, said),
            },
            &["0 missing before it, and MISSED counts 1"],
        ),
        // A box that is none, and this box itself.
        (
            |_, said| vec![said.last().unwrap().replacen("@attic", "@garage", 1)],
            &["there is no box garage"],
        ),
        (
            |_, said| vec![said.last().unwrap().replacen("@attic", "@cellar", 1)],
            &["it comes from cellar itself, and has its name"],
        ),
        // As if a member of this box had said it.
        (
            |_, said| vec![said.last().unwrap().replacen("@attic", "", 1)],
            &["this was not said so by anybody there", "from s0 on cellar"],
        ),
        // Somebody else, and another time of day.
        (
            |_, said| vec![said.last().unwrap().replacen("s0@", "s1@", 1)],
            &["this was not said so by anybody there", "from s1 on attic"],
        ),
        (
            |_, said| vec![said.last().unwrap().replacen(" 17638", " 17639", 1)],
            &[
                "was never said there: MSG 1763900000000 s0 0 0",
                "next: MSG 1763800000000 s0",
            ],
        ),
        // Signs that do not fit.
        (
            |number, said| match number {
                5 => vec!["HEALED 1763800000000 attic 5".into(), said[5].clone()],
                _ => truth(number, said),
            },
            &["about attic: a HEALED comes without a SPLIT before it"],
        ),
        (
            |number, said| match number {
                5 => vec!["SPLIT 1763800000000 attic 5".into(), said[5].clone()],
                _ => truth(number, said),
            },
            &["comes between SPLIT and HEALED"],
        ),
    ];
    for (passed_on, texts) in wrong {
        linked(passed_on, Fate::Stays).expect_failure(texts);
    }
}

#[test]
fn sessions_go_on_where_they_were_and_join_again_in_another_life() {
    let report = linked(truth, Fate::HangsUp).report();
    let messages = count(&report, "messages");
    expect(
        &report,
        &json!({ "reconnects": 5, "lives": 0, "lost": 0, "deliveries": 8 * messages }),
    );
    let report = linked(truth, Fate::Crashes).report();
    expect(
        &report,
        &json!({ "reconnects": 5, "lives": 1, "splits": 1, "heals": 1 }),
    );
}

#[test]
fn a_server_that_forgets_is_found_out() {
    linked(truth, Fate::Forgets).expect_failure(&["s0 in den on attic: RESUME says said="]);
    // What comes after a crash belongs to another life, and the cellar has said nothing of that.
    linked(truth, Fate::CrashesInSecret).expect_failure(&["was never said there: JOINED"]);
}
