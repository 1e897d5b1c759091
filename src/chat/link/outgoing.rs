//! What this box tells others: its events, digests, and rosters.
//!
//! Everything comes from rooms' logs and rosters when the connection to the broker has space, so a slow
//! broker costs no memory.

use super::room::{LinkedRoom, is_own, walk};
use super::{Link, RoomKey};
use crate::chat::event_log::EventLog;
use crate::chat::session::Session;
use crate::chat::stats::Stats;
use crate::chat::{Chat, by_name};
use crate::link::broker::Broker;
use crate::link::payload::{Digest, EVERY_MAX_S, EventId, Happened, Payload};
use crate::link::topic::{Topic, TopicOf};
use crate::link::{LinkedRooms, Settings, mqtt, topic};
use crate::protocol::{Event, LifeId, Mode, Name, Numbered};
use crate::time::{Millis, Now};

/// How many events of a room go out before another room has its turn.
const EVENTS_AT_ONCE: usize = 16;
/// How many names one part of a roster has.
const NAMES_PER_PART: usize = 64;
/// The shortest time between two digests of a room in which nothing happens, in seconds.
const EVERY_MIN_S: usize = 10;
/// A digest that waits for events to go out goes before them when it is this late.
const DIGEST_LATE: Millis = Millis(10_000);

/// A topic of this box.
pub(super) fn topic(settings: &Settings, topic: Topic) -> TopicOf<'_> {
    TopicOf {
        prefix: &settings.prefix,
        name: settings.name,
        topic,
    }
}

/// The filters of a room's topics, of all boxes.
fn filters(settings: &Settings, room: Name) -> [String; 2] {
    let room = room.folded().to_name();
    let of = |kind| topic::filter(&settings.prefix, kind);
    [of(Topic::Events { room }), of(Topic::Digests { room })]
}

/// Writes a payload to the broker.
fn publish(settings: &Settings, broker: &mut Broker, of: Topic, payload: &Payload<'_>) {
    let of = topic(settings, of);
    mqtt::write_publish(
        format_args!("{of}"),
        format_args!("{payload}"),
        broker.out(),
    );
}

/// The longest time between two digests of a room, in seconds: with more rooms it is longer, so that a
/// link on which nothing happens costs the same.
fn every_s(rooms: usize) -> u32 {
    (3 * rooms / 5).clamp(EVERY_MIN_S, EVERY_MAX_S as usize) as u32
}

impl Link {
    /// Asks another box for something.
    pub(super) fn ask(&mut self, name: Name, question: &Payload<'_>) {
        if !self.broker.is_linked() || !self.broker.has_space() {
            return;
        }
        let of = TopicOf {
            prefix: &self.settings.prefix,
            name,
            topic: Topic::Wants,
        };
        mqtt::write_publish(
            format_args!("{of}"),
            format_args!("{question}"),
            self.broker.out(),
        );
    }

    /// Subscribes to what concerns this box whatever its rooms are, and claims its name.
    pub(super) fn begin(&mut self, boot: LifeId) {
        let settings = &self.settings;
        let mine = |of| topic(settings, of).to_string();
        let filters = [
            mine(Topic::Wants),
            mine(Topic::Here),
            topic::filter(&settings.prefix, Topic::Gone),
        ];
        let id = self.broker.next_id();
        mqtt::write_subscribe(id, &filters, self.broker.out());
        publish(
            settings,
            &mut self.broker,
            Topic::Wants,
            &Payload::Claim { boot },
        );
    }
}

