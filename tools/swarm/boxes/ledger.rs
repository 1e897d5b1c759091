//! What the members of all boxes get, and whether that is right.
//!
//! All members of a box get the same lines under the same numbers, so these are compared as bytes. Which of
//! them come from another box, and what the box says of others, is compared once, when the first member
//! gets the line: see [`pair`](super::pair).

use tools::latency::Latencies;

use super::event::{Deed as DeedRead, Event, Kind, Numbered, Sign};
use super::log::{Entry, Log};
use super::pair::{Counts, Deed, Pair};
use crate::ledger::{Checked, Message, out_of_order, read_message};
use crate::line::shown;

/// How far a session has come in a room's events.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// The box where it is, and the room.
    pub home: usize,
    pub room: usize,
    /// The number of the event that it is to get next.
    pub next: u64,
    pub is_pull: bool,
}

/// A session that says messages: where, and how far it has come.
#[derive(Clone, Copy)]
struct Sender {
    home: usize,
    room: usize,
    /// The number of its first message in the present life of its box.
    first: u32,
    /// How many messages it has said, how many are known to be carried out, and how many members have got.
    said: u32,
    confirmed: u32,
    known: u32,
}

struct Room {
    /// For each box.
    logs: Vec<Log>,
    /// For each box, what it passes on from each.
    pairs: Vec<Vec<Pair>>,
}

/// What was counted.
#[derive(Default)]
pub struct Tally {
    /// Messages that members got; those from another box, and those of pull sessions, among them.
    pub deliveries: u64,
    pub remote_deliveries: u64,
    pub pull_deliveries: u64,
    /// Events that LOST told of.
    pub lost: u64,
    /// Of each box's log: what came from others, and what the box said of others.
    pub remote_joined: u64,
    pub remote_left: u64,
    pub splits: u64,
    pub heals: u64,
    pub missed: u64,
    pub latencies: Latencies,
    pub remote_latencies: Latencies,
}

pub struct Ledger {
    size: usize,
    /// The boxes' names.
    names: Vec<String>,
    senders: Vec<Sender>,
    rooms: Vec<Room>,
    pub tally: Tally,
}

impl Ledger {
    /// Nothing is known of boxes with these names. On each, as many senders say messages of `size` bytes,
    /// spread evenly over the rooms.
    pub fn new(names: Vec<String>, rooms: usize, senders: usize, size: usize) -> Ledger {
        let boxes = names.len();
        let sender = |index| Sender {
            home: index / senders,
            room: index % senders % rooms,
            first: 0,
            said: 0,
            confirmed: 0,
            known: 0,
        };
        let room = || Room {
            logs: (0..boxes).map(|_| Log::default()).collect(),
            pairs: (0..boxes)
                .map(|_| (0..boxes).map(|_| Pair::new(0)).collect())
                .collect(),
        };
        Ledger {
            size,
            senders: (0..boxes * senders).map(sender).collect(),
            rooms: (0..rooms).map(|_| room()).collect(),
            names,
            tally: Tally::default(),
        }
    }

    /// A box begins another life, or its first.
    pub fn begin_life(&mut self, home: usize) {
        for room in 0..self.rooms.len() {
            let said = self.said_by(home, room);
            let Room { logs, pairs } = &mut self.rooms[room];
            logs[home].begin_life(&said);
            for (origin, pair) in pairs[home].iter_mut().enumerate() {
                *pair = Pair::new(logs[origin].lives.len().saturating_sub(1));
            }
            let is_first = logs[home].lives.len() == 1;
            for pairs in pairs.iter_mut().filter(|_| !is_first) {
                pairs[home].origin_begins_life();
            }
        }
        for sender in self.senders.iter_mut().filter(|s| s.home == home) {
            (sender.first, sender.confirmed, sender.known) =
                (sender.said, sender.said, sender.said);
        }
    }

