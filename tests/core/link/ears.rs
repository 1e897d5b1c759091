//! What rooms show, held against what was really said.
//!
//! In each linked room of each box there is an *ear*: a quiet member that gets every event. What it hears of
//! its own box's members makes up a *ledger*, in which each event has its place. What it hears of other boxes
//! has to be in their ledgers: in order, nothing twice, and nothing left out that no MISSED counts.
//!
//! The name of a member says which ledger its events belong to: `g7x3` is the fourth member of ledger 7.

use std::collections::{BTreeMap, BTreeSet};

use chinwag::chat::event_log::EventLog;
use chinwag::protocol::Name;

use super::boxes::{Boxes, LinkedBox};
use crate::world::Peer;

/// The name of all ears.
pub const EAR: &str = "ear";
/// What names begin with under which scripts speak.
pub const SCRIPT: &str = "script";
/// The names of boxes that do not exist, and the name of a member that no box has.
pub const FORGED: [&str; 2] = ["zed", "zeta"];
pub const FORGER: &str = "mallory";

/// An event of a member of a box.
#[derive(Debug)]
pub struct Entry {
    /// The line without its number in the log.
    line: String,
    /// Its number in the log.
    pub seq: u64,
    /// How many events there were in all ledgers when it happened.
    stamp: u64,
    /// How many events, and bytes of them, the log had had before it.
    before: (usize, usize),
}

impl Entry {
    /// Whether it is this message.
    pub fn says(&self, text: &str) -> bool {
        self.line.starts_with("MSG ") && self.line.ends_with(text)
    }
}

/// What happened in one log of a room in one life of a box.
#[derive(Debug)]
pub struct Ledger {
    /// The box's name.
    pub name: &'static str,
    pub room: &'static str,
    /// The box's life, and its log of the room.
    pub boot: String,
    pub log: String,
    pub entries: Vec<Entry>,
    /// How many events, and bytes of them, the log has had, and how many bytes it holds.
    held: (usize, usize),
    log_bytes: usize,
    /// The log may not be there any more.
    pub is_over: bool,
    /// How many members it has had.
    members: usize,
}

impl Ledger {
    /// Whether the box cannot send an event any more.
    fn has_dropped(&self, index: usize) -> bool {
        let (events, bytes) = self.entries[index].before;
        self.is_over
            || self.held.0 - events > EventLog::events_max(self.log_bytes)
            || self.held.1 - bytes > self.log_bytes
    }

    /// How many of its events are older than a stamp.
    fn len_at(&self, stamp: u64) -> usize {
        self.entries.partition_point(|entry| entry.stamp < stamp)
    }
}

/// All ledgers, and which checks cannot be made.
#[derive(Debug, Default)]
pub struct Ledgers {
    pub list: Vec<Ledger>,
    stamp: u64,
    /// Somebody speaks under the name of a box in lives that it does not have, or there are two boxes of one
    /// name: another life of a box may come in between.
    pub are_spoofed: bool,
    /// Nothing is late, so the members of a box are those that have joined and not left.
    pub are_in_time: bool,
    /// There are more boxes than --link-members allows: some may be forgotten.
    pub are_cramped: bool,
    /// How many events of other boxes all ears have heard, and how many were missed.
    pub heard: u64,
    pub missed: u64,
    /// How many times a box with members was lost.
    pub splits: u64,
}

/// What an ear has heard of another box.
#[derive(Debug, Default)]
pub struct Heard {
    /// Whether the box is there: HEALED has come, and no SPLIT since.
    pub is_linked: bool,
    /// The ledger of its last event, and the index of the next one.
    pub ledger: Option<usize>,
    pub next: usize,
    /// How many events were missed since its last one.
    pub missed: u64,
    /// The stamp at the last HEALED.
    healed_at: u64,
    /// HEALED has come since the last event.
    may_change: bool,
    /// Members that have joined since, and those that have left.
    joined: BTreeSet<String>,
    left: BTreeSet<String>,
    /// How far it had other ledgers.
    before: BTreeMap<usize, usize>,
    /// The ear has lost events since, by staying away: some may have been of this box.
    is_torn: bool,
}

