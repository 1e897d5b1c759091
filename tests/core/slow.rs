//! Clients that read slowly or not at all, and the events that they miss.

use chinwag::protocol::Limits;

use crate::members::{limits, member, messages_and_lost, text};
use crate::world::World;

fn log_of(log_bytes: usize) -> Limits {
    Limits {
        log_bytes,
        ..limits()
    }
}

/// G13.
#[test]
fn a_reader_with_space_loses_nothing_however_fast_the_others() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    let flood = b"SAY 0123456789012345678901234567890123456789\n".repeat(5000);
    world.send(&sender, &flood);
    let (seqs, lost) = messages_and_lost(&text(&receiver));
    assert_eq!(lost, 0);
    assert_eq!(seqs, (3..5003).collect::<Vec<_>>());
    assert_eq!(messages_and_lost(&text(&sender)).1, 0);
}

/// G13.
#[test]
fn a_session_that_resumes_into_a_flood_loses_nothing_that_was_held() {
    let mut world = World::new(log_of(4096));
    let sender = member(&mut world, "JOIN sender");
    let receiver = world.connect();
    world.send(&receiver, b"JOIN receiver idle=600\n");
    let token = text(&receiver)
        .split_once("session=")
        .map(|(_, rest)| rest[..40].to_owned())
        .unwrap();
    world.send(&receiver, b"DETACH\n");
    text(&receiver);
    world.send(
        &sender,
        &b"SAY kept for the receiver, who is away\n".repeat(40),
    );
    // The RESUME and a flood are read in the same turn.
    world.post(&receiver, format!("RESUME {token}\n").as_bytes());
    world.post(&sender, &b"SAY and more of it at once\n".repeat(500));
    world.run();
    let (seqs, lost) = messages_and_lost(&text(&receiver));
    assert_eq!(lost, 0);
    assert_eq!(seqs, (3..543).collect::<Vec<_>>());
}

/// G13: not even what it did not take at first, as soon as it takes bytes again.
#[test]
fn a_reader_with_space_again_is_served_before_the_log_moves_on() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_space(&receiver, 0);
    world.send(
        &sender,
        &b"SAY one of those that nearly fill the log\n".repeat(50),
    );
    assert_eq!(text(&receiver), "");
    // In one turn it takes bytes again, and more is said than the log holds.
    world.open(&receiver);
    world.post(
        &sender,
        &b"SAY one of those that would push the others out\n".repeat(100),
    );
    world.run();
    let (seqs, lost) = messages_and_lost(&text(&receiver));
    assert_eq!(lost, 0);
    assert_eq!(seqs, (3..153).collect::<Vec<_>>());
}

/// G13: not even from a log that is larger than what is written to a connection in one turn.
#[test]
fn a_backlog_of_many_turns_is_delivered_whole_while_others_speak() {
    let mut world = World::new(log_of(2 * 1024 * 1024));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_space(&receiver, 0);
    let line = format!("SAY {}\n", "x".repeat(1000));
    world.send(&sender, line.repeat(1900).as_bytes());
    world.open(&receiver);
    world.post(&sender, line.repeat(3000).as_bytes());
    world.run();
    let (seqs, lost) = messages_and_lost(&text(&receiver));
    assert_eq!(lost, 0);
    assert_eq!(seqs, (3..4903).collect::<Vec<_>>());
}

/// The system reports that a stream takes bytes again only when it takes many: a client that takes
/// a few all the time is not slow.
#[test]
fn a_reader_that_takes_a_little_at_a_time_is_not_slow() {
    let mut world = World::new(limits());
    let receiver = member(&mut world, "JOIN receiver alive=tcp idle=30");
    let sender = member(&mut world, "JOIN sender alive=tcp");
    text(&receiver);
    world.set_space(&receiver, 0);
    world.send(
        &sender,
        &b"SAY something that takes long to read\n".repeat(1000),
    );
    for _ in 0..10 {
        world.advance(20_000);
        receiver.wire.borrow_mut().space = 10;
        world.advance(10_000);
        assert!(!receiver.wire.borrow().is_closed);
    }
    world.advance(30_000);
    assert!(receiver.wire.borrow().is_closed);
    assert!(text(&sender).contains("receiver slow"));
}

