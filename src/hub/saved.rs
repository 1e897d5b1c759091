//! Saves connections, and everything that they take part in.

use std::mem::ManuallyDrop;

use slab::Slab;

use super::Hub;
use super::conn::{Conn, Transport};
use super::edit::EDITORS_MAX;
use super::link::BrokerStream;
use crate::chat::{ConnId, Head, Kind, LoadingChat, Peer};
use crate::link::Settings;
use crate::protocol::{LifeId, Limits};
use crate::state::{Damage, IMPOSSIBLE, Part, Reader, Summary, Tag, Writer, pass_over, saved};
use crate::time::{Millis, Now, Zone};

/// What belongs to no single connection.
const HUB: Tag = *b"HUB ";
const CONNECTION: Tag = *b"CONN";

/// What belongs to no single connection.
#[derive(Debug, Default)]
struct HubFields {
    horizon: Millis,
    held_back: Option<(Millis, u32)>,
    turn: u32,
    to_read: Vec<ConnId>,
    to_write: Vec<ConnId>,
    broker: Option<BrokerFields>,
}

saved!(struct HubFields { horizon, held_back, turn, to_read, to_write, broker });

/// The stream to the broker.
#[derive(Debug)]
struct BrokerFields {
    /// Its number.
    number: u32,
    /// Whether it is to this machine's user, and so a Unix socket.
    is_unix: bool,
    is_readable: bool,
    is_writable: bool,
}

saved!(struct BrokerFields { number, is_unix, is_readable, is_writable });

/// A hub that was loaded.
pub struct Loaded<T> {
    /// It.
    pub hub: Hub<T>,
    /// How many sessions the state has. Some may have ended by being loaded.
    pub sessions: usize,
}

impl<T: Transport> Hub<T> {
    /// Appends to a state of a kind all that the next program needs to go on: sessions, rooms, and for an
    /// upgrade connections, each with the [number](Transport::number) of its stream.
    pub fn save(&self, kind: Kind, out: &mut Writer<'_>) {
        self.chat.save(kind, out);
        if !kind.is_upgrade() {
            return;
        }
        // A turn may close a connection that it has listed for the next.
        let open = |list: &[ConnId]| {
            let is_open = |key: &ConnId| self.conns.contains(key.index());
            list.iter().copied().filter(is_open).collect()
        };
        out.record(HUB, |out| {
            HubFields {
                horizon: self.horizon,
                held_back: self.held_back,
                turn: self.turn,
                to_read: open(&self.to_read),
                to_write: open(&self.to_write),
                broker: self.broker.as_ref().map(|broker| BrokerFields {
                    number: broker.stream.number(),
                    is_unix: broker.stream.may_read_in_part(),
                    is_readable: broker.is_readable,
                    is_writable: broker.is_writable,
                }),
            }
            .save(out);
        });
        for (_, conn) in &self.conns {
            out.record(CONNECTION, |out| conn.save(out));
        }
    }

