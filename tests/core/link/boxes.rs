//! Boxes with a broker between them, without sockets, in the test's own time.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use chinwag::chat::{Head, Kind};
use chinwag::hub::Hub;
use chinwag::hub::conn::Readiness;
use chinwag::link::{LinkedRooms, Prefix, Settings};
use chinwag::protocol::{LifeId, Limits, Name};
use chinwag::state::Reader;
use chinwag::time::{Millis, Now};

use super::broker::{Broker, ClientId};
use super::ears::{Ear, Ledgers};
use crate::members::limits;
use crate::world::{Peer, UNIX_MS, Wire, World, ZONE};

/// What a box is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    pub name: &'static str,
    /// The rooms that span boxes; none for all.
    pub rooms: Vec<&'static str>,
    pub limits: Limits,
    pub members_max: usize,
    pub hold_s: u32,
}

impl Setup {
    /// A box with some linked rooms, or with `*`.
    pub fn new(name: &'static str, rooms: &[&'static str]) -> Setup {
        Setup {
            name,
            rooms: rooms.iter().copied().filter(|&room| room != "*").collect(),
            limits: limits(),
            members_max: 1024,
            hold_s: 3600,
        }
    }

    pub fn settings(&self) -> Settings {
        let name = |name: &&str| Name::parse(name).unwrap();
        Settings {
            broker: "192.0.2.1:1883".to_owned(),
            name: name(&self.name),
            rooms: match self.rooms.is_empty() {
                true => LinkedRooms::All,
                false => LinkedRooms::Named(self.rooms.iter().map(name).collect()),
            },
            prefix: Prefix::parse("chinwag").unwrap(),
            login: None,
            members_max: self.members_max,
            hold_s: self.hold_s,
        }
    }

    pub fn limits(&self) -> Limits {
        Limits {
            is_linked: true,
            rooms_permanent: self.rooms.len(),
            ..self.limits
        }
    }
}

/// What a box does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It has stopped as if at a breakpoint; everything waits for it until then.
    Frozen { until: u64 },
    /// It has ended, and goes on with this state, if there is one, when it starts again.
    Ended { state: Option<Vec<u8>> },
}

/// A box.
pub struct LinkedBox {
    pub setup: Setup,
    pub world: World,
    pub life: Life,
    /// Which of all lives of servers this is.
    pub boot: LifeId,
    /// How far its own time is behind that of the test.
    behind: u64,
    /// The stream to the broker: its number there, and the wire.
    stream: Option<(ClientId, Rc<RefCell<Wire>>)>,
    /// The poll has something to report.
    is_woken: bool,
    /// All that has come while it was frozen has arrived.
    is_thawing: bool,
    /// How many more bytes its broker's stream takes.
    pub space: usize,
    /// The broker cannot be reached from here.
    pub is_cut_off: bool,
    /// What was saved for the case of a crash.
    pub disk: Option<Vec<u8>>,
    pub ears: Vec<Ear>,
    /// How many streams to the broker it has opened.
    pub opened: usize,
}

impl LinkedBox {
    pub fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended { .. })
    }

    /// Lets nothing happen in it for a while.
    pub fn freeze_until(&mut self, until: u64) {
        self.life = Life::Frozen { until };
    }

    /// Lets it go on by then, if it is frozen.
    pub fn thaw_at(&mut self, at: u64) {
        if let Life::Frozen { until } = &mut self.life {
            *until = at;
        }
    }

    pub fn name(&self) -> &'static str {
        self.setup.name
    }

    /// Whether it has this room on the link while somebody is there.
    pub fn links(&self, room: &str) -> bool {
        self.setup.rooms.is_empty() || self.setup.rooms.contains(&room)
    }

    /// Its broker's stream, as the broker knows it.
    pub fn client(&self) -> Option<ClientId> {
        self.stream.as_ref().map(|(client, _)| *client)
    }
}

