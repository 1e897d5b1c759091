//! A server to which much has happened, and its states: the same bytes each time, since the secrets in
//! them are replaced by those of known tokens.

use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::chat::{Kind, Origin};
use chinwag::protocol::{Limits, SecretHash, Token};

use super::world::{Peer, World};

/// The first bytes of a state.
pub const MAGIC: &[u8] = b"chinwag\0";

const TAG_BYTES: usize = 4;
const SECRET_BYTES: usize = 16;

/// A record of a state: its tag and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub tag: [u8; TAG_BYTES],
    pub fields: Vec<u8>,
}

/// The records of a whole state, up to and with `DONE`.
pub fn records(state: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = state.strip_prefix(MAGIC).unwrap();
    while !rest.is_empty() {
        let (tag, after) = rest.split_first_chunk().unwrap();
        let (len, after) = after.split_first_chunk().unwrap();
        let (fields, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        records.push(Record {
            tag: *tag,
            fields: fields.to_vec(),
        });
        rest = after;
    }
    records
}

/// The state with these records.
pub fn state_of(records: &[Record]) -> Vec<u8> {
    let mut state = MAGIC.to_vec();
    for Record { tag, fields } in records {
        state.extend(tag);
        state.extend((fields.len() as u32).to_le_bytes());
        state.extend(fields);
    }
    state
}

/// The token that the session in a slot has in an [eventful state](eventful_state).
pub fn token(slot: u32) -> String {
    format!("{slot:08x}{:032x}", u128::from(slot) + 1)
}

/// What the server keeps of that token.
fn secret_hash(slot: u32) -> [u8; SECRET_BYTES] {
    let token = Token::parse(&token(slot)).unwrap();
    let [low, high] = SecretHash::of(token.secret).to_numbers();
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

/// Replaces the secret behind a session's key, and returns what is left behind both.
fn replace_secret(fields: &mut [u8]) -> &mut [u8] {
    let (key, rest) = fields.split_first_chunk_mut().unwrap();
    let (secret, rest) = rest.split_at_mut(SECRET_BYTES);
    secret.copy_from_slice(&secret_hash(u32::from_le_bytes(*key)));
    rest
}

/// The same state with the secrets of known tokens.
pub fn with_known_tokens(state: &[u8]) -> Vec<u8> {
    let mut records = records(state);
    for Record { tag, fields } in &mut records {
        match &*tag {
            b"SESS" => _ = replace_secret(fields),
            b"ENDS" => {
                let mut rest = &mut fields[..];
                while !rest.is_empty() {
                    let end = replace_secret(rest);
                    // How it ended, and when.
                    let (len, end) = end.split_first_chunk_mut().unwrap();
                    rest = &mut end[u32::from_le_bytes(*len) as usize + size_of::<u64>()..];
                }
            }
            _ => {}
        }
    }
    state_of(&records)
}

/// Few of everything, so that limits are near.
pub fn limits() -> Limits {
    Limits {
        log_bytes: 4096,
        connections_max: 16,
        sessions_max: 12,
        rooms_max: 5,
        per_address_max: 8,
        lines_per_s: 5,
        ..Limits::default()
    }
}

/// Connects a client that sends something.
fn client(world: &mut World, sent: &[u8]) -> Peer {
    let peer = world.connect();
    world.send(&peer, sent);
    peer
}

/// A server with connections in all states, sessions of all kinds, rooms with and without members, and
/// a life before this one that came to no good end.
pub fn eventful() -> World {
    let mut world = World::new(limits());
    world.advance(1000);
    client(&mut world, b"JOIN ann room=Den\nSAY before\n");
    client(&mut world, b"JOIN joe room=attic\nSAY before, too\n");
    let state = world.save_on_disk();
    world.crash(&state);
    world.advance(1000);

    world.origin = Origin::V4([192, 0, 2, 1]);
    let ann = client(&mut world, b"JOIN ann room=den key=a idle=600\nSAY hello\n");
    let cat = client(
        &mut world,
        b"JOIN cat room=den key=c idle=3600\nSAY 1\nSAY 2\n",
    );
    world.reset(&cat);
    world.origin = Origin::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1]);
    let bob = client(&mut world, b"JOIN bob room=den key=b mode=pull\nPOLL\n");
    client(
        &mut world,
        b"JOIN joe room=attic quiet=yes alive=tcp key=j\nSAY up here\n",
    );
    world.origin = Origin::Local;
    world.user = 1000;
    client(&mut world, b"JOIN kim room=porch key=k\nLEAVE\n");
    people(&mut world);
    world.advance(1000);

    // Two that take nothing: events, and replies.
    let dan = client(&mut world, b"JOIN dan room=den key=d idle=60\n");
    world.set_space(&dan, 0);
    let lou = client(&mut world, b"JOIN lou room=attic key=l\n");
    world.set_space(&lou, 10);
    world.send(&lou, b"HELP\nHELP\nSTATS\n");
    for number in 0..6 {
        let message = format!("SAY {number} {}\n", "x".repeat(900));
        world.advance(2000);
        world.send(&ann, message.as_bytes());
    }
    world.send(&bob, b"POLL\nPOLL wait=50\n");
    guests(&mut world);
    world.advance(500);
    world
}

/// Lets people in: one whose line the server edits, and one whose line it does not.
fn people(world: &mut World) {
    let eve = client(world, b"TALK eve room=den key=e\n");
    world.send(&eve, b"/edit\n");
    // Its client agrees to echo and to suppress go-ahead, and has a window of 100 by 30.
    world.send(
        &eve,
        b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f\xff\xfa\x1f\0\x64\0\x1e\xff\xf0",
    );
    world.advance(1000);
    world.send(&eve, "first\rh\u{e9}llo\x1b[D\x1b[".as_bytes());
    let fay = client(world, b"TALK fay room=attic key=f\n");
    world.send(&fay, b"half a li");
}

/// Connects those who have no session, some of which must not be read for now. Only names with keys may
/// join from then on.
fn guests(world: &mut World) {
    client(world, b"JOIN gu");
    client(world, b"\xff\xfa\x1f\0");
    let pings = "PING\n".repeat(30);
    client(world, pings.as_bytes());
    let keys: String = (b'a'..=b'l')
        .map(|letter| (char::from(letter), char::from(letter).to_string()))
        .zip([
            "ann", "bob", "cat", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "kim", "lou",
        ])
        .map(|((_, key), name)| format!("{name}:{}\n", KeyHash::of(&key)))
        .collect();
    let now = world.now();
    world.hub.set_keys(Some(Keys::parse(&keys).unwrap()), now);
    world.origin = Origin::V4([198, 51, 100, 7]);
    client(
        world,
        b"JOIN ann room=den key=wrong\nJOIN ann key=1\nJOIN ann key=2\n",
    );
    client(world, b"JOIN hal room=den key=wrong\n");
    world.origin = Origin::Local;
}

/// The state of a kind that [`eventful`] leaves.
pub fn eventful_state(kind: Kind) -> Vec<u8> {
    let mut world = eventful();
    match kind {
        Kind::Upgrade => {}
        Kind::Stop => {
            let now = world.now();
            world.hub.shut_down(now);
            world.run();
        }
        Kind::Running => {
            let state = world.save_on_disk();
            return with_known_tokens(&state);
        }
    }
    with_known_tokens(&world.save(kind))
}