/// A member that hears everything in a room of a box.
#[derive(Debug)]
pub struct Ear {
    pub room: &'static str,
    pub peer: Peer,
    /// It has left, and nobody hears anything.
    pub is_away: bool,
    pub token: String,
    pub log: String,
    pub ledger: usize,
    pub next_seq: u64,
    pub heard: BTreeMap<String, Heard>,
    /// Replies and their bodies.
    pub replies: Vec<String>,
    partial: Vec<u8>,
    /// It has lost events by staying away.
    was_away: bool,
    /// Its box's name, and the longest message there.
    name: &'static str,
    message_bytes_max: usize,
}

impl Ear {
    /// Takes in what has come.
    pub fn listen(&mut self, ledgers: &mut Ledgers) {
        {
            let mut wire = self.peer.wire.borrow_mut();
            if wire.output.is_empty() {
                return;
            }
            self.partial.append(&mut wire.output);
        }
        let partial = std::mem::take(&mut self.partial);
        let mut text = std::str::from_utf8(&partial).unwrap();
        while let Some((line, rest)) = text.split_once("\r\n") {
            self.hear(line, ledgers);
            text = rest;
        }
        self.partial = text.as_bytes().to_vec();
    }

    /// Its connection is gone.
    pub fn hang_up(&mut self) {
        self.partial.clear();
        self.replies.clear();
        self.peer.wire.borrow_mut().output.clear();
    }

    fn hear(&mut self, line: &str, ledgers: &mut Ledgers) {
        let (kind, rest) = line.split_once(' ').unwrap();
        match kind {
            "MSG" | "JOINED" | "LEFT" | "SPLIT" | "HEALED" | "MISSED" => {}
            "HELLO" | "BYE" => return,
            "OK" | "ERR" | "MEMBER" => {
                self.replies.push(line.to_owned());
                return;
            }
            "LOST" if self.was_away => {
                self.next_seq = rest.split_once(' ').unwrap().1.parse().unwrap();
                self.heard
                    .values_mut()
                    .for_each(|heard| heard.is_torn = true);
                return;
            }
            _ => panic!("{} hears {line}", self.name),
        }
        let (seq, rest) = rest.split_once(' ').unwrap();
        let seq: u64 = seq.parse().unwrap();
        assert_eq!(seq, self.next_seq, "{} has a gap: {line}", self.name);
        self.next_seq += 1;
        let ledger = &mut ledgers.list[self.ledger];
        let before = ledger.held;
        ledger.held = (before.0 + 1, before.1 + line.len() + 2);
        let (unix_ms, rest) = rest.split_once(' ').unwrap();
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if matches!(kind, "SPLIT" | "HEALED" | "MISSED") {
            return self.hear_of_box(kind, name, rest.parse().unwrap(), ledgers);
        }
        match name.split_once('@') {
            None => {
                let (ledger, _) = member(name).unwrap_or_else(|| panic!("{line}"));
                assert_eq!(ledger, self.ledger, "no member of {}: {line}", self.name);
                ledgers.stamp += 1;
                ledgers.list[ledger].entries.push(Entry {
                    line: format!("{kind} {unix_ms} {name} {rest}"),
                    seq,
                    stamp: ledgers.stamp,
                    before,
                });
            }
            Some((name, at)) if name.starts_with(SCRIPT) => {
                assert_eq!(kind, "MSG");
                assert!(at != self.name && rest.starts_with(SCRIPT), "{line}");
            }
            Some((FORGER, at)) => {
                let may_be = FORGED.contains(&at) || ledgers.are_spoofed && at != self.name;
                assert!(may_be && self.heard[at].is_linked, "{line}");
            }
            Some((name, at)) => {
                assert_ne!(at, self.name, "{line}");
                let found = format!("{kind} {unix_ms} {name} {rest}");
                self.hear_event(at, name, &found, ledgers);
            }
        }
    }

