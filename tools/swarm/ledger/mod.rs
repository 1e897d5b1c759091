//! What is known of the rooms' events, and whether everybody gets them.
//!
//! A room's events are numbered without gaps, and all its members get the same. So it is
//! enough to know for each event which message it is, and for each receiver the number of its next
//! event: then nobody misses a message, gets it twice or out of order without being found out.
//! Which message an event is, is learnt from the receiver that has it first and from the reply
//! that its sender gets; the two have to agree, and the others' lines are compared as bytes.
//!
//! People are shown no numbers. For them, each event that they see is the next one; the two then only
//! agree if nothing is missing, comes twice or out of order.

mod room;

use crate::line::{self, Line};
pub use room::Message;
use room::{Room, What};
use tools::latency::Latencies;

/// How far a session has come in a room's events.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    pub room: u32,
    /// The number of the event that it is to get next.
    pub next: u64,
    pub form: Form,
}

/// How a session gets events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Push,
    Pull,
    /// As people see them.
    Talk,
}

#[derive(Clone, Copy, Default)]
struct Sender {
    room: u32,
    /// Messages that are known from events, up to this number, the newest of which is this event.
    known: u32,
    known_seq: u64,
    /// Messages that got an OK, the newest of which is this event.
    confirmed: u32,
    confirmed_seq: u64,
}

/// All rooms, and what was counted.
pub struct Ledger {
    rooms: Vec<Room>,
    senders: Vec<Sender>,
    /// A message's length, in bytes.
    size: usize,
    /// Messages that were said and are not known to have reached their senders' receivers all.
    pub in_flight: u64,
    pub deliveries: u64,
    pub pull_deliveries: u64,
    /// Events that LOST told of.
    pub lost: u64,
    pub latencies: Latencies,
    pub pull_latencies: Latencies,
}

/// What was wanted, or what is wrong with what came.
pub type Checked<T> = Result<T, String>;

impl Ledger {
    /// Nothing is known of `rooms` rooms, nor of `senders` senders, spread evenly over them, of
    /// messages of `size` bytes.
    pub fn new(rooms: usize, senders: usize, size: usize) -> Ledger {
        let sender = |index| Sender {
            room: (index % rooms) as u32,
            ..Sender::default()
        };
        Ledger {
            rooms: (0..rooms).map(|_| Room::default()).collect(),
            senders: (0..senders).map(sender).collect(),
            size,
            in_flight: 0,
            deliveries: 0,
            pull_deliveries: 0,
            lost: 0,
            latencies: Latencies::default(),
            pull_latencies: Latencies::default(),
        }
    }

    /// One of ours has joined a room with this event.
    pub fn joined(&mut self, room: u32, seq: u64) {
        let room = &mut self.rooms[room as usize];
        room.joined = room.joined.max(seq);
    }

    /// Nobody gets what has happened until now: receivers have still to join.
    pub fn start(&mut self) {
        for room in &mut self.rooms {
            room.base = room.joined + 1;
        }
    }

    /// The number of a room's next event, for all that is known.
    pub fn end(&self, room: u32) -> u64 {
        let room = &self.rooms[room as usize];
        room.end().max(room.joined + 1)
    }

    /// The first event that all in a room are to get.
    pub fn opened(&self, room: u32) -> u64 {
        self.rooms[room as usize].opened
    }

    /// From now on everybody who is there gets each event, after what was before.
    pub fn open(&mut self, room: u32, receivers: u32, pulls: u32) {
        let room = &mut self.rooms[room as usize];
        room.base = room.end().max(room.joined + 1);
        room.opened = room.base;
        room.entries.clear();
        room.holes = 0;
        room.receivers = Some(receivers);
        room.pulls = pulls;
    }