    /// A member has joined with this event: on this box nobody was in the room before, if it is the first.
    pub fn joined(&mut self, home: usize, room: usize, seq: u64) {
        self.rooms[room].logs[home].begin(seq);
    }

    /// The next message of a sender, which is said now.
    pub fn say(&mut self, sender: u32) -> Message {
        let number = self.senders[sender as usize].said;
        self.senders[sender as usize].said += 1;
        Message { sender, number }
    }

    /// How many messages a sender has said.
    pub fn said(&self, sender: u32) -> u32 {
        self.senders[sender as usize].said
    }

    /// A sender's next message got an OK: it is this event.
    pub fn confirm(&mut self, sender: u32, seq: u64) -> Checked<()> {
        let found = &mut self.senders[sender as usize];
        if found.confirmed == found.said {
            return Err("an OK came to nothing that it said".into());
        }
        let message = Message {
            sender,
            number: found.confirmed,
        };
        found.confirmed += 1;
        self.rooms[found.room].logs[found.home].confirm(seq, message)
    }

    /// A sender's session goes on, and has caused this many messages: those that got no OK are settled, and
    /// the others were not said.
    pub fn resume(&mut self, sender: u32, count: u64) -> Checked<()> {
        let sender = &mut self.senders[sender as usize];
        let said = u64::from(sender.first) + count;
        if said < sender.confirmed.into() || said > sender.said.into() {
            return Err(format!(
                "RESUME says said={count}, and {} of its messages got an OK, of {}",
                sender.confirmed - sender.first,
                sender.said - sender.first
            ));
        }
        (sender.said, sender.confirmed) = (said as u32, said as u32);
        Ok(())
    }

    /// How many messages were said.
    pub fn messages(&self) -> u64 {
        self.senders
            .iter()
            .map(|sender| u64::from(sender.said))
            .sum()
    }

    /// What the senders of a box in a room have said.
    fn said_by(&self, home: usize, room: usize) -> Counts {
        let senders = self.senders.iter().zip(0..);
        let senders = senders.filter(|(sender, _)| (sender.home, sender.room) == (home, room));
        senders
            .map(|(sender, index)| (index, sender.said))
            .collect()
    }

    /// Whether a session has got all that is known.
    pub fn has_all(&self, reader: &Reader) -> bool {
        reader.next == self.rooms[reader.room].logs[reader.home].end()
    }

    /// From now on all boxes have to get what is said: they are linked.
    pub fn expect_all(&mut self) {
        for room in 0..self.rooms.len() {
            for origin in 0..self.names.len() {
                let said = self.said_by(origin, room);
                for home in 0..self.names.len() {
                    self.rooms[room].pairs[home][origin].expect_all(&said);
                }
            }
        }
    }

    /// Takes whole lines from the beginning of `bytes`, at most `lines_max`, that others got before. Returns
    /// their bytes and their number.
    pub fn take_known(
        &mut self,
        reader: &mut Reader,
        bytes: &[u8],
        lines_max: u64,
        now_us: u64,
    ) -> (usize, u64) {
        let (mut at, mut lines) = (0, 0);
        let log = &self.rooms[reader.room].logs[reader.home];
        while lines < lines_max {
            match log.entry(reader.next) {
                Some(entry) if bytes[at..].starts_with(&entry.line) => {
                    at += entry.line.len();
                    lines += 1;
                    reader.next += 1;
                    self.tally.count(entry, reader.is_pull, now_us);
                }
                _ => break,
            }
        }
        (at, lines)
    }

