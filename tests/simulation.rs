//! Random clients against the whole core: they join, talk, poll, stall, vanish and come back,
//! time jumps, the server stops for a while. After each step everything must add up: every line has
//! one reply, in order and in one piece (G1, G2); events come once, in order, and what is missing
//! was counted (G9, G11, G12); a sender's number is what others see (G10); `said=` is right (G7).
//!
//! A failure names its seed; `CHINWAG_SEED=<seed> cargo test --test simulation` plays it again.

mod support;

use std::collections::{HashMap, HashSet, VecDeque};

use chinwag::protocol::Limits;
use fastrand::Rng;
use support::world::{Peer, World};

const SEEDS: u64 = 150;
const STEPS: usize = 600;
const PEERS_MAX: usize = 12;

#[test]
fn nothing_is_lost_doubled_leaked_or_late_whatever_clients_do() {
    let seeds = match std::env::var("CHINWAG_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    for seed in seeds {
        let mut log = Vec::new();
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Simulation::new(seed).play(&mut log);
        }));
        if played.is_err() {
            let tail = &log[log.len().saturating_sub(30)..];
            panic!("seed {seed} failed; its last steps:\n{}", tail.join("\n"));
        }
    }
}

/// What the test knows of a session, by what the server said.
#[derive(Debug)]
struct Member {
    token: String,
    is_push: bool,
    /// The number that has to come next.
    next: u64,
    /// How many of its messages got an OK.
    said: u64,
    /// Messages it was given.
    heard: HashSet<String>,
    is_over: bool,
    /// The line before was a LOST.
    was_lost: bool,
    /// Something may be missing: its last connection broke.
    is_torn: bool,
}

/// What the test knows of a connection.
struct Talker {
    peer: Peer,
    /// What was received of an unfinished line.
    partial: Vec<u8>,
    greeted: bool,
    /// Verbs that have to be answered, in order.
    asked: VecDeque<&'static str>,
    /// Body lines that are still to come, and whether they are events.
    body: (u64, bool),
    /// The session it holds, once a reply said so.
    member: Option<usize>,
    /// The session that it asked to resume, for the replies to come, and from where.
    resuming: VecDeque<(usize, Option<u64>)>,
    histories: VecDeque<u64>,
    polls_after: VecDeque<Option<u64>>,
    says: VecDeque<String>,
    ended: bool,
    said_bye: bool,
}