impl Chat {
    /// Appends to what goes to the broker, as long as there is something to tell and space for it.
    pub fn fill_broker(&mut self, now: Now) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        if link.broker.is_linked() {
            if std::mem::take(&mut link.is_claimed) {
                let here = Payload::Here { boot: self.boot };
                publish(&link.settings, &mut link.broker, Topic::Here, &here);
            }
            self.tell_ends(&mut link);
            while link.broker.has_space() {
                let Some(key) = link.to_publish.pop_front() else {
                    break;
                };
                match self.publish_room(&mut link, key, now) {
                    true => link.to_publish.push_back(key),
                    false => {
                        if let Some(linked) = &mut self.rooms[key.index()].link {
                            linked.is_queued = false;
                        }
                    }
                }
            }
        }
        self.link = Some(link);
    }

    /// What is to be written to the broker.
    pub fn broker_output(&self) -> &[u8] {
        self.link.as_ref().map_or(&[], |link| link.broker.output())
    }

    /// Notes that the broker's stream has taken this many bytes of the output.
    pub fn advance_broker(&mut self, bytes: usize, now: Now) {
        if let Some(link) = &mut self.link {
            link.broker.advance(bytes, now.at);
            link.wake(link.broker.deadline(now.past));
        }
    }

    /// Says goodbye to the broker, so that it does not publish this box's will. Unless the server's state
    /// is kept, others learn that the box is gone.
    pub fn leave_broker(&mut self, is_kept: bool) {
        let Some(link) = &mut self.link else { return };
        if link.broker.is_linked() && !is_kept {
            let gone = Payload::Gone { boot: self.boot };
            publish(&link.settings, &mut link.broker, Topic::Gone, &gone);
        }
        if link.broker.is_open() {
            mqtt::write_disconnect(link.broker.out());
        }
    }

    /// Publishes the last events of a room that is about to be freed.
    pub(super) fn publish_last(&mut self, link: &mut Link, key: RoomKey) {
        let (boot, room) = (self.boot, &mut self.rooms[key.index()]);
        let Some(linked) = &mut room.link else { return };
        if !link.broker.is_linked() || !link.broker.has_space() {
            return;
        }
        linked.catch_up(&room.log);
        let mut writer = EventWriter {
            settings: &link.settings,
            broker: &mut link.broker,
            room: room.name.folded().to_name(),
            stats: &mut self.stats,
            // Nobody is there any more.
            mode_of: |_| Mode::Push,
        };
        // In several pieces, since one turn can end many sessions.
        loop {
            let before = linked.cursor_own;
            writer.write_new(linked, &room.log, boot);
            if linked.cursor_own == before || !writer.broker.has_space() {
                return;
            }
        }
    }

    /// Tells which rooms were freed.
    fn tell_ends(&mut self, link: &mut Link) {
        while link.broker.has_space() {
            let Some((room, next)) = link.ended.pop() else {
                return;
            };
            if self.room_named(room).is_none() {
                let id = link.broker.next_id();
                let filters = filters(&link.settings, room);
                mqtt::write_unsubscribe(id, &filters, link.broker.out());
            }
            let room = room.folded().to_name();
            let of = Topic::Digests { room };
            publish(
                &link.settings,
                &mut link.broker,
                of,
                &Payload::Freed { next },
            );
        }
    }

    /// Queues a room that has something to publish.
    pub(super) fn queue_to_publish(&mut self, link: &mut Link, key: RoomKey) {
        if let Some(linked) = &mut self.rooms[key.index()].link {
            if !std::mem::replace(&mut linked.is_queued, true) {
                link.to_publish.push_back(key);
            }
        }
    }

    /// Notes that events were appended to a room's log.
    pub(in crate::chat) fn note_appended(&mut self, key: RoomKey) {
        if let Some(mut link) = self.link.take_if(|link| link.broker.is_linked()) {
            self.queue_to_publish(&mut link, key);
            self.link = Some(link);
        }
    }

    /// Lists the rooms whose digests are due.
    pub(super) fn plan_digests(&mut self, link: &mut Link, now: Now) {
        if !link.broker.is_linked() {
            return;
        }
        for (key, room) in &mut self.rooms {
            let Some(linked) = &mut room.link else {
                continue;
            };
            if linked.digest_at > now.past {
                link.wake_at = link.wake_at.min(linked.digest_at);
            } else if !std::mem::replace(&mut linked.is_queued, true) {
                link.to_publish.push_back(RoomKey::at(key));
            }
        }
    }

    /// How many rooms span boxes.
    fn linked_rooms(&self, settings: &Settings) -> usize {
        match &settings.rooms {
            LinkedRooms::All => self.rooms.len(),
            LinkedRooms::Named(names) => names.len(),
        }
    }

    /// Publishes some of what there is to tell of a room. Returns whether there is more.
    fn publish_room(&mut self, link: &mut Link, key: RoomKey, now: Now) -> bool {
        let every_s = every_s(self.linked_rooms(&link.settings));
        let boot = self.boot;
        let Chat {
            rooms,
            sessions,
            stats,
            ..
        } = self;
        let room = &mut rooms[key.index()];
        let Some(linked) = &mut room.link else {
            return false;
        };
        let (settings, broker) = (&link.settings, &mut link.broker);
        let name = room.name.folded().to_name();
        if !std::mem::replace(&mut linked.is_subscribed, true) {
            let id = broker.next_id();
            mqtt::write_subscribe(id, &filters(settings, name), broker.out());
        }
        let log = &room.log;
        linked.catch_up(log);
        let mut writer = EventWriter {
            settings,
            broker,
            room: name,
            stats,
            mode_of: |name| {
                let key = room.members.get(&by_name(sessions, name));
                key.map_or(Mode::Push, |key| sessions[key as usize].mode)
            },
        };
        writer.write_again(linked, log, boot, now.at);
        writer.write_new(linked, log, boot);
        let has_all = linked.cursor >= log.next();
        let is_late = linked.digest_at + DIGEST_LATE <= now.at;
        if linked.digest_at <= now.at && (has_all || is_late) {
            let of = Topic::Digests { room: name };
            let digest = Payload::Digest(Digest {
                next: linked.id(boot, linked.cursor_own),
                first: linked.first_own(log).min(linked.cursor_own),
                members: room.members.len() as u64,
                hash: linked.roster_hash,
                every_s,
            });
            publish(settings, broker, of, &digest);
            linked.told_at = now.at;
            // A little earlier than promised, and not all at once.
            let luck = boot.nth(now.at.0 ^ u64::from(key.0)).number();
            let every_ms = u64::from(every_s) * 1000;
            linked.digest_at = now.at + Millis(every_ms - luck % (every_ms / 8));
            link.wake_at = link.wake_at.min(linked.digest_at);
        }
        if has_all && linked.roster_part > 0 {
            let members = room.members.keys_after(None).0;
            let members = members.map(|key| &sessions[key as usize]);
            write_roster_part(linked, members, room.members.len(), boot, |payload| {
                publish(settings, broker, Topic::Digests { room: name }, &payload);
            });
        }
        !has_all || linked.again.from < linked.again.to || linked.roster_part > 0
    }
}