    /// Takes an event; `whole` is its line with the end.
    pub fn take_event(&mut self, reader: &mut Reader, whole: &[u8], now_us: u64) -> Checked<()> {
        let line = whole.trim_ascii_end();
        let numbered = Numbered::parse(line)
            .ok_or_else(|| format!("this is no line of the protocol: {:?}", shown(line)))?;
        let seq = numbered.seq;
        if seq != reader.next {
            return Err(out_of_order(seq, reader.next));
        }
        let (home, room) = (reader.home, reader.room);
        if self.rooms[room].logs[home].entry(seq).is_some() {
            // Had it been the same, it would have been taken before.
            let shown = shown(line);
            return Err(format!("event {seq} is not what others got: {shown}"));
        }
        let said = match numbered.event {
            Event::Of { at, deed } if deed.kind == Kind::Said => {
                let origin = self.origin(home, at)?;
                let (_, said_us) = self.message(origin, &deed)?;
                Some((said_us, origin != home))
            }
            _ => None,
        };
        let entry = Entry {
            line: whole.into(),
            said,
        };
        reader.next += 1;
        self.tally.count(&entry, reader.is_pull, now_us);
        self.rooms[room].logs[home].add(seq, entry)?;
        while let Some(line) = self.rooms[room].logs[home].next_line() {
            let numbered = Numbered::parse(line.trim_ascii_end());
            self.learn(home, room, &numbered.expect("it was read before"))?;
        }
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
        reader.next = next;
        self.tally.lost += count;
        Ok(())
    }

    /// Learns what the next event of a box is.
    fn learn(&mut self, home: usize, room: usize, numbered: &Numbered) -> Checked<()> {
        let seq = numbered.seq;
        let (at, deed) = match numbered.event {
            Event::About { at, sign } => {
                return self
                    .learn_sign(home, room, at, sign)
                    .map_err(|fault| format!("event {seq}, about {}: {fault}", shown(at)));
            }
            Event::Of { at, deed } => (at, deed),
        };
        let origin = self.origin(home, at)?;
        let message = match deed.kind {
            Kind::Said => Some(self.message(origin, &deed)?.0),
            Kind::Joined | Kind::Left => None,
        };
        let bytes = deed.bytes();
        if origin != home {
            self.tally.remote_joined += u64::from(deed.kind == Kind::Joined);
            self.tally.remote_left += u64::from(deed.kind == Kind::Left);
            let Room { logs, pairs } = &mut self.rooms[room];
            let pair = &mut pairs[home][origin];
            let taken = pair.take(seq, Deed { bytes, message }, &logs[origin].lives);
            return taken.map_err(|fault| format!("from {}: {fault}", self.names[origin]));
        }
        if let Some(message) = message {
            self.check_own(room, seq, message)?;
        }
        self.rooms[room].logs[home].tell(seq, Deed { bytes, message })?;
        self.settle(home, room)
    }

    fn learn_sign(&mut self, home: usize, room: usize, at: &[u8], sign: Sign) -> Checked<()> {
        let origin = self.other_box(home, at)?;
        let tally = &mut self.tally;
        match sign {
            Sign::Split => tally.splits += 1,
            Sign::Healed => tally.heals += 1,
            Sign::Missed(count) => tally.missed += count,
        }
        let said = self.said_by(origin, room);
        self.rooms[room].pairs[home][origin].take_sign(sign, &said)
    }

    /// The box from which an event comes that another passes on, or this one.
    fn origin(&self, home: usize, at: Option<&[u8]>) -> Checked<usize> {
        at.map_or(Ok(home), |at| self.other_box(home, at))
    }

    /// The box of that name, which has to be another one.
    fn other_box(&self, home: usize, name: &[u8]) -> Checked<usize> {
        match self.names.iter().position(|n| n.as_bytes() == name) {
            Some(found) if found != home => Ok(found),
            Some(_) => Err(format!(
                "it comes from {} itself, and has its name",
                shown(name)
            )),
            None => Err(format!("there is no box {}", shown(name))),
        }
    }

    /// Which message of a box's senders an event is, and when it was said.
    fn message(&self, origin: usize, deed: &DeedRead) -> Checked<(Message, u64)> {
        let senders = self.senders.len() / self.names.len();
        let read = read_message(deed.rest, self.size).filter(|(message, _)| {
            let index = message.sender as usize;
            let name = format!("s{}", index % senders);
            index / senders == origin && name.as_bytes() == deed.name
        });
        read.ok_or_else(|| {
            let (text, name) = (shown(deed.rest), shown(deed.name));
            let home = &self.names[origin];
            format!("this was not said so by anybody there: {text:?} from {name} on {home}")
        })
    }