    /// Loads what [`save`](Self::save) has written, up to the state's end. `stream_of` finds the
    /// connections' streams again by their numbers; only a state for an upgrade has any.
    ///
    /// # Errors
    ///
    /// If the state is damaged, or has more than the limits allow. The streams then stay open: whoever
    /// wrote the state can go on with them.
    pub fn load(
        reader: &mut Reader<'_>,
        head: &Head,
        limits: Limits,
        zone: Zone,
        link: Option<Settings>,
        mut stream_of: impl FnMut(u32, &Peer) -> T,
    ) -> Result<Loaded<T>, Damage> {
        let mut chat = LoadingChat::new(head, limits, zone, link);
        let mut fields = HubFields::default();
        let mut conns = ManuallyDrop::new(Vec::new());
        while let Some((tag, mut record)) = reader.next_record()? {
            match tag {
                HUB => fields = Part::load(&mut record),
                CONNECTION if head.kind.is_upgrade() => {
                    let conn = Conn::load(&mut record, &limits, &mut stream_of)?;
                    conns.push(conn);
                    let conn = conns.last_mut().expect("it has just been pushed");
                    chat.take_caller(&mut conn.caller)?;
                }
                _ if chat.take(tag, &mut record)? => {}
                _ => pass_over(tag)?,
            }
            record.check()?;
        }
        let (chat, sessions) = chat.finish()?;
        if chat.has_broker() != fields.broker.is_some() {
            return Err(IMPOSSIBLE);
        }
        let broker = fields.broker.map(|broker| {
            let peer = match broker.is_unix {
                true => Peer::Local { user: 0 },
                false => Peer::V4([0; 4], 0),
            };
            let stream = stream_of(broker.number, &peer);
            ManuallyDrop::new(BrokerStream {
                // If it has ended, the poll says so again.
                is_read_in_part: stream.may_read_in_part(),
                stream,
                is_readable: broker.is_readable,
                is_writable: broker.is_writable,
                has_output: broker.is_writable,
            })
        });
        let is_edited = |conn: &&Conn<T>| conn.editing.is_some();
        let editors = conns.iter().filter(is_edited).count();
        if editors > EDITORS_MAX || fields.horizon > head.at {
            return Err(IMPOSSIBLE);
        }
        let conns = ManuallyDrop::new(
            ManuallyDrop::into_inner(conns)
                .into_iter()
                .map(|conn| (conn.caller.conn().index(), conn))
                .collect::<Slab<_>>(),
        );
        for list in [&fields.to_read, &fields.to_write] {
            if !list.iter().all(|key| conns.contains(key.index())) {
                return Err(IMPOSSIBLE);
            }
        }
        let mut hub = Hub {
            chat,
            conns: ManuallyDrop::into_inner(conns),
            broker: broker.map(ManuallyDrop::into_inner),
            editors,
            horizon: fields.horizon,
            held_back: fields.held_back,
            turn: fields.turn,
            ..Hub::new(limits, head.boot, zone)
        };
        fields
            .to_read
            .into_iter()
            .for_each(|key| hub.read_later(key));
        fields
            .to_write
            .into_iter()
            .for_each(|key| hub.write_later(key));
        Ok(Loaded { hub, sessions })
    }

    /// What a state with all this is recognised by.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        summary.connections = self.conns.len() as u64;
        self.chat.summarize(&mut summary);
        if let Some(broker) = &self.broker {
            summary.add(broker.stream.number().into());
        }
        for (key, conn) in &self.conns {
            summary.add(key as u64);
            summary.add(conn.stream.number().into());
            summary.add(conn.out_len() as u64);
            summary.add(conn.in_len() as u64);
        }
        summary
    }

    /// Goes on with a state of another run of the server that has come to a good end. See
    /// [`Chat::go_on`](crate::chat::Chat::go_on).
    pub fn go_on(&mut self, now: Now) {
        self.chat.go_on(now);
    }

    /// Goes on with the rooms of another run that came to no good end. See
    /// [`Chat::recover`](crate::chat::Chat::recover).
    pub fn recover(&mut self, boot: LifeId) {
        self.chat.recover(boot);
    }

    /// Begins to save for the case that the server comes to no good end. See
    /// [`Chat::begin_save`](crate::chat::Chat::begin_save).
    pub fn begin_save(&mut self) {
        self.chat.begin_save();
    }

    /// Notes whether what was saved since [`begin_save`](Self::begin_save) is on disk.
    pub fn end_save(&mut self, is_on_disk: bool) {
        self.chat.end_save(is_on_disk);
    }

    /// Whether a room has used up half of its promised numbers, so that the next save should not wait.
    pub fn is_save_urgent(&self) -> bool {
        self.chat.is_save_urgent()
    }

    /// A number that changes whenever something changes that a save is for.
    pub fn changes(&self) -> u64 {
        self.chat.changes()
    }
}
