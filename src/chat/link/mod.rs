//! Rooms that span boxes: what joins the core to the link.
//!
//! The link is one more reader of each linked room's log, with a cursor of its own: see `outgoing`. What
//! other boxes say is appended to the log like anything else: see `packets` and `incoming`. `link` knows how
//! boxes speak with each other, and nothing of sessions and rooms.

mod check;
mod incoming;
mod outgoing;
mod packets;
mod room;
mod saved;

pub use packets::FromBroker;
pub(super) use room::LinkedRoom;
pub(super) use saved::LoadingLink;

use std::collections::VecDeque;

use super::Chat;
use super::ids::RoomKey;
use crate::link::broker::{Broker, DueBroker, Stage, buffers_bytes_max};
use crate::link::payload::EventId;
use crate::link::remote::{Remote, Standing};
use crate::link::remotes::Remotes;
use crate::link::{Settings, mqtt};
use crate::protocol::{FullName, LifeId, Limits, Name, Output, Reach};
use crate::time::{Millis, Now};

/// How often the log warns of the same thing at most.
const WARNING_PAUSE: Millis = Millis(60_000);
/// The shortest time between two answers with the roster of one room.
const ROSTER_PAUSE: Millis = Millis(500);
/// How long a link has to last to be a good one: a broker that is tried again after less than that may not
/// be there for long either.
const LASTING: Millis = Millis(5_000);
/// The most rooms that were freed and whose numbers are remembered, and the most of which other boxes do not
/// know that yet.
const ENDED_ROOMS_MAX: usize = 64;

/// The most bytes of a state that go to each thing.
const ROOM_STATE_BYTES: u64 = 192;
const REMOTE_STATE_BYTES: u64 = 384;
const MEMBER_STATE_BYTES: u64 = 2 * 40;
const BROKER_STATE_BYTES: u64 = 256 * 1024;

/// The link, as the core has it.
#[derive(Debug)]
pub(super) struct Link {
    pub settings: Settings,
    pub broker: Broker,
    pub remotes: Remotes,
    /// The rooms whose logs may have events to publish.
    to_publish: VecDeque<RoomKey>,
    /// Rooms that were freed, and what number their next own event would have had.
    ended: Vec<(Name, EventId)>,
    /// The numbers with which freed rooms go on if they are made again, the newest last: so others know how
    /// many events they have missed of a log that has gone.
    former: Vec<(Name, EventId)>,
    /// Boxes with events for a room that go on when the hub has served the room's members. There are
    /// none between two turns.
    unfinished: Vec<(RoomKey, Name)>,
    /// The rooms whose roster has just gone out, and when.
    rosters: Vec<(RoomKey, Millis)>,
    /// Somebody claims this box's name.
    is_claimed: bool,
    /// When the link came up; `None` if the program before an upgrade knew it.
    linked_at: Option<Millis>,
    /// The log says that it is up.
    is_logged_up: bool,
    /// No deadline comes before this.
    wake_at: Millis,
    /// When the log has warned last: of another box of this name, of payloads that make no sense, of a
    /// broker that cannot be reached.
    conflict_at: Option<Millis>,
    refused_at: Option<Millis>,
    failed_at: Option<Millis>,
}

impl Link {
    fn new(settings: Settings) -> Link {
        Link {
            remotes: Remotes::new(settings.members_max),
            settings,
            broker: Broker::default(),
            to_publish: VecDeque::new(),
            ended: Vec::new(),
            former: Vec::new(),
            unfinished: Vec::new(),
            rosters: Vec::new(),
            is_claimed: false,
            linked_at: None,
            is_logged_up: false,
            wake_at: Millis(0),
            conflict_at: None,
            refused_at: None,
            failed_at: None,
        }
    }

    /// Remembers with which number a room goes on that is freed.
    fn remember(&mut self, room: Name, next: EventId) {
        self.former
            .retain(|(name, _)| name.folded() != room.folded());
        if self.former.len() >= ENDED_ROOMS_MAX {
            self.former.remove(0);
        }
        self.former.push((room, next));
    }