struct Simulation {
    rng: Rng,
    world: World,
    talkers: Vec<Talker>,
    members: Vec<Member>,
    /// The number that each message got.
    numbers: HashMap<String, u64>,
    messages: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits {
            idle: rng.u32(1..30),
            idle_max: 40,
            handshake: rng.u32(1..20),
            log_bytes: if rng.bool() { 4096 } else { 64 * 1024 },
            ..Limits::default()
        };
        Simulation {
            rng,
            world: World::new(limits),
            talkers: Vec::new(),
            members: Vec::new(),
            numbers: HashMap::new(),
            messages: 0,
        }
    }

    fn play(&mut self, log: &mut Vec<String>) {
        for _ in 0..STEPS {
            let step = self.step();
            log.push(format!("{}: {step}", self.world.at));
            self.listen();
            let now = self.world.now();
            self.world.run();
            self.world.hub.assert_consistent(now);
        }
        // Everybody goes, and nothing stays.
        for talker in &self.talkers {
            self.world.reset(&talker.peer);
        }
        self.world.advance(41_000);
        assert!(self.world.hub.is_empty());
        assert_eq!(self.world.hub.chat().sessions(), 0);
        self.world.hub.assert_consistent(self.world.now());
        assert_eq!(self.world.hub.next_deadline(), None);
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
                format!("stopped for {ms}ms")
            }
            8..12 => {
                let room = match self.rng.u8(0..4) {
                    0 => 0,
                    1 => self.rng.usize(1..200),
                    _ => usize::MAX,
                };
                let at = self.someone();
                let peer = self.talkers[at].peer.clone();
                self.world.set_room(&peer, room);
                format!("{} takes {room} bytes", peer.conn)
            }
            12..14 => {
                let at = self.someone();
                let talker = self.talkers.remove(at);
                if let Some(member) = talker.member {
                    self.members[member].is_torn = true;
                }
                for (member, _) in talker.resuming {
                    self.members[member].is_torn = true;
                }
                self.world.reset(&talker.peer);
                format!("{} is gone", talker.peer.conn)
            }
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

    fn someone(&mut self) -> usize {
        self.rng.usize(..self.talkers.len())
    }

    fn connect(&mut self) -> String {
        let peer = self.world.connect();
        let said = format!("{} connects", peer.conn);
        self.talkers.push(Talker {
            peer,
            partial: Vec::new(),
            greeted: false,
            asked: VecDeque::new(),
            body: (0, false),
            member: None,
            resuming: VecDeque::new(),
            histories: VecDeque::new(),
            polls_after: VecDeque::new(),
            says: VecDeque::new(),
            ended: false,
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
        let peer = self.talkers[at].peer.clone();
        let bytes = text.as_bytes();
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
        let name = format!("n{}", self.rng.u8(0..6));
        let room = format!("r{}", self.rng.u8(0..3));
        match self.rng.u8(0..40) {
            0..6 => {
                let mode = ["push", "pull"][self.rng.usize(..2)];
                let alive = ["ping", "tcp"][self.rng.usize(..2)];
                let history = self.rng.u64(0..4);
                let idle = self.rng.u32(1..50);
                self.talkers[at].histories.push_back(history);
                let options = format!("mode={mode} alive={alive} idle={idle} history={history}");
                ("JOIN", format!("JOIN {name} room={room} {options}"))
            }
            6..10 if !self.members.is_empty() => {
                let member = self.rng.usize(..self.members.len());
                let seen = self.members[member].next.saturating_sub(1);
                let after = self.rng.bool().then_some(seen);
                self.talkers[at].resuming.push_back((member, after));
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
            36 => ("STATS", "STATS".into()),
            37 => ("", String::new()),
            38 => ("nonsense", "nonsense \u{1b}".into()),
            _ if self.rng.u8(0..4) == 0 => ("QUIT", "QUIT".into()),
            _ => ("HELP", "HELP".into()),
        }
    }

    /// Takes in all that the server has sent.
    fn listen(&mut self) {
        for at in 0..self.talkers.len() {
            let talker = &mut self.talkers[at];
            let output = std::mem::take(&mut talker.peer.wire.borrow_mut().output);
            talker.partial.extend(output);
            while let Some(end) = self.talkers[at].partial.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.talkers[at].partial.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                self.hear(at, line.strip_suffix("\r\n").unwrap());
            }
        }
        self.talkers.retain(|talker| {
            let is_closed = talker.peer.wire.borrow().is_closed;
            if is_closed {
                if let Some(member) = talker.member {
                    // It may have been closed with things on their way.
                    self.members[member].is_torn = true;
                }
            }
            !is_closed
        });
    }

    fn hear(&mut self, at: usize, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(!self.talkers[at].said_bye, "behind BYE came {line}");
        if !self.talkers[at].greeted {
            assert_eq!(line, "HELLO chinwag/0.1.0 protocol=1");
            self.talkers[at].greeted = true;
            return;
        }
        if self.talkers[at].body.0 > 0 {
            self.talkers[at].body.0 -= 1;
            if self.talkers[at].body.1 {
                self.event(at, &words);
            }
            return;
        }
        match words[0] {
            "OK" => self.reply(at, line, &words),
            "ERR" => self.refusal(at),
            "MSG" | "JOINED" | "LEFT" | "LOST" => {
                let member = self.talkers[at].member.expect("an event for no session");
                assert!(
                    self.members[member].is_push,
                    "pushed to a pull session: {line}"
                );
                self.event(at, &words);
            }
            "EXPIRING" => assert!(self.talkers[at].member.is_some()),
            "BYE" => {
                self.talkers[at].said_bye = true;
                if matches!(words[1], "expired" | "slow") {
                    if let Some(member) = self.talkers[at].member {
                        self.members[member].is_over = true;
                    }
                }
            }
            _ => panic!("what is {line}?"),
        }
    }

    fn refusal(&mut self, at: usize) {
        let talker = &mut self.talkers[at];
        match talker
            .asked
            .pop_front()
            .expect("an ERR that nobody asked for")
        {
            "JOIN" => _ = talker.histories.pop_front(),
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
                let history = talker.histories.pop_front().unwrap();
                talker.member = Some(self.members.len());
                self.members.push(Member {
                    token: value("session=").into(),
                    is_push: value("mode=") == "push",
                    next: seq.saturating_sub(history).max(1),
                    said: 0,
                    heard: HashSet::new(),
                    is_over: false,
                    was_lost: false,
                    // The log may hold less history than was asked for.
                    is_torn: history > 0,
                });
            }
            "RESUME" => {
                assert_eq!(talker.member, None);
                let (index, after) = talker.resuming.pop_front().unwrap();
                talker.member = Some(index);
                let member = &mut self.members[index];
                assert!(!member.is_over, "resumed after its end: {line}");
                let said: u64 = value("said=").parse().unwrap();
                assert!(said >= member.said);
                member.said = said;
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
                member.said += 1;
                let text = talker.says.pop_front().unwrap();
                let seq = words[2].parse().unwrap();
                assert_eq!(*self.numbers.entry(text).or_insert(seq), seq);
            }
            "POLL" => {
                let member = &mut self.members[talker.member.unwrap()];
                if let Some(after) = talker.polls_after.pop_front().unwrap() {
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
                    self.members[member].is_over = true;
                }
            }
            "DETACH" => talker.member = None,
            "PING" => assert_eq!(line, "OK PING pong"),
            other => panic!("{other}"),
        }
    }

    /// An event has come: the one that had to come next, unless something was torn.
    fn event(&mut self, at: usize, words: &[&str]) {
        let member = &mut self.members[self.talkers[at].member.expect("no session")];
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