/// Boxes, and the broker that they are linked by.
pub struct Boxes {
    pub broker: Broker,
    pub boxes: Vec<LinkedBox>,
    /// The time, in milliseconds.
    pub at: u64,
    /// How many turns all boxes have taken.
    pub turns: u64,
    /// How many bytes from the broker arrive at once.
    pub piece_bytes: usize,
    pub ledgers: Ledgers,
    /// How many lives of servers have begun.
    lives: u64,
    /// After how many turns a hub is looked at as a whole.
    pub turns_per_check: u64,
}

impl Boxes {
    pub fn new() -> Boxes {
        Boxes::with_seed(0)
    }

    pub fn with_seed(seed: u64) -> Boxes {
        Boxes {
            broker: Broker::new(seed),
            boxes: Vec::new(),
            at: 0,
            turns: 0,
            piece_bytes: usize::MAX,
            ledgers: Ledgers::default(),
            lives: 0,
            turns_per_check: 1,
        }
    }

    /// Starts a new box, and returns its index.
    pub fn start(&mut self, setup: Setup) -> usize {
        let boot = self.new_boot();
        // Their wall clocks differ.
        let unix_ms = UNIX_MS + 1000 * self.lives;
        let world = World::linked(setup.limits(), boot, unix_ms, setup.settings());
        self.boxes.push(LinkedBox {
            setup,
            world,
            life: Life::Running,
            boot,
            behind: self.at,
            stream: None,
            is_woken: true,
            is_thawing: false,
            space: usize::MAX,
            is_cut_off: false,
            disk: None,
            ears: Vec::new(),
            opened: 0,
        });
        self.boxes.len() - 1
    }

    fn new_boot(&mut self) -> LifeId {
        self.lives += 1;
        LifeId::new(0xb007).nth(self.lives)
    }

    /// Lets a box's own clock show the time.
    pub fn tell_time(&mut self, index: usize) -> Now {
        let linked = &mut self.boxes[index];
        linked.world.at = self.at - linked.behind;
        linked.world.now()
    }

    /// Does everything that is to be done now.
    pub fn run(&mut self) {
        for _ in 0..1_000_000 {
            self.broker.advance(self.at);
            let mut is_done = true;
            for index in 0..self.boxes.len() {
                self.carry_from_broker(index);
                if self.needs_turn(index) {
                    self.turn(index);
                    is_done = false;
                }
            }
            if is_done {
                return;
            }
        }
        panic!("the loop spins");
    }

    /// Lets time pass; boxes sleep and wake as servers do.
    pub fn advance(&mut self, ms: u64) {
        let end = self.at + ms;
        loop {
            self.run();
            let Some(next) = self.next_due().filter(|&next| next <= end) else {
                break;
            };
            assert!(next > self.at, "{next} is due at {}", self.at);
            self.at = next;
            self.thaw();
        }
        self.at = end;
        self.thaw();
        self.run();
    }

    /// When the next thing happens if nobody does anything.
    fn next_due(&mut self) -> Option<u64> {
        let mut next = self.broker.next_due().unwrap_or(u64::MAX);
        for linked in &mut self.boxes {
            let due = match linked.life {
                Life::Running => {
                    let deadline = linked.world.hub.next_deadline();
                    deadline.map_or(u64::MAX, |due| due.0.saturating_add(linked.behind))
                }
                Life::Frozen { until } => until,
                Life::Ended { .. } => u64::MAX,
            };
            next = next.min(due);
        }
        (next < u64::MAX).then_some(next)
    }

    /// Lets boxes go on that were frozen for long enough.
    pub fn thaw(&mut self) {
        for linked in &mut self.boxes {
            if let Life::Frozen { until } = linked.life {
                if until <= self.at {
                    linked.life = Life::Running;
                    (linked.is_woken, linked.is_thawing) = (true, true);
                }
            }
        }
    }

    fn needs_turn(&mut self, index: usize) -> bool {
        let linked = &mut self.boxes[index];
        if !linked.is_running() {
            return false;
        }
        let hub = &mut linked.world.hub;
        let at = Millis(self.at - linked.behind);
        let is_due = hub.next_deadline().is_some_and(|due| due <= at);
        is_due || hub.has_work() || linked.is_woken
    }

