//! How connections and the server end.

use crate::members::{limits, lines, member, text};
use crate::world::World;

/// G8.
#[test]
fn nothing_follows_a_goodbye_that_has_not_been_taken_yet() {
    let mut world = World::new(limits());
    let ann = member(&mut world, "JOIN ann");
    world.set_space(&ann, 0);
    world.send(&ann, &b"SAY\n".repeat(100));
    world.send(&ann, b"PING\n");
    world.advance(29_999);
    world.set_space(&ann, usize::MAX);
    let last = lines(&ann);
    assert_eq!(last.len(), 101);
    assert!(last[100].starts_with("BYE abuse "), "{last:?}");
    assert!(ann.wire.borrow().is_closed);
    // Nor can it keep its connection by not taking the goodbye.
    let bob = member(&mut world, "JOIN bob");
    world.set_space(&bob, 0);
    world.send(&bob, b"QUIT\n");
    world.advance(30_000);
    assert!(bob.wire.borrow().is_closed);
}

#[test]
fn a_shutdown_answers_polls_that_wait_and_says_goodbye_to_all() {
    let mut world = World::new(limits());
    let waiting = member(&mut world, "JOIN waiting mode=pull");
    let nobody = world.connect();
    text(&nobody);
    let stuck = member(&mut world, "JOIN stuck");
    world.set_space(&stuck, 5);
    world.send(&waiting, b"POLL\nPOLL wait=60\n");
    text(&waiting);
    world.hub.shut_down(world.now());
    let last = lines(&waiting);
    assert!(last[0].starts_with("OK POLL 0 last="), "{last:?}");
    assert!(last[1].starts_with("BYE shutdown "));
    assert!(waiting.wire.borrow().is_closed);
    assert!(text(&nobody).starts_with("BYE shutdown "));
    assert_eq!(text(&stuck), "BYE s");
    assert_eq!(world.hub.len(), 1);
    world.set_space(&stuck, usize::MAX);
    assert!(world.hub.is_empty());
}

/// G6 and G21.
#[test]
fn a_client_that_is_gone_is_heard_to_the_end_of_what_it_sent() {
    let mut world = World::new(limits());
    let ann = member(&mut world, "JOIN ann");
    let bob = member(&mut world, "JOIN bob");
    text(&ann);
    bob.wire
        .borrow_mut()
        .input
        .extend(b"SAY last words\nSAY unfini");
    world.reset(&bob);
    let heard = text(&ann);
    assert!(heard.ends_with("bob last words\r\n"), "{heard}");
    assert!(bob.wire.borrow().is_closed);
    // The session lives on, detached.
    world.send(&ann, b"WHO\n");
    assert!(text(&ann).contains("MEMBER bob push detached 0"));
}
