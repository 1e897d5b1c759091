//! A broker that speaks MQTT 3.1.1, for tests: bytes in, bytes out, the time told. On demand it does
//! everything that brokers and the networks around them do wrong.
//!
//! What a box writes is checked as it comes: any packet that a strict broker would refuse, and any message
//! that another box would not understand, fails the test.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use chinwag::link::payload::Payload;
use chinwag::link::topic::{self, Prefix, Topic};
use chinwag::protocol::Name;
use fastrand::Rng;

/// The most bytes that wait for one client. What comes then is dropped, as brokers with full queues do.
const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Where somebody publishes who is no box.
pub const ELSEWHERE: usize = usize::MAX;

/// How likely it is that something goes wrong with a message on its way to one client, in 1/256, and how
/// badly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// It never arrives.
    pub drop: u8,
    /// It arrives twice.
    pub double: u8,
    /// It arrives late, behind others.
    pub delay: u8,
    /// Everybody gets it again, much later.
    pub repeat: u8,
    /// How long a message is on its way at most, in milliseconds.
    pub latency_ms: u64,
    /// How much later it is when it is late.
    pub delay_ms: u64,
    /// How much later it comes again.
    pub repeat_ms: u64,
}

/// A connection of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId(u32);

#[derive(Debug)]
struct Client {
    id: ClientId,
    /// Whose it is: messages between two places may be blocked.
    place: usize,
    /// What has come of an unfinished packet.
    input: Vec<u8>,
    /// What it said in its CONNECT; before that it may say nothing else.
    hello: Option<Hello>,
    /// The broker has not accepted it, and does not listen to it any more.
    is_refused: bool,
    filters: Vec<String>,
    heard_at: u64,
    /// Messages on their way to it, in order, each with the time at which it arrives.
    coming: VecDeque<(u64, Rc<[u8]>)>,
    coming_bytes: usize,
    /// What has arrived and was not taken from it yet.
    output: Vec<u8>,
}

#[derive(Debug)]
struct Hello {
    client_id: String,
    /// The box that the will is about.
    name: String,
    will: (String, Vec<u8>),
    keep_alive_ms: u64,
}

/// A message that comes later than those behind it, or again.
#[derive(Debug)]
enum Late {
    One(ClientId, Rc<[u8]>),
    All {
        from: usize,
        topic: String,
        payload: Vec<u8>,
    },
}

/// The broker.
pub struct Broker {
    pub rng: Rng,
    pub faults: Faults,
    /// What it answers to the next CONNECTs; 0 accepts them.
    pub connack: u8,
    /// It reads what clients send, but answers nothing and passes nothing on.
    pub is_mute: bool,
    /// Which messages do not arrive: from one place to another.
    blocked: Vec<(usize, usize)>,
    clients: Vec<Client>,
    next_client: u32,
    late: BTreeMap<(u64, u64), Late>,
    late_count: u64,
    /// Which clients get the messages of a topic.
    routes: HashMap<String, Vec<ClientId>>,
    now: u64,
    prefix: Prefix,
    /// How many messages clients have published.
    pub published: u64,
    /// The `<boot>/<log>` of the last digest under each topic.
    pub logs: HashMap<String, String>,
    /// The messages that clients have published, if somebody wants to see them.
    pub seen: Option<Vec<(String, String)>>,
}

impl Broker {
    pub fn new(seed: u64) -> Broker {
        Broker {
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            connack: 0,
            is_mute: false,
            blocked: Vec::new(),
            clients: Vec::new(),
            next_client: 0,
            late: BTreeMap::new(),
            late_count: 0,
            routes: HashMap::new(),
            now: 0,
            prefix: Prefix::parse("chinwag").unwrap(),
            published: 0,
            logs: HashMap::new(),
            seen: None,
        }
    }

    /// Takes in a connection from a place.
    pub fn connect(&mut self, place: usize) -> ClientId {
        let id = ClientId(self.next_client);
        self.next_client += 1;
        self.clients.push(Client {
            id,
            place,
            input: Vec::new(),
            hello: None,
            is_refused: false,
            filters: Vec::new(),
            heard_at: self.now,
            coming: VecDeque::new(),
            coming_bytes: 0,
            output: Vec::new(),
        });
        id
    }

    /// Whether the broker still has a connection.
    pub fn has(&self, id: ClientId) -> bool {
        self.find(id).is_some()
    }

    fn find(&self, id: ClientId) -> Option<usize> {
        self.clients.iter().position(|client| client.id == id)
    }

