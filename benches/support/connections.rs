//! Many connections: of push members or people, who all get what one of them says, and of silent
//! pull members.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::Rc;

use chinwag::chat::{ConnId, Peer};
use chinwag::hub::Hub;
use chinwag::hub::conn::{Readiness, Transport};
use chinwag::protocol::LifeId;
use chinwag::time::Zone;

use super::common::{SAY, TEXT, limits, moment};

/// What a client and the server's end of its stream share.
#[derive(Default)]
struct Wire {
    input: RefCell<Vec<u8>>,
    taken: Cell<usize>,
}

/// The server's end of a stream, which takes everything and only counts it.
struct End(Rc<Wire>);

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut input = self.0.input.borrow_mut();
        if input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = input.len().min(buffer.len());
        buffer[..len].copy_from_slice(&input[..len]);
        input.drain(..len);
        Ok(len)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.taken.set(self.0.taken.get() + bytes.len());
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.0.taken.set(self.0.taken.get() + bytes);
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for End {
    fn watch_peer(&mut self, _: Option<u32>) {}

    fn untaken(&self) -> u32 {
        0
    }

    fn drops_untaken(&self) -> bool {
        false
    }

    fn may_read_in_part(&self) -> bool {
        false
    }

    fn number(&self) -> u32 {
        0
    }
}

/// A hub, and the other ends of its connections. Each of them is attached to a session.
pub struct Connections {
    hub: Hub<End>,
    wires: Vec<Rc<Wire>>,
    /// How its members say something.
    say: &'static [u8],
    turn: usize,
}

impl Connections {
    /// Connects push members of one room.
    pub fn of_push_members(members: usize) -> Connections {
        Connections::new(members, |i| format!("JOIN n{i}\n"))
    }

    /// Connects people in one room.
    pub fn of_people(members: usize) -> Connections {
        Connections {
            say: TEXT,
            ..Connections::new(members, |i| format!("TALK n{i}\n"))
        }
    }

    /// Connects pull members of rooms of a thousand.
    pub fn of_pull_members(members: usize) -> Connections {
        Connections::new(members, |i| {
            format!("JOIN n{i} room=r{} mode=pull\n", i / 1000)
        })
    }

    fn new(members: usize, join: fn(usize) -> String) -> Connections {
        let mut all = Connections {
            hub: Hub::new(limits(), LifeId::new(0), Zone::UTC),
            wires: Vec::with_capacity(members),
            say: SAY,
            turn: 0,
        };
        for i in 0..members {
            let wire = Rc::<Wire>::default();
            let conn =
                (all.hub.vacancy()).accept(End(wire.clone()), Peer::Local { user: 0 }, moment(0));
            assert_eq!(conn, Some(ConnId::at(i)));
            all.wires.push(wire);
            all.send(i, join(i).as_bytes());
        }
        all
    }

    /// Sends a PING on a connection, each time on another, and takes a turn, which answers it.
    pub fn ping(&mut self) {
        self.turn = (self.turn + 7919) % self.wires.len();
        let before = self.wires[self.turn].taken.get();
        self.send(self.turn, b"PING\n");
        assert!(self.wires[self.turn].taken.get() > before);
    }

    /// Says something, and takes a turn, after which all members have it.
    pub fn say(&mut self) {
        let last = self.wires.len() - 1;
        let before = self.wires[last].taken.get();
        self.say_alone();
        assert!(self.wires[last].taken.get() > before + TEXT.len());
    }

    /// Says something, and takes a turn. The first member says it, to whom a person's own line is not
    /// shown again.
    pub fn say_alone(&mut self) {
        let before = self.hub.chat().stats.events;
        self.send(0, &[self.say, b"\n"].concat());
        assert_eq!(self.hub.chat().stats.events, before + 1);
    }

    fn send(&mut self, client: usize, line: &[u8]) {
        self.wires[client]
            .input
            .borrow_mut()
            .extend_from_slice(line);
        let readable = Readiness {
            readable: true,
            ..Readiness::default()
        };
        self.hub.ready(ConnId::at(client), readable, moment(0));
        self.hub.turn(&moment(0), moment(0).at, true);
        self.hub.next_deadline();
    }
}
