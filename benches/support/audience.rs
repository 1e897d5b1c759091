//! Many members who all get what one of them says, without the hub.

use chinwag::chat::{Caller, ConnId};

use super::common::{SAY, moment};
use super::sessions::Core;

/// A room of push members.
pub struct Audience {
    core: Core,
    clients: Vec<Caller>,
    conns: Vec<ConnId>,
    rest: Vec<u8>,
}

impl Audience {
    pub fn new(members: usize) -> Audience {
        let mut core = Core::new();
        let clients = (0..members).map(|i| {
            let mut client = core.connect();
            core.answer(&mut client, format!("JOIN n{i}").as_bytes());
            client
        });
        let mut audience = Audience {
            clients: clients.collect(),
            core,
            conns: Vec::with_capacity(members),
            rest: Vec::new(),
        };
        audience.say();
        audience
    }

    /// Says something, and hands it to all members. Returns how many bytes they got.
    pub fn say(&mut self) -> usize {
        self.core.answer(&mut self.clients[0], SAY);
        let chat = &mut self.core.chat;
        let mut sum = 0;
        while chat.next_audience(false, &mut self.conns) {
            for &conn in &self.conns {
                let owed = chat.owed(&self.clients[conn.index()]);
                let bytes = owed.slices().iter().map(|slice| slice.len()).sum();
                let receipt = owed.written(bytes).expect("there is an event");
                chat.advance(receipt, moment(0), &mut self.rest);
                sum += bytes;
            }
        }
        assert!(self.rest.is_empty());
        sum
    }
}