    /// Takes bytes that a client has written.
    pub fn take(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(at) = self.find(id) else { return };
        self.clients[at].heard_at = self.now;
        self.clients[at].input.extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.clients[at].input);
        let mut read = 0;
        while let Some((first, body, end)) = next_packet(&input[read..]) {
            let (body, end) = (read + body, read + end);
            self.packet(id, first, &input[body..end]);
            read = end;
        }
        input.drain(..read);
        if let Some(at) = self.find(id) {
            self.clients[at].input = input;
        }
    }

    /// What a client reads next, at most `bytes_max` bytes.
    pub fn give(&mut self, id: ClientId, bytes_max: usize) -> Vec<u8> {
        let Some(at) = self.find(id) else {
            return Vec::new();
        };
        let output = &mut self.clients[at].output;
        let rest = output.split_off(bytes_max.min(output.len()));
        std::mem::replace(output, rest)
    }

    /// Whether something has arrived for a client.
    pub fn has_output(&self, id: ClientId) -> bool {
        self.find(id)
            .is_some_and(|at| !self.clients[at].output.is_empty())
    }

    /// Puts bytes into the stream to a client that are no broker's.
    pub fn spoil(&mut self, id: ClientId, bytes: &[u8]) {
        if let Some(at) = self.find(id) {
            self.clients[at].output.extend_from_slice(bytes);
        }
    }

    /// Ends a connection. Without a DISCONNECT before that, others get the client's will.
    pub fn hang_up(&mut self, id: ClientId) {
        self.close(id, true);
    }

    fn close(&mut self, id: ClientId, is_broken: bool) {
        let Some(at) = self.find(id) else { return };
        let client = self.clients.remove(at);
        self.routes.clear();
        if let Some(hello) = client.hello.filter(|_| is_broken) {
            let (topic, will) = hello.will;
            self.publish(client.place, &topic, &will);
        }
    }

    /// Ends like a process that was killed, and starts again: all connections are gone, and everything on
    /// its way. Some brokers still publish wills.
    pub fn restart(&mut self, has_wills: bool) {
        while let Some(client) = self.clients.first() {
            let id = client.id;
            self.close(id, has_wills);
        }
        self.late.clear();
        self.is_mute = false;
    }

    /// Lets nothing that is published in one place arrive in the other.
    pub fn block(&mut self, from: usize, to: usize) {
        if from != to {
            self.blocked.push((from, to));
        }
    }

    /// Lets everything pass everywhere.
    pub fn unblock(&mut self) {
        self.blocked.clear();
    }

    /// When something is due.
    pub fn next_due(&self) -> Option<u64> {
        let mut next = self.late.keys().next().map_or(u64::MAX, |&(due, _)| due);
        for client in &self.clients {
            if let Some(&(due, _)) = client.coming.front() {
                next = next.min(due);
            }
            if let Some(hello) = &client.hello {
                next = next.min(client.heard_at + hello.keep_alive_ms);
            }
        }
        (next < u64::MAX).then_some(next)
    }

    /// Lets the time be `now`, and does what is due by then.
    pub fn advance(&mut self, now: u64) {
        self.now = now;
        while let Some(entry) = self.late.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Late::One(id, packet) => {
                    if let Some(at) = self.find(id) {
                        self.clients[at].coming_bytes += packet.len();
                        self.clients[at].coming.push_front((now, packet));
                    }
                }
                Late::All {
                    from,
                    topic,
                    payload,
                } => self.publish(from, &topic, &payload),
            }
        }
        let mut silent = Vec::new();
        for client in &mut self.clients {
            while client.coming.front().is_some_and(|&(due, _)| due <= now) {
                let (_, packet) = client.coming.pop_front().unwrap();
                client.coming_bytes -= packet.len();
                client.output.extend_from_slice(&packet);
            }
            let hello = client.hello.as_ref();
            if hello.is_some_and(|hello| client.heard_at + hello.keep_alive_ms <= now) {
                silent.push(client.id);
            }
        }
        for id in silent {
            self.close(id, true);
        }
    }

    /// Publishes a message as a client in some place would.
    pub fn publish(&mut self, from: usize, topic: &str, payload: &[u8]) {
        if self.is_mute {
            return;
        }
        let packet: Rc<[u8]> = publish_packet(topic, payload).into();
        if !self.routes.contains_key(topic) {
            let matches = |client: &&Client| client.filters.iter().any(|f| matches(f, topic));
            let clients = self.clients.iter().filter(matches);
            let clients = clients.map(|client| client.id).collect();
            self.routes.insert(topic.to_owned(), clients);
        }
        let faults = self.faults;
        for id in self.routes[topic].clone() {
            let Some(at) = self.find(id) else { continue };
            let place = self.clients[at].place;
            if self.blocked.contains(&(from, place)) || self.happens(faults.drop) {
                continue;
            }
            let copies = 1 + usize::from(self.happens(faults.double));
            for _ in 0..copies {
                if self.happens(faults.delay) {
                    let due = self.now + self.rng.u64(..=faults.delay_ms);
                    self.send_late(due, Late::One(id, packet.clone()));
                } else {
                    self.send(at, packet.clone());
                }
            }
        }
        // Nobody finds again in other lives of boxes what was meant for this one.
        if from != ELSEWHERE && self.happens(faults.repeat) {
            let due = self.now + 1 + self.rng.u64(..=faults.repeat_ms);
            let (topic, payload) = (topic.to_owned(), payload.to_vec());
            let again = Late::All {
                from,
                topic,
                payload,
            };
            self.send_late(due, again);
        }
    }

    fn happens(&mut self, likely: u8) -> bool {
        likely > 0 && self.rng.u8(..) < likely
    }

    fn send_late(&mut self, due: u64, late: Late) {
        self.late_count += 1;
        self.late.insert((due, self.late_count), late);
    }

    fn send(&mut self, at: usize, packet: Rc<[u8]>) {
        let latency_ms = match self.faults.latency_ms {
            0 => 0,
            most => self.rng.u64(..=most),
        };
        let client = &mut self.clients[at];
        if client.coming_bytes + client.output.len() + packet.len() > QUEUE_BYTES_MAX {
            return;
        }
        let due = self.now + latency_ms;
        if due <= self.now && client.coming.is_empty() {
            client.output.extend_from_slice(&packet);
            return;
        }
        let last = client.coming.back().map_or(0, |&(due, _)| due);
        client.coming_bytes += packet.len();
        client.coming.push_back((due.max(last), packet));
    }

    fn packet(&mut self, id: ClientId, first: u8, body: &[u8]) {
        let Some(at) = self.find(id) else { return };
        let (mut body, client) = (Body(body), &mut self.clients[at]);
        if client.is_refused {
            return;
        }
        assert_eq!(client.hello.is_none(), first == 0x10, "{first:x}");
        match first {
            0x10 => self.hello(id, body),
            0x30 => {
                let topic = body.text().to_owned();
                self.check(id, &topic, body.0);
                self.published += 1;
                if let Some(id) = body.0.strip_prefix(b"DIGEST ") {
                    let id = std::str::from_utf8(id).unwrap().split(' ').next();
                    let (log, _) = id.unwrap().rsplit_once('/').unwrap();
                    self.logs.insert(topic.clone(), log.to_owned());
                }
                if let Some(seen) = &mut self.seen {
                    let payload = String::from_utf8(body.0.to_vec()).unwrap();
                    seen.push((topic.clone(), payload));
                }
                let place = self.clients[at].place;
                self.publish(place, &topic, body.0);
            }
            0x82 => {
                let number = body.number();
                assert_ne!(number, 0);
                let mut answer = vec![0x90, 2];
                answer.extend(number.to_be_bytes());
                while !body.0.is_empty() {
                    let filter = body.text().to_owned();
                    assert_eq!(body.byte(), 0, "QoS 0 only");
                    assert!(is_filter(&filter), "{filter}");
                    if !client.filters.contains(&filter) {
                        client.filters.push(filter);
                    }
                    answer[1] += 1;
                    answer.push(0);
                }
                assert!(answer.len() > 4, "a SUBSCRIBE without filters");
                self.routes.clear();
                self.answer(id, &answer);
            }
            0xa2 => {
                let number = body.number();
                assert_ne!(number, 0);
                assert!(!body.0.is_empty(), "an UNSUBSCRIBE without filters");
                while !body.0.is_empty() {
                    let filter = body.text();
                    client.filters.retain(|known| known != filter);
                }
                self.routes.clear();
                let [high, low] = number.to_be_bytes();
                self.answer(id, &[0xb0, 2, high, low]);
            }
            0xc0 => {
                assert!(body.0.is_empty());
                self.answer(id, &[0xd0, 0]);
            }
            0xe0 => {
                assert!(body.0.is_empty());
                self.close(id, false);
            }
            _ => panic!("a client sends a packet that begins with {first:x}"),
        }
    }

    fn hello(&mut self, id: ClientId, mut body: Body<'_>) {
        assert_eq!((body.text(), body.byte()), ("MQTT", 4));
        let flags = body.byte();
        // A clean session and a will of QoS 0 that is not retained, with or without a login.
        assert!(flags == 0x06 || flags == 0xc6, "{flags:x}");
        let keep_alive_s = u64::from(body.number());
        let client_id = body.text().to_owned();
        // More need not be taken by a broker: section 3.1.3.1.
        assert!((1..=23).contains(&client_id.len()), "{client_id}");
        let topic = body.text().to_owned();
        let will = body.text().as_bytes().to_vec();
        let (name, _) = topic::read(&self.prefix, &topic).unwrap();
        assert!(matches!(
            Payload::read(Topic::Gone, &will),
            Some(Payload::Gone { .. })
        ));
        if flags & 0x80 > 0 {
            // A login.
            body.text();
            body.text();
        }
        assert!(body.0.is_empty());
        if self.connack != 0 {
            let at = self.find(id).unwrap();
            self.clients[at].is_refused = true;
            return self.answer(id, &[0x20, 2, 0, self.connack]);
        }
        let has_this_id = |c: &&Client| {
            let hello = c.hello.as_ref();
            hello.is_some_and(|hello| hello.client_id == client_id)
        };
        let older = self.clients.iter().find(has_this_id).map(|c| c.id);
        if let Some(older) = older {
            self.close(older, true);
        }
        let at = self.find(id).unwrap();
        self.clients[at].hello = Some(Hello {
            client_id,
            name: name.to_string(),
            will: (topic, will),
            keep_alive_ms: keep_alive_s * 1500,
        });
        self.answer(id, &[0x20, 2, 0, 0]);
    }

    fn answer(&mut self, id: ClientId, packet: &[u8]) {
        if let Some(at) = self.find(id).filter(|_| !self.is_mute) {
            self.send(at, packet.into());
        }
    }

    /// Checks that another box understands a message, and that its sender may say it: of itself under its
    /// own name, and what it wants from others under theirs.
    fn check(&self, id: ClientId, topic: &str, payload: &[u8]) {
        let client = &self.clients[self.find(id).unwrap()];
        let shown = || String::from_utf8_lossy(payload).into_owned();
        let read = topic::read(&self.prefix, topic);
        let (name, kind): (Name, Topic) = read.unwrap_or_else(|| panic!("{topic}"));
        let read = Payload::read(kind, payload);
        assert!(read.is_some(), "{topic} {}", shown());
        let own = &client.hello.as_ref().unwrap().name;
        let is_own = name.to_string() == *own;
        let is_right = match read {
            Some(Payload::Want { .. } | Payload::List { .. }) => !is_own,
            Some(Payload::Say { .. }) => false,
            _ => is_own,
        };
        assert!(is_right, "{own} says on {topic}: {}", shown());
    }
}

