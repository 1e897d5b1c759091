//! Clients of a world: how they join, and what they have received.

use chinwag::protocol::Limits;

use crate::world::{Peer, World};

pub fn text(peer: &Peer) -> String {
    let output = std::mem::take(&mut peer.wire.borrow_mut().output);
    String::from_utf8(output).unwrap()
}

pub fn lines(peer: &Peer) -> Vec<String> {
    text(peer).lines().map(Into::into).collect()
}

pub fn member(world: &mut World, join: &str) -> Peer {
    let peer = world.connect();
    world.send(&peer, format!("{join}\n").as_bytes());
    let joined = lines(&peer);
    assert!(joined[1].starts_with("OK JOIN "), "{joined:?}");
    peer
}

/// Limits that no test reaches, for tests that are not about limits.
pub fn limits() -> Limits {
    Limits {
        connections_max: 1_000_000,
        sessions_max: 1_000_000,
        rooms_max: 1_000_000,
        per_address_max: 1_000_000,
        lines_per_s: 0,
        ..Limits::default()
    }
}

/// The numbers of the messages in what a client received, and how many LOST says it lost.
pub fn messages_and_lost(output: &str) -> (Vec<u64>, u64) {
    let mut seqs = Vec::new();
    let mut lost = 0;
    for line in output.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[0] {
            "MSG" => seqs.push(words[1].parse().unwrap()),
            "LOST" => lost += words[1].parse::<u64>().unwrap(),
            _ => {}
        }
    }
    (seqs, lost)
}

/// The number of the newest event of the only room.
pub fn newest(world: &mut World, witness: &Peer) -> u64 {
    world.send(witness, b"ROOMS\n");
    let rooms = text(witness);
    let newest = rooms.trim_end().rsplit(' ').next();
    newest.unwrap().parse().unwrap()
}
