//! Counts the instructions of the core's operations: `cargo bench --bench instructions [NAME...]`.
//!
//! The program runs itself under valgrind's callgrind, once for each benchmark, and prints how many
//! instructions one operation takes. Unlike times, these are the same on a busy machine;
//! `.ci/budget` compares them with benches/budget.txt. Callgrind's findings stay in
//! target/tmp/NAME.callgrind for callgrind_annotate, which shows lines too if the program was built
//! with `CARGO_PROFILE_BENCH_DEBUG=line-tables-only CARGO_PROFILE_BENCH_STRIP=false`.

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

use chinwag::chat::event_log::EventLog;
use chinwag::protocol::Request;
use support::common::{EVENT, SAY, is_bench, limits};
use support::connections::Connections;
use support::sessions::Sessions;
use support::timers::Timers;

/// The states that are measured, and operations on them. An operation does what the server's loop
/// would do, and can be repeated.
mod support {
    pub mod common;
    pub mod connections;
    pub mod sessions;
    pub mod timers;
}

/// The argument that makes the program run one benchmark, for valgrind to count.
const RUN: &str = "--run";

type Operation = Box<dyn FnMut()>;

/// A benchmark.
struct Bench {
    name: &'static str,
    /// How many times the operation is done. If that is more than once, it is first done that many
    /// times without counting.
    calls: usize,
    /// How many sessions one call works on. The printed number is for one of them.
    sessions_per_call: usize,
    prepare: fn() -> Operation,
}

const SMALL: usize = 1000;
const LARGE: usize = 100_000;

#[rustfmt::skip]
const BENCHES: [Bench; 26] = [
    bench("parse-say", 100, parse_say),
    bench("append", 5000, append),
    bench("fan-out-100", 200, || fan_out(Connections::of_push_members(100))),
    bench("fan-out-1000", 20, || fan_out(Connections::of_push_members(1000))),
    bench("talk-fan-out-100", 200, || fan_out(Connections::of_people(100))),
    bench("talk-fan-out-1000", 20, || fan_out(Connections::of_people(1000))),
    bench("turn-say", 2000, || alone(Connections::of_push_members(1))),
    bench("talk-turn-say", 2000, || alone(Connections::of_people(1))),
    bench("say-1k", 2000, || on_sessions(SMALL, Sessions::say)),
    bench("say-100k", 2000, || on_sessions(LARGE, Sessions::say)),
    bench("poll-100-1k", 100, || on_sessions(SMALL, Sessions::poll)),
    bench("poll-100-100k", 100, || on_sessions(LARGE, Sessions::poll)),
    bench("ping-1k", 1000, || on_sessions(SMALL, Sessions::ping)),
    bench("ping-100k", 1000, || on_sessions(LARGE, Sessions::ping)),
    bench("join-leave-1k", 5000, || on_sessions(SMALL, Sessions::join_and_leave)),
    bench("join-leave-100k", 5000, || on_sessions(LARGE, Sessions::join_and_leave)),
    bench("resume-detach-1k", 1000, || on_sessions(SMALL, Sessions::resume_and_detach)),
    bench("resume-detach-100k", 1000, || on_sessions(LARGE, Sessions::resume_and_detach)),
    bench("turn-ping-1k", 1000, || on_connections(SMALL)),
    bench("turn-ping-100k", 1000, || on_connections(LARGE)),
    bench("who-1k", 100, || on_large_room(SMALL, Sessions::who)),
    bench("who-100k", 100, || on_large_room(LARGE, Sessions::who)),
    bench("timer-1k", 1000, || on_timers(SMALL)),
    bench("timer-100k", 1000, || on_timers(LARGE)),
    Bench { sessions_per_call: SMALL, ..bench("expire-1k", 1, || on_sessions(SMALL, expire)) },
    Bench { sessions_per_call: LARGE, ..bench("expire-100k", 1, || on_sessions(LARGE, expire)) },
];

const fn bench(name: &'static str, calls: usize, prepare: fn() -> Operation) -> Bench {
    Bench {
        name,
        calls,
        sessions_per_call: 1,
        prepare,
    }
}