    /// Checks that a message of a box's own is its sender's next one.
    fn check_own(&mut self, room: usize, seq: u64, message: Message) -> Checked<()> {
        let sender = &mut self.senders[message.sender as usize];
        if sender.room != room {
            return Err(format!("{message} was not said in this room"));
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
        if message.number > next.number {
            return Err(format!(
                "event {seq} is {message}, with {next} missing before it"
            ));
        }
        if message.number >= sender.said {
            return Err(format!("event {seq} is {message}, which was not said yet"));
        }
        sender.known += 1;
        Ok(())
    }

    /// Compares what others have heard of a box, since its own members have got more.
    fn settle(&mut self, origin: usize, room: usize) -> Checked<()> {
        let Room { logs, pairs } = &mut self.rooms[room];
        let lives = &logs[origin].lives;
        for (home, pairs) in pairs
            .iter_mut()
            .enumerate()
            .filter(|(home, _)| *home != origin)
        {
            let settled = pairs[origin].settle(lives);
            settled.map_err(|fault| {
                format!("{} from {}: {fault}", self.names[home], self.names[origin])
            })?;
        }
        Ok(())
    }

    /// A box that says of another that it is lost, or does not know that it has begun another life.
    pub fn lost_box(&self) -> Option<String> {
        self.find(|pair, _| (!pair.may_be_linked()).then(|| "is lost".to_owned()))
    }

    /// What is not as it has to be once all has arrived.
    pub fn open(&self) -> Option<String> {
        for (index, sender) in self.senders.iter().enumerate() {
            let senders = self.senders.len() / self.names.len();
            let name = format!("s{} on {}", index % senders, self.names[sender.home]);
            if sender.confirmed < sender.said {
                return Some(format!(
                    "{name} got no reply to its message {}",
                    sender.confirmed
                ));
            }
            if sender.known < sender.said {
                return Some(format!(
                    "nobody there got message {} of {name}",
                    sender.known
                ));
            }
        }
        for room in &self.rooms {
            for (log, name) in room.logs.iter().zip(&self.names) {
                if let Some(seq) = log.hole() {
                    return Some(format!("nobody on {name} got event {seq}"));
                }
                if let Some((seq, message)) = log.unheard() {
                    return Some(format!(
                        "nobody on {name} got event {seq}, which is {message}"
                    ));
                }
            }
        }
        self.find(|pair, log| pair.open(&log.lives))
    }

    fn find(&self, what: impl Fn(&Pair, &Log) -> Option<String>) -> Option<String> {
        for (number, room) in self.rooms.iter().enumerate() {
            for home in 0..self.names.len() {
                for origin in (0..self.names.len()).filter(|origin| *origin != home) {
                    if let Some(found) = what(&room.pairs[home][origin], &room.logs[origin]) {
                        let (home, origin) = (&self.names[home], &self.names[origin]);
                        return Some(format!("on {home} in room {number}, {origin}: {found}"));
                    }
                }
            }
        }
        None
    }

    /// Forgets what everybody has got in a room of a box.
    pub fn trim(&mut self, home: usize, room: usize, next: u64) {
        self.rooms[room].logs[home].trim(next);
    }
}

impl Tally {
    /// Counts that somebody got an event.
    fn count(&mut self, entry: &Entry, is_pull: bool, now_us: u64) {
        let Some((said_us, is_remote)) = entry.said else {
            return;
        };
        self.deliveries += 1;
        self.remote_deliveries += u64::from(is_remote);
        if is_pull {
            self.pull_deliveries += 1;
            return;
        }
        let latencies = match is_remote {
            true => &mut self.remote_latencies,
            false => &mut self.latencies,
        };
        latencies.record(now_us.saturating_sub(said_us));
    }
}
