//! What other boxes say, and what rooms hear of it: digests, events, and what scripts say under a box's name.

use super::{Link, RoomKey};
use crate::chat::Chat;
use crate::link::payload::{self, EventId, Happened, Payload};
use crate::link::remote::{DueRemote, Remote, Report, Verdict};
use crate::link::roster::Member;
use crate::link::topic::Topic;
use crate::protocol::{BURST_S, DEFAULT_ROOM, Event, FullName, Name};
use crate::time::{Millis, Now};

/// How soon after a box has met another its own digest goes out.
const DIGEST_AFTER_MEETING: Millis = Millis(1000);
/// How long a room waits that cannot take events now.
const ROOM_PAUSE: Millis = Millis(1000);

/// An event of another box.
pub(super) struct Said<'a> {
    pub id: EventId,
    /// What this box can read of it: when it happened, to which member, and what.
    pub content: Option<(u64, Name, Happened<'a>)>,
}

impl<'a> Said<'a> {
    /// Reads a payload of a topic of events, if it is an event.
    pub fn read(payload: &'a [u8]) -> Option<Said<'a>> {
        // Which room it is has no part in that.
        let room = DEFAULT_ROOM;
        match Payload::read(Topic::Events { room }, payload) {
            Some(Payload::Event {
                id,
                unix_ms,
                name,
                what,
            }) => Some(Said {
                id,
                content: Some((unix_ms, name, what)),
            }),
            Some(_) => None,
            // It has a number all the same, so nobody has to wait for it.
            None => EventId::of_event(payload).map(|id| Said { id, content: None }),
        }
    }
}

impl Chat {
    /// Takes what a box says of itself in a room: how far it is, who is there, or that it has freed the room.
    pub(super) fn hear_digest(
        &mut self,
        link: &mut Link,
        key: RoomKey,
        name: Name,
        (read, bytes): (Payload<'_>, usize),
        now: Now,
    ) {
        let (room, at) = (key.0, now.at);
        let is_known = link.remotes.get(room, name).is_some();
        if is_known && !link.remotes.admit_digest(name, bytes, at) {
            return self.refuse_payload(link, "its box speaks too fast", now);
        }
        if self.check_promised(Some(key), 1).is_err() {
            // The room cannot hear of what follows from it. The box will send more of them.
            link.remotes.change(room, name, |o| o.forgive(at));
            return;
        }
        let places = (link.remotes.places(), link.remotes.coming_places());
        let verdict = match read {
            Payload::Digest(digest) => {
                if !is_known && !link.remotes.add(Remote::new(room, name, &digest, at)) {
                    self.refuse_payload(link, "--link-members allows no more boxes", now);
                    return;
                }
                let taken = link.remotes.change(room, name, |remote| {
                    let (verdict, report) = remote.take_digest(&digest, at);
                    (verdict, report, remote.is_met())
                });
                let (verdict, report, is_met) = taken.unwrap_or((Verdict::Known, None, true));
                if !is_met || verdict == Verdict::Other {
                    // It should know this box as soon as possible.
                    self.hasten_digest(link, key, at + DIGEST_AFTER_MEETING);
                }
                if let Some(report) = report {
                    self.tell_room(link, key, name, report, now);
                }
                Some(verdict)
            }
            Payload::Freed { next } => {
                let hold = Millis::from_secs(link.settings.hold_s);
                let take = |remote: &mut Remote| remote.take_end(next, hold, at);
                link.remotes.change(room, name, take)
            }
            Payload::Members {
                next,
                hash,
                part,
                parts,
                names,
            } => {
                let (parts, members) = ((part, parts), payload::members(names));
                let take =
                    |remote: &mut Remote| remote.take_members(next, hash, parts, members, places);
                link.remotes.change(room, name, take)
            }
            _ => return,
        };
        match verdict.unwrap_or(Verdict::Known) {
            Verdict::Absurd => self.refuse_payload(link, "its numbers make no sense", now),
            Verdict::Other => self.warn_of_namesakes(link, name, now),
            Verdict::Next | Verdict::Known | Verdict::Early => {}
        }
        self.move_on(link, key, name, now);
    }

    /// Lets a room's next digest go out by then.
    fn hasten_digest(&mut self, link: &mut Link, key: RoomKey, due: Millis) {
        if let Some(linked) = &mut self.rooms[key.index()].link {
            linked.digest_at = linked.digest_at.min(due);
            link.wake(due);
        }
    }

    /// Tells a room what it does not know yet of a box, and the events that were held until then. Stops
    /// when the log could drop events that the hub has not offered to the room's members: the rest is
    /// [unfinished](Link::unfinished) until the hub has done that.
    pub(super) fn move_on(&mut self, link: &mut Link, key: RoomKey, name: Name, now: Now) {
        let room = key.0;
        loop {
            if self.is_serving_urgent {
                link.unfinished.push((key, name));
                break;
            }
            if self.check_promised(Some(key), 1).is_err() {
                break;
            }
            let report = link.remotes.change(room, name, Remote::report).flatten();
            if let Some(report) = report {
                self.tell_room(link, key, name, report, now);
                continue;
            }
            if !link.remotes.get(room, name).is_some_and(Remote::is_met) {
                break;
            }
            let count = link.remotes.change(room, name, |o| o.give_up(now.at));
            if let Some(count) = count.filter(|&count| count > 0) {
                self.tell_room(link, key, name, Report::Missed { count }, now);
                continue;
            }
            let held = link.remotes.change(room, name, Remote::take_held).flatten();
            let Some(held) = held else { break };
            if let Some(said) = Said::read(&held) {
                self.tell_event(link, key, name, said, now);
            }
        }
        if let Some(remote) = link.remotes.get(room, name) {
            link.wake(remote.deadline(Millis::NEVER));
        }
    }

    /// Takes an event of another box, or puts it off.
    pub(super) fn hear_event(
        &mut self,
        link: &mut Link,
        room: Name,
        name: Name,
        (said, payload): (Said<'_>, &[u8]),
        now: Now,
    ) {
        let Some(key) = self.linked_room(room) else {
            return;
        };
        let (room, id, at) = (key.0, said.id, now.at);
        // The digest of a box comes first.
        let Some(remote) = link.remotes.get(room, name) else {
            return;
        };
        if remote.wants(id) {
            let admitted = match self.check_promised(Some(key), 1) {
                Ok(()) => link.remotes.admit_event(name, payload.len(), at),
                Err(_) => Err(at + ROOM_PAUSE),
            };
            if let Err(until) = admitted {
                let put_off = |remote: &mut Remote| remote.put_off(id, until, at);
                link.remotes.change(room, name, put_off);
                link.wake(until);
                return;
            }
        }
        let take = |remote: &mut Remote| remote.take_event(id, at);
        let verdict = link.remotes.change(room, name, take);
        match verdict.unwrap_or(Verdict::Known) {
            Verdict::Known => {}
            Verdict::Other => self.warn_of_namesakes(link, name, now),
            Verdict::Absurd => self.refuse_payload(link, "its number makes no sense", now),
            Verdict::Early => {
                if link.remotes.can_hold(payload.len()) {
                    let hold = |o: &mut Remote| o.hold(id.number, payload);
                    link.remotes.change(room, name, hold);
                }
                if let Some(remote) = link.remotes.get(room, name) {
                    link.wake(remote.deadline(Millis::NEVER));
                }
            }
            Verdict::Next => {
                self.tell_event(link, key, name, said, now);
                let has_more = link.remotes.get(room, name);
                if has_more.is_some_and(|o| !o.held.is_empty() || o.is_behind()) {
                    self.move_on(link, key, name, now);
                }
            }
        }
    }

    /// Appends another box's event, which is the one that is wanted next.
    fn tell_event(&mut self, link: &mut Link, key: RoomKey, name: Name, said: Said<'_>, now: Now) {
        let places = link.remotes.places();
        let deadline = link.remotes.change(key.0, name, |remote| {
            let counts = remote.advance(now.at);
            match said.content {
                Some((_, name, Happened::Joined { mode })) if counts => {
                    remote.roster.add(Member { name, mode }, places > 0);
                }
                Some((_, name, Happened::Left { .. })) if counts => remote.roster.remove(name),
                _ => {}
            }
            remote.deadline(Millis::NEVER)
        });
        let Some(deadline) = deadline else {
            return;
        };
        link.wake(deadline);
        let full = |member| FullName {
            name: member,
            at: Some(name),
        };
        let (unix_ms, event) = match said.content {
            Some((unix_ms, member, Happened::Msg { text }))
                if text.len() <= self.limits.message_bytes_max =>
            {
                let name = full(member);
                (unix_ms, Event::Msg { name, text })
            }
            Some((unix_ms, member, Happened::Joined { .. })) => {
                let name = full(member);
                (unix_ms, Event::Joined { name })
            }
            Some((unix_ms, member, Happened::Left { reason })) => {
                let name = full(member);
                (unix_ms, Event::Left { name, reason })
            }
            // It is longer than this box allows, or of a kind that it does not know.
            Some((_, _, Happened::Msg { .. })) | None => {
                (now.unix_ms, Event::Missed { at: name, count: 1 })
            }
        };
        match event {
            Event::Missed { count, .. } => self.stats.link_missed += count,
            _ => self.stats.link_events_in += 1,
        }
        self.append_at(key, event, unix_ms, now);
    }

    /// Appends what a script says.
    pub(super) fn hear_said(
        &mut self,
        link: &mut Link,
        room: Name,
        at: Name,
        (name, text): (Name, &str),
        bytes: usize,
        now: Now,
    ) {
        let Some(key) = self.linked_room(room) else {
            return;
        };
        if text.len() > self.limits.message_bytes_max {
            return self.refuse_payload(link, "its text is longer than --max-message", now);
        }
        let interval_us = self.limits.line_interval_us().unwrap_or(0);
        let burst_s = u64::from(BURST_S);
        if !(link.remotes).admit_said(at, bytes, interval_us, burst_s, now.at) {
            return self.refuse_payload(link, "its box speaks faster than --rate", now);
        }
        if self.check_promised(Some(key), 1).is_err() {
            return self.refuse_payload(link, "the server cannot save its room now", now);
        }
        self.stats.link_events_in += 1;
        let name = FullName { name, at: Some(at) };
        self.append_at(key, Event::Msg { name, text }, now.unix_ms, now);
    }

    /// Tells a room about another box. It must have promised a number for that.
    fn tell_room(&mut self, link: &mut Link, key: RoomKey, at: Name, report: Report, now: Now) {
        let room = self.rooms[key.index()].name;
        let event = match report {
            Report::Split { members } => {
                log::debug!("the box {at} is lost in {room}");
                Event::Split { at, members }
            }
            Report::Healed { members } => {
                log::debug!("the box {at} is there in {room}");
                Event::Healed { at, members }
            }
            Report::Missed { count } => {
                self.stats.link_missed += count;
                Event::Missed { at, count }
            }
        };
        link.wake(now.at);
        self.append_at(key, event, now.unix_ms, now);
    }

    /// Does what is due for other boxes.
    pub(super) fn settle_remotes(&mut self, link: &mut Link, now: Now) {
        let hold = Millis::from_secs(link.settings.hold_s);
        let mut at = 0;
        // What is left has its deadline still before it.
        while at < link.remotes.len() && !self.is_serving_urgent {
            let room = RoomKey(link.remotes.at(at).room);
            let is_ready = self.check_promised(Some(room), 1).is_ok();
            let due = link.remotes.change_at(at, |o| {
                if !is_ready {
                    o.keep_until(now.at + ROOM_PAUSE);
                }
                (o.due(now.past, now.at, hold), o.room, o.name, o.next)
            });
            at += 1;
            let (Some(due), room, name, next) = due else {
                continue;
            };
            let key = RoomKey(room);
            let room_name = self.rooms[key.index()].name.folded().to_name();
            match due {
                DueRemote::Forget => {
                    at -= 1;
                    link.remotes.remove_at(at);
                }
                DueRemote::AskRoster => {
                    let (boot, log) = (next.boot, next.log);
                    let room = room_name;
                    link.ask(name, &Payload::List { room, boot, log });
                }
                DueRemote::AskEvents { to } => {
                    let (room, from) = (room_name, next);
                    link.ask(name, &Payload::Want { room, from, to });
                }
                DueRemote::Report(report) => {
                    self.tell_room(link, key, name, report, now);
                    self.move_on(link, key, name, now);
                }
            }
        }
    }

    fn warn_of_namesakes(&mut self, link: &mut Link, name: Name, now: Now) {
        if Link::may_warn(&mut link.refused_at, now.at) {
            log::warn!("the box {name} has started again, or there are two of that name");
        }
    }
}