fn parse(line: &[u8]) {
    black_box(Request::read(black_box(line), &limits()));
}

/// Parses a line on the heap, where its alignment is always the same.
fn parse_say() -> Operation {
    let line = SAY.to_vec();
    Box::new(move || parse(&line))
}

fn append() -> Operation {
    let mut log = EventLog::new(limits().log_bytes);
    for _ in 0..2000 {
        log.append(EVENT);
    }
    assert!(log.first() > 1);
    Box::new(move || log.append(black_box(EVENT)))
}

fn fan_out(mut connections: Connections) -> Operation {
    Box::new(move || connections.say())
}

fn alone(mut connections: Connections) -> Operation {
    Box::new(move || connections.say_alone())
}

fn on_sessions(size: usize, operation: fn(&mut Sessions)) -> Operation {
    let mut sessions = Sessions::in_many_rooms(size);
    Box::new(move || operation(&mut sessions))
}

fn on_large_room(size: usize, operation: fn(&mut Sessions)) -> Operation {
    let mut sessions = Sessions::in_one_room(size);
    Box::new(move || operation(&mut sessions))
}

fn on_connections(size: usize) -> Operation {
    let mut connections = Connections::of_pull_members(size);
    Box::new(move || connections.ping())
}

fn on_timers(size: usize) -> Operation {
    let mut timers = Timers::new(size);
    Box::new(move || timers.file_and_cancel())
}

fn expire(sessions: &mut Sessions) {
    sessions.expire();
}

/// Repeats an operation. Callgrind counts what happens in this function.
#[inline(never)]
fn measured(operation: &mut dyn FnMut(), calls: usize) {
    for _ in 0..calls {
        operation();
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match &args[..] {
        [flag, name] if flag == RUN => run(name),
        _ if !is_bench() => Ok(()),
        _ => count_all(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one benchmark: this is what valgrind runs.
fn run(name: &str) -> Result<(), String> {
    let bench = BENCHES.iter().find(|bench| bench.name == name);
    let bench = bench.ok_or_else(|| format!("there is no {name}"))?;
    let mut operation = (bench.prepare)();
    if bench.calls > 1 {
        (0..bench.calls).for_each(|_| operation());
    }
    measured(&mut operation, bench.calls);
    Ok(())
}

/// Runs and prints all benchmarks whose names contain one of the words, or all if there are no
/// words.
fn count_all(args: &[String]) -> Result<(), String> {
    // Cargo adds options, and so do people for other benchmarks.
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_meant = |bench: &&Bench| {
        words.is_empty() || words.iter().any(|word| bench.name.contains(word.as_str()))
    };
    if !has_valgrind()? {
        eprintln!("instructions: skipped, since there is no valgrind: apt-get install valgrind");
        return Ok(());
    }
    for bench in BENCHES.iter().filter(is_meant) {
        println!("{} {}", bench.name, count(bench)?);
    }
    Ok(())
}

/// Whether there is valgrind. In continuous integration its absence is an error.
fn has_valgrind() -> Result<bool, String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound && env::var_os("CI").is_none() => {
            Ok(false)
        }
        Err(error) => Err(format!("valgrind: {error}; apt-get install valgrind")),
    }
}

/// Counts the instructions of one operation.
fn count(bench: &Bench) -> Result<u64, String> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.callgrind", bench.name));
    let program = env::current_exe().map_err(|error| format!("no path to itself: {error}"))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let output = Command::new("valgrind")
        // The caller's environment must not change the count.
        .env_clear()
        .env("PATH", path)
        .args(["--tool=callgrind", "--toggle-collect=*measured*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .args([RUN, bench.name])
        .output();
    let output = output.map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed under valgrind:\n{text}", bench.name));
    }
    let found =
        fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = found.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.and_then(|total| total.parse::<u64>().ok()) {
        Some(total) if total > 0 => Ok(total / (bench.calls * bench.sessions_per_call) as u64),
        _ => Err(format!(
            "{} counts nothing: the program must keep the names of its functions, as it does in \
             Cargo's bench profile",
            file.display()
        )),
    }
}
