//! What is done to the sessions of a crowd to see what it costs: each goes by in a visit, from
//! RESUME to DETACH.

use tools::client::Client;

use crate::measure::blocks::Work;
use crate::measure::sessions::{Crowd, IDLE, Token, read_join, write_join, write_token};

/// What is measured.
#[derive(Clone, Copy, PartialEq)]
pub enum Deed {
    Ping,
    Join,
    Resume,
    /// Of so many events.
    Poll {
        events: u32,
    },
}

impl Deed {
    /// Its name for programs.
    pub fn key(self) -> String {
        match self {
            Deed::Ping => "ping".into(),
            Deed::Join => "join".into(),
            Deed::Resume => "resume".into(),
            Deed::Poll { events } => format!("poll-{events}"),
        }
    }

    /// Its name for people: all commands that it takes.
    pub fn words(self) -> String {
        match self {
            Deed::Ping => "PING".into(),
            Deed::Join => "JOIN+DETACH".into(),
            Deed::Resume => "RESUME+DETACH".into(),
            Deed::Poll { events } => format!("RESUME+POLL+DETACH, {events} events"),
        }
    }
}

/// Somebody beside the crowd, and his room.
pub type Member = (Token, usize);

/// What is measured, done to one session after the other.
pub struct Visits<'a> {
    pub deed: Deed,
    /// The sessions; for a JOIN, the sessions whose rooms are joined.
    pub picks: Vec<u32>,
    /// The first JOIN's name; each that follows has the next.
    pub first_name: usize,
    pub crowd: &'a mut Crowd,
    /// Who has joined.
    pub joined: Vec<Member>,
}

impl Visits<'_> {
    fn room(&self, index: usize) -> usize {
        self.crowd.room_of(self.picks[index] as usize)
    }

    /// How many events a POLL is given.
    fn events(&self, index: usize, wanted: u32) -> u32 {
        wanted.min(self.crowd.newest[self.room(index)])
    }
}

impl Work for Visits<'_> {
    fn write(&mut self, index: usize, out: &mut Vec<u8>) {
        match self.deed {
            Deed::Ping => return out.extend_from_slice(b"PING\n"),
            Deed::Join => {
                return write_join(self.first_name + index, self.room(index), IDLE, out);
            }
            Deed::Resume | Deed::Poll { .. } => {}
        }
        out.extend_from_slice(b"RESUME ");
        write_token(&self.crowd.tokens[self.picks[index] as usize], out);
        if let Deed::Poll { events } = self.deed {
            let newest = self.crowd.newest[self.room(index)];
            let after = newest - self.events(index, events);
            out.extend_from_slice(format!("\nPOLL after={after}").as_bytes());
        }
        out.extend_from_slice(b"\nDETACH\n");
    }

    fn read(&mut self, index: usize, client: &mut Client) -> Result<(), String> {
        match self.deed {
            Deed::Ping => return client.expect("OK PING").map(|_| ()),
            Deed::Join => {
                let room = self.room(index);
                self.joined.push((read_join(client)?, room));
                self.crowd.newest[room] += 1;
            }
            Deed::Resume => _ = client.expect("OK RESUME ")?,
            Deed::Poll { events } => {
                client.expect("OK RESUME ")?;
                let count = self.events(index, events);
                client.expect(&format!("OK POLL {count} "))?;
                for _ in 0..count {
                    client.line()?;
                }
            }
        }
        client.expect("OK DETACH").map(|_| ())
    }
}

/// Sessions that leave their rooms.
pub struct Leaving<'a> {
    pub members: Vec<Member>,
    pub crowd: &'a mut Crowd,
}

impl Work for Leaving<'_> {
    fn write(&mut self, index: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RESUME ");
        write_token(&self.members[index].0, out);
        out.extend_from_slice(b"\nLEAVE\n");
    }

    fn read(&mut self, index: usize, client: &mut Client) -> Result<(), String> {
        client.expect("OK RESUME ")?;
        client.expect("OK LEAVE")?;
        self.crowd.newest[self.members[index].1] += 1;
        Ok(())
    }
}
