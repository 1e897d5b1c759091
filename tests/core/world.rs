//! The hub on streams of the test's own, with the test's own time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use chinwag::chat::{ConnId, Head, Kind, Origin, Peer as Address};
use chinwag::hub::conn::{Readiness, Transport};
use chinwag::hub::{Hub, Loaded};
use chinwag::link::Settings;
use chinwag::protocol::{LifeId, Limits};
use chinwag::state::{Damage, Reader, Writer};
use chinwag::time::{Millis, Now, Zone};
use fastrand::Rng;

/// The wall clock's time at the start of every world.
pub const UNIX_MS: u64 = 1_763_800_000_000;

/// The life of the server in every world.
pub const BOOT: LifeId = LifeId::new(0x0123_4567_89ab_cdef);

/// An hour and a half ahead of UTC.
pub const ZONE: Zone = Zone(|_| 90 * 60);

/// A stream between the test and the hub.
#[derive(Debug, Default)]
pub struct Wire {
    /// On the way to the server.
    pub input: VecDeque<u8>,
    /// The client has ended its side.
    pub has_ended: bool,
    /// The client is gone: nothing is read or written any more.
    pub is_reset: bool,
    /// What the client has received.
    pub output: Vec<u8>,
    /// How many more bytes the stream takes.
    pub space: usize,
    /// How many of the bytes that the stream took are still in the system's buffers.
    pub untaken: u32,
    /// Whether what the stream takes stays there.
    pub holds: bool,
    /// Whether that is thrown away when the stream fails, as with a Unix socket.
    pub drops_untaken: bool,
    /// How many times the server has asked for that.
    pub untaken_asked: usize,
    /// The server has closed the stream.
    pub is_closed: bool,
    /// Within how many seconds the system has to find out that the peer is gone.
    pub watched: Option<u32>,
    /// How many writes it took something of.
    pub writes: usize,
    /// How many writes it took nothing of.
    pub refusals: usize,
    /// The number by which the hub finds it again.
    pub number: u32,
    /// All that the stream has ever taken.
    pub taken: Vec<u8>,
}

