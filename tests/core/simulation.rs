//! Random clients against the whole core.
//!
//! A failure names its seed; `CHINWAG_SEED=<seed> cargo test simulation::` plays it again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use crate::seeds::play_seeds;
use crate::world::{BOOT, End, Peer, UNIX_MS, World};
use chinwag::ceiling::Ceiling;
use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::chat::{ConnId, Origin, RoomState};
use chinwag::hub::conn::Conn;
use chinwag::protocol::{DENIALS_PER_ADDRESS_MAX, HINT_AFTER_S, LeaveReason, LifeId, Limits};
use chinwag::time::Millis;
use fastrand::Rng;

const SEEDS: u64 = 200;
const STEPS: usize = 600;
const PEERS_MAX: usize = 12;
const PEOPLE_MAX: usize = 3;
/// How many names there are, and so how many with keys at most.
const NAMES: u8 = 6;
const ROOMS: u8 = 3;
/// How long it takes at most until all lines that wait for their rate are answered, in seconds.
const LAG_MAX: u64 = 300;

/// Clients join, talk, poll, stall, vanish and come back, send too fast, are too many, lose their
/// keys; time jumps, the server stops for a while. After each step everything must add up:
///
/// - every line has one reply, in order and in one piece (G1, G2);
/// - events come once, in order, and those that are missing were counted (G9, G11, G12);
/// - a sender's number is the one that others see (G10), and `said=` is right (G7);
/// - whoever joins where another session stopped gets all that is behind it, or a LOST (G32);
/// - rooms keep their numbers, and go neither early nor late nor out of order (G26, G33);
/// - there are never more of anything than the limits say, and all of it fits under the ceiling;
/// - only somebody with the key has the name, and nobody takes one back without a key (G29, G30).
#[test]
fn nothing_is_lost_doubled_leaked_or_late_whatever_clients_do() {
    play_seeds(SEEDS, |seed, log| Simulation::new(seed).play(log));
}

/// The number of seeds that are played twice.
const TWINS: u64 = 12;

/// G37: a server that is upgraded again and again is the same server: every client gets, byte by byte, what it gets
/// from one that is not.
#[test]
fn a_hub_that_is_replaced_by_what_it_saved_goes_on_as_if_nothing_had_been() {
    play_seeds(TWINS, |seed, log| {
        let mut plain = Simulation::new(seed);
        plain.play(log);
        log.clear();
        let mut upgraded = Simulation::new(seed);
        upgraded.upgrades = Some(Rng::with_seed(seed));
        upgraded.world.upgrades = Some(Rng::with_seed(!seed));
        upgraded.play(log);
        for (number, (plain, upgraded)) in plain.heard().iter().zip(upgraded.heard()).enumerate() {
            let from = (plain.lines().zip(upgraded.lines())).position(|(a, b)| a != b);
            let from = from.unwrap_or(0).saturating_sub(2);
            let rest = |text: &str| {
                text.lines()
                    .skip(from)
                    .take(6)
                    .collect::<Vec<_>>()
                    .join("\n")
            };
            let (left, right) = (rest(plain), rest(&upgraded));
            assert!(
                *plain == upgraded,
                "connection {number}:\n{left}\ninstead:\n{right}"
            );
        }
    });
}

/// The number of seeds that are played with restarts.
const RESTARTED: u64 = 24;

/// G40: to clients, a stop and a start are connections that break.
#[test]
fn nothing_is_lost_or_doubled_by_a_server_that_stops_and_starts_again() {
    play_seeds(RESTARTED, |seed, log| {
        let mut restarted = Simulation::new(seed);
        restarted.restarts = Some(Rng::with_seed(seed));
        restarted.play(log);
    });
}

/// What the test knows of a session, by what the server said.
#[derive(Debug)]
struct Member {
    token: String,
    name: u8,
    room: u8,
    /// The life of the room's log.
    log: LifeId,
    is_push: bool,
    /// The talker that got it last, and the step in which it did.
    holder: u64,
    taken_in: u64,
    /// The number that has to come next.
    next: u64,
    /// How many of its messages got an OK.
    said: u64,
    /// Messages it got.
    heard: HashSet<String>,
    /// The step in which it ended.
    over_in: Option<u64>,
    /// The line before was a LOST.
    was_lost: bool,
    /// Something may be missing: its last connection broke.
    is_torn: bool,
}

/// A JOIN that was sent.
#[derive(Debug)]
struct Joining {
    name: u8,
    room: u8,
    history: u64,
    /// The event after which it wants to go on, in which log.
    since: Option<(u64, LifeId)>,
    is_quiet: bool,
    has_key: bool,
    /// The step in which it was sent.
    sent_in: u64,
    /// Whether it brought the name's key, or needed none, while the keys were of this generation.
    is_allowed: bool,
    generation: u64,
}

/// What the test knows of a connection.
struct Talker {
    id: u64,
    peer: Peer,
    origin: Origin,
    /// What was received of an unfinished line.
    partial: Vec<u8>,
    greeted: bool,
    /// Verbs that have to be answered, in order.
    asked: VecDeque<&'static str>,
    /// Body lines that are still to come, and whether they are events.
    body: (u64, bool),
    /// The session it holds, once a reply said so.
    member: Option<usize>,
    /// For each RESUME whose reply is to come: the session, `after=`, and the step in which it was
    /// sent.
    resuming: VecDeque<(usize, Option<u64>, u64)>,
    joining: VecDeque<Joining>,
    polls_after: VecDeque<Option<u64>>,
    says: VecDeque<String>,
    ended: bool,
    /// The step in which it first sent something.
    first_sent_in: Option<u64>,
    /// It may get lines late, since its stream has not always taken everything.
    was_held_up: bool,
    /// It has got the hint how to begin.
    was_hinted: bool,
    said_bye: bool,
}

