//! How many instructions the core's operations take: `cargo bench --bench instructions [NAME...]`.
//!
//! The program runs itself under valgrind's callgrind, once for each operation, and prints the
//! instructions of one. Unlike times, these are the same on a busy machine; `.ci/budget` compares
//! them with benches/budget.txt. What callgrind found stays in target/tmp/NAME.callgrind, for
//! callgrind_annotate, which shows lines too if the program was built with
//! `CARGO_PROFILE_BENCH_DEBUG=line-tables-only CARGO_PROFILE_BENCH_STRIP=false`.

use std::env;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

use chinwag::chat::event_log::EventLog;
use chinwag::protocol::Request;
use support::connections::Connections;
use support::sessions::Sessions;
use support::{EVENT, SAY, Timers, limits};

mod support;

/// Has the program do one operation.
const RUN: &str = "--run";

type Operation = Box<dyn FnMut()>;

/// What is measured.
struct Bench {
    name: &'static str,
    /// How often the operation is repeated; one that can be is first done as often unmeasured.
    calls: usize,
    /// On how many one call works; what is printed is for one of them.
    share: usize,
    prepare: fn() -> Operation,
}

const SMALL: usize = 1000;
const LARGE: usize = 100_000;

#[rustfmt::skip]
const BENCHES: [Bench; 21] = [
    bench("parse-say", 100, parse_say),
    bench("append", 5000, append),
    bench("fan-out-1000", 20, fan_out),
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
    Bench { share: SMALL, ..bench("expire-1k", 1, || on_sessions(SMALL, expire)) },
    Bench { share: LARGE, ..bench("expire-100k", 1, || on_sessions(LARGE, expire)) },
];

const fn bench(name: &'static str, calls: usize, prepare: fn() -> Operation) -> Bench {
    Bench {
        name,
        calls,
        share: 1,
        prepare,
    }
}

fn parse(line: &[u8]) {
    black_box(Request::read(black_box(line), &limits()));
}

/// From the heap, where it is always aligned alike.
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

fn fan_out() -> Operation {
    let mut connections = Connections::of_push_members(1000);
    Box::new(move || connections.say())
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

/// Callgrind counts from where this begins to where it ends.
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
        _ if !support::is_bench() => Ok(()),
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

/// Does an operation so often as is to be measured; this is what valgrind runs.
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

/// Counts and prints all operations whose name contains one of the words; all, if there are none.
fn count_all(args: &[String]) -> Result<(), String> {
    // Cargo and people who mean other benchmarks add options.
    let words: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_meant = |bench: &&Bench| {
        words.is_empty() || words.iter().any(|word| bench.name.contains(word.as_str()))
    };
    if !has_valgrind()? {
        eprintln!("instructions: skipped, for there is no valgrind: apt-get install valgrind");
        return Ok(());
    }
    for bench in BENCHES.iter().filter(is_meant) {
        println!("{} {}", bench.name, count(bench)?);
    }
    Ok(())
}

/// Whether valgrind is there; in continuous integration it has to be.
fn has_valgrind() -> Result<bool, String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound && env::var_os("CI").is_none() => {
            Ok(false)
        }
        Err(error) => Err(format!("valgrind: {error}; apt-get install valgrind")),
    }
}

/// The instructions of one operation.
fn count(bench: &Bench) -> Result<u64, String> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.callgrind", bench.name));
    let program = env::current_exe().map_err(|error| format!("its own program: {error}"))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let output = Command::new("valgrind")
        // Nothing of the caller's surroundings is to count.
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
        Some(total) if total > 0 => Ok(total / (bench.calls * bench.share) as u64),
        _ => Err(format!(
            "{} counts nothing: the program has to keep the names of its functions, as Cargo's \
             bench profile has it",
            file.display()
        )),
    }
}