/// A client gets no more time when the system takes something, and all of it again when the client
/// does.
#[test]
fn the_idle_time_of_a_stalled_client_runs_from_when_it_took_something_itself() {
    for (is_held, secs) in [(true, 20), (false, 30)] {
        let mut world = World::new(limits());
        let receiver = member(&mut world, "JOIN receiver alive=tcp idle=30");
        let sender = member(&mut world, "JOIN sender alive=tcp");
        text(&receiver);
        world.set_space(&receiver, 0);
        world.send(&sender, b"SAY one\n");
        world.advance(10_000);
        world.set_space(&receiver, usize::MAX);
        let taken = text(&receiver).len() as u32;
        receiver.wire.borrow_mut().untaken = if is_held { taken } else { 0 };
        world.set_space(&receiver, 0);
        world.send(&sender, b"SAY two\n");
        world.advance(secs * 1000 - 1);
        assert!(!receiver.wire.borrow().is_closed, "{is_held}");
        world.advance(1);
        assert!(receiver.wire.borrow().is_closed, "{is_held}");
        assert!(text(&sender).contains("receiver slow"));
    }
}

/// What a client takes from the system's buffers is not reported; the server looks for it.
#[test]
fn a_stalled_client_goes_at_most_an_eighth_of_its_idle_time_late() {
    for took_at in [1, 3999, 4001, 9000] {
        let mut world = World::new(limits());
        let receiver = member(&mut world, "JOIN receiver alive=tcp idle=32");
        let sender = member(&mut world, "JOIN sender alive=tcp");
        receiver.wire.borrow_mut().untaken = 10;
        world.set_space(&receiver, 0);
        world.send(&sender, b"SAY something\n");
        world.advance(took_at);
        receiver.wire.borrow_mut().untaken = 5;
        world.advance(31_999);
        assert!(!receiver.wire.borrow().is_closed, "{took_at}");
        world.advance(4001);
        assert!(receiver.wire.borrow().is_closed, "{took_at}");
    }
}

/// However often the log drops events in a turn.
#[test]
fn a_stalled_client_is_written_to_once_a_turn() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    world.set_space(&receiver, 0);
    let (turns, refusals) = (world.turns, receiver.wire.borrow().refusals);
    let say = format!("SAY {}\n", "x".repeat(1000));
    world.send(&sender, say.repeat(200).as_bytes());
    let turns = world.turns - turns;
    let refusals = receiver.wire.borrow().refusals - refusals;
    assert!(refusals <= turns, "{refusals} in {turns} turns");
}

/// G12.
#[test]
fn a_stalled_client_is_told_exactly_what_it_lost() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_space(&receiver, 100);
    world.send(
        &sender,
        &b"SAY some words to fill the log with\n".repeat(1000),
    );
    world.set_space(&receiver, 333);
    world.send(
        &sender,
        &b"SAY some words to fill the log with\n".repeat(1000),
    );
    world.set_space(&receiver, usize::MAX);
    let mut expected = 3;
    for line in text(&receiver).lines() {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "MSG" => assert_eq!(number(1), expected),
            "LOST" => assert_eq!(number(2), expected + number(1)),
            other => panic!("{other}"),
        }
        expected = if words[0] == "MSG" {
            number(1) + 1
        } else {
            number(2)
        };
    }
    assert_eq!(expected, 2003);
}

/// G27.
#[test]
fn a_client_that_leaves_its_replies_is_not_read_from_until_it_takes_them() {
    let mut world = World::new(limits());
    let greedy = world.connect_with_space(1000);
    let lines_sent = 5000;
    world.send(&greedy, &b"HELP\n".repeat(lines_sent));
    assert!(greedy.wire.borrow().input.len() > 10_000);
    let other = member(&mut world, "JOIN other");
    world.send(&other, b"PING\n");
    assert!(text(&other).contains("OK PING"));
    world.set_space(&greedy, usize::MAX);
    assert!(greedy.wire.borrow().input.is_empty());
    let replies = text(&greedy).matches("OK HELP").count();
    assert_eq!(replies, lines_sent);
}

/// G27: what was written is not kept, though the rest has to wait.
#[test]
fn replies_taken_slowly_cost_no_more_than_replies_not_taken() {
    let mut world = World::new(limits());
    let slow = member(&mut world, "JOIN slow mode=pull");
    for _ in 0..5000 {
        world.post(&slow, b"HELP\nPING and so on\n");
        world.set_space(&slow, 1000);
        world.hub.assert_consistent(world.now());
        slow.wire.borrow_mut().output.clear();
    }
}

/// Asking the system costs a call, and many sessions may expire at once.
#[test]
fn the_server_asks_what_a_client_has_taken_only_when_it_stalls() {
    let mut world = World::new(limits());
    let peer = world.connect();
    world.send(&peer, b"JOIN ann idle=6\n");
    world.advance(7000);
    assert!(text(&peer).contains("EXPIRING"));
    assert!(peer.wire.borrow().is_closed);
    assert_eq!(peer.wire.borrow().untaken_asked, 0);
}
