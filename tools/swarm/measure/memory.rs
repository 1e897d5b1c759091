//! What sessions and connections take of the server's resident memory.

use std::path::Path;

use tools::client::Client;

use crate::measure::server::{Server, connections_possible};
use crate::measure::sessions::{BLOCK, IDLE_S, Sessions, attach, exchange};
use crate::measure::table::Section;

/// Those who hold a connection are as many, if the limit on open files allows it.
const CONNECTED: usize = 10_000;
/// Events of a room are kept in the fewest bytes that the server offers.
const LOG_BYTES: &str = "4K";

const ATTACHED_BYTES_MAX: f64 = 400.0;
const DETACHED_BYTES_MAX: f64 = 200.0;

/// Messages that nobody polls.
const MESSAGES: usize = 100_000;
/// Rooms that they go to, at the most.
const ROOMS_SPOKEN_TO: usize = 1_000;
/// What may move by chance: a few pages.
const GROWTH_BYTES_MAX: f64 = 64.0 * 1024.0;

pub fn measure(program: &Path, sessions: usize) -> Result<Vec<Section>, String> {
    let mut section = Section::new("memory".into(), vec!["bytes".into()]);
    let connected = connections_possible(CONNECTED).min(sessions);
    bare(program, connected, &mut section)?;
    attached(program, connected, &mut section)?;
    for room_size in [1_000, 10] {
        detached(program, sessions, room_size, &mut section)?;
    }
    Ok(vec![section])
}

fn bare(program: &Path, count: usize, section: &mut Section) -> Result<(), String> {
    let mut server = Server::start(program, [count, count, 1], LOG_BYTES)?;
    let clients = (0..count).map(|_| server.connect());
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let what = format!("a connection without a session, of {count}");
    section.add("bare", what, server.growth(count)?, None);
    drop(clients);
    server.control.await_stat("connections", 1)?;
    let what = "  and when all of them are gone";
    section.add("bare-after", what, server.growth(count)?, None);
    Ok(())
}

fn attached(program: &Path, count: usize, section: &mut Section) -> Result<(), String> {
    const ROOM_SIZE: usize = 10;
    let rooms = count.div_ceil(ROOM_SIZE);
    let mut server = Server::start(program, [count, count, rooms], LOG_BYTES)?;
    let mut clients = attach(&server, count, ROOM_SIZE)?;
    let what = format!("an attached push session, of {count} in rooms of {ROOM_SIZE}");
    section.add(
        "attached",
        what,
        server.growth(count)?,
        Some(ATTACHED_BYTES_MAX),
    );
    for client in &mut clients {
        client.send(b"QUIT\n")?;
    }
    server.control.await_stat("connections", 1)?;
    let what = "  and when all of them have quit";
    section.add("attached-after", what, server.growth(count)?, None);
    Ok(())
}

fn detached(
    program: &Path,
    count: usize,
    room_size: usize,
    section: &mut Section,
) -> Result<(), String> {
    let rooms = count.div_ceil(room_size);
    let mut server = Server::start(program, [0, count, rooms], LOG_BYTES)?;
    let mut clients = server.clients()?;
    let sessions = Sessions::build(&mut clients, count, room_size, |_| IDLE_S)?;
    let key = format!("detached-{room_size}");
    let what = format!("a detached pull session, of {count} in rooms of {room_size}");
    section.add(&key, what, server.growth(count)?, Some(DETACHED_BYTES_MAX));
    let logs = server.control.stat("log-bytes")? as f64 / count as f64;
    let what = "  of that, its share of the events that rooms keep";
    section.add(&format!("{key}-log"), what, logs, None);

    talk(&mut clients, &sessions)?;
    let full = server.resident()?;
    talk(&mut clients, &sessions)?;
    let growth = (server.resident()? - full) as f64;
    let what = format!("  growth by {MESSAGES} messages not polled, in all");
    section.add(&format!("{key}-say"), what, growth, Some(GROWTH_BYTES_MAX));
    Ok(())
}

/// One member of each of some rooms says something, so often that the logs are full of it.
pub fn talk(clients: &mut [Client], sessions: &Sessions) -> Result<(), String> {
    /// Messages that are said before it is the next room's turn.
    const AT_ONCE: usize = 10;
    let rooms = sessions.newest.len().min(ROOMS_SPOKEN_TO);
    let write = |index: usize, out: &mut Vec<u8>| {
        // Another member each time, since others are still at it.
        let (room, member) = (index % rooms, index / rooms);
        let session = room + member * sessions.newest.len();
        sessions.tokens[session % sessions.tokens.len()].resume(out);
        out.push(b'\n');
        for _ in 0..AT_ONCE {
            let say = b"SAY nobody is going to fetch this before the session is over\n";
            out.extend_from_slice(say);
        }
        out.extend_from_slice(b"DETACH\n");
    };
    let read = |_, client: &mut Client| {
        client.expect("OK RESUME ")?;
        for _ in 0..AT_ONCE {
            client.expect("OK SAY ")?;
        }
        client.expect("OK DETACH").map(|_| ())
    };
    exchange(clients, BLOCK, MESSAGES / AT_ONCE, write, read)
}
