//! Every transcript, and every dialogue in a document, played against the core.

use std::collections::HashMap;

use chinwag::chat::Origin;
use chinwag::chat::keys::Keys;
use chinwag::options::{self, Action};
use chinwag::protocol::Limits;

use crate::script::sources::{documents, transcripts};
use crate::script::{Op, Script, Stage};
use crate::world::{Peer, World};

/// The core's world as a stage.
pub struct CoreStage {
    world: World,
    peers: HashMap<String, Peer>,
    /// What all clients have sent.
    pub sent: Vec<u8>,
    /// What each client has received.
    pub received: HashMap<String, Vec<u8>>,
}

impl CoreStage {
    pub fn new(script: &Script) -> Self {
        let mut stage = CoreStage {
            world: World::new(limits(script)),
            peers: HashMap::new(),
            sent: Vec::new(),
            received: HashMap::new(),
        };
        // As over TCP, all clients come from one address.
        stage.world.origin = Origin::V4([127, 0, 0, 1]);
        if let Some(users) = &script.users {
            stage.set_users(users);
        }
        stage
    }
}

impl Stage for CoreStage {
    fn connect(&mut self, who: &str) {
        self.peers.insert(who.into(), self.world.connect());
    }

    fn is_connected(&self, who: &str) -> bool {
        self.peers.contains_key(who)
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        self.sent.extend(bytes);
        self.world.send(&self.peers[who], bytes);
    }

    fn receive(&mut self, who: &str, len: Option<usize>) -> Result<Vec<u8>, Vec<u8>> {
        let output = &mut self.peers[who].wire.borrow_mut().output;
        let len = len.or_else(|| output.iter().position(|&b| b == b'\n').map(|at| at + 1));
        match len.filter(|&len| len <= output.len()) {
            Some(len) => {
                let bytes: Vec<u8> = output.drain(..len).collect();
                let received = self.received.entry(who.into()).or_default();
                received.extend(&bytes);
                Ok(bytes)
            }
            None => Err(output.clone()),
        }
    }

    fn end(&mut self, who: &str) {
        self.world.end(&self.peers[who]);
    }

    fn hang_up(&mut self, who: &str) {
        self.world.reset(&self.peers[who]);
        // Nobody cares any more what the server sent it before.
        self.peers[who].wire.borrow_mut().output.clear();
    }

    fn is_closed(&mut self, who: &str) -> bool {
        let wire = self.peers[who].wire.borrow();
        wire.is_closed && wire.output.is_empty()
    }

    fn set_users(&mut self, text: &str) {
        let keys = Keys::parse(text).unwrap();
        let now = self.world.now();
        self.world.hub.set_keys(Some(keys), now);
        // As in the server, the turn goes on after that.
        self.world.hub.turn(&now, now.past, true);
        self.world.run();
    }

    fn world(&mut self, op: &Op) {
        match op {
            Op::Advance(ms) => self.world.advance(*ms),
            Op::Stopped(ms) => self.world.stop_for(*ms),
            Op::Stalls(who, space) => self.world.set_space(&self.peers[who], *space),
            Op::ReadsOn(who) => self.world.set_space(&self.peers[who], usize::MAX),
            _ => unreachable!("not a step of the world: {op:?}"),
        }
    }

    fn unread(&mut self) -> Vec<(String, Vec<u8>)> {
        self.world.run();
        let unread = self
            .peers
            .iter()
            .map(|(who, peer)| (who.clone(), peer.wire.borrow().output.clone()));
        unread.filter(|(_, output)| !output.is_empty()).collect()
    }
}

/// The limits that the script's options set.
pub fn limits(script: &Script) -> Limits {
    match options::parse(&script.args) {
        Ok(Action::Run(options)) => options.limits,
        other => panic!("{}: {other:?}", script.name),
    }
}

fn expect_to_play(scripts: &[Script]) {
    let play = |script: &Script| script.play(&mut CoreStage::new(script)).err();
    let failures: Vec<_> = scripts.iter().filter_map(play).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_transcript_plays() {
    expect_to_play(&transcripts());
}

#[test]
fn every_dialogue_in_a_document_plays() {
    expect_to_play(&documents());
}