/// Writes the next part of a roster. If the roster has changed since the first part, that comes
/// first again.
fn write_roster_part<'a>(
    linked: &mut LinkedRoom,
    members: impl Iterator<Item = &'a Session>,
    count: usize,
    boot: LifeId,
    write: impl FnOnce(Payload<'_>),
) {
    let of = (linked.cursor_own, linked.roster_hash);
    if linked.roster_part == 1 || linked.roster_of != of {
        (linked.roster_part, linked.roster_of) = (1, of);
    }
    let part = linked.roster_part;
    let parts = count.div_ceil(NAMES_PER_PART).max(1) as u32;
    let before = (part as usize - 1) * NAMES_PER_PART;
    let mut names = String::new();
    for member in members.skip(before).take(NAMES_PER_PART) {
        if !names.is_empty() {
            names.push(' ');
        }
        names.push_str(member.name.as_str());
        if member.mode == Mode::Pull {
            names.push_str("/pull");
        }
    }
    write(Payload::Members {
        next: linked.id(boot, linked.cursor_own),
        hash: linked.roster_hash,
        part,
        parts,
        names: &names,
    });
    linked.roster_part = if part < parts { part + 1 } else { 0 };
}

/// Writes a room's own events.
struct EventWriter<'a, F> {
    settings: &'a Settings,
    broker: &'a mut Broker,
    room: Name,
    stats: &'a mut Stats,
    /// The mode of a member's session.
    mode_of: F,
}

impl<F: Fn(Name) -> Mode> EventWriter<'_, F> {
    fn write(&mut self, id: EventId, numbered: &Numbered<'_>) {
        let (name, what) = match numbered.event {
            Event::Msg { name, text } => (name, Happened::Msg { text }),
            Event::Joined { name } => {
                let mode = (self.mode_of)(name.name);
                (name, Happened::Joined { mode })
            }
            Event::Left { name, reason } => (name, Happened::Left { reason }),
            Event::Split { .. } | Event::Healed { .. } | Event::Missed { .. } => return,
        };
        let event = Payload::Event {
            id,
            unix_ms: numbered.unix_ms,
            name: name.name,
            what,
        };
        let of = Topic::Events { room: self.room };
        publish(self.settings, self.broker, of, &event);
        self.stats.link_events_out += 1;
    }

    /// Writes some of the events that are new.
    fn write_new(&mut self, linked: &mut LinkedRoom, log: &EventLog, boot: LifeId) {
        let mut left = EVENTS_AT_ONCE;
        walk(log, linked.cursor, log.next(), |seq, numbered| {
            if left == 0 || !self.broker.has_space() {
                return false;
            }
            if is_own(&numbered.event) {
                left -= 1;
                self.write(linked.id(boot, linked.cursor_own), &numbered);
                linked.cursor_own += 1;
            }
            linked.cursor = seq + 1;
            true
        });
    }

    /// Writes some of the events that somebody has asked for.
    fn write_again(&mut self, linked: &mut LinkedRoom, log: &EventLog, boot: LifeId, at: Millis) {
        let mut again = linked.again;
        if again.from >= again.to {
            return;
        }
        if again.seq < log.first() {
            let first = linked.first_own(log);
            if again.from < first {
                // Its digest says that these are gone.
                linked.digest_at = at;
                again.from = first.min(again.to);
            }
            again.seq = match again.from < again.to {
                true => linked.seq_of(log, first, again.from),
                false => 0,
            };
        }
        if again.from < again.to {
            let mut left = EVENTS_AT_ONCE;
            let mut is_cut_short = false;
            walk(log, again.seq, linked.cursor, |seq, numbered| {
                is_cut_short = left == 0 || again.from >= again.to || !self.broker.has_space();
                if is_cut_short {
                    return false;
                }
                if is_own(&numbered.event) {
                    left -= 1;
                    self.write(linked.id(boot, again.from), &numbered);
                    again.from += 1;
                }
                again.seq = seq + 1;
                true
            });
            if !is_cut_short {
                again.from = again.to;
            }
        }
        linked.again = again;
    }
}
