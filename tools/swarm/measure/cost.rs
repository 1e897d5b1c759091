//! What commands cost the server in processor time, with few and with many sessions in the
//! background.
//!
//! The servers run at once and take turns, round by round, so that whatever else the machine does
//! falls on all of them alike.

use std::path::Path;

use tools::client::Client;

use crate::measure::blocks::{in_blocks, one_by_one};
use crate::measure::server::{Room, Server};
use crate::measure::sessions::{Crowd, IDLE, clients, write_token};
use crate::measure::table::Section;
use crate::measure::visits::{Deed, Leaving, Member, Visits};

const ROUNDS: usize = 10;
/// Each server's figure is divided by that of the first.
const SIZES: [usize; 2] = [1_000, 100_000];
const RATIO_MAX: f64 = 1.3;

/// How often something is done in a round: in blocks, and one at a time.
const IN_BLOCKS: usize = 10_000;
const ONE_BY_ONE: usize = 1_000;
/// How many join at once, and leave before the next measurement: few beside any crowd.
const JOINS: usize = 500;
/// Beside what is measured, so much of it is done before, to have in the caches what belongs there.
const WARM_UP: usize = 4;

/// Members of a room.
const ROOM_SIZES: [usize; 2] = [1_000, 10];
/// Events that a POLL gives, of those that each room has.
const EVENTS: u32 = 10;
const LOG_BYTES: &str = "64K";

/// In which order sessions are taken.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    Random,
    Sequential,
}

impl Order {
    fn word(self) -> &'static str {
        match self {
            Order::Random => "random",
            Order::Sequential => "sequential",
        }
    }
}

/// How many commands are under way.
#[derive(Clone, Copy, PartialEq)]
enum Pace {
    Blocks,
    One,
}

const DEEDS: [Deed; 5] = [
    Deed::Ping,
    Deed::Join,
    Deed::Resume,
    Deed::Poll { events: 0 },
    Deed::Poll { events: EVENTS },
];

const WAYS: [(Order, Pace); 3] = [
    (Order::Random, Pace::Blocks),
    (Order::Sequential, Pace::Blocks),
    (Order::Random, Pace::One),
];

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
        for figures in measure_all(&mut places)? {
            let mut cells: Vec<f64> = figures.ns.iter().map(|ns| median(ns)).collect();
            cells.push(figures.ratio());
            section.add(&figures.key(), figures.what(), cells, Some(RATIO_MAX));
        }
        sections.push(section);
    }
    Ok(sections)
}

/// One row: what is done, in which way, and the times of each round, server by server.
struct Figures {
    deed: Deed,
    order: Order,
    pace: Pace,
    ns: Vec<Vec<f64>>,
}

impl Figures {
    fn key(&self) -> String {
        let (deed, order) = (self.deed.key(), self.order.word());
        let pace = match self.pace {
            Pace::Blocks => "in-blocks",
            Pace::One => "one-at-a-time",
        };
        format!("{deed}-{order}-{pace}")
    }

    /// The last server's time in that of the first, round by round: the machine's speed may change
    /// between two.
    fn ratio(&self) -> f64 {
        let pairs = self.ns[0].iter().zip(&self.ns[self.ns.len() - 1]);
        let ratios: Vec<f64> = pairs.map(|(first, last)| last / first).collect();
        median(&ratios)
    }

    fn what(&self) -> String {
        let (deed, order) = (self.deed.words(), self.order.word());
        let pace = match self.pace {
            Pace::Blocks => "in blocks",
            Pace::One => "one at a time",
        };
        match self.deed {
            Deed::Ping => format!("{deed}, {pace}"),
            _ => format!("{deed}, {order}, {pace}"),
        }
    }
}

