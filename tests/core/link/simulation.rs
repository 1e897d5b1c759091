//! Random boxes on a hostile bus.
//!
//! A failure names its seed; `CHINWAG_SEED=<seed> cargo test link::simulation::` plays it again.

use chinwag::protocol::Limits;
use fastrand::Rng;

use super::boxes::{Boxes, LinkedBox, Setup};
use super::broker::{ELSEWHERE, Faults};
use super::ears::{FORGED, FORGER, SCRIPT};
use crate::members::limits;
use crate::seeds::{play_seeds, play_steps};
use crate::world::{Peer, UNIX_MS};

const NAMES: [&str; 8] = [
    "attic", "barn", "cellar", "den", "eaves", "foyer", "garage", "hall",
];
const ROOMS: [&str; 3] = ["r0", "r1", "r2"];
/// How many things happen in a world before the bus becomes good.
const ACTIONS: usize = 1200;
const GUESTS_MAX: usize = 24;

/// How many actions and turns there are in all worlds together.
const STEPS: u64 = 900_000;

/// The number of worlds that are played twice.
const TWINS: u64 = 5;

/// What a world is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Nothing goes wrong with the bus.
    Fair,
    /// Everything goes wrong that can go wrong with brokers and networks.
    Hostile,
    /// Besides, somebody speaks under the names of boxes in lives that they do not have.
    Spoofed,
    /// Besides, there are more members and boxes than --link-members allows.
    Cramped,
    /// Besides, two boxes have the same name.
    Namesakes,
}

impl Kind {
    fn of(seed: u64) -> Kind {
        match seed % 8 {
            0 => Kind::Fair,
            5 => Kind::Spoofed,
            6 => Kind::Cramped,
            7 => Kind::Namesakes,
            _ => Kind::Hostile,
        }
    }
}

/// After each step, and once the bus has been good for two minutes, everything must add up:
///
/// - what a room shows of another box was said there, in that order, nothing twice;
/// - everything else is counted in MISSED, exactly and at its place;
/// - SPLIT and HEALED alternate, and WHO agrees with them; in the end it lists just the members that there
///   are;
/// - local members notice nothing: each line is answered in the same turn, and numbers have no gaps;
/// - nobody speaks under a name that is another's;
/// - of two boxes of one name, everybody follows one;
/// - buffers and tables stay within their bounds.
#[test]
fn whatever_the_bus_does_nothing_comes_twice_or_out_of_order_or_is_lost_uncounted() {
    let mut told = (0, 0, 0, 0);
    play_steps(STEPS, |seed, log| {
        let mut simulation = Simulation::new(seed);
        simulation.play(log);
        let ledgers = &simulation.boxes.ledgers;
        told.0 += ledgers.heard;
        told.1 += ledgers.missed;
        told.2 += ledgers.splits;
        told.3 += simulation.steps();
        simulation.steps()
    });
    println!(
        "{} steps: {} events heard, {} missed, {} splits",
        told.3, told.0, told.1, told.2
    );
}

/// A program that takes another's place is neither a SPLIT nor any other event, and changes nothing: every
/// client, and the broker, gets byte by byte what it gets without that.
#[test]
fn boxes_that_are_upgraded_again_and_again_say_the_same() {
    play_seeds(TWINS, |seed, log| {
        // Rooms that are made again may come in another order, so there are none.
        let mut plain = Simulation::with_rooms_kept(seed);
        plain.play(log);
        log.clear();
        let mut upgraded = Simulation::with_rooms_kept(seed);
        upgraded.upgrades = Some(Rng::with_seed(seed));
        upgraded.play(log);
        let (plain, upgraded) = (plain.taken(), upgraded.taken());
        assert_eq!(plain.len(), upgraded.len());
        for (number, (plain, upgraded)) in plain.iter().zip(&upgraded).enumerate() {
            let (plain, upgraded) = from_difference(plain, upgraded);
            assert!(
                plain == upgraded,
                "connection {number}:\n{plain}\ninstead:\n{upgraded}"
            );
        }
    });
}

/// A member that comes, talks and goes.
struct Guest {
    index: usize,
    room: &'static str,
    peer: Peer,
    is_push: bool,
}