    /// Takes whole lines from the beginning of `bytes`, up to `lines_max`, while others got the same
    /// ones. Returns their bytes and their number.
    pub fn take_known(
        &mut self,
        reader: &mut Reader,
        bytes: &[u8],
        lines_max: u32,
        now_us: u64,
    ) -> (usize, u32) {
        let room = &mut self.rooms[reader.room as usize];
        let (latencies, deliveries) = match reader.form {
            Form::Pull => (&mut self.pull_latencies, &mut self.pull_deliveries),
            Form::Push | Form::Talk => (&mut self.latencies, &mut self.deliveries),
        };
        let Some(place) = reader.next.checked_sub(room.base) else {
            return (0, 0);
        };
        let (mut at, mut lines) = (0, 0);
        for entry in room
            .entries
            .range_mut(room.entries.len().min(place as usize)..)
        {
            let text = entry.text(reader.form);
            let len = text.len();
            if lines == lines_max || text.is_empty() || !bytes[at..].starts_with(text) {
                break;
            }
            at += len;
            lines += 1;
            self.in_flight -= u64::from(entry.pass(reader.form));
            if let What::Said(_) = entry.what {
                *deliveries += 1;
                latencies.record(now_us.saturating_sub(entry.stamp_us));
            }
        }
        reader.next += u64::from(lines);
        room.trim();
        (at, lines)
    }

    /// Takes an event that is not what others got before: because nobody has, or because something is
    /// wrong with it. `whole` is the line with its end.
    pub fn take_event(
        &mut self,
        reader: &mut Reader,
        whole: &[u8],
        event: &Line,
        now_us: u64,
    ) -> Checked<()> {
        let (seq, said) = match *event {
            Line::Message { seq, name, text } => (seq, self.message(name, text)?),
            Line::Event { seq } => (seq, None),
            _ => unreachable!("only events are taken"),
        };
        if seq != reader.next {
            return Err(out_of_order(seq, reader.next));
        }
        let what = said.map_or(What::Other, |(message, _)| What::Said(message));
        let place = self.rooms[reader.room as usize].place(seq)?;
        self.learn(reader.room, place, what)?;
        let room = &mut self.rooms[reader.room as usize];
        let entry = &mut room.entries[place];
        let text = entry.text_mut(reader.form);
        if !text.is_empty() && **text != *whole {
            return Err(format!("event {seq} is not what others got"));
        }
        *text = whole.into();
        entry.stamp_us = said.map_or(0, |(_, stamp_us)| stamp_us);
        self.take_known(reader, whole, 1, now_us);
        Ok(())
    }

    /// Takes a LOST: it has to tell exactly how many events are missing.
    pub fn take_lost(&mut self, reader: &mut Reader, count: u64, next: u64) -> Checked<()> {
        if next.checked_sub(count) != Some(reader.next) || count == 0 {
            return Err(format!(
                "LOST {count} {next} does not fit: the next event was to be {}",
                reader.next
            ));
        }
        let room = &mut self.rooms[reader.room as usize];
        room.place(next - 1)?;
        for seq in reader.next..next {
            let place = room.place(seq)?;
            self.in_flight -= u64::from(room.entries[place].pass(reader.form));
        }
        reader.next = next;
        self.lost += count;
        room.trim();
        Ok(())
    }

    /// How many of a sender's messages got an OK.
    pub fn confirmed(&self, sender: u32) -> u32 {
        self.senders[sender as usize].confirmed
    }

    /// A sender's next message got an OK: it is this event.
    pub fn confirm(&mut self, index: u32, seq: u64) -> Checked<()> {
        let sender = self.senders[index as usize];
        let number = sender.confirmed;
        if seq <= sender.confirmed_seq {
            return Err(format!(
                "its message {number} is event {seq}, the server says, and the one before was {}",
                sender.confirmed_seq
            ));
        }
        let message = Message {
            sender: index,
            number,
        };
        self.senders[index as usize].confirmed = number + 1;
        self.senders[index as usize].confirmed_seq = seq;
        let room = &mut self.rooms[sender.room as usize];
        if seq < room.base {
            // LOST told of it everybody who was to get it.
            self.in_flight -= 1;
            return Ok(());
        }
        let place = room.place(seq)?;
        self.learn(sender.room, place, What::Said(message))?;
        let room = &mut self.rooms[sender.room as usize];
        room.entries[place].is_confirmed = true;
        self.in_flight -= u64::from(room.entries[place].awaited == 0);
        room.trim();
        Ok(())
    }

