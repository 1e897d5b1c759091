//! Saves the link, and loads it again.

use super::{ENDED_ROOMS_MAX, Link, LinkedRoom, RoomKey, packet_bytes_max};
use crate::chat::{Chat, Kind};
use crate::link::Settings;
use crate::link::broker::Broker;
use crate::link::payload::EventId;
use crate::link::remote::Remote;
use crate::link::remotes::Sender;
use crate::link::roster::RosterHash;
use crate::protocol::Name;
use crate::state::{Damage, Fields, IMPOSSIBLE, Part, Summary, Tag, Writer, saved};
use crate::time::Millis;

/// What belongs to no single room or box. Only an upgrade goes on with it.
const LINK: Tag = *b"LINK";
/// The part of a room that spans boxes.
const LINKED_ROOM: Tag = *b"LROM";
/// Another box in a room.
const BOX: Tag = *b"LBOX";
/// With which numbers freed rooms go on.
const FORMER: Tag = *b"LFRM";
/// How fast other boxes have sent.
const SENDERS: Tag = *b"LSND";

#[derive(Debug)]
struct LinkFields {
    broker: Broker,
    to_publish: Vec<RoomKey>,
    ended: Vec<(Name, EventId)>,
    is_claimed: bool,
    wake_at: Millis,
    conflict_at: Option<Millis>,
    refused_at: Option<Millis>,
    failed_at: Option<Millis>,
}

saved!(struct LinkFields {
    broker,
    to_publish,
    ended,
    is_claimed,
    wake_at,
    conflict_at,
    refused_at,
    failed_at,
});

impl Chat {
    /// Appends the link to a state.
    pub(in crate::chat) fn save_link(&self, kind: Kind, out: &mut Writer<'_>) {
        let Some(link) = &self.link else { return };
        if kind == Kind::Running {
            // After a crash, others get to know the next life of this box, and it gets to know them.
            return;
        }
        if kind.is_upgrade() {
            out.record(LINK, |out| {
                LinkFields {
                    broker: link.broker.clone(),
                    to_publish: link.to_publish.iter().copied().collect(),
                    ended: link.ended.clone(),
                    is_claimed: link.is_claimed,
                    wake_at: link.wake_at,
                    conflict_at: link.conflict_at,
                    refused_at: link.refused_at,
                    failed_at: link.failed_at,
                }
                .save(out);
            });
        }
        for (key, room) in &self.rooms {
            if let Some(linked) = &room.link {
                out.record(LINKED_ROOM, |out| {
                    RoomKey::at(key).save(out);
                    linked.save(out);
                });
            }
        }
        for remote in link.remotes.iter() {
            out.record(BOX, |out| remote.save(out));
        }
        out.list(FORMER, link.former.iter().copied());
        out.list(SENDERS, link.remotes.senders().iter().copied());
    }

    /// Adds what a state with this link is recognised by.
    pub(in crate::chat) fn summarize_link(&self, summary: &mut Summary) {
        let Some(link) = &self.link else { return };
        summary.add(link.broker.output().len() as u64);
        for (_, room) in &self.rooms {
            if let Some(linked) = &room.link {
                summary.add(linked.next);
                summary.add(linked.cursor);
                summary.add(linked.roster_hash.0);
            }
        }
        for remote in link.remotes.iter() {
            summary.add(remote.next.boot.number());
            summary.add(remote.next.number);
            summary.add(remote.roster.hash().0);
        }
    }
}

/// The link while it is being loaded.
#[derive(Debug, Default)]
pub(in crate::chat) struct LoadingLink {
    settings: Option<Settings>,
    fields: Option<LinkFields>,
    rooms: Vec<(RoomKey, LinkedRoom)>,
    boxes: Vec<Remote>,
    former: Vec<(Name, EventId)>,
    senders: Vec<Sender>,
}

impl LoadingLink {
    /// Begins to load a link. Without settings, there is none any more.
    pub fn new(settings: Option<Settings>) -> LoadingLink {
        LoadingLink {
            settings,
            ..LoadingLink::default()
        }
    }