    fn hear_of_box(&mut self, kind: &str, at: &str, count: u64, ledgers: &mut Ledgers) {
        assert_ne!(at, self.name);
        let line = format!("{kind} {at} {count} at {} in {}", self.name, self.room);
        if !self.heard.contains_key(at) {
            let heard = Heard {
                is_torn: self.was_away,
                ..Heard::default()
            };
            self.heard.insert(at.to_owned(), heard);
        }
        let heard = self.heard.get_mut(at).unwrap();
        assert!(
            heard.is_torn || heard.is_linked == (kind != "HEALED"),
            "{line}"
        );
        match kind {
            "MISSED" => {
                assert!(count > 0);
                let from = heard.next + heard.missed as usize;
                if let Some(ledger) = heard.ledger.map(|ledger| &ledgers.list[ledger]) {
                    // Those of a later log have no place yet.
                    let to = ledger.entries.len().min(from + count as usize);
                    let could_come = |index: &usize| {
                        let line = &ledger.entries[*index].line;
                        !ledger.has_dropped(*index) && line.len() < self.message_bytes_max
                    };
                    let first = (from.min(to)..to).find(could_come);
                    let is_right = heard.is_torn || first.is_none() || ledgers.are_spoofed;
                    assert!(is_right, "{first:?} of {from}..{to} could come: {line}");
                }
                heard.missed += count;
                ledgers.missed += count;
            }
            "SPLIT" => {
                heard.is_linked = false;
                heard.is_torn &= heard.ledger.is_some();
                // A box that has had no room for long is split without members.
                ledgers.splits += u64::from(count > 0);
            }
            _ => {
                // Only those that have been heard again are in order again.
                heard.is_torn &= heard.ledger.is_some();
                heard.is_linked = true;
                (heard.healed_at, heard.may_change) = (ledgers.stamp + 1, true);
                heard.joined.clear();
            }
        }
    }

    /// An event of another box has come. It has to be the one that had to come next.
    fn hear_event(&mut self, at: &str, name: &str, line: &str, ledgers: &mut Ledgers) {
        let place = format!("{line:.90} of {at} at {} in {}", self.name, self.room);
        let (found, _) = member(name).unwrap_or_else(|| panic!("{place}"));
        let ledger = &ledgers.list[found];
        assert_eq!((ledger.name, ledger.room), (at, self.room), "{place}");
        let was_away = self.was_away;
        let heard = match self.heard.get_mut(at) {
            None if was_away => self.heard.entry(at.to_owned()).or_default(),
            heard => heard.unwrap_or_else(|| panic!("unheard of: {place}")),
        };
        heard.is_torn |= heard.ledger.is_none() && was_away;
        assert!(
            heard.is_linked || heard.is_torn,
            "it is not linked: {place}"
        );
        let next = heard.next + heard.missed as usize;
        let is_next = |at: usize| ledger.entries.get(at).is_some_and(|e| e.line == line);
        let index = match heard.ledger == Some(found) && is_next(next) {
            true => next,
            false => {
                let index = ledger.entries.iter().rposition(|e| e.line == line);
                index.unwrap_or_else(|| panic!("never said: {place}"))
            }
        };
        if std::mem::take(&mut heard.is_torn) {
            assert!(
                heard.ledger != Some(found) || index >= heard.next,
                "{place}"
            );
            (heard.ledger, heard.is_linked) = (Some(found), true);
        } else if heard.ledger == Some(found) && index != next {
            // It may have been forgotten and met again.
            let is_new = ledgers.are_spoofed || ledgers.are_cramped;
            let is_right = is_new && heard.may_change && index >= heard.next;
            assert!(
                is_right,
                "{index} instead of {next} ({} missed): {place}",
                heard.missed
            );
        } else if heard.ledger != Some(found) {
            let missed = heard.missed as usize;
            let old = heard.ledger.map(|old| (old, &ledgers.list[old]));
            // What was missed may be of the former ledger.
            let left = old.map_or(0, |(_, old)| old.entries.len() - heard.next);
            if let Some((old, _)) = old.filter(|(_, old)| old.boot == ledger.boot) {
                assert!(found > old, "an older log comes back: {place}");
                // Numbers go on, unless the box was forgotten in between.
                let is_new = ledgers.are_spoofed && heard.may_change || ledgers.are_cramped;
                let is_right = missed == index + left || is_new;
                assert!(is_right, "{index} with {missed} missed: {place}");
            } else {
                assert!(heard.may_change, "another life without HEALED: {place}");
                let healed = ledger.len_at(heard.healed_at);
                assert!(
                    index <= healed + missed,
                    "{index} with {missed} missed since {healed}: {place}"
                );
                let has_gone_back = old.is_some_and(|(old, _)| found < old);
                assert!(!has_gone_back || ledgers.are_spoofed, "{place}");
            }
            let before = heard.before.get(&found).copied().unwrap_or(0);
            assert!(index >= before, "once more: {place}");
            if let Some((old, _)) = old {
                heard.before.insert(old, heard.next);
            }
            heard.ledger = Some(found);
        }
        if line.starts_with("JOINED ") {
            heard.joined.insert(name.to_owned());
        } else if line.starts_with("LEFT ") {
            heard.joined.remove(name);
            heard.left.insert(name.to_owned());
        }
        heard.next = index + 1;
        heard.missed = 0;
        heard.may_change = false;
        ledgers.heard += 1;
    }
}

