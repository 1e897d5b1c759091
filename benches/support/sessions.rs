//! Many sessions, and one client among them.

use chinwag::chat::{Caller, Chat, ConnId, Input, Outcome, Peer, TimerBudget};
use chinwag::protocol::Request;
use chinwag::time::Now;

use super::{SAY, limits, moment};

/// How many members the rooms of a scattered crowd have.
const ROOM: usize = 1000;
/// How many of a crowd's sessions are attached.
const ATTACHED: usize = 100;
/// Within how many milliseconds a crowd comes; its idle time is twice as long.
const ARRIVAL_MS: usize = 1_800_000;
/// Timers that the loop looks at in one turn.
const TIMERS: usize = 256;
/// As many ended sessions as are remembered, and some.
const ENDED: usize = 1100;

/// The core without the hub: answers lines.
pub struct Core {
    pub chat: Chat,
    pub now: Now,
    conns: u32,
    /// The line in hand, at an address that is always aligned alike: what looking at text takes
    /// depends on that.
    line: Vec<u8>,
    out: Vec<u8>,
}

impl Core {
    pub fn new() -> Core {
        Core {
            chat: Chat::new(limits()),
            now: moment(0),
            conns: 0,
            line: Vec::with_capacity(1024),
            out: Vec::with_capacity(16 * 1024),
        }
    }

    pub fn connect(&mut self) -> Caller {
        let conn = ConnId(self.conns);
        self.conns += 1;
        self.out.clear();
        let client = self
            .chat
            .connect(conn, Peer::Local, self.now, &mut self.out);
        client.expect("there is room for as many as can be counted")
    }

    /// Reads and answers one line, which has to be right.
    pub fn answer(&mut self, client: &mut Caller, line: &[u8]) -> &[u8] {
        self.out.clear();
        self.line.clear();
        self.line.extend_from_slice(line);
        let request = Request::read(&self.line, self.chat.limits());
        let permit = self.chat.admit(client, self.now);
        let input = Input {
            bytes: line.len() + 1,
            ends_line: true,
            request: Some(request),
        };
        let permit = permit.expect("there is no bound for how fast a client may send");
        let answered = (self.chat).answer(client, permit, input, self.now, &mut self.out);
        if let Outcome::Later(pending) = answered.outcome {
            let outcome = (self.chat).carry_out(client, pending, self.now, &mut self.out);
            assert!(matches!(outcome, Outcome::Done));
        }
        assert!(self.out.starts_with(b"OK "), "{}", line.escape_ascii());
        &self.out
    }

    /// Does what a turn does about time, and asks until when the loop may sleep.
    pub fn fire(&mut self) -> Option<u64> {
        let mut budget = TimerBudget::each(TIMERS);
        while let Some(due) = self.chat.due(self.now, &mut budget) {
            drop(self.chat.settle(due, None, self.now));
        }
        self.chat.next_deadline().map(|when| when.0)
    }
}

/// Many sessions. All have come within half their idle time and let go of their connections, but for
/// a hundred of them.
pub struct Sessions {
    core: Core,
    attached: Vec<Caller>,
    /// RESUME for each session that is not attached.
    resumes: Vec<Vec<u8>>,
    visitor: Caller,
    resident: Caller,
    turn: usize,
}

impl Sessions {
    /// A crowd in rooms of a thousand.
    pub fn in_many_rooms(sessions: usize) -> Sessions {
        Sessions::new(sessions, ROOM)
    }

    /// A crowd in one room.
    pub fn in_one_room(sessions: usize) -> Sessions {
        Sessions::new(sessions, sessions)
    }

    fn new(sessions: usize, room_size: usize) -> Sessions {
        let mut core = Core::new();
        let mut gateway = core.connect();
        let mut resumes = Vec::with_capacity(sessions);
        for i in 0..sessions {
            core.now = moment((i * ARRIVAL_MS / sessions) as u64);
            core.fire();
            let (name, room) = (i % room_size, i / room_size);
            let join = format!("JOIN n{name} room=r{room} mode=pull idle=3600");
            let reply = core.answer(&mut gateway, join.as_bytes());
            let token = &reply["OK JOIN session=".len()..][..40];
            resumes.push([b"RESUME ", token].concat());
            core.answer(&mut gateway, b"DETACH");
        }
        let apart = sessions / ATTACHED;
        let attached = (0..ATTACHED).rev().map(|i| {
            let resume = resumes.swap_remove(i * apart);
            let mut client = core.connect();
            core.answer(&mut client, &resume);
            client
        });
        let attached = attached.collect();
        let mut resident = core.connect();
        core.answer(&mut resident, b"JOIN resident mode=pull idle=3600");
        let visitor = core.connect();
        let mut all = Sessions {
            core,
            attached,
            resumes,
            visitor,
            resident,
            turn: 0,
        };
        for _ in 0..ENDED {
            all.join_and_leave();
            all.say();
        }
        all
    }

    /// One of the attached sends a PING.
    pub fn ping(&mut self) {
        self.attached_sends(b"PING");
    }

    /// One of the attached asks who is there.
    pub fn who(&mut self) {
        self.attached_sends(b"WHO");
    }

    /// One of the attached fetches 100 events.
    pub fn poll(&mut self) {
        self.attached_sends(b"POLL max=100 after=100");
    }

    fn attached_sends(&mut self, line: &[u8]) {
        self.turn = (self.turn + 1) % self.attached.len();
        self.core.answer(&mut self.attached[self.turn], line);
    }

    /// Somebody says something in a room whose log is full, and where nobody else is.
    pub fn say(&mut self) {
        self.core.answer(&mut self.resident, SAY);
    }

    /// Somebody enters a room where one other is, and leaves it.
    pub fn join_and_leave(&mut self) {
        self.visit(b"JOIN visitor");
    }

    /// Somebody enters the first of the crowd's rooms, and leaves it.
    pub fn join_large_room_and_leave(&mut self) {
        self.visit(b"JOIN visitor room=r0");
    }

    fn visit(&mut self, join: &[u8]) {
        self.core.answer(&mut self.visitor, join);
        self.core.fire();
        self.core.answer(&mut self.visitor, b"LEAVE");
        self.core.fire();
    }

    /// One of the detached comes back and goes again; another one each time, far from the last.
    pub fn resume_and_detach(&mut self) {
        self.turn = (self.turn + 7919) % self.resumes.len();
        let resume = &self.resumes[self.turn];
        self.core.answer(&mut self.visitor, resume);
        self.core.fire();
        self.core.answer(&mut self.visitor, b"DETACH");
        self.core.fire();
    }

    /// Nobody sends anything any more; time passes until all are gone. Gives how many those were.
    pub fn expire(&mut self) -> usize {
        let sessions = self.core.chat.sessions();
        while let Some(deadline) = self.core.fire() {
            self.core.now = moment(deadline);
        }
        assert_eq!(self.core.chat.sessions(), 0);
        sessions
    }
}
