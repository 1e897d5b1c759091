//! Every transcript, and every dialogue in a document, played against the core.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use chinwag::chat::Origin;
use chinwag::chat::keys::Keys;
use chinwag::hub::conn::Readiness;
use chinwag::link::{Settings, mqtt};
use chinwag::options::{self, Action, Options};
use chinwag::protocol::Limits;

use crate::script::sources::{documents, transcripts};
use crate::script::{Op, Script, Stage, is_operator};
use crate::world::{BOOT, Peer, UNIX_MS, Wire, World};

/// The core's world as a stage.
pub struct CoreStage {
    world: World,
    /// The stream to the broker, which this stage plays.
    broker: Option<Rc<RefCell<Wire>>>,
    /// What the server has published, with the topic in front.
    published: VecDeque<String>,
    peers: HashMap<String, Peer>,
    /// What all clients have sent.
    pub sent: Vec<u8>,
    /// What the operator has sent.
    pub ordered: Vec<u8>,
    /// What each client has received.
    pub received: HashMap<String, Vec<u8>>,
}

impl CoreStage {
    pub fn new(script: &Script) -> Self {
        let options = options_of(script);
        let mut stage = CoreStage {
            world: match options.link.settings(None) {
                Some(link) => World::linked(options.limits, BOOT, UNIX_MS, link),
                None => World::new(options.limits),
            },
            broker: None,
            published: VecDeque::new(),
            peers: HashMap::new(),
            sent: Vec::new(),
            ordered: Vec::new(),
            received: HashMap::new(),
        };
        // As over TCP, all clients come from one address.
        stage.world.origin = Origin::V4([127, 0, 0, 1]);
        if let Some(users) = &script.users {
            stage.set_users(users);
        }
        stage
    }

    fn link(&self) -> &Settings {
        let link = self.world.link.as_ref();
        link.expect("the script has no --link")
    }

    /// Lets the server open a stream to the broker, and have its name there.
    fn link_up(&mut self) {
        while !self.world.hub.wants_broker(self.world.now()) {
            self.world.advance(100);
        }
        self.broker = Some(self.world.open_broker());
        // It accepts the connection.
        self.give(&[0x20, 2, 0, 0], Readiness::default());
        self.world.advance(2000);
    }

    /// Lets time pass, in which the broker answers.
    fn advance(&mut self, ms: u64) {
        const STEP_MS: u64 = 1000;
        let mut left = ms;
        while self.broker.is_some() && left > STEP_MS {
            self.world.advance(STEP_MS);
            self.read_broker();
            left -= STEP_MS;
        }
        self.world.advance(left);
    }

    /// Gives bytes of the broker to the server.
    fn give(&mut self, bytes: &[u8], readiness: Readiness) {
        let wire = self.broker.as_ref().expect("the link is up");
        wire.borrow_mut().input.extend(bytes);
        let readable = true;
        let readiness = Readiness {
            readable,
            ..readiness
        };
        self.world.hub.ready_broker(readiness);
        self.world.run();
    }

    /// Reads what the server has published, and answers its pings.
    fn read_broker(&mut self) {
        let Some(wire) = &self.broker else { return };
        let output = std::mem::take(&mut wire.borrow_mut().output);
        let mut rest = &output[..];
        let mut pings = 0;
        while let [kind, behind @ ..] = rest {
            let digits = behind.iter().take_while(|&&byte| byte >= 0x80).count() + 1;
            let length = behind[..digits].iter().rev();
            let length = length.fold(0, |sum, &byte| sum << 7 | usize::from(byte & 0x7f));
            let (body, next) = behind[digits..].split_at(length);
            rest = next;
            if *kind == 0x30 {
                let (topic, payload) = body[2..].split_at(usize::from(body[1]));
                let [topic, payload] =
                    [topic, payload].map(|text| std::str::from_utf8(text).unwrap());
                let topic = topic.strip_prefix(self.link().prefix.as_str()).unwrap();
                let own = format!("/{}/", self.link().name);
                let topic = topic.strip_prefix(&own).unwrap_or(&topic[1..]);
                self.published.push_back(format!("{topic} {payload}"));
            }
            pings += usize::from(*kind == 0xc0);
        }
        for _ in 0..pings {
            self.give(&[0xd0, 0], Readiness::default());
        }
    }
}

impl Stage for CoreStage {
    fn connect(&mut self, who: &str) {
        let peer = match is_operator(who) {
            true => self.world.connect_operator(),
            false => self.world.connect(),
        };
        self.peers.insert(who.into(), peer);
    }

    fn is_connected(&self, who: &str) -> bool {
        self.peers.contains_key(who)
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        match is_operator(who) {
            true => self.ordered.extend(bytes),
            false => self.sent.extend(bytes),
        }
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
            Op::Advance(ms) => self.advance(*ms),
            Op::Stopped(ms) => self.world.stop_for(*ms),
            Op::Stalls(who, space) => self.world.set_space(&self.peers[who], *space),
            Op::ReadsOn(who) => self.world.set_space(&self.peers[who], usize::MAX),
            Op::LinkUp => self.link_up(),
            Op::LinkDown => {
                let wire = self.broker.as_ref().expect("the link is up");
                wire.borrow_mut().has_ended = true;
                let read_closed = true;
                self.give(
                    &[],
                    Readiness {
                        read_closed,
                        ..Readiness::default()
                    },
                );
                self.broker = None;
            }
            Op::Publish(topic, payload) => {
                let prefix = self.link().prefix.as_str().to_owned();
                let mut bytes = Vec::new();
                let topic = format_args!("{prefix}/{topic}").to_string();
                mqtt::write_publish(
                    format_args!("{topic}"),
                    format_args!("{payload}"),
                    &mut bytes,
                );
                self.give(&bytes, Readiness::default());
            }
            _ => unreachable!("not a step of the world: {op:?}"),
        }
    }

    fn published(&mut self, beginning: &str) -> Option<String> {
        self.read_broker();
        while let Some(said) = self.published.pop_front() {
            if said.starts_with(beginning) {
                return Some(said);
            }
        }
        None
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

/// The script's options.
fn options_of(script: &Script) -> Options {
    match options::parse(&script.args) {
        Ok(Action::Run(options)) => options,
        other => panic!("{}: {other:?}", script.name),
    }
}

/// The limits that they set.
pub fn limits(script: &Script) -> Limits {
    options_of(script).limits
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
