//! What comes from the broker: packets, and in them what other boxes say.
//!
//! All of it is checked before anything changes. What makes no sense is ignored and counted.

use super::{Link, RoomKey, packet_bytes_max};
use crate::chat::Chat;
use crate::link::mqtt::{self, Packet, Read};
use crate::link::payload::{self, EventId, Happened, Payload};
use crate::link::remote::{Digest, DueRemote, Remote, Report, Verdict};
use crate::link::roster::{Member, RosterHash};
use crate::link::topic::{self, Topic};
use crate::protocol::{BURST_S, DEFAULT_ROOM, Event, FullName, Name};
use crate::time::{Millis, Now};

/// How soon after a box has met another its own digest goes out.
const DIGEST_AFTER_MEETING: Millis = Millis(1000);
/// How long a room waits that cannot take events now.
const ROOM_PAUSE: Millis = Millis(1000);

/// What became of what has come from the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the stream may have to be closed"]
pub enum FromBroker {
    /// A packet was handled, and there may be more.
    Handled,
    /// No packet is complete.
    Nothing,
    /// The stream has to be closed, for this reason.
    Closes(&'static str),
}

/// An event of another box.
struct Said<'a> {
    id: EventId,
    /// What this box can read of it: when it happened, to which member, and what.
    content: Option<(u64, Name, Happened<'a>)>,
}

impl<'a> Said<'a> {
    /// Reads a payload of a topic of events, if it is an event.
    fn read(payload: &'a [u8]) -> Option<Said<'a>> {
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
    /// Takes bytes from the broker's stream.
    pub fn take_from_broker(&mut self, bytes: &[u8], now: Now) {
        if let Some(link) = &mut self.link {
            link.broker.take(bytes, now.at);
        }
    }

    /// Handles the next packet of what has come from the broker, if it is complete.
    pub fn read_packet(&mut self, now: Now) -> FromBroker {
        let Some(mut link) = self.link.take() else {
            return FromBroker::Nothing;
        };
        if let Some((key, name)) = link.unfinished.pop() {
            self.move_on(&mut link, key, name, now);
            self.link = Some(link);
            return FromBroker::Handled;
        }
        let (input, at) = link.broker.lend_input();
        let mut skip = 0;
        let mut used = 0;
        let result = match mqtt::read(&input[at..], packet_bytes_max(&self.limits)) {
            Ok(Read::Packet { packet, bytes }) => {
                used = bytes;
                self.take_packet(&mut link, packet, now)
            }
            Ok(Read::Skip { bytes }) => {
                skip = bytes;
                self.refuse_payload(&mut link, "it is too long, or retained", now);
                FromBroker::Handled
            }
            Ok(Read::Incomplete) => FromBroker::Nothing,
            Err(mqtt::Malformed(reason)) => FromBroker::Closes(reason),
        };
        link.broker.return_input(input, at + used, skip);
        if result == FromBroker::Nothing {
            link.broker.end_reading();
        }
        self.link = Some(link);
        result
    }

    fn take_packet(&mut self, link: &mut Link, packet: Packet<'_>, now: Now) -> FromBroker {
        match packet {
            // Each would be answered with subscriptions.
            Packet::ConnAck { .. } if !link.broker.is_greeting() => {
                return FromBroker::Closes("the broker accepts the connection twice");
            }
            Packet::ConnAck { code: 0 } => {
                link.broker.accept(now.at);
                link.wake(Millis(0));
                link.begin(self.boot);
                if link.broker.is_linked() {
                    self.begin_link(link, now);
                }
            }
            Packet::ConnAck { code } => return FromBroker::Closes(refusal(code)),
            Packet::SubAck { codes, .. } if codes.contains(&0x80) => {
                return FromBroker::Closes("the broker refuses a subscription");
            }
            Packet::SubAck { .. } | Packet::UnsubAck | Packet::Pong => {}
            Packet::Publish { topic, payload } => return self.hear(link, topic, payload, now),
        }
        FromBroker::Handled
    }

    /// Handles what some box has published.
    fn hear(&mut self, link: &mut Link, topic: &str, payload: &[u8], now: Now) -> FromBroker {
        let Some((name, topic)) = topic::read(&link.settings.prefix, topic) else {
            self.refuse_payload(link, "its topic is none of chinwag's", now);
            return FromBroker::Handled;
        };
        let bytes = payload.len();
        let Some(read) = Payload::read(topic, payload) else {
            self.refuse_payload(link, "it breaks the rules", now);
            let said = Said::read(payload).filter(|_| name != link.settings.name);
            if let (Topic::Events { room }, Some(said)) = (topic, said) {
                self.hear_event(link, room, name, (said, payload), now);
            }
            return FromBroker::Handled;
        };
        if name == link.settings.name {
            return self.hear_own_name(link, read, now);
        }
        match (topic, read) {
            (Topic::Gone, Payload::Gone { boot }) => {
                let lost_at = link.remotes.take_will(name, boot, now.at);
                link.wake(lost_at);
            }
            (
                Topic::Events { room },
                Payload::Event {
                    id,
                    unix_ms,
                    name: member,
                    what,
                },
            ) => {
                let content = Some((unix_ms, member, what));
                let said = Said { id, content };
                self.hear_event(link, room, name, (said, payload), now);
            }
            (Topic::Events { room }, Payload::Say { name: member, text }) => {
                self.hear_said(link, room, name, (member, text), bytes, now);
            }
            (Topic::Digests { room }, read) => {
                if let Some(key) = self.linked_room(room) {
                    self.hear_digest(link, key, name, (read, bytes), now);
                }
            }
            // What concerns another box of which this one hears only because the broker says so.
            _ => {}
        }
        FromBroker::Handled
    }

    /// A room that spans boxes.
    fn linked_room(&self, name: Name) -> Option<RoomKey> {
        let key = self.room_named(name)?;
        self.rooms[key.index()].link.is_some().then_some(key)
    }

    /// Handles what was published under this box's own name: by itself, by those who want something of it,
    /// or by another box of the same name.
    fn hear_own_name(&mut self, link: &mut Link, read: Payload<'_>, now: Now) -> FromBroker {
        let boot = match read {
            Payload::Claim { boot } => {
                // Of two that claim a name at once, the one with the lower number has it.
                let yields = !link.broker.is_linked() && boot.number() < self.boot.number();
                if boot != self.boot && yields {
                    return self.yield_name(link, now);
                }
                link.is_claimed |= boot != self.boot && link.broker.is_linked();
                boot
            }
            Payload::Here { boot } if boot != self.boot && !link.broker.is_linked() => {
                return self.yield_name(link, now);
            }
            Payload::Want { room, from, to } => {
                self.hear_want(link, room, from, to, now);
                return FromBroker::Handled;
            }
            Payload::List { room, boot, log } => {
                if let Some(key) = self.linked_room(room).filter(|_| boot == self.boot) {
                    if let Some(linked) = &mut self.rooms[key.index()].link {
                        let may = linked.log == log && linked.list_part == 0;
                        if may && link.may_list(key, now.at) {
                            linked.list_part = 1;
                        }
                    }
                    self.list_to_publish(link, key);
                }
                return FromBroker::Handled;
            }
            Payload::Event { id, .. } => id.boot,
            Payload::Digest { next, .. }
            | Payload::Freed { next }
            | Payload::Members { next, .. } => next.boot,
            Payload::Here { boot } => boot,
            // The will of a connection that this box has had before.
            Payload::Gone { .. } => return FromBroker::Handled,
            Payload::Say { .. } => {
                self.refuse_payload(link, "it speaks under this box's own name", now);
                return FromBroker::Handled;
            }
        };
        if boot != self.boot && Link::may_warn(&mut link.conflict_at, now.at) {
            log::error!(
                "another box is linked as {}, too: give one of them another --link-name",
                link.settings.name
            );
        }
        FromBroker::Handled
    }

    /// Lets another box have the name.
    fn yield_name(&mut self, link: &mut Link, now: Now) -> FromBroker {
        log::error!(
            "another box is linked as {} already: give this one another --link-name; it stays alone until \
             the name is free",
            link.settings.name
        );
        link.broker.yield_name(now.at);
        link.wake(Millis(0));
        FromBroker::Closes("")
    }

    fn hear_want(&mut self, link: &mut Link, room: Name, from: EventId, to: u64, now: Now) {
        let Some(key) = self.linked_room(room).filter(|_| from.boot == self.boot) else {
            return;
        };
        let room = &mut self.rooms[key.index()];
        if let Some(linked) = &mut room.link {
            if linked.log == from.log {
                linked.want(from.number, to, now.at);
                link.wake(linked.digest_at);
            }
        }
        self.list_to_publish(link, key);
    }

    fn hear_digest(
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
        let (verdict, report) = match read {
            Payload::Digest {
                next,
                first,
                members,
                hash,
                every_s,
            } => {
                let digest = Digest {
                    next,
                    first,
                    members,
                    hash: RosterHash(hash),
                    every_s,
                };
                if !is_known && !link.remotes.add(Remote::new(room, name, &digest, at)) {
                    self.refuse_payload(link, "--link-members allows no more boxes", now);
                    return;
                }
                let taken = link.remotes.change(room, name, |remote| {
                    let taken = remote.take_digest(&digest, at);
                    (taken, remote.is_met())
                });
                let (taken, is_met) = taken.unwrap_or(((Verdict::Known, None), true));
                if !is_met || taken.0 == Verdict::Other {
                    // It should know this box as soon as possible.
                    self.hasten_digest(link, key, at + DIGEST_AFTER_MEETING);
                }
                taken
            }
            Payload::Freed { next } => {
                let hold = Millis::from_secs(link.settings.hold_s);
                let taken = link
                    .remotes
                    .change(room, name, |o| o.take_end(next, hold, at));
                (taken.unwrap_or(Verdict::Known), None)
            }
            Payload::Members {
                next,
                hash,
                part,
                parts,
                names,
            } => {
                let members = payload::members(names);
                let members =
                    members.map(|member| member.map(|(name, mode)| Member { name, mode }));
                let taken = link.remotes.change(room, name, |o| {
                    o.take_members(next, RosterHash(hash), (part, parts), members, places)
                });
                (taken.unwrap_or(Verdict::Known), None)
            }
            _ => return,
        };
        match verdict {
            Verdict::Absurd => self.refuse_payload(link, "its numbers make no sense", now),
            Verdict::Other => self.warn_of_namesakes(link, name, now),
            Verdict::Next | Verdict::Known | Verdict::Early => {}
        }
        if let Some(report) = report {
            self.tell_room(link, key, name, report, now);
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
    fn move_on(&mut self, link: &mut Link, key: RoomKey, name: Name, now: Now) {
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

    fn hear_event(
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
        self.stats.link_events_in += 1;
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
                self.stats.link_missed += 1;
                (now.unix_ms, Event::Missed { at: name, count: 1 })
            }
        };
        self.append_at(key, event, unix_ms, now);
    }

    /// Appends what a script says.
    fn hear_said(
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
                DueRemote::AskList => {
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

    /// Counts something that makes no sense, and warns of it.
    fn refuse_payload(&mut self, link: &mut Link, why: &str, now: Now) {
        self.stats.link_refused += 1;
        if Link::may_warn(&mut link.refused_at, now.at) {
            log::warn!("ignored something from the link: {why}");
        }
    }

    fn warn_of_namesakes(&mut self, link: &mut Link, name: Name, now: Now) {
        if Link::may_warn(&mut link.refused_at, now.at) {
            log::warn!("the box {name} has started again, or there are two of that name");
        }
    }
}

/// Why a broker does not accept a connection: section 3.2.2.3 of MQTT 3.1.1.
fn refusal(code: u8) -> &'static str {
    match code {
        1 => "the broker does not speak MQTT 3.1.1",
        2 => "the broker does not take this client's name",
        3 => "the broker is not available",
        4 | 5 => "the broker refuses the login: see --link-login",
        _ => "the broker refuses the connection",
    }
}