/// Reads the name of a member: its ledger, and its number there.
fn member(name: &str) -> Option<(usize, usize)> {
    let (ledger, number) = name.strip_prefix('g')?.split_once('x')?;
    Some((ledger.parse().ok()?, number.parse().ok()?))
}

/// The value that a line has for a key.
pub fn value<'a>(line: &'a str, key: &str) -> &'a str {
    let word = line.split(' ').find_map(|word| word.strip_prefix(key));
    word.unwrap_or_else(|| panic!("no {key} in {line}"))
}

impl Boxes {
    /// Lets an ear hear what happens in a room of a box.
    pub fn listen_in(&mut self, index: usize, room: &'static str) {
        let known = self.boxes[index].ears.iter().position(|e| e.room == room);
        let since = known.map_or(String::new(), |at| {
            let ear = &self.boxes[index].ears[at];
            assert!(ear.is_away);
            format!(" after={} log={}", ear.next_seq - 1, ear.log)
        });
        let peer = self.connect(index);
        let join = format!("JOIN {EAR} room={room} alive=tcp idle=3600 quiet=yes{since}\n");
        // Its own lines are told apart from others, so nobody else may look at them.
        self.send(index, &peer, &join);
        let (hello, joined, rest) = {
            let output = std::mem::take(&mut peer.wire.borrow_mut().output);
            let text = String::from_utf8(output).unwrap();
            let (hello, rest) = text.split_once("\r\n").unwrap();
            let (joined, rest) = rest.split_once("\r\n").unwrap();
            (hello.to_owned(), joined.to_owned(), rest.to_owned())
        };
        assert!(joined.starts_with("OK JOIN "), "{joined}");
        // What has come with the reply is heard like anything else.
        peer.wire.borrow_mut().output = rest.into_bytes();
        let linked = &mut self.boxes[index];
        assert_eq!(value(&hello, "link="), linked.setup.name);
        let log = value(&joined, "log=").to_owned();
        let boot = value(&hello, "boot=").to_owned();
        let seq: u64 = value(&joined, "seq=").parse().unwrap();
        let token = value(&joined, "session=").to_owned();
        let goes_on = known.filter(|&at| linked.ears[at].log == log);
        match goes_on {
            Some(at) => {
                let ear = &mut linked.ears[at];
                (ear.peer, ear.token) = (peer, token);
                (ear.is_away, ear.was_away) = (false, true);
                self.ledgers.list[ear.ledger].is_over = false;
            }
            None => {
                for ear in linked.ears.iter().filter(|ear| ear.room == room) {
                    self.ledgers.list[ear.ledger].is_over = true;
                }
                linked.ears.retain(|ear| ear.room != room);
                let ledgers = &mut self.ledgers.list;
                let is_known = |l: &Ledger| (&l.boot, &l.log) == (&boot, &log);
                assert!(!ledgers.iter().any(is_known));
                ledgers.push(Ledger {
                    name: linked.setup.name,
                    room,
                    boot,
                    log: log.clone(),
                    entries: Vec::new(),
                    held: (seq as usize, 0),
                    log_bytes: linked.setup.limits.log_bytes,
                    is_over: false,
                    members: 0,
                });
                linked.ears.push(Ear {
                    room,
                    peer,
                    is_away: false,
                    token,
                    log,
                    ledger: ledgers.len() - 1,
                    next_seq: seq + 1,
                    heard: BTreeMap::new(),
                    replies: Vec::new(),
                    partial: Vec::new(),
                    was_away: false,
                    name: linked.setup.name,
                    message_bytes_max: linked.setup.limits.message_bytes_max,
                });
            }
        }
        self.settle(index);
    }