/// The server's end of a [`Wire`].
#[derive(Debug)]
pub struct End(Rc<RefCell<Wire>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.borrow_mut().is_closed = true;
    }
}

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if !wire.input.is_empty() {
            wire.input.make_contiguous();
            return wire.input.read(buffer);
        }
        match (wire.is_reset, wire.has_ended) {
            (true, _) => Err(io::ErrorKind::ConnectionReset.into()),
            (false, true) => Ok(0),
            (false, false) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.is_reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(wire.space);
        if taken == 0 {
            wire.refusals += 1;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if wire.space != usize::MAX {
            wire.space -= taken;
        }
        wire.output.extend_from_slice(&bytes[..taken]);
        wire.taken.extend_from_slice(&bytes[..taken]);
        if wire.holds {
            wire.untaken += taken as u32;
        }
        wire.writes += 1;
        Ok(taken)
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let slices: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        let whole = slices.concat();
        self.write(&whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for End {
    fn watch_peer(&mut self, idle: Option<u32>) {
        self.0.borrow_mut().watched = idle;
    }

    fn untaken(&self) -> u32 {
        let mut wire = self.0.borrow_mut();
        wire.untaken_asked += 1;
        wire.untaken
    }

    fn drops_untaken(&self) -> bool {
        self.0.borrow().drops_untaken
    }

    fn may_read_in_part(&self) -> bool {
        false
    }

    fn number(&self) -> u32 {
        self.0.borrow().number
    }
}

/// A client in a [`World`].
#[derive(Clone, Debug)]
pub struct Peer {
    pub conn: ConnId,
    pub wire: Rc<RefCell<Wire>>,
}

/// An address of an origin, and a port.
fn address_in(origin: Origin, user: u32) -> Address {
    const PORT: u16 = 47480;
    match origin {
        Origin::Local => Address::Local { user },
        Origin::V4(address) => Address::of((address, PORT).into()),
        Origin::V6(network) => {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&network);
            address[15] = 1;
            Address::of((address, PORT).into())
        }
    }
}

/// A server without sockets.
pub struct World {
    pub hub: Hub<End>,
    pub at: u64,
    /// What the wall clock showed at the start, as it is set now.
    pub unix_ms: u64,
    /// Where clients connect from.
    pub origin: Origin,
    /// Which user they are of, if that is this machine.
    pub user: u32,
    /// How many turns it has taken.
    pub turns: usize,
    /// All wires there were, by their numbers.
    pub wires: Vec<Rc<RefCell<Wire>>>,
    /// How its rooms span boxes, if they do.
    pub link: Option<Settings>,
    /// With it, another program takes its place now and then, between two turns.
    pub upgrades: Option<Rng>,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        World {
            hub: Hub::new(limits, BOOT, ZONE),
            at: 0,
            unix_ms: UNIX_MS,
            origin: Origin::Local,
            user: 0,
            turns: 0,
            wires: Vec::new(),
            link: None,
            upgrades: None,
        }
    }

    /// A server in the life `boot`, whose rooms span boxes.
    pub fn linked(limits: Limits, boot: LifeId, unix_ms: u64, link: Settings) -> Self {
        let mut world = World {
            hub: Hub::new(limits, boot, ZONE),
            unix_ms,
            link: Some(link.clone()),
            ..World::new(limits)
        };
        let now = world.now();
        world.hub.set_link(link, now);
        world
    }

    pub fn now(&self) -> Now {
        Now::exactly(Millis(self.at), self.unix_ms + self.at)
    }

    pub fn connect(&mut self) -> Peer {
        self.connect_with_space(usize::MAX)
    }

    /// Connects with a stream that takes only `space` bytes at first.
    pub fn connect_with_space(&mut self, space: usize) -> Peer {
        self.connect_as(Wire {
            space,
            ..Wire::default()
        })
    }

    /// Connects a client that has sent something before it is accepted.
    pub fn connect_with_input(&mut self, input: &[u8]) -> Peer {
        self.connect_as(Wire {
            input: input.iter().copied().collect(),
            space: usize::MAX,
            ..Wire::default()
        })
    }

    /// Connects to the operator's socket.
    pub fn connect_operator(&mut self) -> Peer {
        self.connect_operator_with_space(usize::MAX)
    }

    /// Connects to the operator's socket with a stream that takes only `space` bytes at first.
    pub fn connect_operator_with_space(&mut self, space: usize) -> Peer {
        let wire = Wire {
            space,
            ..Wire::default()
        };
        self.connect_to(true, wire)
    }

    fn connect_as(&mut self, wire: Wire) -> Peer {
        self.connect_to(false, wire)
    }

    fn connect_to(&mut self, is_operators: bool, wire: Wire) -> Peer {
        let number = self.wires.len() as u32;
        let wire = Rc::new(RefCell::new(Wire { number, ..wire }));
        self.wires.push(wire.clone());
        let now = self.now();
        let (vacancy, origin) = match is_operators {
            true => (self.hub.operators_vacancy(now), Origin::Local),
            false => (self.hub.vacancy(), self.origin),
        };
        let address = address_in(origin, self.user);
        let conn = vacancy.accept(End(wire.clone()), address, now);
        // A refused one gets a number that no connection has.
        let conn = conn.unwrap_or(ConnId(u32::MAX));
        let peer = Peer { conn, wire };
        self.run();
        peer
    }

    /// Opens a stream to the broker, on which the hub is the client.
    pub fn open_broker(&mut self) -> Rc<RefCell<Wire>> {
        let wire = Rc::new(RefCell::new(Wire {
            number: self.wires.len() as u32,
            space: usize::MAX,
            ..Wire::default()
        }));
        self.wires.push(wire.clone());
        let now = self.now();
        self.hub.open_broker(End(wire.clone()), now);
        wire
    }

    /// The hub as a state of a kind.
    pub fn save(&self, kind: Kind) -> Vec<u8> {
        let mut state = Vec::new();
        let mut writer = Writer::new(&mut state);
        Head::new(kind, self.hub.chat().boot(), 0, self.now()).write(&mut writer);
        self.hub.save(kind, &mut writer);
        assert!(writer.finish());
        state
    }

    /// Replaces the hub by what a state has.
    pub fn load(&mut self, state: &[u8]) -> Result<usize, Damage> {
        self.load_within(state, *self.hub.chat().limits())
    }

    /// Replaces the hub by what a state has, with other limits.
    pub fn load_within(&mut self, mut state: &[u8], limits: Limits) -> Result<usize, Damage> {
        let mut reader = Reader::new(&mut state)?;
        let head = Head::read(&mut reader)?;
        let wires = &self.wires;
        let stream_of = |number, _: &Address| End(Rc::clone(&wires[number as usize]));
        let Loaded { hub, sessions } = Hub::load(
            &mut reader,
            &head,
            limits,
            ZONE,
            self.link.clone(),
            stream_of,
        )?;
        self.hub = hub;
        Ok(sessions)
    }

    /// Begins with any state as a server does. Connections that have no wire yet get one.
    pub fn begin_with(&mut self, mut state: &[u8]) -> Result<(), Damage> {
        let limits = *self.hub.chat().limits();
        let mut reader = Reader::new(&mut state)?;
        let head = Head::read(&mut reader)?;
        let wires = &mut self.wires;
        let stream_of = |number, _: &Address| {
            let number = wires.len().min(number as usize);
            if number == wires.len() {
                wires.push(Rc::new(RefCell::new(Wire {
                    number: number as u32,
                    ..Wire::default()
                })));
            }
            End(Rc::clone(&wires[number]))
        };
        self.hub = Hub::load(
            &mut reader,
            &head,
            limits,
            ZONE,
            self.link.clone(),
            stream_of,
        )?
        .hub;
        self.at = head.at.0;
        match head.kind {
            Kind::Upgrade => {}
            Kind::Stop => self.hub.go_on(self.now()),
            Kind::Running => self
                .hub
                .recover(LifeId::new(head.boot.number().wrapping_add(1))),
        }
        Ok(())
    }

    /// Replaces the hub by one that a new program would have after an upgrade, which is like it.
    pub fn upgrade(&mut self) {
        let state = self.save(Kind::Upgrade);
        let summary = self.hub.summary();
        let closed: Vec<bool> = (self.wires.iter()).map(|w| w.borrow().is_closed).collect();
        self.load(&state).unwrap();
        assert_eq!(self.hub.summary(), summary);
        // Only the keys of rooms and origins may be others now.
        let again = self.save(Kind::Upgrade);
        assert_eq!(again.len(), state.len());
        self.load(&again).unwrap();
        let is_same = self.save(Kind::Upgrade) == again;
        assert!(is_same, "it is not saved as it was loaded");
        // The old hubs' ends are gone, and the connections are not.
        for (wire, was_closed) in self.wires.iter().zip(closed) {
            wire.borrow_mut().is_closed = was_closed;
        }
    }

    /// Stops the server and starts it again. Its own time stands still meanwhile.
    pub fn restart(&mut self) {
        self.restart_within(*self.hub.chat().limits());
    }

    /// Stops the server and starts it again with other limits.
    pub fn restart_within(&mut self, limits: Limits) {
        self.hub.shut_down(self.now());
        self.run();
        let state = self.save(Kind::Stop);
        self.load_within(&state, limits).unwrap();
        self.unix_ms += 100_000_000;
        self.hub.go_on(self.now());
        self.hub.assert_consistent(self.now());
    }

    /// Saves for the case of a crash, and has it on disk.
    pub fn save_on_disk(&mut self) -> Vec<u8> {
        self.hub.begin_save();
        let state = self.save(Kind::Running);
        self.hub.end_save(true);
        state
    }

    /// Ends the server without a word, and starts another with what is on disk.
    pub fn crash(&mut self, state: &[u8]) {
        let boot = LifeId::new(self.hub.chat().boot().number() + 1);
        self.load(state).unwrap();
        let mut state = state;
        let saved = Head::read(&mut Reader::new(&mut state).unwrap()).unwrap();
        let lost_ms = self.at - saved.at.0;
        self.at = saved.at.0;
        self.unix_ms += lost_ms + 100_000;
        self.hub.recover(boot);
        self.hub.assert_consistent(self.now());
    }

    /// Puts bytes on the way to the server without letting it look at them.
    pub fn post(&mut self, peer: &Peer, bytes: &[u8]) {
        peer.wire.borrow_mut().input.extend(bytes);
        self.tell(peer, |ready| ready.readable = true);
    }

    pub fn send(&mut self, peer: &Peer, bytes: &[u8]) {
        self.post(peer, bytes);
        self.run();
    }

    /// Ends the client's side of the stream.
    pub fn end(&mut self, peer: &Peer) {
        self.end_later(peer);
        self.run();
    }

    /// Ends the client's side of the stream without letting the server look at that.
    pub fn end_later(&mut self, peer: &Peer) {
        peer.wire.borrow_mut().has_ended = true;
        // As epoll reports it.
        self.tell(peer, |ready| {
            (ready.readable, ready.read_closed) = (true, true)
        });
    }

    /// Breaks the connection without a word; the server's system notices.
    pub fn reset(&mut self, peer: &Peer) {
        peer.wire.borrow_mut().is_reset = true;
        self.tell(peer, |ready| (ready.broken, ready.failed) = (true, true));
        self.run();
    }

    /// Closes the client's side of a Unix socket, which it has read to its end.
    pub fn close(&mut self, peer: &Peer) {
        peer.wire.borrow_mut().has_ended = true;
        self.tell(peer, |ready| {
            (ready.readable, ready.read_closed, ready.broken) = (true, true, true)
        });
        self.run();
    }

    /// Lets the stream take `space` bytes from now on.
    pub fn set_space(&mut self, peer: &Peer, space: usize) {
        peer.wire.borrow_mut().space = space;
        if space > 0 {
            self.tell(peer, |ready| ready.writable = true);
        }
        self.run();
    }

    /// Lets the stream take everything again; the poll reports that, but the server does not act yet.
    pub fn open(&mut self, peer: &Peer) {
        peer.wire.borrow_mut().space = usize::MAX;
        self.tell(peer, |ready| ready.writable = true);
    }

    fn tell(&mut self, peer: &Peer, what: impl FnOnce(&mut Readiness)) {
        // By now another connection may have this number.
        if peer.wire.borrow().is_closed {
            return;
        }
        let mut readiness = Readiness::default();
        what(&mut readiness);
        self.hub.ready(peer.conn, readiness, self.now());
    }

    /// Turns the loop until there is nothing left to do.
    pub fn run(&mut self) {
        for _ in 0..100_000 {
            let deadline = self.hub.next_deadline();
            let is_due = deadline.is_some_and(|deadline| deadline.0 <= self.at);
            if !is_due && !self.hub.has_work() {
                return;
            }
            self.turns += 1;
            self.hub.turn(&self.now(), Millis(self.at), true);
            if self.upgrades.as_mut().is_some_and(|rng| rng.u8(..8) == 0) {
                self.upgrade();
            }
        }
        panic!("the loop spins");
    }

    /// Lets time pass; the loop sleeps and wakes as the server's does.
    pub fn advance(&mut self, ms: u64) {
        let end = self.at + ms;
        while let Some(Millis(deadline)) = self.hub.next_deadline().filter(|d| d.0 <= end) {
            self.at = self.at.max(deadline);
            self.run();
        }
        self.at = end;
    }

    /// Lets time pass while the server is stopped.
    pub fn stop_for(&mut self, ms: u64) {
        self.at += ms;
    }
}