    /// Lets a box take one turn of its loop.
    pub fn turn(&mut self, index: usize) {
        let now = self.tell_time(index);
        self.turns += 1;
        let linked = &mut self.boxes[index];
        linked.is_woken = false;
        if linked.world.hub.wants_broker(now) {
            if linked.is_cut_off {
                let error = io::ErrorKind::ConnectionRefused.into();
                linked.world.hub.fail_broker(&error, now);
            } else {
                assert!(linked.stream.is_none());
                let wire = linked.world.open_broker();
                wire.borrow_mut().space = linked.space;
                linked.stream = Some((self.broker.connect(index), wire));
                linked.opened += 1;
            }
        }
        linked.world.hub.turn(&now, now.past, true);
        if self.turns % self.turns_per_check == 0 {
            linked.world.hub.assert_consistent(now);
        }
        self.hear(index);
        self.carry_to_broker(index);
    }

    /// Takes in what clients of a box have received.
    pub fn hear(&mut self, index: usize) {
        let linked = &mut self.boxes[index];
        for ear in &mut linked.ears {
            ear.listen(&mut self.ledgers);
        }
    }

    /// Brings what a box has written to the broker.
    pub fn carry_to_broker(&mut self, index: usize) {
        let linked = &mut self.boxes[index];
        let Some((client, wire)) = &linked.stream else {
            return;
        };
        let client = *client;
        let (bytes, is_closed) = {
            let mut wire = wire.borrow_mut();
            (std::mem::take(&mut wire.output), wire.is_closed)
        };
        if !bytes.is_empty() {
            self.broker.take(client, &bytes);
        }
        if is_closed {
            self.broker.hang_up(client);
            linked.stream = None;
        }
    }

    /// Brings what the broker has written to a box.
    fn carry_from_broker(&mut self, index: usize) {
        let linked = &mut self.boxes[index];
        if !linked.is_running() {
            return;
        }
        let Some((client, wire)) = &linked.stream else {
            return;
        };
        let mut readiness = Readiness::default();
        if self.broker.has_output(*client) {
            let bytes_max = match std::mem::take(&mut linked.is_thawing) {
                true => usize::MAX,
                false => self.piece_bytes,
            };
            let bytes = self.broker.give(*client, bytes_max);
            wire.borrow_mut().input.extend(bytes);
            readiness.readable = true;
        } else if !self.broker.has(*client) && !wire.borrow().has_ended {
            wire.borrow_mut().has_ended = true;
            (readiness.readable, readiness.read_closed) = (true, true);
        }
        if readiness.readable {
            self.tell_time(index);
            let linked = &mut self.boxes[index];
            linked.world.hub.ready_broker(readiness);
            linked.is_woken = true;
        }
    }

    /// Lets a box's stream to the broker take this many bytes, and each that it opens later.
    pub fn set_space(&mut self, index: usize, space: usize) {
        self.tell_time(index);
        let linked = &mut self.boxes[index];
        linked.space = space;
        if let Some((_, wire)) = &linked.stream {
            wire.borrow_mut().space = space;
            if space > 0 {
                let readiness = Readiness {
                    writable: true,
                    ..Readiness::default()
                };
                linked.world.hub.ready_broker(readiness);
                linked.is_woken = true;
            }
        }
    }

    /// Lets the broker send its last bytes to a box and close the connection, of which the poll tells at once.
    pub fn end_with(&mut self, index: usize, bytes: &[u8]) {
        self.tell_time(index);
        let linked = &mut self.boxes[index];
        let (client, wire) = linked.stream.as_ref().unwrap();
        {
            let mut wire = wire.borrow_mut();
            wire.input.extend(bytes);
            wire.has_ended = true;
        }
        self.broker.hang_up(*client);
        linked.world.hub.ready_broker(Readiness {
            readable: true,
            read_closed: true,
            ..Readiness::default()
        });
        linked.is_woken = true;
    }

    /// Breaks a box's connection to the broker.
    pub fn cut(&mut self, index: usize) {
        if let Some(client) = self.boxes[index].client() {
            self.broker.hang_up(client);
        }
    }