/// What the test knows of a person's connection.
struct Person {
    peer: Peer,
    /// Whether it is in talk form.
    is_in: bool,
}

struct Simulation {
    rng: Rng,
    /// Decides when the hub is replaced by what was loaded from what it saved; `None` for never.
    upgrades: Option<Rng>,
    /// Decides when the server stops and starts again; `None` for never.
    restarts: Option<Rng>,
    world: World,
    talkers: Vec<Talker>,
    /// They are there for the others, and see nothing but what people see.
    people: Vec<Person>,
    members: Vec<Member>,
    /// The number that each message got.
    numbers: HashMap<String, u64>,
    messages: u64,
    /// Steps taken so far.
    steps: u64,
    talkers_total: u64,
    /// All connections that the server has not closed.
    peers: Vec<(Origin, Peer)>,
    /// The version of each name's key; `None` if anyone may join.
    keys: Option<BTreeMap<u8, u8>>,
    /// How many times the keys have changed.
    generation: u64,
    ceiling: Ceiling,
    /// The rooms that there were after the last step, by the lives of their logs, when that was, and how
    /// many rooms had made way for others by then.
    rooms: BTreeMap<String, RoomState>,
    rooms_at: u64,
    rooms_evicted: u64,
    /// The lives of logs that are over.
    logs_over: HashSet<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut few = |from, to, many| match rng.bool() {
            true => rng.usize(from..to),
            false => many,
        };
        let limits = Limits {
            connections_max: few(2, PEERS_MAX, 1024),
            sessions_max: few(1, 12, 4096),
            rooms_max: few(1, ROOMS.into(), 64),
            per_address_max: few(1, 5, 64),
            lines_per_s: few(5, 50, 0) as u32,
            idle_s: rng.u32(1..30),
            idle_max_s: 40,
            handshake_s: rng.u32(1..20),
            log_bytes: if rng.bool() { 4096 } else { 64 * 1024 },
            keep_rooms_s: [0, 1, rng.u32(1..60), 24 * 3600][rng.usize(..4)],
            ..Limits::default()
        };
        Simulation {
            rng,
            upgrades: None,
            restarts: None,
            steps: 0,
            talkers_total: 0,
            peers: Vec::new(),
            keys: None,
            generation: 0,
            ceiling: Ceiling::of(&limits, Some(NAMES.into()), 16384),
            world: World::new(limits),
            talkers: Vec::new(),
            people: Vec::new(),
            members: Vec::new(),
            numbers: HashMap::new(),
            messages: 0,
            rooms: BTreeMap::new(),
            rooms_at: 0,
            rooms_evicted: 0,
            logs_over: HashSet::new(),
        }
    }

    fn play(&mut self, log: &mut Vec<String>) {
        for _ in 0..STEPS {
            self.steps += 1;
            let step = self.step();
            log.push(format!("{}: {step}", self.world.at));
            self.upgrade_sometimes();
            self.listen();
            let now = self.world.now();
            self.world.run();
            self.upgrade_sometimes();
            self.world.hub.assert_consistent(now);
            self.assert_ceiling();
            self.watch_rooms();
            self.restart_sometimes();
        }
        // Everybody goes, and nothing stays.
        for person in &self.people {
            self.world.reset(&person.peer);
        }
        for talker in &self.talkers {
            self.world.reset(&talker.peer);
        }
        // Lines that wait for their rate are still answered.
        self.world.advance(41_000 + LAG_MAX * 1000);
        self.watch_rooms();
        let keep_s = self.world.hub.chat().limits().keep_rooms_s;
        self.world.advance(u64::from(keep_s) * 1000);
        self.watch_rooms();
        assert!(self.rooms.is_empty(), "{:?}", self.rooms);
        assert!(self.world.hub.is_empty());
        assert_eq!(self.world.hub.chat().sessions(), 0);
        self.world.hub.assert_consistent(self.world.now());
        assert_eq!(self.world.hub.next_deadline(), None);
    }

    fn upgrade_sometimes(&mut self) {
        if self.upgrades.as_mut().is_some_and(|rng| rng.u8(..4) == 0) {
            self.world.upgrade();
        }
    }

    /// Breaks all connections, and starts the server again.
    fn restart_sometimes(&mut self) {
        let Some(rng) = &mut self.restarts else {
            return;
        };
        if rng.u8(..40) > 0 {
            return;
        }
        while !self.talkers.is_empty() {
            self.cut_off(0);
        }
        for person in self.people.drain(..) {
            self.world.reset(&person.peer);
        }
        self.world.restart();
        self.watch_rooms();
    }

    /// Breaks a connection.
    fn cut_off(&mut self, at: usize) {
        let talker = self.talkers.remove(at);
        if let Some(member) = talker.member {
            self.members[member].is_torn = true;
        }
        for (member, after, _) in talker.resuming {
            let member = &mut self.members[member];
            member.is_torn = true;
            if after.is_some() {
                // It may have set the cursor back, unheard.
                member.heard.clear();
            }
        }
        self.world.reset(&talker.peer);
    }

    /// All that each client has ever got, without the secrets, which are never the same.
    fn heard(&self) -> Vec<String> {
        let wires = self.world.wires.iter();
        let texts = wires.map(|wire| String::from_utf8_lossy(&wire.borrow().taken).into_owned());
        let without_secret = |word: &str| match word.split_once("session=") {
            Some((before, token)) => format!(
                "{before}session={}",
                token.trim_matches(|c: char| c.is_ascii_hexdigit())
            ),
            None => word.to_owned(),
        };
        texts
            .map(|text| {
                text.split(' ')
                    .map(without_secret)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    }

    fn step(&mut self) -> String {
        if self.talkers.is_empty() || self.rng.u8(..) < 12 && self.talkers.len() < PEERS_MAX {
            return self.connect();
        }
        match self.rng.u8(0..100) {
            0..6 => {
                let ms = self.rng.u64(1..15_000);
                self.world.advance(ms);
                format!("+{ms}ms")
            }
            6..8 => {
                let ms = self.rng.u64(1..50_000);
                self.world.stop_for(ms);
                // Somebody sets the wall clock meanwhile.
                self.world.unix_ms = UNIX_MS / 2 + self.rng.u64(..UNIX_MS);
                format!("stopped for {ms}ms")
            }
            8..12 => {
                let room = match self.rng.u8(0..4) {
                    0 => 0,
                    1 => self.rng.usize(1..200),
                    _ => usize::MAX,
                };
                let at = self.someone();
                self.talkers[at].was_held_up = true;
                let peer = self.talkers[at].peer.clone();
                self.world.set_space(&peer, room);
                format!("{} takes {room} bytes", peer.conn)
            }
            12..14 => {
                let at = self.someone();
                let peer = self.talkers[at].peer.clone();
                self.cut_off(at);
                format!("{} is gone", peer.conn)
            }
            14 if self.rng.bool() => self.change_keys(),
            15 => self.probe(),
            16..24 => self.step_of_person(),
            14 => {
                let at = self.someone();
                self.talkers[at].ended = true;
                let peer = self.talkers[at].peer.clone();
                self.world.end(&peer);
                format!("{} ends", peer.conn)
            }
            _ => self.speak(),
        }
    }

    /// A person comes, types something, reads slowly, or is cut off.
    fn step_of_person(&mut self) -> String {
        if self.people.len() < PEOPLE_MAX {
            return self.welcome();
        }
        let at = self.rng.usize(..self.people.len());
        let peer = self.people[at].peer.clone();
        let room = self.rng.u8(..ROOMS);
        let typed = match self.rng.u8(..24) {
            0 => {
                self.people.remove(at);
                self.world.reset(&peer);
                return format!("{} is gone", peer.conn);
            }
            1..4 => {
                let space = [0, self.rng.usize(1..400), usize::MAX][self.rng.usize(..3)];
                self.world.set_space(&peer, space);
                return format!("{} takes {space} bytes", peer.conn);
            }
            4..8 => format!("/room r{room}\n"),
            8 => "/who\n/rooms\n".into(),
            9 => "/again 30\n".into(),
            10 => "/quit\n".into(),
            11 => "/nonsense \u{1b}\n\n".into(),
            _ => {
                self.messages += 1;
                let padding = "t".repeat(self.rng.usize(..900));
                format!("m{}{padding}\n", self.messages)
            }
        };
        self.world.send(&peer, typed.as_bytes());
        format!("{} types {typed:?}", peer.conn)
    }

    fn welcome(&mut self) -> String {
        self.world.origin = Origin::Local;
        let limits = *self.world.hub.chat().limits();
        self.connected_from(Origin::Local);
        if self.peers.len() >= limits.connections_max {
            return "no person".into();
        }
        let peer = self.world.connect();
        self.peers.push((Origin::Local, peer.clone()));
        let (name, room) = (self.rng.u8(..4), self.rng.u8(..ROOMS));
        let talk = format!("TALK p{name} room=r{room} idle={}\n", self.rng.u8(3..40));
        self.world.send(&peer, talk.as_bytes());
        let said = format!("{} types {talk:?}", peer.conn);
        let is_in = false;
        self.people.push(Person { peer, is_in });
        said
    }

    /// Takes in what people see. Somebody who was refused goes.
    fn listen_for_people(&mut self) {
        let mut refused = Vec::new();
        for person in &mut self.people {
            let mut wire = person.peer.wire.borrow_mut();
            let end = wire.output.iter().rposition(|&b| b == b'\n');
            let lines: Vec<u8> = wire.output.drain(..end.map_or(0, |end| end + 1)).collect();
            drop(wire);
            let lines = String::from_utf8(lines).unwrap();
            for line in lines.split_terminator("\r\n") {
                person.is_in |= line.starts_with("-- ");
                if person.is_in {
                    crate::talk::read(line);
                } else if line.starts_with("ERR ") {
                    refused.push(person.peer.clone());
                } else {
                    let verbs = ["HELLO ", "EXPIRING ", "BYE "];
                    assert!(verbs.iter().any(|verb| line.starts_with(verb)), "{line}");
                }
            }
        }
        for peer in refused {
            self.world.reset(&peer);
        }
        self.people
            .retain(|person| !person.peer.wire.borrow().is_closed);
    }

    fn someone(&mut self) -> usize {
        self.rng.usize(..self.talkers.len())
    }

    fn connect(&mut self) -> String {
        let origins = [
            Origin::Local,
            Origin::V4([192, 0, 2, 1]),
            Origin::V4([192, 0, 2, 2]),
            Origin::V6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1]),
        ];
        let origin = origins[self.rng.usize(..origins.len())];
        self.world.origin = origin;
        let limits = *self.world.hub.chat().limits();
        let from_there = self.connected_from(origin);
        let is_full = self.peers.len() >= limits.connections_max
            || origin != Origin::Local && from_there >= limits.per_address_max;

        let peer = self.world.connect();
        let said = format!("{} connects from {origin:?}", peer.conn);
        let is_refused = peer.conn == ConnId(u32::MAX);
        assert_eq!(is_refused, is_full, "{limits:?}");
        if is_refused {
            let wire = peer.wire.borrow();
            let text = std::str::from_utf8(&wire.output).unwrap();
            let rest = text.strip_prefix(&format!("{}\r\nBYE full ", hello(&limits)));
            let rest = rest.unwrap_or_else(|| panic!("refused with {text:?}"));
            assert_eq!(rest.find("\r\n"), Some(rest.len() - 2), "{text:?}");
            assert!(wire.is_closed);
            return format!("{said} and is refused");
        }
        self.peers.push((origin, peer.clone()));
        self.talkers_total += 1;
        self.talkers.push(Talker {
            id: self.talkers_total,
            peer,
            origin,
            partial: Vec::new(),
            greeted: false,
            asked: VecDeque::new(),
            body: (0, false),
            member: None,
            resuming: VecDeque::new(),
            joining: VecDeque::new(),
            polls_after: VecDeque::new(),
            says: VecDeque::new(),
            ended: false,
            first_sent_in: None,
            was_held_up: false,
            was_hinted: false,
            said_bye: false,
        });
        said
    }

    /// Somebody sends one line or a few, whole or in pieces.
    fn speak(&mut self) -> String {
        let at = self.someone();
        if self.talkers[at].ended {
            return "nobody".into();
        }
        let mut text = String::new();
        for _ in 0..self.rng.usize(1..4) {
            text += &self.line(at);
            text += ["\n", "\r\n", "\r\0"][self.rng.usize(..3)];
        }
        let step = self.steps;
        self.talkers[at].first_sent_in.get_or_insert(step);
        let peer = self.talkers[at].peer.clone();
        let mut bytes = text.clone().into_bytes();
        if self.rng.u8(..) < 80 {
            // Telnet may say something anywhere.
            let many = if self.rng.u8(..) < 8 { 700 } else { 1 };
            let within = self.rng.usize(..=bytes.len());
            bytes.splice(within..within, [255, 251, 1].repeat(many));
        }
        let cut = self.rng.usize(..=bytes.len());
        self.world.send(&peer, &bytes[..cut]);
        self.world.send(&peer, &bytes[cut..]);
        format!("{} sends {text:?}", peer.conn)
    }

    fn line(&mut self, at: usize) -> String {
        let (verb, line) = self.command(at);
        if !verb.is_empty() {
            self.talkers[at].asked.push_back(verb);
        }
        line
    }

    fn command(&mut self, at: usize) -> (&'static str, String) {
        match self.rng.u8(0..40) {
            0..6 => {
                let mode = ["push", "pull"][self.rng.usize(..2)];
                let alive = ["ping", "tcp"][self.rng.usize(..2)];
                let history = self.rng.u64(0..4);
                let idle = self.rng.u32(1..50);
                let options = format!("mode={mode} alive={alive} idle={idle} history={history}");
                let line = self.join(at, history);
                ("JOIN", format!("{line} {options}"))
            }
            6..10 if !self.members.is_empty() => {
                let member = self.rng.usize(..self.members.len());
                let seen = self.members[member].next.saturating_sub(1);
                let after = self.rng.bool().then_some(seen);
                self.talkers[at]
                    .resuming
                    .push_back((member, after, self.steps));
                let token = &self.members[member].token;
                match after {
                    Some(after) => ("RESUME", format!("RESUME {token} after={after}")),
                    None => ("RESUME", format!("RESUME {token}")),
                }
            }
            10..22 => {
                self.messages += 1;
                let padding = "x".repeat(self.rng.usize(0..900));
                let text = format!("m{}{padding}", self.messages);
                self.talkers[at].says.push_back(text.clone());
                ("SAY", format!("SAY {text}"))
            }
            22..28 => {
                let max = self.rng.u32(1..20);
                let wait = self.rng.u32(0..10);
                let member = self.talkers[at].member;
                let after = match member {
                    Some(member) if self.rng.bool() => {
                        Some(self.members[member].next.saturating_sub(1))
                    }
                    _ => None,
                };
                self.talkers[at].polls_after.push_back(after);
                let after = after.map_or(String::new(), |after| format!(" after={after}"));
                ("POLL", format!("POLL max={max} wait={wait}{after}"))
            }
            28..31 => ("PING", "PING pong".into()),
            31 => ("LEAVE", "LEAVE".into()),
            32 | 33 => ("DETACH", "DETACH".into()),
            34 => ("WHO", "WHO".into()),
            35 => ("ROOMS", "ROOMS".into()),
            36..38 => ("STATS", "STATS".into()),
            38 if self.rng.bool() => ("", String::new()),
            38 => ("nonsense", "nonsense \u{1b}".into()),
            _ if self.rng.u8(0..4) == 0 => ("QUIT", "QUIT".into()),
            _ => ("HELP", "HELP".into()),
        }
    }

    /// The beginning of a JOIN of some name, with the right key if it takes one, mostly.
    fn join(&mut self, at: usize, history: u64) -> String {
        let (name, room) = (self.rng.u8(0..NAMES), self.rng.u8(0..ROOMS));
        let right = self.keys.as_ref().map(|keys| keys.get(&name).copied());
        let key = match self.rng.u8(0..10) {
            0 => None,
            1 => Some(self.rng.u8(0..3)),
            // Without a users file, anyone may choose one.
            2..6 if self.keys.is_none() => Some(self.rng.u8(0..2)),
            _ => right.flatten(),
        };
        let since = self.since(room);
        let is_quiet = self.rng.u8(0..4) == 0;
        self.talkers[at].joining.push_back(Joining {
            name,
            room,
            history,
            since,
            is_quiet,
            has_key: key.is_some(),
            sent_in: self.steps,
            is_allowed: right.is_none_or(|right| right.is_some() && right == key),
            generation: self.generation,
        });
        let spelling = ["n", "N"][self.rng.usize(..2)];
        let key = key.map_or(String::new(), |key| format!(" key={}", secret(name, key)));
        let since = since.map_or(String::new(), |(after, log)| {
            format!(" after={after} log={log}")
        });
        let quiet = if is_quiet { " quiet=yes" } else { "" };
        format!("JOIN {spelling}{name} room=r{room}{key}{since}{quiet}")
    }

    /// Where some session in the room stopped, or before that, or a number that no event has.
    fn since(&mut self, room: u8) -> Option<(u64, LifeId)> {
        let of_room = self.members.iter().filter(|member| member.room == room);
        let of_room: Vec<_> = of_room.map(|member| (member.next, member.log)).collect();
        if of_room.is_empty() || self.rng.bool() {
            return None;
        }
        let (next, log) = of_room[self.rng.usize(..of_room.len())];
        let after = match self.rng.u8(0..6) {
            0 => u64::MAX - 1,
            1 => self.rng.u64(..next),
            _ => next - 1,
        };
        Some((after, log))
    }

    /// Looks at the rooms after a step: none may have gone early or stayed too long, and if one made way
    /// for another, it was the one that had been empty longest.
    fn watch_rooms(&mut self) {
        let (chat, at) = (self.world.hub.chat(), self.world.at);
        let limits = *chat.limits();
        let keep = Millis::from_secs(limits.keep_rooms_s);
        let rooms = chat.rooms();
        let rooms: BTreeMap<_, _> = rooms
            .iter()
            .map(|room| (room.log.to_string(), *room))
            .collect();
        assert!(rooms.len() <= limits.rooms_at_once_max());
        let evicted = self.world.hub.stats().rooms_evicted - self.rooms_evicted;
        for (log, room) in &rooms {
            assert!(!self.logs_over.contains(log), "{room:?} is back");
            assert_eq!(room.members == 0, room.empty_since.is_some());
            let before = self.rooms.get(log);
            if let Some(before) = before {
                assert_eq!(before.name, room.name);
                assert!(before.newest <= room.newest, "{before:?} became {room:?}");
            }
            if let Some(since) = room.empty_since {
                let is_as_before = before.is_some_and(|b| b.empty_since == Some(since));
                assert!(is_as_before || since.0 >= self.rooms_at, "{room:?}");
                assert!(
                    since.0 <= at && (since + keep).0 > at,
                    "{room:?} stayed too long"
                );
            }
        }
        let mut made_way = 0;
        for (log, before) in &self.rooms {
            if rooms.contains_key(log) {
                continue;
            }
            self.logs_over.insert(log.clone());
            // It was empty from then on at the earliest.
            let since = before.empty_since.unwrap_or(Millis(self.rooms_at));
            if (since + keep).0 <= at {
                continue;
            }
            made_way += 1;
            let stayed = rooms.iter().filter_map(|(log, room)| {
                let before = self.rooms.get(log)?;
                (before.empty_since == room.empty_since).then_some(room.empty_since?)
            });
            let oldest = stayed.min().unwrap_or(Millis::NEVER);
            assert!(since <= oldest, "{before:?} went before one of {oldest:?}");
        }
        assert!(made_way <= evicted, "{made_way} of {evicted}");
        assert!(evicted == 0 || limits.keep_rooms_s > 0);
        if evicted > 0 && at == self.rooms_at {
            assert_eq!(rooms.len(), limits.rooms_max);
        }
        self.rooms = rooms;
        self.rooms_at = at;
        self.rooms_evicted += evicted;
    }

    /// Others get other keys. Sessions of those names end at once, and all others stay.
    fn change_keys(&mut self) -> String {
        let mut keys = self.keys.clone().unwrap_or_else(|| {
            let names = 0..NAMES;
            names.map(|name| (name, 0)).collect()
        });
        for _ in 0..self.rng.usize(0..3) {
            let name = self.rng.u8(0..NAMES);
            match self.rng.u8(0..3) {
                0 => _ = keys.remove(&name),
                _ => _ = keys.insert(name, self.rng.u8(0..3)),
            }
        }
        let lines = keys.iter().map(|(&name, &key)| {
            let hash = KeyHash::of(&secret(name, key));
            format!("n{name}:{hash}\n")
        });
        let parsed = Keys::parse(&lines.collect::<String>()).unwrap();
        // What is still to happen now belongs to the time before.
        self.world.run();
        self.listen();
        let now = self.world.now();
        self.world.hub.set_keys(Some(parsed), now);
        self.world.run();

        let is_revoked = |name: u8| {
            let is_as_before = |old: &BTreeMap<u8, u8>| old.get(&name) == keys.get(&name);
            !keys.contains_key(&name) || !self.keys.as_ref().is_none_or(is_as_before)
        };
        for talker in &self.talkers {
            let wire = talker.peer.wire.borrow();
            let member = talker.member.map(|member| &self.members[member]);
            let Some(member) = member.filter(|member| member.holder == talker.id) else {
                continue;
            };
            // A client that takes what the server sends has heard of everything that happened.
            if wire.space != usize::MAX || talker.ended {
                continue;
            }
            assert_eq!(wire.is_closed, is_revoked(member.name), "{member:?}");
            if wire.is_closed {
                let text = std::str::from_utf8(&wire.output).unwrap();
                let last = text.lines().last();
                assert!(last.is_some_and(|last| last.starts_with("BYE replaced ")));
            }
        }
        for member in &mut self.members {
            if is_revoked(member.name) {
                member.over_in.get_or_insert(self.steps);
            }
        }
        let said = format!("keys are {keys:?}");
        self.keys = Some(keys);
        self.generation += 1;
        said
    }

    /// Somebody who is doing nothing else joins, and gets in unless something is full.
    fn probe(&mut self) -> String {
        self.world.run();
        self.listen();
        let limits = *self.world.hub.chat().limits();
        let is_idle = |talker: &Talker| {
            let is_quiet = talker.greeted && talker.asked.is_empty() && talker.member.is_none();
            is_quiet && !talker.ended && talker.peer.wire.borrow().space == usize::MAX
        };
        let at = self.talkers.iter().position(is_idle);
        let Some(at) = at.filter(|_| limits.lines_per_s == 0) else {
            return "nobody".into();
        };
        let line = self.join(at, 0);
        let step = self.steps;
        self.talkers[at].first_sent_in.get_or_insert(step);
        self.talkers[at].asked.push_back("JOIN");
        let (origin, peer) = (self.talkers[at].origin, self.talkers[at].peer.clone());
        let is_allowed = self.talkers[at].joining[0].is_allowed;
        let (before, sessions) = (*self.world.hub.stats(), self.world.hub.chat().sessions());
        let rooms_before = self.world.hub.chat().rooms();
        self.world.send(&peer, format!("{line}\n").as_bytes());
        let after = *self.world.hub.stats();

        let joined = after.sessions_total - before.sessions_total;
        let denied = after.refused_keys - before.refused_keys;
        let full = after.refused_sessions - before.refused_sessions;
        let full_address = after.refused_sessions_address - before.refused_sessions_address;
        let full_rooms = after.refused_rooms - before.refused_rooms;
        let Joining {
            name,
            room,
            since,
            is_quiet,
            has_key,
            ..
        } = self.talkers[at].joining[0];
        let replaced = LeaveReason::Replaced.index();
        let replaced = after.sessions_ended[replaced] - before.sessions_ended[replaced];
        assert!(replaced <= joined && (replaced == 0 || has_key), "{line}");
        let room = rooms_before
            .iter()
            .find(|known| known.name.to_string() == format!("r{room}"));
        let is_beyond = room.is_some_and(|room| {
            since.is_some_and(|(after, log)| log == room.log && after > room.newest)
        });
        let is_one_of = joined + denied + full + full_address + full_rooms == 1;
        // After enough wrong keys from its address, it has to wait.
        let waits = origin != Origin::Local
            && before.refused_keys >= DENIALS_PER_ADDRESS_MAX.into()
            && after.commands + after.errors == before.commands + before.errors;
        assert!(
            is_one_of || waits || self.keys.is_none() || is_beyond,
            "{line}"
        );
        assert!(joined == 0 || !is_beyond, "{line}");
        // Only rooms with members can be too many, and one that is refused takes no place.
        let with_members = rooms_before.iter().filter(|room| room.members > 0).count();
        let is_new = joined == 1 && room.is_none();
        assert!(full_rooms == 0 || room.is_none() && with_members >= limits.rooms_max);
        assert!(!is_new || with_members < limits.rooms_max);
        let makes_way = is_new && rooms_before.len() == limits.rooms_max;
        let evicted = after.rooms_evicted - before.rooms_evicted;
        assert_eq!(evicted, u64::from(makes_way), "{line}");
        let rooms_after = self.world.hub.chat().rooms();
        let gone = |room: &&RoomState| rooms_after.iter().all(|after| after.log != room.log);
        let gone: Vec<_> = rooms_before.iter().filter(gone).collect();
        assert_eq!(gone.len() as u64, evicted, "{line}");
        if let Some(gone) = gone.first() {
            let oldest = rooms_before
                .iter()
                .filter_map(|room| room.empty_since)
                .min();
            assert_eq!(gone.empty_since, oldest, "{line}");
        }
        if let Some(room) = room.filter(|room| joined == 1 && room.members == 0) {
            // Its numbers go on.
            let log = room.log;
            let room_after = rooms_after.iter().find(|room| room.log == log).unwrap();
            assert_eq!(room_after.newest, room.newest + u64::from(!is_quiet));
            assert_eq!(
                (room_after.members, room_after.name),
                (1, room.name),
                "{name}"
            );
        }
        assert!(waits || denied == u64::from(!is_allowed), "{line}");
        assert!(full == 0 || sessions >= limits.sessions_max, "{line}");
        assert!(full_address == 0 || origin != Origin::Local, "{line}");
        assert!(full_rooms == 0 || limits.rooms_max < ROOMS.into(), "{line}");
        // One that replaces another stays within the limit.
        assert!(self.world.hub.chat().sessions() <= limits.sessions_max);
        format!("{} sends {line:?} alone", peer.conn)
    }

    /// How many connections from somewhere the server still counts.
    fn connected_from(&mut self, origin: Origin) -> usize {
        self.peers.retain(|(_, peer)| !peer.wire.borrow().is_closed);
        let from_there = self.peers.iter().filter(|(from, _)| *from == origin);
        from_there.count()
    }

    /// What the ceiling allows for a kind of things, in bytes.
    fn allowed(&self, name: &str) -> usize {
        let mut parts = self.ceiling.parts.iter();
        parts.find(|part| part.name == name).unwrap().bytes as usize
    }

    /// What is seen from outside is no more than the ceiling has counted.
    fn assert_ceiling(&self) {
        let hub = &self.world.hub;
        assert!(hub.len() * size_of::<Conn<End>>() <= self.allowed("connections"));
        let names = self.keys.as_ref().map_or(0, BTreeMap::len);
        let name_bytes = size_of::<KeyHash>() + chinwag::protocol::NAME_BYTES_MAX;
        assert!(names * name_bytes <= self.allowed("names with keys"));
        let parts = self.ceiling.parts.iter().map(|part| part.bytes);
        assert_eq!(parts.sum::<u64>(), self.ceiling.bytes());
    }

    /// A line of STATS says no more than the limits, and the ceiling, allow.
    fn assert_stat(&self, name: &str, value: &str) {
        let limits = self.world.hub.chat().limits();
        let most = match name {
            "connections" | "connections-most" | "connections-max" => limits.connections_max,
            "sessions" | "sessions-most" | "sessions-max" => limits.sessions_max,
            "sessions-attached" => limits.sessions_max.min(limits.connections_max),
            "rooms" | "rooms-kept" => limits.rooms_at_once_max(),
            "log-bytes" => (limits.rooms_max * limits.log_bytes).min(self.allowed("rooms")),
            // One of each session, and two of each connection.
            "timers" => limits.sessions_max + 2 * limits.connections_max,
            _ => return,
        };
        assert!(value.parse::<usize>().unwrap() <= most, "{name} {value}");
    }

    /// Takes in all that the server has sent.
    fn listen(&mut self) {
        self.listen_for_people();
        for at in 0..self.talkers.len() {
            let talker = &mut self.talkers[at];
            let output = std::mem::take(&mut talker.peer.wire.borrow_mut().output);
            talker.partial.extend(output);
            while let Some(end) = self.talkers[at].partial.iter().position(|&b| b == b'\n') {
                let mut line: Vec<u8> = self.talkers[at].partial.drain(..=end).collect();
                while let Some(answer) = line.iter().position(|&b| b == 255) {
                    assert_eq!(line.drain(answer..answer + 3).as_slice(), [255, 254, 1]);
                }
                let line = String::from_utf8(line).unwrap();
                self.hear(at, line.strip_suffix("\r\n").unwrap());
            }
        }
        self.talkers.retain(|talker| {
            let is_closed = talker.peer.wire.borrow().is_closed;
            if is_closed {
                if let Some(member) = talker.member {
                    // It may have been closed with things on their way.
                    let member = &mut self.members[member];
                    member.is_torn |= member.holder == talker.id;
                }
                for (member, after, _) in &talker.resuming {
                    if after.is_some() {
                        // It may have set the cursor back, unheard.
                        self.members[*member].heard.clear();
                    }
                }
            }
            !is_closed
        });
    }

    fn hear(&mut self, at: usize, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!self.talkers[at].said_bye, "behind BYE came {line}");
        if !self.talkers[at].greeted {
            assert_eq!(line, hello(self.world.hub.chat().limits()));
            self.talkers[at].greeted = true;
            return;
        }
        if self.talkers[at].body.0 > 0 {
            self.talkers[at].body.0 -= 1;
            if self.talkers[at].body.1 {
                self.event(at, &words);
            } else if words[0] == "STAT" {
                self.assert_stat(words[1], words[2]);
            }
            return;
        }
        match words[0] {
            "OK" => self.reply(at, line, &words),
            "ERR" => self.refusal(at, words[1]),
            "MSG" | "JOINED" | "LEFT" | "LOST" => {
                let member = self.talkers[at].member.expect("an event for no session");
                assert!(
                    self.members[member].is_push,
                    "pushed to a pull session: {line}"
                );
                self.event(at, &words);
            }
            "EXPIRING" if line.ends_with(" press Return to stay") => {
                assert!(self.talkers[at].member.is_some());
            }
            "EXPIRING" => {
                let talker = &mut self.talkers[at];
                let handshake_s = self.world.hub.chat().limits().handshake_s;
                let left_s: u32 = words[1].parse().unwrap();
                assert!(
                    left_s + HINT_AFTER_S <= handshake_s,
                    "{line} of {handshake_s}"
                );
                let is_silent = talker.first_sent_in.is_none_or(|step| step >= self.steps);
                assert!(is_silent || talker.was_held_up, "{line}");
                assert!(!std::mem::replace(&mut talker.was_hinted, true));
            }
            "BYE" => {
                self.talkers[at].said_bye = true;
                assert_ne!(
                    words[1], "full",
                    "a connection that was taken is not refused"
                );
                if matches!(words[1], "expired" | "slow") {
                    if let Some(member) = self.talkers[at].member {
                        self.members[member].over_in.get_or_insert(self.steps);
                    }
                }
            }
            _ => panic!("what is {line}?"),
        }
    }

    fn refusal(&mut self, at: usize, code: &str) {
        let generation = self.generation;
        let talker = &mut self.talkers[at];
        let asked = talker.asked.pop_front();
        let asked = asked.expect("an ERR that nobody asked for");
        assert!(matches!(asked, "JOIN") || !matches!(code, "full" | "not-authorized"));
        match asked {
            "JOIN" => {
                let joining = talker.joining.pop_front().unwrap();
                if joining.generation == generation {
                    let is_right = match code {
                        "not-authorized" => !joining.is_allowed,
                        "already-joined" => true,
                        // Whoever holds the key gets the name.
                        "name-taken" => self.keys.is_none(),
                        _ => joining.is_allowed,
                    };
                    assert!(is_right, "{code} for {joining:?}");
                }
            }
            "RESUME" => _ = talker.resuming.pop_front(),
            "POLL" => _ = talker.polls_after.pop_front(),
            "SAY" => _ = talker.says.pop_front(),
            _ => {}
        }
    }

    fn reply(&mut self, at: usize, line: &str, words: &[&str]) {
        let talker = &mut self.talkers[at];
        let asked = talker
            .asked
            .pop_front()
            .expect("an OK that nobody asked for");
        assert_eq!(words[1], asked, "{line}");
        let value = |key: &str| {
            let value = words.iter().find_map(|w| w.strip_prefix(key));
            value.unwrap_or_else(|| panic!("no {key} in {line}"))
        };
        match asked {
            "JOIN" => {
                assert_eq!(talker.member, None);
                let seq: u64 = value("seq=").parse().unwrap();
                let joining = talker.joining.pop_front().unwrap();
                let is_current = joining.generation == self.generation;
                assert!(joining.is_allowed || !is_current, "{joining:?} got {line}");
                let Joining {
                    name,
                    room,
                    history,
                    since,
                    is_quiet,
                    sent_in,
                    ..
                } = joining;
                let log = LifeId::parse(value("log=")).unwrap();
                // The number of its first own event, or the next that the room gets.
                let own = seq + u64::from(is_quiet);
                let since = since.filter(|(_, since_log)| *since_log == log);
                let after = since.map(|(after, _)| after);
                assert!(after.is_none_or(|after| after < own), "{line}");
                talker.member = Some(self.members.len());
                // Whoever had the name when this JOIN was sent is gone, since it succeeded. Members
                // whose replies have come since then may have joined after this one: its own reply
                // may have waited longer.
                for other in &mut self.members {
                    let is_older = other.taken_in < sent_in;
                    if is_older && (other.name, other.room) == (name, room) {
                        other.over_in.get_or_insert(self.steps);
                    }
                }
                self.members.push(Member {
                    name,
                    room,
                    log,
                    holder: talker.id,
                    taken_in: self.steps,
                    token: value("session=").into(),
                    is_push: value("mode=") == "push",
                    next: after.map_or(own.saturating_sub(history).max(1), |after| after + 1),
                    said: 0,
                    heard: HashSet::new(),
                    over_in: None,
                    was_lost: false,
                    // The log may hold less history than was asked for.
                    is_torn: history > 0 && after.is_none(),
                });
            }
            "RESUME" => {
                assert_eq!(talker.member, None);
                let (index, after, sent_in) = talker.resuming.pop_front().unwrap();
                talker.member = Some(index);
                let member = &mut self.members[index];
                // It may have ended since, and this have been heard late.
                let is_over = member.over_in.is_some_and(|step| step < sent_in);
                assert!(!is_over, "resumed after its end: {line}");
                let said: u64 = value("said=").parse().unwrap();
                assert!(said >= member.said || member.taken_in >= sent_in);
                if member.taken_in == self.steps {
                    // It changed hands twice in this step, perhaps the other way round.
                    member.heard.clear();
                }
                member.said = said;
                member.holder = talker.id;
                member.taken_in = self.steps;
                match after {
                    Some(after) => {
                        member.next = after + 1;
                        member.is_torn = false;
                    }
                    // What was sent may not have reached anybody.
                    None => member.is_torn = true,
                }
            }
            "SAY" => {
                let member = &mut self.members[talker.member.unwrap()];
                member.said += u64::from(member.holder == talker.id);
                let text = talker.says.pop_front().unwrap();
                let seq = words[2].parse().unwrap();
                assert_eq!(*self.numbers.entry(text).or_insert(seq), seq);
            }
            "POLL" => {
                let member = &mut self.members[talker.member.unwrap()];
                let after = talker.polls_after.pop_front().unwrap();
                if let Some(after) = after.filter(|_| member.holder == talker.id) {
                    member.next = after + 1;
                    member.is_torn = false;
                }
                talker.body = (words[2].parse().unwrap(), true);
            }
            "WHO" | "ROOMS" | "STATS" | "HELP" => {
                talker.body = (words[2].parse().unwrap(), false);
            }
            "LEAVE" | "QUIT" => {
                if let Some(member) = talker.member.take() {
                    self.members[member].over_in.get_or_insert(self.steps);
                }
            }
            "DETACH" => talker.member = None,
            "PING" => assert_eq!(line, "OK PING pong"),
            other => panic!("{other}"),
        }
    }

    /// An event has come: the one that had to come next, unless something was torn.
    fn event(&mut self, at: usize, words: &[&str]) {
        let talker = &self.talkers[at];
        let member = &mut self.members[talker.member.expect("no session")];
        if member.holder != talker.id {
            // What came before another took the session over.
            return;
        }
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        if words[0] == "LOST" {
            if !member.is_torn {
                assert_eq!(member.next + number(1), number(2), "{words:?}");
                assert!(!member.is_push || !member.was_lost, "{words:?}");
            }
            member.next = number(2);
        } else {
            let seq = number(1);
            if member.is_torn {
                assert!(seq >= member.next || member.heard.is_empty(), "{words:?}");
            } else {
                assert_eq!(seq, member.next, "{words:?}");
            }
            member.next = seq + 1;
        }
        member.is_torn = false;
        member.was_lost = words[0] == "LOST";
        if words[0] == "MSG" {
            let known = self.numbers.entry(words[4].into()).or_insert(number(1));
            assert_eq!(*known, number(1), "{words:?}");
            member.heard.insert(words[4].into());
        }
    }
}

/// The text of a version of a name's key.
fn secret(name: u8, version: u8) -> String {
    format!("secret-{name}-{version}")
}

/// The line with which the server greets every client.
fn hello(limits: &Limits) -> String {
    let max = limits.message_bytes_max;
    format!("HELLO chinwag/0.2.0 protocol=1 boot={BOOT} max-message={max}")
}