    /// The number with which a room goes on, if it is remembered.
    fn recall(&self, room: Name) -> Option<EventId> {
        let mut former = self.former.iter();
        former.find_map(|&(name, next)| (name.folded() == room.folded()).then_some(next))
    }

    /// Whether a room's roster may go out: it has not done so just now.
    fn may_send_roster(&mut self, key: RoomKey, at: Millis) -> bool {
        self.rosters.retain(|&(_, sent)| sent + ROSTER_PAUSE > at);
        let may = self.rosters.iter().all(|&(room, _)| room != key);
        if may {
            self.rosters.push((key, at));
        }
        may
    }

    /// Lets the hub look at deadlines again by then.
    fn wake(&mut self, when: Millis) {
        self.wake_at = self.wake_at.min(when);
    }

    /// Whether the log may warn again, if it has warned at `last`.
    fn may_warn(last: &mut Option<Millis>, at: Millis) -> bool {
        let may = last.is_none_or(|last| last + WARNING_PAUSE <= at);
        if may {
            *last = Some(at);
        }
        may
    }
}

/// The longest packet that a box takes, in bytes.
pub(super) fn packet_bytes_max(limits: &Limits) -> usize {
    8192.max(limits.message_bytes_max + 512)
}

impl Chat {
    /// Makes rooms span boxes. Those that settings name are opened.
    pub fn set_link(&mut self, settings: Settings, now: Now) {
        self.link = Some(Box::new(Link::new(settings)));
        self.open_linked_rooms(now.at);
    }

