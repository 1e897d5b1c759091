//! What sessions and connections take of the server's resident memory.

use std::path::Path;

use tools::client::Client;

use crate::measure::blocks::{Work, in_blocks};
use crate::measure::server::{Room, Server};
use crate::measure::sessions::{Crowd, IDLE, clients, read_join, write_name, write_token};
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
    let connected = crate::measure::server::connections_possible(CONNECTED).min(sessions);
    bare(program, connected, &mut section)?;
    attached(program, connected, &mut section)?;
    for room_size in [1_000, 10] {
        detached(program, sessions, room_size, &mut section)?;
    }
    Ok(vec![section])
}

/// A server, a connection that asks it things, and what it took before anything came.
struct Start {
    server: Server,
    control: Client,
    resident: i64,
}

impl Start {
    fn new(
        program: &Path,
        connections: usize,
        sessions: usize,
        rooms: usize,
    ) -> Result<Start, String> {
        let room = Room {
            connections: connections + 16,
            sessions: sessions + 16,
            rooms: rooms + 16,
            log_bytes: LOG_BYTES,
        };
        let server = Server::start(program, &room)?;
        let mut control = server.connect()?;
        // All that a first member takes is there.
        control.ask("JOIN first\n", "OK JOIN ")?;
        control.expect("JOINED ")?;
        control.ask("LEAVE\n", "OK LEAVE")?;
        control.stat("uptime")?;
        let resident = server.resident()?;
        Ok(Start {
            server,
            control,
            resident,
        })
    }

    /// What has come since, for each of so many.
    fn growth(&self, count: usize) -> Result<f64, String> {
        Ok((self.server.resident()? - self.resident) as f64 / count as f64)
    }
}

fn bare(program: &Path, count: usize, section: &mut Section) -> Result<(), String> {
    let mut start = Start::new(program, count, count, 1)?;
    let clients = (0..count).map(|_| start.server.connect());
    let clients = clients.collect::<Result<Vec<_>, _>>()?;
    let what = format!("a connection without a session, of {count}");
    section.add("bare", what, vec![start.growth(count)?], None);
    drop(clients);
    start.control.await_stat("connections", 1)?;
    let what = "  and when all of them are gone".into();
    section.add("bare-after", what, vec![start.growth(count)?], None);
    Ok(())
}

fn attached(program: &Path, count: usize, section: &mut Section) -> Result<(), String> {
    const ROOM_SIZE: usize = 10;
    let rooms = count.div_ceil(ROOM_SIZE);
    let mut start = Start::new(program, count, count, rooms)?;
    let mut clients = Vec::with_capacity(count);
    let mut line = Vec::new();
    for number in 0..count {
        let mut client = start.server.connect()?;
        line.clear();
        line.extend_from_slice(b"JOIN ");
        write_name(number, &mut line);
        line.extend_from_slice(b" room=");
        write_name(number / ROOM_SIZE, &mut line);
        line.push(b'\n');
        client.send(&line)?;
        read_join(&mut client)?;
        client.expect("JOINED ")?;
        client.shrink();
        clients.push(client);
    }
    let what = format!("an attached push session, of {count} in rooms of {ROOM_SIZE}");
    let cells = vec![start.growth(count)?];
    section.add("attached", what, cells, Some(ATTACHED_BYTES_MAX));
    for client in &mut clients {
        client.send(b"QUIT\n")?;
    }
    start.control.await_stat("connections", 1)?;
    let what = "  and when all of them have quit".into();
    section.add("attached-after", what, vec![start.growth(count)?], None);
    Ok(())
}

fn detached(
    program: &Path,
    count: usize,
    room_size: usize,
    section: &mut Section,
) -> Result<(), String> {
    let rooms = count.div_ceil(room_size);
    let mut start = Start::new(program, 16, count, rooms)?;
    let mut clients = clients(&start.server)?;
    let crowd = Crowd::build(&mut clients, count, room_size, |_| IDLE)?;
    let key = format!("detached-{room_size}");
    let what = format!("a detached pull session, of {count} in rooms of {room_size}");
    let cells = vec![start.growth(count)?];
    section.add(&key, what, cells, Some(DETACHED_BYTES_MAX));
    let logs = start.control.stat("log-bytes")? as f64 / count as f64;
    let what = "  of that, its share of the events that rooms keep".into();
    section.add(&format!("{key}-log"), what, vec![logs], None);

    let mut talk = Talk::new(&crowd);
    in_blocks(&mut clients, talk.lines(), &mut talk)?;
    let full = start.server.resident()?;
    in_blocks(&mut clients, talk.lines(), &mut talk)?;
    let growth = (start.server.resident()? - full) as f64;
    let what = format!("  growth by {MESSAGES} messages not polled, in all");
    section.add(
        &format!("{key}-say"),
        what,
        vec![growth],
        Some(GROWTH_BYTES_MAX),
    );
    Ok(())
}

/// One member of each of some rooms says something, so often that the logs are full of it.
struct Talk<'a> {
    crowd: &'a Crowd,
    rooms: usize,
}

impl Talk<'_> {
    /// Messages that are said before the next room's turn.
    const AT_ONCE: usize = 10;

    fn new(crowd: &Crowd) -> Talk<'_> {
        let rooms = crowd.newest.len().min(ROOMS_SPOKEN_TO);
        Talk { crowd, rooms }
    }

    fn lines(&self) -> usize {
        MESSAGES / Self::AT_ONCE
    }
}

impl Work for Talk<'_> {
    fn write(&mut self, index: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RESUME ");
        // Another member each time, since others are still at it.
        let (room, member) = (index % self.rooms, index / self.rooms);
        let session = room + member * self.crowd.newest.len();
        let tokens = &self.crowd.tokens;
        write_token(&tokens[session % tokens.len()], out);
        out.push(b'\n');
        for _ in 0..Self::AT_ONCE {
            out.extend_from_slice(
                b"SAY nobody is going to fetch this before the session is over\n",
            );
        }
        out.extend_from_slice(b"DETACH\n");
    }

    fn read(&mut self, _: usize, client: &mut Client) -> Result<(), String> {
        client.expect("OK RESUME ")?;
        for _ in 0..Self::AT_ONCE {
            client.expect("OK SAY ")?;
        }
        client.expect("OK DETACH").map(|_| ())
    }
}
