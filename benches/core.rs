//! Measures how long the core's operations take, without sockets: `cargo bench --bench core`.
//!
//! A number at the end of a benchmark's name is the number of sessions, timers or receivers. An
//! operation on one of them should take equally long whatever that number is, apart from the time
//! that memory outside the processor's caches costs.

use std::hint::black_box;
use std::time::Duration;

use chinwag::chat::event_log::EventLog;
use chinwag::hub::line::Splitter;
use chinwag::protocol::Request;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use support::audience::Audience;
use support::common::{EVENT, SAY, is_bench, limits};
use support::connections::Connections;
use support::sessions::Sessions;
use support::timers::Timers;

/// The states that are measured, and operations on them. An operation does what the server's loop
/// would do, and can be repeated.
mod support {
    pub mod audience;
    pub mod common;
    pub mod connections;
    pub mod sessions;
    pub mod timers;
}

const SIZES: [usize; 3] = [1000, 100_000, 1_000_000];

const LINES: [(&str, &[u8]); 7] = [
    ("say", SAY),
    ("ping", b"PING"),
    ("poll", b"POLL max=100 after=123456 wait=30"),
    (
        "join",
        b"JOIN ann room=kitchen mode=pull idle=300 history=20",
    ),
    ("resume", b"RESUME 00000000c6b1f09e8a3d4417b25a90c3de7f6612"),
    ("quit", b"QUIT"),
    ("unknown", b"SHOUT hello"),
];

fn lines(c: &mut Criterion) {
    let limits = limits();
    let mut group = c.benchmark_group("parse");
    for (name, line) in LINES {
        group.bench_function(name, |b| b.iter(|| is_command(line)));
    }
    group.finish();
    let mut splitter = Splitter::default();
    let stream = [SAY, b"\r\n"].concat();
    c.bench_function("split", |b| {
        b.iter(|| {
            let mut input = black_box(&stream[..]);
            splitter.next(&mut input, limits.line_bytes_max()).is_some()
        });
    });
}

/// Whether the server would carry out a line.
fn is_command(line: &[u8]) -> bool {
    let request = Request::read(black_box(line), &limits());
    matches!(black_box(request), Request::Command(_))
}

/// Appends to a full log: each event drops old ones.
fn log(c: &mut Criterion) {
    let mut log = EventLog::new(limits().log_bytes);
    for _ in 0..2000 {
        log.append(EVENT);
    }
    assert!(log.first() > 1);
    c.bench_function("append", |b| b.iter(|| log.append(black_box(EVENT))));
}

/// Brings one event to many members, programs or people: the time for all of them, and how many get it
/// in a second.
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out");
    for members in [100, 1000] {
        group.throughput(Throughput::Elements(members as u64));
        let mut audience = Audience::new(members);
        group.bench_function(BenchmarkId::new("cursors", members), |b| {
            b.iter(|| audience.say());
        });
        for (name, mut connections) in [
            ("turn", Connections::of_push_members(members)),
            ("talk-turn", Connections::of_people(members)),
        ] {
            group.bench_function(BenchmarkId::new(name, members), |b| {
                b.iter(|| connections.say())
            });
        }
    }
    group.finish();
}

/// Measures what must not take longer the more sessions there are.
fn many_sessions(c: &mut Criterion) {
    let mut states = SIZES.map(|size| (size, Sessions::in_many_rooms(size)));
    on_each(c, "ping", &mut states, Sessions::ping);
    on_each(c, "say", &mut states, Sessions::say);
    on_each(c, "poll-100", &mut states, Sessions::poll);
    on_each(c, "join-leave", &mut states, Sessions::join_and_leave);
    on_each(c, "resume-detach", &mut states, Sessions::resume_and_detach);
}

/// Measures the same in one large room, where finding a name takes logarithmic time.
fn one_room(c: &mut Criterion) {
    let mut states = SIZES.map(|size| (size, Sessions::in_one_room(size)));
    on_each(c, "one-room/join-leave", &mut states, |sessions| {
        sessions.visit(b"JOIN visitor room=r0");
    });
    on_each(c, "one-room/who", &mut states, Sessions::who);
}

/// Measures a whole turn of the loop for one connection among many silent ones.
fn turns(c: &mut Criterion) {
    let mut states = SIZES.map(|size| (size, Connections::of_pull_members(size)));
    on_each(c, "turn-ping", &mut states, Connections::ping);
}

/// Measures an operation in each of several states, which are named by their size.
fn on_each<T>(c: &mut Criterion, name: &str, states: &mut [(usize, T)], operation: fn(&mut T)) {
    let mut group = c.benchmark_group(name);
    for (size, state) in states {
        group.bench_function(size.to_string(), |b| b.iter(|| operation(state)));
    }
    group.finish();
}

fn timers(c: &mut Criterion) {
    let mut timers = SIZES.map(|size| (size, Timers::new(size)));
    on_each(c, "timer", &mut timers, Timers::file_and_cancel);
}

/// Lets all sessions expire: the time for all of them, and how many expire in a second.
fn expiry(c: &mut Criterion) {
    let mut group = c.benchmark_group("expire");
    group.sample_size(10);
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let expire = |mut sessions: Sessions| (sessions.expire(), sessions);
        group.bench_function(size.to_string(), |b| {
            b.iter_batched(
                || Sessions::in_many_rooms(size),
                expire,
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn main() {
    if !is_bench() {
        return;
    }
    let mut c = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for measure in [
        lines,
        log,
        fan_out,
        many_sessions,
        one_room,
        turns,
        timers,
        expiry,
    ] {
        measure(&mut c);
    }
    c.final_summary();
}