    /// Opens the rooms that always span boxes, and lets all others do so that should.
    fn open_linked_rooms(&mut self, at: Millis) {
        let link = self.link.as_ref();
        let named = link.map_or(Vec::new(), |link| link.settings.rooms.named().to_vec());
        for name in named {
            let key = self.room_named(name);
            let key = key.unwrap_or_else(|| self.open_room(name));
            self.kept.remove(&mut self.rooms, key);
            self.rooms[key.index()].is_permanent = true;
        }
        for key in self.rooms.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.link_room(RoomKey::at(key), at);
        }
    }

    /// This box's name, if its rooms span boxes.
    pub(super) fn link_name(&self) -> Option<Name> {
        self.link.as_ref().map(|link| link.settings.name)
    }

    /// Makes a room span boxes, if settings say so and it does not yet.
    pub(super) fn link_room(&mut self, key: RoomKey, at: Millis) {
        let Some(link) = &mut self.link else { return };
        let room = &mut self.rooms[key.index()];
        if room.link.is_some() || !link.settings.rooms.include(room.name) {
            return;
        }
        let mut linked = match link.recall(room.name) {
            Some(former) => LinkedRoom::going_on(former, room.log.next()),
            None => LinkedRoom::new(self.logs_begun, room.log.next()),
        };
        let (members, _) = room.members.keys_after(None);
        for member in members.map(|key| &self.sessions[key as usize]) {
            linked.roster_hash.add(member.name, member.mode);
        }
        linked.digest_at = at;
        link.wake(at);
        room.link = Some(Box::new(linked));
    }

    /// Notes that a linked room is about to be freed.
    pub(super) fn unlink_room(&mut self, key: RoomKey) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        self.publish_last(&mut link, key);
        let room = &mut self.rooms[key.index()];
        if let Some(linked) = room.link.take() {
            link.remotes.remove_room(key.0);
            link.to_publish.retain(|&other| other != key);
            let next = linked.id(self.boot, linked.next);
            link.remember(room.name, next);
            if link.ended.len() < ENDED_ROOMS_MAX {
                link.ended.push((room.name, next));
            }
        }
        self.link = Some(link);
    }

    /// Whether the hub should open a stream to the broker now.
    pub fn wants_broker(&self, now: Now) -> bool {
        (self.link.as_ref()).is_some_and(|link| link.broker.wants_stream(now.past))
    }

    /// Whether rooms span boxes.
    pub fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// Whether there is a stream to the broker, in the core's eyes.
    pub fn has_broker(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.broker.is_open())
    }

    /// Begins to speak with the broker on a new stream.
    pub fn open_broker(&mut self, now: Now) {
        let boot = self.boot;
        let Some(link) = &mut self.link else { return };
        let settings = &link.settings;
        let login = settings.login.as_ref();
        let name = settings.name.as_str();
        let connect = mqtt::Connect {
            client_id: &format!("{}-{boot}", &name[..name.len().min(6)]),
            keep_alive_s: crate::link::broker::KEEP_ALIVE_S,
            login: login.map(|login| (login.user.as_str(), login.password.as_str())),
            will_topic: &outgoing::topic(settings, crate::link::topic::Topic::Gone).to_string(),
            will: &crate::link::payload::Payload::Gone { boot }.to_string(),
        };
        link.broker.open(&connect, now.at);
        link.wake(Millis(0));
    }

    /// Notes that the stream to the broker is gone, or could not be opened, for a reason.
    pub fn close_broker(&mut self, reason: &str, now: Now) {
        let luck = LifeId::new(self.boot.number() ^ now.at.0);
        let Some(link) = &mut self.link else { return };
        match link.broker.stage() {
            // It waits because another box has the name.
            Stage::Closed { until } if until > now.at => {}
            Stage::Linked => {
                let lasted = |least| link.linked_at.is_none_or(|since| since + least <= now.at);
                if lasted(LASTING) {
                    link.broker.forget_failures();
                }
                // That of one that was there for long is no part of a series, and an attempt that fails next
                // may say why.
                let is_first = lasted(WARNING_PAUSE);
                if is_first || Link::may_warn(&mut link.failed_at, now.at) {
                    log::warn!(
                        "the link through {} is down: {reason}",
                        link.settings.broker
                    );
                    link.is_logged_up = false;
                }
                if is_first {
                    link.failed_at = None;
                }
                link.broker.close(luck, now.at);
            }
            Stage::Closed { .. } | Stage::Greeting { .. } | Stage::Claiming { .. } => {
                if Link::may_warn(&mut link.failed_at, now.at) {
                    let broker = &link.settings.broker;
                    log::warn!("there is no link through {broker}: {reason}; trying again");
                    link.is_logged_up = false;
                }
                link.broker.close(luck, now.at);
            }
        }
        link.wake(Millis(0));
        for (_, room) in &mut self.rooms {
            if let Some(linked) = &mut room.link {
                linked.is_subscribed = false;
            }
        }
    }

    /// When to ask for what is due on the link.
    pub(super) fn link_deadline(&self) -> Option<Millis> {
        self.link.as_ref().map(|link| link.wake_at)
    }

    /// Does what is due on the link. Returns whether the hub has to close the stream, and why.
    pub fn link_due(&mut self, now: Now) -> Option<&'static str> {
        let mut link = self.link.take_if(|link| link.wake_at <= now.past)?;
        link.wake_at = Millis::NEVER;
        let mut closes = None;
        match link.broker.due(now.past, now.at) {
            None | Some(DueBroker::Asked) => {}
            Some(DueBroker::Dead) => closes = Some("the broker does not answer"),
            Some(DueBroker::Linked) => self.begin_link(&mut link, now),
        }
        self.settle_remotes(&mut link, now);
        self.plan_digests(&mut link, now);
        let hold = Millis::from_secs(link.settings.hold_s);
        let deadlines = link.remotes.iter().map(|remote| remote.deadline(hold));
        let earliest = deadlines.fold(link.broker.deadline(now.past), Millis::min);
        link.wake(earliest);
        self.link = Some(link);
        closes
    }

    /// Begins to link rooms: the broker has accepted the connection, and the name is this box's.
    fn begin_link(&mut self, link: &mut Link, now: Now) {
        // A link that comes and goes is logged when it is logged that it has gone.
        if !std::mem::replace(&mut link.is_logged_up, true) {
            log::info!("linked as {}", link.settings.name);
        }
        link.linked_at = Some(now.at);
        self.stats.link_connects += 1;
        // What was published meanwhile has not come.
        link.remotes.ask_all(now.at);
        link.to_publish.clear();
        for (key, room) in &mut self.rooms {
            if let Some(linked) = &mut room.link {
                linked.skip_backlog(&room.log);
                linked.is_subscribed = false;
                linked.digest_at = now.at;
                linked.is_queued = true;
                link.to_publish.push_back(RoomKey::at(key));
            }
        }
    }

    /// How many members of other boxes are listed in a room.
    pub(super) fn remote_members(&self, key: RoomKey) -> u64 {
        let remotes = self.remote_in(key).iter();
        remotes.map(|o| o.roster.members().len() as u64).sum()
    }

    /// The other boxes in a room, by name.
    pub(super) fn remote_in(&self, key: RoomKey) -> &[Remote] {
        match &self.link {
            Some(link) => link.remotes.in_room(key.0),
            None => &[],
        }
    }

    /// The members of other boxes in a room behind a name, box by box, each by name.
    pub(super) fn remote_members_after(
        &self,
        key: RoomKey,
        after: Option<FullName>,
        now: Now,
    ) -> impl Iterator<Item = Output<'static>> {
        let after = after.and_then(|after| Some((after.at?.folded(), after.name.folded())));
        let remotes = self.remote_in(key).iter();
        let behind = remotes.filter(move |o| after.is_none_or(|(at, _)| o.name.folded() >= at));
        behind.flat_map(move |remote| {
            let of_box = after.filter(|&(at, _)| at == remote.name.folded());
            let members = remote.roster.after(of_box.map(|(_, name)| name));
            let (reach, since) = match remote.standing() {
                Standing::Lost { since } | Standing::Meeting { lost: Some(since) } => {
                    (Reach::Away, since)
                }
                Standing::Linked | Standing::Meeting { lost: None } => {
                    (Reach::Linked, remote.heard_at())
                }
            };
            members.iter().map(move |member| Output::RemoteMember {
                name: FullName {
                    name: member.name,
                    at: Some(remote.name),
                },
                mode: member.mode,
                reach,
                since_s: now.at.since(since).secs(),
            })
        })
    }

    /// The most that the link takes with at most `members_max` members of other boxes, in bytes.
    pub fn link_memory_bytes_max(limits: &Limits, members_max: usize) -> u64 {
        let rooms = limits.rooms_at_once_max() as u64;
        let buffers = 2 * 2 * buffers_bytes_max(packet_bytes_max(limits)) as u64;
        buffers
            + Remotes::memory_bytes_max(members_max)
            + rooms * (size_of::<LinkedRoom>() as u64 + 32 + 2 * size_of::<RoomKey>() as u64)
            + rooms * 2 * size_of::<(RoomKey, Millis)>() as u64
            + (2 * ENDED_ROOMS_MAX * 2 * size_of::<(Name, EventId)>()) as u64
    }

    /// The most that the link adds to a state without connections, in bytes.
    pub fn link_state_bytes_max(limits: &Limits, members_max: usize) -> u64 {
        let (rooms, members) = (limits.rooms_at_once_max() as u64, members_max as u64);
        rooms * ROOM_STATE_BYTES
            + members * (REMOTE_STATE_BYTES + MEMBER_STATE_BYTES)
            + BROKER_STATE_BYTES
    }

    /// Lets the hub look at the link's deadlines by then.
    pub(super) fn wake_link(&mut self, when: Option<Millis>) {
        if let Some((link, when)) = self.link.as_mut().zip(when) {
            link.wake(when);
        }
    }

    /// How many other boxes this one knows in some room.
    pub(super) fn link_boxes(&self) -> u64 {
        (self.link.as_ref()).map_or(0, |link| link.remotes.boxes() as u64)
    }

    /// How many members of other boxes are listed.
    pub(super) fn link_members(&self) -> u64 {
        (self.link.as_ref()).map_or(0, |link| link.remotes.listed() as u64)
    }

    /// Whether [`read_packet`](Self::read_packet) has to go on with something that waits for the hub to
    /// serve rooms.
    pub fn is_link_unfinished(&self) -> bool {
        (self.link.as_ref()).is_some_and(|link| !link.unfinished.is_empty())
    }

    /// Whether the link carries events.
    pub fn is_linked(&self) -> bool {
        (self.link.as_ref()).is_some_and(|link| link.broker.stage() == Stage::Linked)
    }
}