    /// Brings the ears of a box back that was stopped and started.
    pub fn resume_ears(&mut self, index: usize) {
        for at in 0..self.boxes[index].ears.len() {
            if self.boxes[index].ears[at].is_away {
                continue;
            }
            let peer = self.connect(index);
            let ear = &mut self.boxes[index].ears[at];
            let resume = format!("RESUME {} after={}\n", ear.token, ear.next_seq - 1);
            ear.peer = peer.clone();
            self.send(index, &peer, &resume);
            let replies = std::mem::take(&mut self.boxes[index].ears[at].replies);
            assert_eq!(replies.len(), 1, "{replies:?}");
            assert!(replies[0].starts_with("OK RESUME "), "{replies:?}");
        }
    }

    /// The ear in a room of a box.
    pub fn ear(&self, index: usize, room: &str) -> &Ear {
        let ear = self.boxes[index].ears.iter().find(|e| e.room == room);
        ear.unwrap_or_else(|| panic!("{} does not listen in {room}", self.boxes[index].setup.name))
    }

    /// What an ear gets for a line that has one reply.
    pub fn ask_ear(&mut self, index: usize, room: &str, line: &str) -> Vec<String> {
        let at = self.boxes[index].ears.iter().position(|e| e.room == room);
        let peer = self.boxes[index].ears[at.unwrap()].peer.clone();
        self.send(index, &peer, &format!("{line}\n"));
        std::mem::take(&mut self.boxes[index].ears[at.unwrap()].replies)
    }

    /// The lines that WHO gets in a room of a box, without the word MEMBER.
    pub fn who(&mut self, index: usize, room: &str) -> Vec<String> {
        let mut members = Vec::new();
        let mut line = "WHO".to_owned();
        loop {
            let replies = self.ask_ear(index, room, &line);
            let count: usize = replies[0].split(' ').nth(2).unwrap().parse().unwrap();
            assert_eq!(replies.len(), count + 1, "{replies:?}");
            members.extend(replies[1..].iter().map(|l| l["MEMBER ".len()..].to_owned()));
            if value(&replies[0], "more=") == "0" {
                return members;
            }
            let last = members.last().unwrap().split(' ').next().unwrap();
            line = format!("WHO after={last}");
        }
    }

    /// The members of other boxes that WHO lists are away if those are lost, and linked otherwise.
    pub fn check_who(&mut self, index: usize, room: &str) {
        let members = self.who(index, room);
        let ear = self.ear(index, room);
        let mut names = Vec::new();
        for line in &members {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(words.len(), 4, "{line}");
            let Some((name, at)) = words[0].split_once('@') else {
                assert!(matches!(words[2], "attached" | "detached"), "{line}");
                assert!(names.is_empty(), "it comes too late: {line}");
                continue;
            };
            let heard = ear.heard.get(at);
            let folded = |name| Name::parse(name).unwrap().folded();
            names.push((folded(at), folded(name)));
            if ear.was_away && heard.is_none_or(|heard| heard.is_torn) {
                continue;
            }
            assert!(
                !heard.is_some_and(|heard| heard.left.contains(name)),
                "{line}"
            );
            let is_linked = heard.is_some_and(|heard| heard.is_linked);
            let expected = if is_linked { "linked" } else { "away" };
            assert_eq!(words[2], expected, "{line}");
        }
        assert!(names.is_sorted_by(|a, b| a < b), "{members:?}");
        // What a list of members says may be ahead of events that are still to come.
        for (at, heard) in ear.heard.iter().filter(|_| self.ledgers.are_in_time) {
            for name in &heard.joined {
                let listed = format!("{name}@{at} ");
                let is_listed = members.iter().any(|line| line.starts_with(&listed));
                assert!(is_listed, "{listed} joined: {members:?}");
            }
        }
    }

    /// The name of the next member of a room of a box. There has to be an ear.
    pub fn new_name(&mut self, index: usize, room: &str) -> String {
        let ledger = self.ear(index, room).ledger;
        let members = &mut self.ledgers.list[ledger].members;
        *members += 1;
        format!("g{ledger}x{}", *members - 1)
    }

