//! Many sessions, and what one client among them does.

use chinwag::chat::{Caller, Chat, ConnId, Input, Outcome, Peer, TimerBudget};
use chinwag::protocol::{LifeId, Request};
use chinwag::time::{Now, Zone};

use super::common::{SAY, limits, moment};

/// How many members each room has, if there are many rooms.
const ROOM: usize = 1000;
/// How many of the sessions are attached.
const ATTACHED: usize = 100;
/// The time in which all sessions are created. Their idle time is twice as long.
const ARRIVAL_MS: usize = 1_800_000;
/// The most timers that the loop looks at in one turn.
const TIMERS: usize = 256;
/// More ended sessions than the server remembers.
const ENDED: usize = 1100;

/// The core without the hub.
pub struct Core {
    pub chat: Chat,
    pub now: Now,
    conns: u32,
    /// The line to answer. Its alignment is always the same, since the cost of looking at text
    /// depends on it.
    line: Vec<u8>,
    out: Vec<u8>,
}

impl Core {
    pub fn new() -> Core {
        Core {
            chat: Chat::new(limits(), LifeId::new(0), Zone::UTC),
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
            .connect(conn, Peer::Local { user: 0 }, self.now, &mut self.out);
        client.expect("no limit is in the way")
    }

    /// Reads and answers one line, which must succeed.
    pub fn answer(&mut self, client: &mut Caller, line: &[u8]) -> &[u8] {
        self.out.clear();
        self.line.clear();
        self.line.extend_from_slice(line);
        let request = Request::read(&self.line, self.chat.limits());
        let permit = self.chat.admit(client, self.now);
        let input = Input {
            bytes: line.len() + 1,
            is_negotiation: false,
            ends_line: true,
            request: Some(request),
        };
        let permit = permit.expect("a client may send as fast as it likes");
        let answered = (self.chat).answer(client, permit, input, self.now, &mut self.out);
        if let Outcome::Later(pending) = answered.outcome {
            let outcome = (self.chat).carry_out(client, pending, self.now, &mut self.out);
            assert!(matches!(outcome, Outcome::Done));
        }
        assert!(self.out.starts_with(b"OK "), "{}", line.escape_ascii());
        &self.out
    }

    /// Fires timers as a turn does, and returns until when the loop may sleep.
    pub fn fire(&mut self) -> Option<u64> {
        let mut budget = TimerBudget::each(TIMERS);
        while let Some(due) = self.chat.due(self.now, &mut budget) {
            drop(self.chat.settle(due, None, self.now));
        }
        self.chat.next_deadline().map(|when| when.0)
    }
}

/// Many sessions, all created within half their idle time. All but a hundred are detached.
pub struct Sessions {
    core: Core,
    attached: Vec<Caller>,
    /// A RESUME line for each detached session.
    resumes: Vec<Vec<u8>>,
    visitor: Caller,
    resident: Caller,
    turn: usize,
}

impl Sessions {
    /// Creates sessions in rooms of a thousand.
    pub fn in_many_rooms(sessions: usize) -> Sessions {
        Sessions::new(sessions, ROOM)
    }

    /// Creates sessions in one room.
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

    /// Sends a PING for an attached session.
    pub fn ping(&mut self) {
        self.attached_sends(b"PING");
    }

    /// Sends a WHO for an attached session.
    pub fn who(&mut self) {
        self.attached_sends(b"WHO");
    }

    /// Fetches 100 events for an attached session.
    pub fn poll(&mut self) {
        self.attached_sends(b"POLL max=100 after=100");
    }

    fn attached_sends(&mut self, line: &[u8]) {
        self.turn = (self.turn + 1) % self.attached.len();
        self.core.answer(&mut self.attached[self.turn], line);
    }

    /// Says something in a room that has a full log and no other member.
    pub fn say(&mut self) {
        self.core.answer(&mut self.resident, SAY);
    }

    /// Joins a room that has one other member, and leaves it.
    pub fn join_and_leave(&mut self) {
        self.visit(b"JOIN visitor");
    }

    /// Joins a room and leaves it.
    pub fn visit(&mut self, join: &[u8]) {
        self.core.answer(&mut self.visitor, join);
        self.core.fire();
        self.core.answer(&mut self.visitor, b"LEAVE");
        self.core.fire();
    }

    /// Resumes and detaches a session: each time another one, far from the last.
    pub fn resume_and_detach(&mut self) {
        self.turn = (self.turn + 7919) % self.resumes.len();
        let resume = &self.resumes[self.turn];
        self.core.answer(&mut self.visitor, resume);
        self.core.fire();
        self.core.answer(&mut self.visitor, b"DETACH");
        self.core.fire();
    }

    /// Lets time pass until all sessions have expired. Returns how many there were.
    pub fn expire(&mut self) -> usize {
        let sessions = self.core.chat.sessions();
        while let Some(deadline) = self.core.fire() {
            self.core.now = moment(deadline);
        }
        assert_eq!(self.core.chat.sessions(), 0);
        sessions
    }
}