struct Simulation {
    kind: Kind,
    rng: Rng,
    /// Decides when a box gets a new program; `None` for never.
    upgrades: Option<Rng>,
    boxes: Boxes,
    guests: Vec<Guest>,
    texts: u64,
    actions: u64,
    rooms: usize,
    are_rooms_kept: bool,
    /// What all connections of boxes that are gone have got.
    past: Vec<String>,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        Simulation::with(seed, false)
    }

    /// Without rooms that are freed.
    fn with_rooms_kept(seed: u64) -> Self {
        Simulation::with(seed, true)
    }

    fn with(seed: u64, are_rooms_kept: bool) -> Self {
        let kind = Kind::of(seed);
        let mut rng = Rng::with_seed(seed);
        let mut boxes = Boxes::with_seed(seed);
        boxes.turns_per_check = 256;
        boxes.ledgers.are_spoofed = matches!(kind, Kind::Spoofed | Kind::Namesakes);
        boxes.ledgers.are_in_time = kind == Kind::Fair;
        boxes.ledgers.are_cramped = kind == Kind::Cramped;
        if rng.u8(..3) == 0 {
            boxes.piece_bytes = rng.usize(5..100);
        }
        let rooms = rng.usize(1..=ROOMS.len());
        let count = match rng.u8(..4) {
            0 => rng.usize(2..=NAMES.len()),
            _ => rng.usize(2..4),
        };
        let mut simulation = Simulation {
            kind,
            rng,
            upgrades: None,
            boxes,
            guests: Vec::new(),
            texts: 0,
            actions: 0,
            rooms,
            are_rooms_kept,
            past: Vec::new(),
        };
        for name in &NAMES[..count] {
            simulation.start(name);
        }
        if kind == Kind::Namesakes {
            simulation.start(NAMES[0]);
        }
        simulation
    }

    fn start(&mut self, name: &'static str) {
        let rng = &mut self.rng;
        let mut rooms: Vec<_> = ROOMS[..self.rooms].to_vec();
        if rng.bool() {
            rooms.retain(|_| rng.bool());
        }
        if rooms.is_empty() {
            rooms.push(ROOMS[0]);
        }
        if rng.u8(..4) == 0 {
            rooms = vec!["*"];
        }
        let mut setup = Setup::new(name, &rooms);
        setup.limits = Limits {
            log_bytes: [4096, 16 * 1024, 64 * 1024][rng.usize(..3)],
            keep_rooms_s: [0, 20, 24 * 3600][rng.usize(..3)],
            message_bytes_max: if rng.u8(..4) == 0 { 300 } else { 1024 },
            idle_s: 30,
            ..limits()
        };
        if self.are_rooms_kept {
            setup.limits.keep_rooms_s = 24 * 3600;
        }
        setup.hold_s = [10, 60, 3600][rng.usize(..3)];
        if self.kind == Kind::Cramped {
            setup.members_max = rng.usize(1..6);
        }
        let index = self.boxes.start(setup);
        for room in &ROOMS[..self.rooms] {
            if self.boxes.boxes[index].links(room) {
                self.boxes.listen_in(index, room);
            }
        }
    }

    fn steps(&self) -> u64 {
        self.actions + self.boxes.turns
    }

    /// All that each connection has ever got, without the secrets, which are never the same.
    fn taken(&self) -> Vec<String> {
        let worlds = self.boxes.boxes.iter().map(|linked| &linked.world);
        let now = worlds.flat_map(|world| world.wires.iter());
        let now = now.map(|wire| without_secrets(&wire.borrow().taken));
        self.past.iter().cloned().chain(now).collect()
    }

    fn play(&mut self, log: &mut Vec<String>) {
        log.push(format!("{:?}", self.kind));
        for _ in 0..ACTIONS {
            self.actions += 1;
            let action = self.act();
            log.push(format!("{}: {action}", self.boxes.at));
            self.boxes.run();
            self.upgrade_sometimes();
        }
        log.push(format!("{}: peace", self.boxes.at));
        self.make_peace();
        self.boxes.advance(120_000);
        let splits = self.boxes.ledgers.splits;
        log.push(format!("{}: everybody says something", self.boxes.at));
        for index in 0..self.boxes.boxes.len() {
            for room in &ROOMS[..self.rooms] {
                if self.boxes.boxes[index].links(room) {
                    let guest = self.welcome(index, room, true);
                    self.say(guest);
                }
            }
        }
        self.boxes.advance(15_000);
        self.upgrade_sometimes();
        log.push(format!("{}: the end", self.boxes.at));
        for index in 0..self.boxes.boxes.len() {
            let now = self.boxes.tell_time(index);
            self.boxes.boxes[index].world.hub.assert_consistent(now);
        }
        if self.kind != Kind::Cramped {
            self.boxes.check_all_heard();
            assert_eq!(self.boxes.ledgers.splits, splits);
        }
        if self.kind == Kind::Fair {
            assert_eq!(self.boxes.ledgers.splits, 0);
        }
    }

    fn upgrade_sometimes(&mut self) {
        for index in 0..self.boxes.boxes.len() {
            let Some(rng) = &mut self.upgrades else {
                return;
            };
            if rng.u8(..16) == 0 && self.boxes.boxes[index].is_running() {
                self.boxes.upgrade(index);
            }
        }
    }

    /// Lets nothing go wrong any more.
    fn make_peace(&mut self) {
        self.boxes.broker.faults = Faults::default();
        self.boxes.broker.connack = 0;
        self.boxes.broker.is_mute = false;
        self.boxes.broker.unblock();
        for index in 0..self.boxes.boxes.len() {
            self.boxes.boxes[index].is_cut_off = false;
            self.boxes.boxes[index].thaw_at(self.boxes.at);
            self.boxes.thaw();
            self.go_on(index);
            self.boxes.set_space(index, usize::MAX);
        }
    }

    /// Starts a box that has ended, and lets ears hear everything.
    fn go_on(&mut self, index: usize) {
        if self.boxes.boxes[index].has_ended() {
            let world = &self.boxes.boxes[index].world;
            let taken = world.wires.iter();
            let taken: Vec<_> = taken.map(|w| without_secrets(&w.borrow().taken)).collect();
            if !self.boxes.start_again(index) {
                self.past.extend(taken);
            }
        }
        for room in &ROOMS[..self.rooms] {
            let linked = &self.boxes.boxes[index];
            let ear = linked.ears.iter().find(|ear| ear.room == *room);
            if linked.links(room) && ear.is_none_or(|ear| ear.is_away) {
                self.boxes.listen_in(index, room);
            }
        }
    }

    fn some_box(&mut self) -> usize {
        self.rng.usize(..self.boxes.boxes.len())
    }

    /// A box that runs, most of the time.
    fn running_box(&mut self) -> Option<usize> {
        let index = self.some_box();
        self.boxes.boxes[index].is_running().then_some(index)
    }

    fn act(&mut self) -> String {
        let is_fair = self.kind == Kind::Fair;
        match self.rng.u8(..100) {
            0..30 => {
                let ms = self.rng.u64(1..50);
                self.boxes.advance(ms);
                format!("+{ms} ms")
            }
            30..45 => {
                let ms = self.rng.u64(50..3000);
                self.boxes.advance(ms);
                format!("+{ms} ms")
            }
            45..48 => {
                let ms = self.rng.u64(3000..30_000);
                self.boxes.advance(ms);
                format!("+{ms} ms")
            }
            48..72 => self.talk(),
            72..80 => self.come(),
            80..84 => self.leave(),
            84..87 => match self.running_box() {
                Some(index) => {
                    let ears = self.boxes.boxes[index].ears.iter();
                    let rooms: Vec<_> = ears.filter(|e| !e.is_away).map(|e| e.room).collect();
                    for room in rooms {
                        self.boxes.check_who(index, room);
                    }
                    format!("WHO at {}", self.name(index))
                }
                None => "nobody".into(),
            },
            87..89 => self.leave_alone(),
            89 if self.rng.u8(..4) == 0 => self.change_box(),
            90 if !is_fair => self.burst(),
            91..95 if !is_fair => self.change_bus(),
            95..100 if !is_fair => self.forge(),
            _ => {
                let ms = self.rng.u64(1..10);
                self.boxes.advance(ms);
                format!("+{ms} ms")
            }
        }
    }

    fn name(&self, index: usize) -> String {
        format!("{} ({index})", self.boxes.boxes[index].name())
    }

    fn some_room(&mut self, index: usize) -> Option<&'static str> {
        let ears = self.boxes.boxes[index].ears.iter();
        let rooms: Vec<_> = ears.filter(|e| !e.is_away).map(|e| e.room).collect();
        self.rng.choice(rooms)
    }

    fn come(&mut self) -> String {
        let Some(index) = self.running_box() else {
            return "nobody".into();
        };
        let Some(room) = self
            .some_room(index)
            .filter(|_| self.guests.len() < GUESTS_MAX)
        else {
            return "nobody".into();
        };
        let guest = self.welcome(index, room, false);
        let mode = if self.guests[guest].is_push {
            "push"
        } else {
            "pull"
        };
        format!("a {mode} guest in {room} of {}", self.name(index))
    }

    /// Lets a guest join, and returns its index.
    fn welcome(&mut self, index: usize, room: &'static str, stays: bool) -> usize {
        let name = self.boxes.new_name(index, room);
        let peer = self.boxes.connect(index);
        let is_push = stays || self.rng.u8(..3) > 0;
        let mode = if is_push { "push" } else { "pull" };
        let alive = match stays || self.rng.bool() {
            true => "alive=tcp idle=3600".into(),
            false => format!("idle={}", self.rng.u32(3..60)),
        };
        let quiet = if !stays && self.rng.u8(..8) == 0 {
            " quiet=yes"
        } else {
            ""
        };
        let join = format!("JOIN {name} room={room} mode={mode} {alive}{quiet}");
        let said = self.boxes.ask(index, &peer, &join);
        assert!(said[1].starts_with("OK JOIN "), "{said:?}");
        self.guests.push(Guest {
            index,
            room,
            peer,
            is_push,
        });
        self.guests.len() - 1
    }

    fn some_guest(&mut self) -> Option<usize> {
        let is_there = |guest: &Guest| {
            let linked = &self.boxes.boxes[guest.index];
            !guest.peer.wire.borrow().is_closed && !linked.has_ended()
        };
        self.guests.retain(is_there);
        let guest = self.rng.usize(..self.guests.len().max(1));
        let known = self.guests.get(guest)?;
        self.boxes.boxes[known.index].is_running().then_some(guest)
    }

    fn talk(&mut self) -> String {
        let Some(guest) = self.some_guest() else {
            return "nobody".into();
        };
        let Guest {
            index, ref peer, ..
        } = self.guests[guest];
        if !self.guests[guest].is_push && self.rng.bool() {
            let polled = self.boxes.ask(index, &peer.clone(), "POLL max=1000");
            let is_right = polled.iter().any(|line| line.starts_with("OK POLL "));
            assert!(is_right, "{polled:?}");
            return "POLL".into();
        }
        for _ in 0..self.rng.usize(1..4) {
            self.say(guest);
        }
        let room = self.guests[guest].room;
        format!("somebody speaks in {room} of {}", self.name(index))
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        let padding = match self.rng.u8(..10) {
            0 => self.rng.usize(..900),
            _ => self.rng.usize(..40),
        };
        format!("t{} {}", self.texts, "x".repeat(padding))
    }

    /// A guest says something, and gets its number at once.
    fn say(&mut self, guest: usize) {
        let text = self.text();
        let Guest {
            index,
            room,
            ref peer,
            ..
        } = self.guests[guest];
        let most = self.boxes.boxes[index].setup.limits.message_bytes_max;
        let text = &text[..text.len().min(most)];
        let said = self.boxes.ask(index, &peer.clone(), &format!("SAY {text}"));
        let reply = said.iter().find_map(|line| line.strip_prefix("OK SAY "));
        let reply = reply.unwrap_or_else(|| panic!("no number at once: {said:?}"));
        let seq: u64 = reply.split(' ').next().unwrap().parse().unwrap();
        let ledger = self.boxes.ear(index, room).ledger;
        let mut entries = self.boxes.ledgers.list[ledger].entries.iter().rev();
        let entry = entries.find(|entry| entry.seq == seq);
        assert!(entry.is_some_and(|entry| entry.says(text)), "{reply}");
    }

    /// A guest says more than some logs hold.
    fn burst(&mut self) -> String {
        let Some(guest) = self.some_guest() else {
            return "nobody".into();
        };
        let lines = self.rng.usize(20..150);
        let mut says = String::new();
        for _ in 0..lines {
            self.texts += 1;
            says += &format!("SAY t{}\n", self.texts);
        }
        let Guest {
            index, ref peer, ..
        } = self.guests[guest];
        let peer = peer.clone();
        self.boxes.send(index, &peer, &says);
        peer.wire.borrow_mut().output.clear();
        format!("{lines} lines at {}", self.name(index))
    }

    fn leave(&mut self) -> String {
        let Some(guest) = self.some_guest() else {
            return "nobody".into();
        };
        let Guest {
            index, room, peer, ..
        } = self.guests.swap_remove(guest);
        let how = ["LEAVE", "QUIT", "is gone"][self.rng.usize(..3)];
        if how == "is gone" {
            self.boxes.tell_time(index);
            self.boxes.boxes[index].world.reset(&peer);
            self.boxes.settle(index);
        } else {
            self.boxes.ask(index, &peer, how);
        }
        format!("{how} in {room} of {}", self.name(index))
    }

    /// An ear leaves a room in which there is nobody else, or comes back.
    fn leave_alone(&mut self) -> String {
        let Some(index) = self.running_box() else {
            return "nobody".into();
        };
        let room = ROOMS[self.rng.usize(..self.rooms)];
        let linked = &self.boxes.boxes[index];
        let ear = linked.ears.iter().find(|ear| ear.room == room);
        // Nothing that it misses is dropped from the log.
        let may_leave = linked.setup.limits.log_bytes > 16 * 1024;
        let Some(ear) = ear.filter(|_| may_leave) else {
            return "nobody".into();
        };
        if ear.is_away {
            self.boxes.listen_in(index, room);
            return format!("the ear is back in {room} of {}", self.name(index));
        }
        if self
            .boxes
            .who(index, room)
            .iter()
            .filter(|line| !line.contains('@'))
            .count()
            > 1
        {
            return "others are there".into();
        }
        self.boxes.ask_ear(index, room, "QUIT");
        // The room may be freed now.
        let ledger = self.boxes.ear(index, room).ledger;
        self.boxes.ledgers.list[ledger].is_over = true;
        let ears = &mut self.boxes.boxes[index].ears;
        ears.iter_mut()
            .find(|ear| ear.room == room)
            .unwrap()
            .is_away = true;
        format!("nobody in {room} of {}", self.name(index))
    }

    fn change_box(&mut self) -> String {
        let index = self.some_box();
        let name = self.name(index);
        let is_fair = self.kind == Kind::Fair;
        let at = self.boxes.at;
        if self.boxes.boxes[index].has_ended() {
            self.go_on(index);
            return format!("{name} starts again");
        }
        if !self.boxes.boxes[index].is_running() {
            return "nobody".into();
        }
        match self.rng.u8(..8) {
            0 | 1 if !is_fair => {
                let ms = self.rng.u64(1..60_000);
                self.boxes.boxes[index].freeze_until(at + ms);
                format!("{name} stops for {ms} ms")
            }
            2 | 3 => {
                self.boxes.stop(index, true);
                if is_fair {
                    self.go_on(index);
                }
                format!("{name} ends, and keeps its state")
            }
            4 if !is_fair => {
                self.boxes.stop(index, false);
                format!("{name} ends")
            }
            5 if !is_fair => {
                self.boxes.crash(index);
                format!("{name} crashes")
            }
            6 => {
                self.boxes.save(index);
                format!("{name} saves")
            }
            _ => {
                if self.upgrades.is_none() {
                    self.boxes.upgrade(index);
                }
                format!("{name} is upgraded")
            }
        }
    }

    fn change_bus(&mut self) -> String {
        let index = self.some_box();
        let name = self.name(index);
        let count = self.boxes.boxes.len();
        match self.rng.u8(..16) {
            0..3 => {
                let rng = &mut self.rng;
                let mut some = |most: u8| match rng.u8(..3) {
                    0 => 0,
                    1 => rng.u8(..=most / 8),
                    _ => rng.u8(..=most),
                };
                let faults = Faults {
                    drop: some(80),
                    double: some(80),
                    delay: some(60),
                    repeat: some(20),
                    latency_ms: some(200).into(),
                    delay_ms: 4000,
                    repeat_ms: 20_000,
                };
                self.boxes.broker.faults = faults;
                format!("{faults:?}")
            }
            3 | 4 => {
                self.boxes.broker.faults = Faults::default();
                "no faults".into()
            }
            5 => {
                let has_wills = self.rng.bool();
                self.boxes.broker.restart(has_wills);
                format!("the broker starts again, with wills {has_wills}")
            }
            6 => {
                let is_cut_off = self.rng.u8(..3) == 0;
                for linked in &mut self.boxes.boxes {
                    linked.is_cut_off = is_cut_off;
                }
                if is_cut_off {
                    self.boxes.broker.restart(false);
                }
                format!("the broker is away: {is_cut_off}")
            }
            7 => {
                let linked = &mut self.boxes.boxes[index];
                linked.is_cut_off = !linked.is_cut_off;
                format!("{name} cannot reach the broker: {}", linked.is_cut_off)
            }
            8 => {
                self.boxes.cut(index);
                format!("the connection of {name} breaks")
            }
            9 => {
                let space = match self.boxes.boxes[index].space {
                    usize::MAX => [0, self.rng.usize(..4000)][self.rng.usize(..2)],
                    _ => usize::MAX,
                };
                self.boxes.set_space(index, space);
                format!("{name} can write {space} bytes")
            }
            10 => {
                let is_mute = self.rng.u8(..3) == 0;
                self.boxes.broker.is_mute = is_mute;
                format!("the broker is mute: {is_mute}")
            }
            11 => {
                self.boxes.broker.connack = [0, 0, 3][self.rng.usize(..3)];
                format!("CONNACK {}", self.boxes.broker.connack)
            }
            12 => {
                let (from, to) = (index, self.some_box());
                self.boxes.broker.block(from, to);
                format!("nothing from {name} to {}", self.name(to))
            }
            13 => {
                let islands: Vec<_> = (0..count).map(|_| self.rng.bool()).collect();
                for from in 0..count {
                    for to in 0..count {
                        if islands[from] != islands[to] {
                            self.boxes.broker.block(from, to);
                        }
                    }
                }
                format!("two halves: {islands:?}")
            }
            _ => {
                self.boxes.broker.unblock();
                "all are joined".into()
            }
        }
    }

    /// Somebody publishes what no box would.
    fn forge(&mut self) -> String {
        let index = self.some_box();
        let room = ROOMS[self.rng.usize(..self.rooms)];
        let linked: &LinkedBox = &self.boxes.boxes[index];
        let (name, boot) = (linked.name(), linked.boot);
        // Where it is, as everybody knows who has met it. Whoever meets it only by what is forged would
        // wait for a box that does not exist.
        let log = self.boxes.log_known_to_all(index, room);
        let huge = u64::MAX - self.rng.u64(..3);
        let rng = &mut self.rng;
        let other = format!("{:016x}", rng.u64(..3));
        let number = match rng.u8(..4) {
            0 => huge,
            _ => rng.u64(1..20),
        };
        let zed = [FORGED[0], FORGED[1], name][rng.usize(..3)];
        let events = |name: &str| format!("chinwag/{name}/e/{room}");
        let digests = |name: &str| format!("chinwag/{name}/d/{room}");
        let about = |name: &str, what: &str| format!("chinwag/{name}/{what}");
        let hash = format!("{:016x}", rng.u64(..));
        let what = rng.u8(..28);
        let Some(log) = log.or_else(|| (!matches!(what, 5..14 | 19..22)).then(String::new)) else {
            return "nobody".into();
        };
        let (topic, payload) = match what {
            0..4 => (events(zed), format!("SAY {SCRIPT} {SCRIPT} says {number}")),
            4 => (
                events(zed),
                format!("MSG {other}/1/{number} {UNIX_MS} {FORGER} hi"),
            ),
            5 => (
                events(name),
                format!("MSG {log}/{huge} {UNIX_MS} {FORGER} hi"),
            ),
            6 => (
                events(name),
                format!("JOINED {log}/{huge} {UNIX_MS} {FORGER} push"),
            ),
            7 => (
                events(name),
                format!("MSG {boot}/{huge}/1 {UNIX_MS} {FORGER} hi"),
            ),
            8 => (digests(name), format!("DIGEST {log}/{huge} 1 0 {hash} 10")),
            9 => (
                digests(name),
                format!("DIGEST {log}/{huge} {huge} {huge} {hash} 10"),
            ),
            10 => (
                digests(name),
                format!("DIGEST {boot}/{huge}/1 1 0 {hash} 10"),
            ),
            11 => (digests(name), format!("FREED {log}/{huge}")),
            12 => (digests(name), format!("FREED {boot}/{huge}/1")),
            13 => (
                digests(name),
                format!("MEMBERS {log}/{huge} {hash} 1 1 {FORGER}"),
            ),
            14 => {
                let name = match self.kind {
                    Kind::Spoofed => zed,
                    _ => FORGED[0],
                };
                let digest = format!("DIGEST {other}/1/{number} 1 {} {hash} 5", rng.u8(..3));
                (digests(name), digest)
            }
            15 => (about(name, "gone"), format!("GONE {boot}")),
            16 => (about(name, "gone"), format!("GONE {other}")),
            17 => (about(name, "w"), format!("CLAIM {other}")),
            18 => (about(name, "here"), format!("HERE {other}")),
            19 => (about(name, "w"), format!("WANT {room} {log}/1 {huge}")),
            20 => (
                about(name, "w"),
                format!("WANT {room} {log}/{} {huge}", huge - 1),
            ),
            21 => (about(name, "w"), format!("LIST {room} {log}")),
            22 => (events(zed), format!("SAY {SCRIPT} {}", "x".repeat(100_000))),
            23 => (
                events(zed),
                format!("SAY {SCRIPT} a\u{202e}b\r\nMSG 1 2 ann hi"),
            ),
            24 => (events(zed), format!("SAY ann@attic {SCRIPT}")),
            25 => (format!("chinwag/{name}/x/{room}"), "MSG".into()),
            26 => {
                let client = self.boxes.boxes[index].client();
                let spoilt = [&b"\xf0\0"[..], b"\x30\x04\0\x02\xc3\x28", b"\0"];
                let spoilt = spoilt[rng.usize(..3)];
                if let Some(client) = client {
                    self.boxes.broker.spoil(client, spoilt);
                }
                return format!("{name} reads {spoilt:?}");
            }
            _ => {
                let bytes: String = (0..rng.usize(..40)).map(|_| rng.char(..)).collect();
                (events(zed), bytes)
            }
        };
        self.boxes
            .broker
            .publish(ELSEWHERE, &topic, payload.as_bytes());
        format!("{topic} {payload:.100}")
    }
}

/// Some lines of two texts from shortly before their first difference on.
fn from_difference(one: &str, other: &str) -> (String, String) {
    let from = one.lines().zip(other.lines()).position(|(a, b)| a != b);
    let from = from.unwrap_or(one.lines().count().min(other.lines().count()));
    let rest = |text: &str| {
        let lines = text.lines().skip(from.saturating_sub(2)).take(6);
        lines.collect::<Vec<_>>().join("\n")
    };
    (rest(one), rest(other))
}

/// What a connection has got, without what is random.
fn without_secrets(taken: &[u8]) -> String {
    let text = String::from_utf8_lossy(taken);
    let words = text
        .split(' ')
        .map(|word| match word.split_once("session=") {
            Some((before, token)) => {
                let rest = token.trim_matches(|c: char| c.is_ascii_hexdigit());
                format!("{before}session={rest}")
            }
            None => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}
