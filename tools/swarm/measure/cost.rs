//! What commands cost the server in processor time, with few and with many sessions in the
//! background.
//!
//! The servers run at once and take turns, round by round, so that whatever else the machine does
//! falls on all of them alike.

use std::path::Path;

use tools::client::Client;

use crate::measure::server::Server;
use crate::measure::sessions::{BLOCK, IDLE_S, Sessions, exchange, read_join, write_join};
use crate::measure::table::Section;
use crate::token::Token;

const ROUNDS: usize = 10;
/// Each server's figure is divided by that of the first.
const SIZES: [usize; 2] = [1_000, 100_000];
const RATIO_MAX: f64 = 1.3;

/// How often something is done in a round: in blocks, and one at a time.
const IN_BLOCKS: usize = 10_000;
const ONE_BY_ONE: usize = 1_000;
/// How many join at once, and leave before the next measurement: few compared with the others.
const JOINS: usize = 500;
/// This part of the deeds is done before, unmeasured, so that the caches have what belongs there.
const WARM_UP: usize = 4;

/// Members of a room.
const ROOM_SIZES: [usize; 2] = [1_000, 10];
/// Events that a POLL gives, of those that each room has.
const EVENTS: u32 = 10;
const LOG_BYTES: &str = "64K";

/// What is measured, from RESUME to DETACH.
#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Ping,
    Join,
    Resume,
    /// Of this many events.
    Poll(u32),
}

/// Deeds with their names for programs, and for people, which have all the commands.
const DEEDS: [(Deed, &str, &str); 5] = [
    (Deed::Ping, "ping", "PING"),
    (Deed::Join, "join", "JOIN+DETACH"),
    (Deed::Resume, "resume", "RESUME+DETACH"),
    (Deed::Poll(0), "poll-0", "RESUME+POLL+DETACH, 0 events"),
    (
        Deed::Poll(EVENTS),
        "poll-10",
        "RESUME+POLL+DETACH, 10 events",
    ),
];

#[derive(Clone, Copy)]
struct Way {
    /// Sessions are taken in random order, not in the order in which they joined.
    is_random: bool,
    /// How many commands are sent at once.
    block: usize,
}

/// Ways with their names: the order, and the pace.
const WAYS: [(Way, &str, &str); 3] = [
    (Way::new(true, BLOCK), "random", "in blocks"),
    (Way::new(false, BLOCK), "sequential", "in blocks"),
    (Way::new(true, 1), "random", "one at a time"),
];

impl Way {
    const fn new(is_random: bool, block: usize) -> Way {
        Way { is_random, block }
    }
}

pub fn measure(program: &Path, sessions: usize) -> Result<Vec<Section>, String> {
    let mut sizes: Vec<usize> = SIZES.into_iter().filter(|&size| size < sessions).collect();
    sizes.push(sessions);
    let mut columns: Vec<String> = sizes.iter().map(|size| format!("ns, {size}")).collect();
    columns.push("ratio".into());
    let mut sections = Vec::new();
    for room_size in ROOM_SIZES {
        let name = format!("cost, in rooms of {room_size}");
        let mut section = Section::new(name, columns.clone());
        let places = sizes
            .iter()
            .map(|&size| Place::new(program, size, room_size));
        let mut places = places.collect::<Result<Vec<_>, _>>()?;
        let mut rows = rows(places.len());
        for round in 0..ROUNDS {
            for row in &mut rows {
                for turn in 0..places.len() {
                    let index = (turn + round) % places.len();
                    row.ns[index].push(places[index].measure(row.deed, row.way)?);
                }
            }
        }
        for row in rows {
            row.add_to(&mut section);
        }
        sections.push(section);
    }
    Ok(sections)
}

/// What is done, in which way, and the times of each round, server by server.
struct Row {
    deed: Deed,
    way: Way,
    key: String,
    what: String,
    ns: Vec<Vec<f64>>,
}

fn rows(servers: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (deed, key, what) in DEEDS {
        for (way, order, pace) in WAYS {
            let what = match deed {
                // It has no session to choose.
                Deed::Ping if !way.is_random => continue,
                Deed::Ping => format!("{what}, {pace}"),
                _ => format!("{what}, {order}, {pace}"),
            };
            let key = format!("{key}-{order}-{}", pace.replace(' ', "-"));
            let ns = vec![Vec::new(); servers];
            rows.push(Row {
                deed,
                way,
                key,
                what,
                ns,
            });
        }
    }
    rows
}