fn measure_all(places: &mut [Place]) -> Result<Vec<Figures>, String> {
    let mut rows = Vec::new();
    for deed in DEEDS {
        for (order, pace) in WAYS {
            // It has no session to choose.
            if deed == Deed::Ping && order == Order::Sequential {
                continue;
            }
            rows.push(Figures {
                deed,
                order,
                pace,
                ns: vec![Vec::new(); places.len()],
            });
        }
    }
    for round in 0..ROUNDS {
        for row in &mut rows {
            for turn in 0..places.len() {
                let index = (turn + round) % places.len();
                let ns = places[index].measure(row.deed, row.order, row.pace)?;
                row.ns[index].push(ns);
            }
        }
    }
    Ok(rows)
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// A server with its crowd.
struct Place {
    server: Server,
    clients: Vec<Client>,
    crowd: Crowd,
    /// All sessions in an order of chance: none comes again before all others did, so that none
    /// is taken twice at once.
    shuffled: Vec<u32>,
    /// How many were taken, in either order.
    taken: usize,
    /// Names that were used, those of the crowd among them.
    names: usize,
}

impl Place {
    fn new(program: &Path, size: usize, room_size: usize) -> Result<Place, String> {
        let room = Room {
            connections: 16,
            sessions: size + 2 * JOINS,
            rooms: size.div_ceil(room_size),
            log_bytes: LOG_BYTES,
        };
        let server = Server::start(program, &room)?;
        let mut clients = clients(&server)?;
        let crowd = Crowd::build(&mut clients, size, room_size, |_| IDLE)?;
        let mut shuffled: Vec<u32> = (0..size as u32).collect();
        fastrand::Rng::with_seed(size as u64).shuffle(&mut shuffled);
        Ok(Place {
            server,
            clients,
            crowd,
            shuffled,
            taken: 0,
            names: size,
        })
    }

    /// Processor time in nanoseconds for each, after some to warm up.
    fn measure(&mut self, deed: Deed, order: Order, pace: Pace) -> Result<f64, String> {
        let count = match (deed, pace) {
            (Deed::Join, _) => JOINS,
            (_, Pace::Blocks) => IN_BLOCKS,
            (_, Pace::One) => ONE_BY_ONE,
        };
        if deed == Deed::Ping {
            self.hold_sessions()?;
        }
        let warm = self.perform(deed, order, pace, count / WARM_UP)?;
        let start = self.server.cpu_ns()?;
        let joined = self.perform(deed, order, pace, count)?;
        let end = self.server.cpu_ns()?;
        if deed == Deed::Ping {
            for client in &mut self.clients {
                client.ask("DETACH\n", "OK DETACH")?;
            }
        }
        self.dismiss([warm, joined].concat())?;
        Ok((end - start) as f64 / count as f64)
    }

    /// Does something so often; gives who has joined.
    fn perform(
        &mut self,
        deed: Deed,
        order: Order,
        pace: Pace,
        count: usize,
    ) -> Result<Vec<Member>, String> {
        let picks = (self.taken..self.taken + count).map(|place| {
            let place = place % self.shuffled.len();
            match order {
                Order::Random => self.shuffled[place],
                Order::Sequential => place as u32,
            }
        });
        let mut visits = Visits {
            deed,
            picks: picks.collect(),
            first_name: self.names,
            crowd: &mut self.crowd,
            joined: Vec::new(),
        };
        match pace {
            Pace::Blocks => in_blocks(&mut self.clients, count, &mut visits)?,
            Pace::One => one_by_one(&mut self.clients[0], count, &mut visits)?,
        }
        self.taken += count;
        self.names += count;
        Ok(visits.joined)
    }

    /// Has each connection hold a session, for the commands that need none in particular.
    fn hold_sessions(&mut self) -> Result<(), String> {
        for (client, session) in self.clients.iter_mut().zip(&self.shuffled) {
            let mut line = b"RESUME ".to_vec();
            write_token(&self.crowd.tokens[*session as usize], &mut line);
            line.push(b'\n');
            client.send(&line)?;
            client.expect("OK RESUME ")?;
        }
        Ok(())
    }

    /// Has those leave who have joined.
    fn dismiss(&mut self, members: Vec<Member>) -> Result<(), String> {
        let count = members.len();
        let mut leaving = Leaving {
            members,
            crowd: &mut self.crowd,
        };
        in_blocks(&mut self.clients, count, &mut leaving)
    }
}
