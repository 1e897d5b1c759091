//! What people see in talk form: nothing but what happened, all of it, and nobody's text as the
//! server's.

use crate::members::{limits, member, text};
use crate::world::{Peer, World};

/// Connects a person, who sends a line of TALK, and leaves what they get unread.
fn person(world: &mut World, talk: &str) -> Peer {
    let peer = world.connect();
    world.send(&peer, format!("{talk}\n").as_bytes());
    let mut wire = peer.wire.borrow_mut();
    assert!(wire.output.starts_with(b"HELLO "));
    let end = wire.output.iter().position(|&b| b == b'\n').unwrap();
    wire.output.drain(..=end);
    assert!(wire.output.starts_with(b"-- "), "{talk} was refused");
    drop(wire);
    peer
}

/// A connection breaks when its client has a part of a line, and the server the rest.
#[test]
fn a_line_that_was_cut_when_the_connection_broke_is_shown_whole_after_the_way_back() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    world.set_space(&ann, 10);
    world.send(&bob, b"SAY can you read all of this?\n");
    assert_eq!(text(&ann), "09:56 <bob");
    assert_eq!(ann.wire.borrow().untaken, 0);
    world.reset(&ann);
    assert!(text(&person(&mut world, "TALK ann")).ends_with(
        "-- welcome back, ann in lobby: 1 event since you were away\r\n\
         -- here: bob\r\n\
         09:56 <bob> can you read all of this?\r\n"
    ));
}

/// The system throws away what it holds for the peer of a Unix socket that fails.
#[test]
fn what_the_system_has_thrown_away_was_not_taken() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    ann.wire.borrow_mut().drops_untaken = true;
    world.send(&bob, b"SAY one\nSAY two\n");
    ann.wire.borrow_mut().untaken = 0;
    world.reset(&ann);
    let ann = person(&mut world, "TALK ann");
    let shown = text(&ann);
    assert!(
        shown.ends_with("09:56 <bob> one\r\n09:56 <bob> two\r\n"),
        "{shown}"
    );
    // If it closes in order, the client has read everything.
    world.send(&bob, b"SAY three\n");
    assert_eq!(text(&ann), "09:56 <bob> three\r\n");
    world.close(&ann);
    let shown = text(&person(&mut world, "TALK ann"));
    assert!(shown.contains(": 0 events"), "{shown}");
}

#[test]
fn ones_own_coming_is_neither_shown_nor_counted_after_the_way_back() {
    let mut world = World::new(limits());
    member(&mut world, "JOIN bob");
    let ann = world.connect();
    ann.wire.borrow_mut().holds = true;
    world.send(&ann, b"TALK ann history=0\n");
    world.reset(&ann);
    let ann = person(&mut world, "TALK ann");
    let shown = text(&ann);
    assert!(
        shown.ends_with("in lobby: 0 events since you were away\r\n-- here: bob\r\n"),
        "{shown}"
    );
}