    /// The indexes of the boxes of another name that share a room with a box.
    fn others(&self, index: usize, room: &str) -> Vec<usize> {
        let others = (0..self.boxes.len()).filter(|&other| {
            let other = &self.boxes[other];
            other.name() != self.boxes[index].name()
                && other.ears.iter().any(|e| e.room == room)
                && other.world.hub.chat().is_linked()
        });
        others.collect()
    }

    /// The `<boot>/<log>` of a room of a box, if every box that has the room knows it.
    pub fn log_known_to_all(&self, index: usize, room: &str) -> Option<String> {
        let linked = &self.boxes[index];
        let ear = linked.ears.iter().find(|ear| ear.room == room)?;
        let name = linked.name();
        let knows = |other: &LinkedBox| {
            let ear_there = other.ears.iter().find(|ear| ear.room == room);
            let has_room = other.is_running() && other.links(room);
            !has_room
                || ear_there.is_some_and(|there| {
                    let heard = there.heard.get(name);
                    heard.is_some_and(|h| h.is_linked && h.ledger == Some(ear.ledger))
                })
        };
        let mut others = self.boxes.iter().filter(|other| other.name() != name);
        let is_known = others.all(knows) && !self.ledgers.are_spoofed;
        let log = self.broker.logs.get(&format!("chinwag/{name}/d/{room}"))?;
        (is_known && log.starts_with(&linked.boot.to_string())).then(|| log.clone())
    }

    /// Everything that was said anywhere since boxes met has been heard, or missed and counted; all boxes
    /// are linked, and list each other's members.
    pub fn check_all_heard(&mut self) {
        for index in 0..self.boxes.len() {
            assert!(self.boxes[index].is_running());
            if !self.boxes[index].world.hub.chat().is_linked() {
                // It has let another box have its name.
                let name = self.boxes[index].name();
                let namesakes = self.boxes.iter().filter(|b| b.name() == name);
                let mut linked = namesakes.filter(|b| b.world.hub.chat().is_linked());
                assert!(linked.next().is_some(), "{name} is not linked");
                continue;
            }
            let rooms: Vec<_> = self.boxes[index].ears.iter().map(|ear| ear.room).collect();
            for room in rooms {
                self.check_room(index, room);
            }
        }
    }

    fn check_room(&mut self, index: usize, room: &str) {
        self.check_who(index, room);
        let members = self.who(index, room);
        let others = self.others(index, room);
        for &other in &others {
            let (name, at) = (self.boxes[index].name(), self.boxes[other].name());
            let place = format!("{at} at {name} in {room}");
            let heard = self.ear(index, room).heard.get(at);
            let heard = heard.unwrap_or_else(|| panic!("never met: {place}"));
            assert!(heard.is_linked, "not linked: {place}");
            let namesakes = || others.iter().filter(|&&o| self.boxes[o].name() == at);
            let ledgers = namesakes().map(|&o| self.ear(o, room).ledger);
            let found = heard
                .ledger
                .filter(|found| ledgers.clone().any(|l| l == *found));
            let Some(found) = found else {
                panic!("it is in ledger {:?}: {place}", heard.ledger);
            };
            let ledger = &self.ledgers.list[found];
            let next = heard.next + heard.missed as usize;
            assert_eq!(next, ledger.entries.len(), "{place}");
            let real = namesakes().find(|&&o| self.ear(o, room).ledger == found);
            let there: Vec<_> = self.who(*real.unwrap(), room);
            let there = there.iter().filter_map(|line| {
                let words: Vec<_> = line.split(' ').collect();
                let is_local = !words[0].contains('@');
                is_local.then(|| format!("{}@{at} {} linked", words[0], words[1]))
            });
            let here = members.iter().filter_map(|line| {
                let (line, _) = line.rsplit_once(' ').unwrap();
                let (name, _) = line.split_once(' ').unwrap();
                let (_, of) = name.split_once('@')?;
                (of == at).then(|| line.to_owned())
            });
            let (there, here): (Vec<_>, Vec<_>) = (there.collect(), here.collect());
            assert_eq!(here, there, "{place}");
        }
    }
}