/// The first packet of some bytes: its first byte, and where its body begins and ends.
fn next_packet(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, rest) = bytes.split_first()?;
    let mut length = 0;
    for (at, &byte) in rest.iter().enumerate() {
        assert!(at < 4, "a packet's length does not end");
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let body = at + 2;
            return (bytes.len() >= body + length).then_some((first, body, body + length));
        }
    }
    None
}

/// A PUBLISH with QoS 0.
pub fn publish_packet(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut length = 2 + topic.len() + payload.len();
    let mut packet = Vec::with_capacity(length + 5);
    packet.push(0x30);
    while length >= 0x80 {
        packet.push(length as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend((topic.len() as u16).to_be_bytes());
    packet.extend(topic.as_bytes());
    packet.extend(payload);
    packet
}

/// What is left of a packet.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap();
        self.0 = rest;
        byte
    }

    fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn text(&mut self) -> &'a str {
        let length = self.number().into();
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        std::str::from_utf8(text).unwrap()
    }
}

/// Whether a filter is one that every broker takes, and every engine behind it: levels of letters, digits,
/// `_` and `-`, or `+` alone.
fn is_filter(filter: &str) -> bool {
    filter.split('/').all(|level| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        level == "+" || !level.is_empty() && level.bytes().all(is_plain)
    })
}

/// Whether a topic matches a filter: section 4.7.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut levels, mut words) = (filter.split('/'), topic.split('/'));
    loop {
        match (levels.next(), words.next()) {
            (Some(level), Some(word)) if level == "+" || level == word => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_matches_exactly_one_level() {
        for (filter, topic, expected) in [
            ("c/attic/w", "c/attic/w", true),
            ("c/attic/w", "c/attic/w/", false),
            ("c/attic/w", "c/attic", false),
            ("c/+/w", "c/attic/w", true),
            ("c/+/w", "c//w", true),
            ("c/+/w", "c/a/b/w", false),
            ("+/+", "a/b", true),
            ("+/+", "a", false),
            ("+", "a/b", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