impl Row {
    fn add_to(self, section: &mut Section) {
        // Of the last server and the first, round by round: the machine's speed may change between
        // two.
        let pairs = self.ns[0].iter().zip(&self.ns[self.ns.len() - 1]);
        let ratio = median(pairs.map(|(first, last)| last / first).collect());
        let mut cells: Vec<f64> = self.ns.into_iter().map(median).collect();
        cells.push(ratio);
        section.add_row(&self.key, self.what, cells, Some(RATIO_MAX));
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    (figures[(figures.len() - 1) / 2] + figures[figures.len() / 2]) / 2.0
}

/// A server with its sessions.
struct Place {
    server: Server,
    clients: Vec<Client>,
    sessions: Sessions,
    /// All sessions in random order: none comes again before all others did, so that none is taken
    /// twice at once.
    shuffled: Vec<u32>,
    /// How many were taken, in either order.
    taken: usize,
    /// Names that were used, those of the sessions among them.
    names: usize,
}

impl Place {
    fn new(program: &Path, size: usize, room_size: usize) -> Result<Place, String> {
        let counts = [0, size + 2 * JOINS, size.div_ceil(room_size)];
        let server = Server::start(program, counts, LOG_BYTES)?;
        let mut clients = server.clients()?;
        let sessions = Sessions::build(&mut clients, size, room_size, |_| IDLE_S)?;
        let mut shuffled: Vec<u32> = (0..size as u32).collect();
        fastrand::Rng::with_seed(size as u64).shuffle(&mut shuffled);
        Ok(Place {
            server,
            clients,
            sessions,
            shuffled,
            taken: 0,
            names: size,
        })
    }

    /// Processor time in nanoseconds for each, after some to warm up.
    fn measure(&mut self, deed: Deed, way: Way) -> Result<f64, String> {
        let count = match deed {
            Deed::Join => JOINS,
            _ if way.block == 1 => ONE_BY_ONE,
            _ => IN_BLOCKS,
        };
        if deed == Deed::Ping {
            // Each connection holds a session, no matter which.
            for (client, session) in self.clients.iter_mut().zip(&self.shuffled) {
                let mut line = Vec::new();
                self.sessions.tokens[*session as usize].resume(&mut line);
                client.send(&[&line, &b"\n"[..]].concat())?;
                client.expect("OK RESUME ")?;
            }
        }
        let mut joined = self.perform(deed, way, count / WARM_UP)?;
        let start = self.server.cpu_ns()?;
        joined.extend(self.perform(deed, way, count)?);
        let end = self.server.cpu_ns()?;
        if deed == Deed::Ping {
            for client in &mut self.clients {
                client.ask("DETACH\n", "OK DETACH")?;
            }
        }
        self.dismiss(&joined)?;
        Ok((end - start) as f64 / count as f64)
    }

    /// Does something `count` times; gives the sessions that have joined, and their rooms.
    fn perform(
        &mut self,
        deed: Deed,
        way: Way,
        count: usize,
    ) -> Result<Vec<(Token, usize)>, String> {
        let (sessions, shuffled, taken) = (&self.sessions, &self.shuffled, self.taken);
        let pick = |index: usize| match (taken + index) % shuffled.len() {
            place if way.is_random => shuffled[place] as usize,
            place => place,
        };
        let room = |index| sessions.room_of(pick(index));
        let given = |index, wanted: u32| wanted.min(sessions.newest[room(index)]);
        let clients = match way.block {
            1 => &mut self.clients[..1],
            _ => &mut self.clients[..],
        };
        let mut joined = Vec::new();
        let write = |index, out: &mut Vec<u8>| match deed {
            Deed::Ping => out.extend_from_slice(b"PING\n"),
            Deed::Join => write_join(self.names + index, room(index), IDLE_S, out),
            Deed::Resume | Deed::Poll(_) => {
                sessions.tokens[pick(index)].resume(out);
                if let Deed::Poll(events) = deed {
                    let after = sessions.newest[room(index)] - given(index, events);
                    out.extend_from_slice(format!("\nPOLL after={after}").as_bytes());
                }
                out.extend_from_slice(b"\nDETACH\n");
            }
        };
        let read = |index, client: &mut Client| {
            match deed {
                Deed::Ping => return client.expect("OK PING").map(|_| ()),
                Deed::Join => joined.push((read_join(client)?, room(index))),
                Deed::Resume => _ = client.expect("OK RESUME ")?,
                Deed::Poll(events) => {
                    client.expect("OK RESUME ")?;
                    let count = given(index, events);
                    client.expect(&format!("OK POLL {count} "))?;
                    for _ in 0..count {
                        client.line()?;
                    }
                }
            }
            client.expect("OK DETACH").map(|_| ())
        };
        exchange(clients, way.block, count, write, read)?;
        self.taken += count;
        self.names += count;
        for (_, room) in &joined {
            self.sessions.newest[*room] += 1;
        }
        Ok(joined)
    }

    /// Lets those leave who have joined.
    fn dismiss(&mut self, joined: &[(Token, usize)]) -> Result<(), String> {
        let write = |index: usize, out: &mut Vec<u8>| {
            joined[index].0.resume(out);
            out.extend_from_slice(b"\nLEAVE\n");
        };
        let read = |_, client: &mut Client| {
            client.expect("OK RESUME ")?;
            client.expect("OK LEAVE").map(|_| ())
        };
        exchange(&mut self.clients, BLOCK, joined.len(), write, read)?;
        for (_, room) in joined {
            self.sessions.newest[*room] += 1;
        }
        Ok(())
    }
}
