//! What those cost the others who send bytes that end no line: how long a client waits for its PINGs
//! while many connections send as much of that as the server takes.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tools::clock::Clock;

use crate::measure::expire::{add_waits, ping_until};
use crate::measure::server::{Server, connections_possible};
use crate::measure::table::Section;

/// As many as the server takes by default, but for some.
const CONNECTIONS: usize = 992;
const TIME: Duration = Duration::from_secs(3);
/// The interval of PINGs: with one that takes longer, the next would count as late.
const PING_EVERY: Duration = Duration::from_millis(25);
/// Bytes that are sent at once.
const BLOCK: usize = 4096;

const P99_MS_MAX: f64 = 20.0;
const TURN_MS_MAX: f64 = 30.0;

const KINDS: [(&str, &str, &[u8]); 6] = [
    ("nop", "IAC NOP without an end", b"\xff\xf1"),
    ("cr", "CR x without an end", b"\rx"),
    ("sb", "IAC SB without an end", b"\xff\xfa"),
    ("x", "a line without an end", b"x"),
    ("empty", "empty lines", b"\n"),
    ("ping", "whole lines", b"PING\n"),
];

pub fn measure(program: &Path) -> Result<Vec<Section>, String> {
    let count = connections_possible(CONNECTIONS);
    let name = format!("junk from {count} connections");
    let mut section = Section::new(name, vec!["measured".into()]);
    for (key, what, bytes) in KINDS {
        let mut server = Server::start(program, [count, 0, 0], "64K")?;
        let connect = |_| server.stream();
        let streams: Vec<TcpStream> = (0..count).map(connect).collect::<Result<_, String>>()?;
        let mut client = server.connect()?;
        let clock = Clock::start();
        let is_over = AtomicBool::new(false);
        let waits = thread::scope(|scope| {
            scope.spawn(|| flood(&streams, bytes, &is_over));
            let is_past = |elapsed, _| elapsed >= TIME;
            let waits = ping_until(&mut client, &mut server.control, clock, PING_EVERY, is_past);
            is_over.store(true, Ordering::Relaxed);
            waits
        })?;
        add_waits(&mut section, key, what, waits, Some(P99_MS_MAX));
        let turn = server.control.stat("turn-longest")? as f64;
        let taken = server.control.stat("bytes-in")? as f64;
        let what = format!("longest turn, {what}, ms");
        section.add(&format!("turn-{key}"), what, turn, Some(TURN_MS_MAX));
        let what = "MB a second that the server took of it";
        let rate = taken / 1e6 / clock.elapsed().as_secs_f64();
        section.add(&format!("taken-{key}"), what, rate, None);
    }
    Ok(vec![section])
}

/// Sends on all connections in turn, as much as each takes, until it is over.
fn flood(streams: &[TcpStream], bytes: &[u8], is_over: &AtomicBool) {
    let block = bytes.repeat(BLOCK / bytes.len());
    while !is_over.load(Ordering::Relaxed) {
        for mut stream in streams {
            // What is not taken is sent later, or never: nothing of it has a meaning.
            let _ = stream.write(&block);
        }
    }
}