    /// What a receiver has not got yet, if there is anything.
    pub fn missing(&self, reader: &Reader) -> Option<String> {
        let room = &self.rooms[reader.room as usize];
        let place = reader.next.checked_sub(room.base)?;
        let entry = room.entries.get(place as usize)?;
        Some(format!("event {}, {}", reader.next, entry.what))
    }

    /// What should not be left when everything has arrived, if there is anything.
    pub fn leftover(&self) -> Option<String> {
        let mut entries = self.rooms.iter().flat_map(|room| &room.entries);
        entries.find_map(|entry| match entry.what {
            What::Said(message) if !entry.is_confirmed => Some(format!(
                "receivers got {message}, and its sender got no OK for it"
            )),
            _ => None,
        })
    }

    /// Learns what an event is, or sees that it is what is known already.
    fn learn(&mut self, room_index: u32, place: usize, what: What) -> Checked<()> {
        let room = &mut self.rooms[room_index as usize];
        let seq = room.base + place as u64;
        let entry = &mut room.entries[place];
        if entry.what == what {
            return Ok(());
        }
        if entry.what != What::Unknown {
            return Err(format!(
                "event {seq} is {what}, and {} to others",
                entry.what
            ));
        }
        entry.what = what;
        room.holes -= 1;
        let What::Said(message) = what else {
            return Ok(());
        };
        let sender = self.senders.get_mut(message.sender as usize);
        let sender = sender.filter(|sender| sender.room == room_index);
        let sender = sender.ok_or_else(|| format!("{message} was not said in this room"))?;
        if seq < sender.known_seq {
            // It was lost to those who are further on, and its sender's OK tells the truth of it.
            return Ok(());
        }
        let next = Message {
            number: sender.known,
            ..message
        };
        if message.number < next.number {
            return Err(format!(
                "event {seq} is {message}, which comes again: {next} was expected"
            ));
        }
        if message.number > next.number && room.holes == 0 {
            return Err(format!(
                "event {seq} is {message}, with {next} missing before it"
            ));
        }
        sender.known = message.number + 1;
        sender.known_seq = seq;
        Ok(())
    }

    /// Which message a text is and when it was said, if it is one of ours.
    fn message(&self, name: &[u8], text: &[u8]) -> Checked<Option<(Message, u64)>> {
        let read = || {
            let (message, stamp_us) = read_message(text, self.size)?;
            let number = line::number(name.strip_prefix(b"s")?)?;
            (number == (message.sender.into(), &[])).then_some((message, stamp_us))
        };
        match read() {
            Some(read) => Ok(Some(read)),
            None => Err(format!(
                "this was not said so by anybody here: {:?} from {}",
                line::shown(text),
                line::shown(name)
            )),
        }
    }
}

/// What fills a message up to its length.
pub const PADDING: u8 = b'.';

/// Which message a text of this length is, and when it was said, if it is one of ours.
pub fn read_message(text: &[u8], size: usize) -> Option<(Message, u64)> {
    let (sender, rest) = line::number(text)?;
    let (number, rest) = line::number(rest)?;
    let (stamp_us, padding) = line::number(rest)?;
    let is_whole = text.len() == size && padding.iter().all(|&b| b == PADDING);
    let message = Message {
        sender: sender.try_into().ok()?,
        number: number.try_into().ok()?,
    };
    is_whole.then_some((message, stamp_us))
}

/// What is wrong with an event that is not the next one.
pub fn out_of_order(seq: u64, next: u64) -> String {
    match seq < next {
        true => format!("event {seq} came again or too late: {next} was next"),
        false => format!("event {seq} came, with {next} missing before it and no LOST"),
    }
}