    /// Takes a record of the link; false if it is another's.
    pub fn take(
        &mut self,
        tag: Tag,
        fields: &mut Fields<'_>,
        room_now: impl Fn(RoomKey) -> Result<RoomKey, Damage>,
    ) -> Result<bool, Damage> {
        match tag {
            LINK => {
                let mut link: LinkFields = Part::load(fields);
                for key in &mut link.to_publish {
                    *key = room_now(*key)?;
                }
                self.fields = Some(link);
            }
            LINKED_ROOM => {
                let key = room_now(RoomKey::load(fields))?;
                if self.rooms.last().is_some_and(|&(last, _)| last >= key) {
                    return Err(IMPOSSIBLE);
                }
                self.rooms.push((key, Part::load(fields)));
            }
            BOX => {
                let mut remote = Remote::load(fields);
                remote.room = room_now(RoomKey(remote.room))?.0;
                if !remote.is_sound() {
                    return Err(IMPOSSIBLE);
                }
                self.boxes.push(remote);
            }
            FORMER => self.former.append(&mut fields.list()),
            SENDERS => self.senders.append(&mut fields.list()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Says which rooms span boxes and stay, before anything happens in them.
    pub fn mark_rooms(&mut self, chat: &mut Chat) -> Result<(), Damage> {
        let Some(settings) = &self.settings else {
            return Ok(());
        };
        for &name in settings.rooms.named() {
            if let Some(key) = chat.room_named(name) {
                chat.rooms[key.index()].is_permanent = true;
            }
        }
        for (key, linked) in std::mem::take(&mut self.rooms) {
            let room = &mut chat.rooms[key.index()];
            if !linked.is_sound(&room.log) {
                return Err(IMPOSSIBLE);
            }
            if settings.rooms.include(room.name) {
                room.link = Some(Box::new(linked));
            }
        }
        Ok(())
    }

    /// Joins the link to a chat whose sessions and rooms are loaded.
    pub fn finish(self, kind: Kind, chat: &mut Chat, at: Millis) -> Result<(), Damage> {
        let Some(settings) = self.settings else {
            return Ok(());
        };
        let packet_bytes_max = packet_bytes_max(&chat.limits);
        let mut link = Link::new(settings);
        for mut remote in self.boxes {
            let is_linked = |key: RoomKey| chat.rooms[key.index()].link.is_some();
            if !is_linked(RoomKey(remote.room)) {
                continue;
            }
            if !kind.is_upgrade() {
                // Nobody could hear it while there was no server.
                remote.forgive(at);
            }
            if !link.remotes.load(remote) {
                return Err(IMPOSSIBLE);
            }
        }
        link.remotes.load_senders(self.senders)?;
        if self.former.len() > ENDED_ROOMS_MAX {
            return Err(IMPOSSIBLE);
        }
        link.former = self.former;
        if let Some(fields) = self.fields.filter(|_| kind.is_upgrade()) {
            let are_queued = fields.to_publish.iter().all(|key| {
                let linked = chat.rooms[key.index()].link.as_ref();
                linked.is_some_and(|linked| linked.is_queued)
            });
            let queued = chat.rooms.iter().filter_map(|(_, room)| room.link.as_ref());
            let queued = queued.filter(|linked| linked.is_queued).count();
            let mut once = fields.to_publish.clone();
            once.sort_unstable();
            once.dedup();
            if !fields.broker.is_sound(packet_bytes_max)
                || !are_queued
                || queued != once.len()
                || once.len() != fields.to_publish.len()
                || fields.ended.len() > ENDED_ROOMS_MAX
            {
                return Err(IMPOSSIBLE);
            }
            link.broker = fields.broker;
            link.to_publish = fields.to_publish.into();
            link.ended = fields.ended;
            link.is_claimed = fields.is_claimed;
            link.wake_at = fields.wake_at;
            link.conflict_at = fields.conflict_at;
            link.refused_at = fields.refused_at;
            link.failed_at = fields.failed_at;
        } else {
            for (_, room) in &mut chat.rooms {
                if let Some(linked) = &mut room.link {
                    linked.begin_again();
                }
            }
        }
        for (_, room) in &mut chat.rooms {
            let Some(linked) = &mut room.link else {
                continue;
            };
            linked.roster_hash = RosterHash::default();
            let (members, _) = room.members.keys_after(None);
            for member in members.map(|key| &chat.sessions[key as usize]) {
                linked.roster_hash.add(member.name, member.mode);
            }
        }
        chat.link = Some(Box::new(link));
        chat.open_linked_rooms(at);
        Ok(())
    }
}
