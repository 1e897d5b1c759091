//! What happens when all sessions expire within a few seconds: how long a client waits for its
//! PINGs meanwhile, when the last one is gone, and what memory comes back.

use std::path::Path;
use std::time::Duration;

use tools::client::{Client, PATIENCE};
use tools::clock::Clock;
use tools::latency::Latencies;

use crate::measure::server::Server;
use crate::measure::sessions::Sessions;
use crate::measure::table::Section;

const ROOM_SIZE: usize = 10;
const LOG_BYTES: &str = "4K";
/// Within this time all expire.
const SPREAD_SECS: u64 = 10;
/// How long it takes at most until all have joined: this many a second, and some seconds more.
const JOINS_PER_SECOND: u64 = 50_000;
const BEFORE_SECS: u64 = 5;
/// How long PINGs are sent before the first expires.
const QUIET: Duration = Duration::from_secs(2);

/// The time between two PINGs, unless the reply to the first takes longer.
const PING_EVERY: Duration = Duration::from_millis(1);
/// The time between two questions who is left.
const ASK_EVERY: Duration = Duration::from_millis(100);

const P99_MS_MAX: f64 = 20.0;
/// What may stay resident of all that the sessions took, or in any case.
const LEFT_SHARE_MAX: f64 = 0.02;
const LEFT_MIB_MAX: f64 = 0.5;
const MIB: f64 = 1024.0 * 1024.0;

pub fn measure(program: &Path, sessions: usize) -> Result<Vec<Section>, String> {
    let rooms = sessions.div_ceil(ROOM_SIZE);
    let mut server = Server::start(program, [0, sessions, rooms], LOG_BYTES)?;

    // Whoever comes later asks for less.
    let clock = Clock::start();
    let first_end = BEFORE_SECS + sessions as u64 / JOINS_PER_SECOND;
    let mut last_end = Duration::ZERO;
    let idle = |session: usize| {
        let (now, end) = (clock.elapsed(), first_end + session as u64 % SPREAD_SECS);
        let idle = end.saturating_sub(now.as_secs()).max(1);
        last_end = last_end.max(now + Duration::from_secs(idle));
        idle
    };
    Sessions::build(&mut server.clients()?, sessions, ROOM_SIZE, idle)?;
    let full = server.resident()?;
    if server.control.stat("sessions-expired")? > 0 {
        return Err(
            "the sessions joined so slowly that they expire already; use fewer --sessions".into(),
        );
    }

    let mut client = server.connect()?;
    let first_end = Duration::from_secs(first_end);
    let quiet = first_end.saturating_sub(QUIET);
    clock.sleep_until(quiet);
    let control = &mut server.control;
    let is_past = |elapsed, _| elapsed >= first_end;
    let before = ping_until(&mut client, control, clock, PING_EVERY, is_past)?;
    let queued = server.queued_ns()?;
    let control = &mut server.control;
    let during = ping_until(&mut client, control, clock, PING_EVERY, |_, left| left == 0)?;
    let rest = clock.elapsed().saturating_sub(last_end);
    let queued = server.queued_ns()? - queued;
    let after = server.resident()?;
    let mut section = Section::new("expire".into(), vec!["measured".into()]);
    add_waits(&mut section, "quiet", "before", before, None);
    let what = format!("while {sessions} sessions expire within {SPREAD_SECS} s");
    add_waits(&mut section, "expire", &what, during, Some(P99_MS_MAX));
    let what = "from the last deadline until all of them are gone, s";
    section.add("gone", what, rest.as_secs_f64(), None);
    let what = "other programs had the processors meanwhile, s";
    section.add("queued", what, queued as f64 / 1e9, None);
    let turn = server.control.stat("turn-longest")? as f64;
    section.add("turn", "the server's longest turn, ms", turn, None);
    add_memory(&mut section, server.resident_start, full, after);
    Ok(vec![section])
}

/// Adds rows for how long PINGs waited.
pub fn add_waits(
    section: &mut Section,
    key: &str,
    when: &str,
    mut waits: Latencies,
    target: Option<f64>,
) {
    for (name, part, target) in [
        ("p50", 0.5, None),
        ("p99", 0.99, target),
        ("max", 1.0, None),
    ] {
        let what = format!("PING, {name}, {when}, ms");
        let key = format!("ping-{key}-{name}");
        section.add(&key, what, waits.quantile_ms(part), target);
    }
}

fn add_memory(section: &mut Section, start: i64, full: i64, after: i64) {
    let mib = |bytes: i64| bytes as f64 / MIB;
    let most = (mib(full - start) * LEFT_SHARE_MAX).max(LEFT_MIB_MAX);
    section.add("memory-start", "resident before, MiB", mib(start), None);
    let what = "resident with all of them, MiB";
    section.add("memory-full", what, mib(full), None);
    let what = "resident afterwards, beyond what it was before, MiB";
    section.add("memory-left", what, mib(after - start), Some(most));
}

/// Sends PINGs on one connection at these intervals, and asks on another who is left, until
/// `is_over` says so of the time since the clock's start and of the number of sessions. Gives how
/// long each PING waited for its answer, or for one before it.
pub fn ping_until(
    client: &mut Client,
    control: &mut Client,
    clock: Clock,
    every: Duration,
    is_over: impl Fn(Duration, u64) -> bool,
) -> Result<Latencies, String> {
    let start = clock.elapsed();
    let mut waits = Latencies::default();
    let mut due = start;
    let mut ask = start;
    loop {
        let now = clock.elapsed();
        if now >= ask {
            let left = control.stat("sessions")?;
            if is_over(now, left) {
                return Ok(waits);
            }
            if now - start > PATIENCE {
                return Err(format!("{left} sessions do not expire"));
            }
            ask = now + ASK_EVERY;
        }
        let is_late = clock.elapsed() > due;
        clock.sleep_until(due);
        let from = if is_late { due } else { clock.elapsed() };
        client.ask("PING\n", "OK PING")?;
        waits.record((clock.elapsed() - from).as_micros() as u64);
        due += every;
    }
}