    /// Puts a new program in the place of a box's.
    pub fn upgrade(&mut self, index: usize) {
        self.tell_time(index);
        self.boxes[index].world.upgrade();
    }

    /// Saves a box for the case of a crash.
    pub fn save(&mut self, index: usize) {
        self.tell_time(index);
        let linked = &mut self.boxes[index];
        linked.disk = Some(linked.world.save_on_disk());
    }

    /// Stops a box in an orderly way.
    pub fn stop(&mut self, index: usize, is_kept: bool) {
        let now = self.tell_time(index);
        let hub = &mut self.boxes[index].world.hub;
        hub.leave_broker(is_kept, now);
        hub.shut_down(now);
        self.carry_to_broker(index);
        self.boxes[index].world.run();
        self.hear(index);
        let linked = &mut self.boxes[index];
        let state = is_kept.then(|| linked.world.save(Kind::Stop));
        self.end(index, state, is_kept);
    }

    /// Ends a box without a word. It goes on with what it has saved last, if anything.
    pub fn crash(&mut self, index: usize) {
        let state = self.boxes[index].disk.clone();
        self.end(index, state, false);
    }

    fn end(&mut self, index: usize, state: Option<Vec<u8>>, is_kept: bool) {
        let linked = &mut self.boxes[index];
        linked.life = Life::Ended { state };
        linked.world.hub = Hub::new(*linked.world.hub.chat().limits(), linked.boot, ZONE);
        if let Some((client, wire)) = linked.stream.take() {
            wire.borrow_mut().is_closed = true;
            self.broker.hang_up(client);
        }
        for ear in &mut linked.ears {
            ear.hang_up();
            self.ledgers.list[ear.ledger].is_over |= !is_kept;
        }
    }

    /// Starts a box again that has ended. Returns whether it is in the same life as before.
    pub fn start_again(&mut self, index: usize) -> bool {
        let Life::Ended { state } = std::mem::replace(&mut self.boxes[index].life, Life::Running)
        else {
            panic!("it runs");
        };
        let boot = self.new_boot();
        let at = self.at;
        let linked = &mut self.boxes[index];
        linked.is_woken = true;
        let Some(state) = state else {
            let setup = linked.setup.clone();
            let unix_ms = linked.world.unix_ms + (at - linked.behind);
            linked.world = World::linked(setup.limits(), boot, unix_ms, setup.settings());
            (linked.boot, linked.behind) = (boot, at);
            linked.ears.clear();
            return false;
        };
        let head = Head::read(&mut Reader::new(&mut &state[..]).unwrap()).unwrap();
        linked.world.load(&state).unwrap();
        let now_unix_ms = linked.world.unix_ms + (at - linked.behind);
        linked.behind = at - head.at.0;
        linked.world.at = head.at.0;
        linked.world.unix_ms = now_unix_ms - head.at.0;
        let now = linked.world.now();
        if head.kind == Kind::Running {
            linked.world.hub.recover(boot);
            linked.boot = boot;
            linked.ears.clear();
            return false;
        }
        linked.world.hub.go_on(now);
        self.resume_ears(index);
        true
    }

    /// Connects a client to a box.
    pub fn connect(&mut self, index: usize) -> Peer {
        self.tell_time(index);
        let peer = self.boxes[index].world.connect();
        self.settle(index);
        peer
    }

    /// Sends something to a box, which answers it in one turn.
    pub fn send(&mut self, index: usize, peer: &Peer, text: &str) {
        self.tell_time(index);
        self.boxes[index].world.post(peer, text.as_bytes());
        if self.boxes[index].is_running() {
            self.turn(index);
        }
    }

    /// Takes in what a box has done on its own.
    pub fn settle(&mut self, index: usize) {
        self.boxes[index].is_woken = true;
        self.hear(index);
        self.carry_to_broker(index);
    }

    /// Sends a line to a box, and returns the lines that the client has got then.
    pub fn ask(&mut self, index: usize, peer: &Peer, line: &str) -> Vec<String> {
        self.send(index, peer, &format!("{line}\n"));
        crate::members::lines(peer)
    }
}
