//! What comes from the broker: packets, and whom what is in them concerns.
//!
//! All of it is checked before anything changes. What makes no sense is ignored and counted.

use super::incoming::Said;
use super::{Link, RoomKey, packet_bytes_max};
use crate::chat::Chat;
use crate::link::mqtt::{self, Packet, Read};
use crate::link::payload::{Digest, EventId, Payload};
use crate::link::topic::{self, Topic};
use crate::protocol::Name;
use crate::time::{Millis, Now};

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
        match result {
            FromBroker::Handled => link.broker.return_input(input, at + used, skip),
            FromBroker::Nothing => {
                link.broker.return_input(input, at + used, skip);
                link.broker.end_reading();
            }
            // What is left of it is not the next connection's.
            FromBroker::Closes(_) => {}
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
                let due_at = link.remotes.take_will(name, boot, now.at);
                link.wake(due_at);
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
            // It is for another box; the broker need not have passed it on.
            _ => {}
        }
        FromBroker::Handled
    }

    /// A room that spans boxes.
    pub(super) fn linked_room(&self, name: Name) -> Option<RoomKey> {
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
                        let may = linked.log == log && linked.roster_part == 0;
                        if may && link.may_send_roster(key, now.at) {
                            linked.roster_part = 1;
                        }
                    }
                    self.queue_to_publish(link, key);
                }
                return FromBroker::Handled;
            }
            Payload::Event { id, .. } => id.boot,
            Payload::Digest(Digest { next, .. })
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
        self.queue_to_publish(link, key);
    }

    /// Counts something that makes no sense, and warns of it.
    pub(super) fn refuse_payload(&mut self, link: &mut Link, why: &str, now: Now) {
        self.stats.link_refused += 1;
        if Link::may_warn(&mut link.refused_at, now.at) {
            log::warn!("ignored something from the link: {why}");
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
