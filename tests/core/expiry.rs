//! When sessions and connections expire, and what counts as a sign of life.

use std::cell::Cell;

use chinwag::protocol::Limits;
use chinwag::time::{Clock, Millis, Now};

use crate::members::{limits, member, text};
use crate::world::{Peer, UNIX_MS, World};

/// G19.
#[test]
fn a_ping_that_waits_counts_though_the_server_was_stopped_past_the_deadline() {
    let mut world = World::new(limits());
    let pings = member(&mut world, "JOIN pings mode=pull");
    let silent = member(&mut world, "JOIN silent mode=pull");
    // Not even the poll has told the server of the line: it reads before it expires.
    pings.wire.borrow_mut().input.extend(b"PING\n");
    world.stop_for(90_000);
    world.run();
    assert_eq!(text(&pings), "OK PING\r\n");
    assert!(!pings.wire.borrow().is_closed);
    assert!(text(&silent).starts_with("BYE expired"));
    assert!(silent.wire.borrow().is_closed);
}

/// G19.
#[test]
fn a_join_that_waits_counts_though_the_handshake_is_over() {
    let mut world = World::new(limits());
    let late = world.connect();
    late.wire.borrow_mut().input.extend(b"JOIN late\n");
    world.stop_for(61_000);
    world.run();
    assert!(text(&late).contains("OK JOIN "));
    assert!(!late.wire.borrow().is_closed);
}

/// G19: the line need not be the session's own, nor its connection known to the server yet.
#[test]
fn timers_wait_until_all_that_had_come_is_read_but_not_for_ever() {
    let mut world = World::new(limits());
    let peer = member(&mut world, "JOIN ann mode=pull");
    world.send(&peer, b"DETACH\n");
    text(&peer);
    let watcher = member(&mut world, "JOIN watcher alive=tcp idle=3600");
    world.stop_for(90_000);
    // The poll has not reported everything yet.
    let mut turns = 0;
    while text(&watcher).is_empty() {
        world.hub.turn(&world.now(), Millis(world.at), false);
        world.stop_for(20);
        turns += 1;
        assert!(turns < 100);
    }
    assert!(turns > 10, "{turns}");
}

/// G17 and G18: the loop sleeps until then; any delay that the poll adds is not the core's.
#[test]
fn what_is_due_happens_at_its_very_millisecond() {
    for (lines, due_ms, said) in [
        (
            "",
            3_000,
            "EXPIRING 57 type TALK and your name to chat, or HELP\r\n",
        ),
        ("PING\n", 60_000, "BYE handshake "),
        ("JOIN ann\n", 40_000, "EXPIRING 20 press Return to stay\r\n"),
        ("JOIN ann mode=pull\n", 60_000, "BYE expired "),
        (
            "JOIN ann mode=pull\nPOLL\nPOLL wait=7\n",
            7_000,
            "OK POLL 0 ",
        ),
        ("JOIN ann mode=pull idle=3600\n", 3_600_000, "BYE expired "),
    ] {
        let mut world = World::new(limits());
        world.advance(123_456);
        let peer = world.connect();
        world.send(&peer, lines.as_bytes());
        text(&peer);
        assert_eq!(
            world.hub.next_deadline().map(|d| d.0 - world.at),
            Some(due_ms)
        );
        world.advance(due_ms - 1);
        assert_eq!(text(&peer), "", "{lines:?}");
        world.advance(1);
        assert!(text(&peer).starts_with(said), "{lines:?}");
    }
}

/// What the client has sent need not be a line, nor answered.
#[test]
fn a_client_that_has_sent_anything_gets_no_hint() {
    for bytes in [
        &b"J"[..],
        b"\n",
        b"\xff\xf1",
        b"PING\n",
        b"JOIN ann mode=pull alive=tcp\n",
    ] {
        let mut world = World::new(limits());
        let peer = world.connect();
        world.advance(2999);
        world.send(&peer, bytes);
        text(&peer);
        world.advance(57_000);
        assert_eq!(text(&peer), "", "{}", bytes.escape_ascii());
        let early = world.connect_with_input(bytes);
        text(&early);
        world.advance(59_999);
        assert_eq!(text(&early), "", "{}", bytes.escape_ascii());
    }
}

/// G17.
#[test]
fn a_wait_in_the_first_lines_of_a_client_runs_from_those_lines() {
    let mut world = World::new(limits());
    let peer = world.connect();
    world.advance(2000);
    world.send(&peer, b"JOIN ann mode=pull\nPOLL\nPOLL wait=7\n");
    assert!(text(&peer).ends_with(" ann\r\n"));
    world.advance(6999);
    assert_eq!(text(&peer), "");
    world.advance(1);
    assert!(text(&peer).starts_with("OK POLL 0 "));
}

/// G20.
#[test]
fn a_silent_client_gets_one_hint_and_has_its_time_all_the_same() {
    for (handshake_s, left_s) in [(3, None), (4, Some(1)), (60, Some(57)), (3600, Some(3597))] {
        let mut world = World::new(Limits {
            handshake_s,
            ..limits()
        });
        let peer = world.connect();
        text(&peer);
        let end_ms = u64::from(handshake_s) * 1000;
        world.advance(end_ms - 1);
        let hint =
            |left_s| format!("EXPIRING {left_s} type TALK and your name to chat, or HELP\r\n");
        assert_eq!(text(&peer), left_s.map_or(String::new(), hint));
        world.advance(1);
        assert!(text(&peer).starts_with("BYE handshake "));
    }
    // If the server was stopped, the hint says what is left.
    let mut world = World::new(limits());
    let (hinted, late) = (world.connect(), world.connect());
    world.stop_for(50_001);
    late.wire.borrow_mut().input.extend(b"PI");
    world.run();
    assert!(text(&hinted).contains("\r\nEXPIRING 9 type TALK "));
    assert_eq!(text(&late).lines().count(), 1);
    world.stop_for(9_999);
    world.run();
    assert!(text(&hinted).starts_with("BYE handshake "));
    assert!(text(&late).starts_with("BYE handshake "));
    let silent = world.connect();
    world.stop_for(60_000);
    world.run();
    assert!(text(&silent).contains("\r\nBYE handshake "));
    // A client that is silent has time to read its goodbye.
    let silent = world.connect();
    world.set_space(&silent, 0);
    world.hub.shut_down(world.now());
    world.advance(29_999);
    assert!(!silent.wire.borrow().is_closed);
    world.advance(1);
    assert!(silent.wire.borrow().is_closed);
}

/// G17.
#[test]
fn a_session_never_expires_early_by_a_part_of_a_millisecond() {
    let mut world = World::new(limits());
    let peer = member(&mut world, "JOIN ann idle=1 mode=pull");
    // It pings within the millisecond that ends at 501.
    let at = |past, at| Now {
        at: Millis(at),
        past: Millis(past),
        unix_ms: UNIX_MS,
    };
    world.post(&peer, b"PING\n");
    world.hub.turn(&at(500, 501), Millis(500), true);
    assert_eq!(text(&peer), "OK PING\r\n");
    world.hub.turn(&at(1500, 1501), Millis(1500), true);
    assert_eq!(text(&peer), "");
    world.hub.turn(&at(1501, 1502), Millis(1501), true);
    assert!(text(&peer).starts_with("BYE expired"));
}

/// Somebody who joins a room and leaves it, so that nobody is in it.
fn leave_room(world: &mut World, room: &str) {
    let visitor = member(world, &format!("JOIN visitor room={room}"));
    world.send(&visitor, b"QUIT\n");
    assert!(visitor.wire.borrow().is_closed);
}

/// G17 and G33: a server that has nothing but a kept room sleeps until its time is over.
#[test]
fn a_kept_room_goes_at_its_very_millisecond() {
    let mut world = World::new(limits());
    world.advance(123);
    leave_room(&mut world, "den");
    let day_ms = 24 * 3600 * 1000;
    assert_eq!(world.hub.next_deadline(), Some(Millis(123 + day_ms)));
    let turns = world.turns;
    world.advance(day_ms - 1);
    assert_eq!(world.hub.chat().rooms().len(), 1);
    assert_eq!(world.turns, turns);
    world.advance(1);
    assert!(world.hub.chat().rooms().is_empty());
    assert_eq!(world.hub.next_deadline(), None);
}

/// G17.
#[test]
fn a_kept_room_never_goes_early_by_a_part_of_a_millisecond() {
    let mut world = World::new(Limits {
        keep_rooms_s: 1,
        ..limits()
    });
    let peer = member(&mut world, "JOIN ann");
    // She leaves within the millisecond that ends at 501.
    let at = |past, at| Now {
        at: Millis(at),
        past: Millis(past),
        unix_ms: UNIX_MS,
    };
    world.post(&peer, b"LEAVE\n");
    world.hub.turn(&at(500, 501), Millis(500), true);
    world.hub.turn(&at(1500, 1501), Millis(1500), true);
    assert_eq!(world.hub.chat().rooms().len(), 1);
    world.hub.turn(&at(1501, 1502), Millis(1501), true);
    assert!(world.hub.chat().rooms().is_empty());
}

/// G19 and G33: a JOIN that had come finds the room, even if the server was stopped until after its
/// time.
#[test]
fn a_join_that_waits_finds_the_room_though_its_time_is_over() {
    let mut world = World::new(Limits {
        keep_rooms_s: 10,
        ..limits()
    });
    leave_room(&mut world, "den");
    let ann = world.connect();
    text(&ann);
    ann.wire.borrow_mut().input.extend(b"JOIN ann room=den\n");
    // The poll reports it when the server goes on.
    world.stop_for(20_000);
    world.post(&ann, b"");
    world.run();
    let joined = text(&ann);
    assert!(joined.contains(" seq=3 "), "{joined}");
}

/// However many kept rooms go at once, others are answered in between, and all of them go.
#[test]
fn many_kept_rooms_that_go_at_once_delay_nobody() {
    let mut world = World::new(Limits {
        keep_rooms_s: 10,
        ..limits()
    });
    let ann = member(&mut world, "JOIN ann alive=tcp");
    (0..3000).for_each(|room| leave_room(&mut world, &format!("r{room}")));
    world.hub.take_has_freed_memory();
    text(&ann);
    world.stop_for(10_000);
    let mut turns = 0;
    while world.hub.chat().rooms().len() > 1 {
        world.post(&ann, b"PING\n");
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert_eq!(text(&ann), "OK PING\r\n");
        let deadline = world.hub.next_deadline();
        let is_due = deadline.is_some_and(|deadline| deadline.0 <= world.at);
        assert_eq!(is_due, world.hub.chat().rooms().len() > 1);
        turns += 1;
    }
    assert!((10..100).contains(&turns), "{turns}");
    assert!(world.hub.take_has_freed_memory());
    world.hub.assert_consistent(world.now());
}

/// A clock that advances by a second each time it is read.
struct Running(Cell<u64>);

impl Clock for Running {
    fn now(&self) -> Now {
        let at = self.0.get();
        self.0.set(at + 1000);
        Now::exactly(Millis(at), UNIX_MS + at)
    }
}

/// G17: in a turn that takes long, a sign of life counts from when it is read, not from when the
/// turn began.
#[test]
fn a_long_turn_makes_no_session_older_than_it_is() {
    let mut world = World::new(limits());
    let peer = member(&mut world, "JOIN ann idle=3 mode=pull");
    world.post(&peer, b"PING\n");
    let clock = Running(Cell::new(2000));
    world.hub.turn(&clock, Millis(2000), true);
    assert_eq!(text(&peer), "OK PING\r\n");
    let read_by = clock.0.get();
    assert!(read_by > 4000, "{read_by}");
    // The line was read at 3000 or later.
    world.at = 5999;
    world.run();
    assert_eq!(text(&peer), "");
    world.at = read_by + 3000;
    world.run();
    assert!(text(&peer).starts_with("BYE expired"));
}

/// An open connection keeps a session alive; a closed one does not, even if lines that were sent
/// over it still wait.
#[test]
fn waiting_lines_of_a_client_that_is_gone_keep_neither_its_session_nor_its_connection() {
    for join in [
        "JOIN ann alive=tcp idle=5\n",
        "JOIN ann mode=pull idle=5\nPOLL\nPOLL wait=60\n",
    ] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            handshake_s: 7,
            ..limits()
        });
        let witness = member(&mut world, "JOIN witness mode=pull idle=600");
        let ann = world.connect();
        world.send(&ann, join.as_bytes());
        let nobody = world.connect();
        for peer in [&ann, &nobody] {
            peer.wire.borrow_mut().input.extend(b"\n".repeat(5000));
            world.reset(peer);
        }
        world.advance(4999);
        assert!(!ann.wire.borrow().is_closed);
        world.advance(2);
        assert!(ann.wire.borrow().is_closed);
        world.send(&witness, b"POLL\n");
        let polled = text(&witness);
        assert!(polled.ends_with("ann expired\r\n"), "{polled}");
        assert!(!nobody.wire.borrow().is_closed);
        world.advance(2000);
        assert!(nobody.wire.borrow().is_closed);
        world.hub.assert_consistent(world.now());
    }
}

/// A line is a sign of life from when it came, not from when it is carried out: a client whose host
/// has vanished is not kept alive by what it sent before.
#[test]
fn lines_that_wait_for_their_turn_are_signs_of_life_of_the_time_when_they_came() {
    for line in ["\n", "PING\n", "POLL wait=60\n", "SAY hi\n"] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            ..limits()
        });
        let witness = member(&mut world, "JOIN witness mode=pull idle=600");
        let ann = member(&mut world, "JOIN ann mode=pull idle=3");
        // The last piece comes after 900 ms. Carrying out all of them would take a minute.
        for _ in 0..10 {
            world.post(&ann, line.repeat(300).as_bytes());
            world.run();
            world.advance(100);
        }
        // The end of its stream is no line.
        world.end(&ann);
        let seconds = if line.starts_with("POLL wait") { 60 } else { 0 };
        world.advance(seconds * 1000 + 2898);
        assert!(!ann.wire.borrow().is_closed, "{line:?}");
        world.advance(2);
        assert!(ann.wire.borrow().is_closed, "{line:?}");
        let last = text(&ann);
        assert!(last.contains("BYE expired "), "{line:?}: {last}");
        world.send(&witness, b"POLL max=1000\n");
        text(&witness);
        world.hub.assert_consistent(world.now());
    }
}

/// G19: a line that comes while others wait counts from when it came.
#[test]
fn a_client_above_the_rate_that_goes_on_sending_stays_alive() {
    let mut world = World::new(Limits {
        lines_per_s: 1,
        ..limits()
    });
    let ann = member(&mut world, "JOIN ann mode=pull idle=3");
    for _ in 0..20 {
        world.post(&ann, b"PING\n");
        world.run();
        world.advance(2500);
        assert!(!ann.wire.borrow().is_closed);
        world.post(&ann, b"PING\nPING\nPING\n");
    }
    world.run();
    world.advance(3001);
    assert!(ann.wire.borrow().is_closed);
}

/// G19: a POLL that had to wait for the rate keeps a session for its seconds, from when it came.
#[test]
fn a_poll_that_came_long_before_its_turn_keeps_a_session_from_when_it_came() {
    let mut world = World::new(Limits {
        lines_per_s: 1,
        ..limits()
    });
    let witness = member(&mut world, "JOIN witness mode=pull alive=tcp");
    let ann = member(&mut world, "JOIN ann mode=pull idle=10");
    // It is carried out after six seconds.
    let lines = "POLL\n".to_owned() + &"PING\n".repeat(7) + "POLL wait=30\n";
    world.send(&ann, lines.as_bytes());
    world.advance(34_000);
    text(&witness);
    world.send(&witness, b"WHO\n");
    let who = text(&witness);
    assert!(who.contains("MEMBER ann pull attached 4"), "{who}");
    world.advance(5_999);
    assert!(text(&ann).ends_with("OK POLL 0 last=2 more=0\r\n"));
    assert!(!ann.wire.borrow().is_closed);
    world.advance(1);
    assert!(ann.wire.borrow().is_closed);
}

/// G19: a line that comes between the poll's report and the read is reported later, and counts from
/// then.
#[test]
fn a_line_that_is_read_before_it_is_reported_counts_from_when_it_came() {
    let mut world = World::new(limits());
    let ann = member(&mut world, "JOIN ann mode=pull idle=3");
    // More than a turn's budget, so that the next turn goes on reading without a report.
    world.post(&ann, &b"\n".repeat(5000));
    world.hub.turn(&world.now(), Millis(world.at), true);
    world.stop_for(2000);
    ann.wire.borrow_mut().input.extend(b"PING\n");
    world.run();
    assert_eq!(text(&ann), "OK PING\r\n");
    // Now the poll reports it.
    world.post(&ann, b"");
    world.run();
    world.advance(2999);
    assert!(!ann.wire.borrow().is_closed);
    world.advance(2);
    assert!(ann.wire.borrow().is_closed);
}

/// Nothing that a connection without a session does gives it more time to get one.
#[test]
fn a_connection_that_does_not_take_its_goodbye_has_no_more_time_for_that() {
    for last in [
        &b"Host: example.org\r\n"[..],
        b"QUIT\n",
        b"GET / HTTP/1.1\n",
        b"PING\n",
    ] {
        let mut world = World::new(Limits {
            handshake_s: 2,
            ..limits()
        });
        let witness = member(&mut world, "JOIN witness idle=600");
        let peer = world.connect();
        world.set_space(&peer, 10);
        world.send(&peer, b"PING\n");
        world.advance(1500);
        world.send(&peer, last);
        world.advance(499);
        assert!(!peer.wire.borrow().is_closed, "{}", last.escape_ascii());
        world.advance(1);
        assert!(peer.wire.borrow().is_closed, "{}", last.escape_ascii());
        // From its goodbye on, a connection that had a session has the time of one without.
        let member = member(&mut world, "JOIN member");
        world.set_space(&member, 0);
        world.send(&member, b"QUIT\n");
        world.advance(1999);
        assert!(!member.wire.borrow().is_closed);
        world.advance(1);
        assert!(member.wire.borrow().is_closed);
        text(&witness);
    }
}

#[test]
fn the_system_watches_peers_that_keep_their_session_by_being_connected() {
    let mut world = World::new(limits());
    let peer = member(&mut world, "JOIN ann alive=tcp idle=40");
    let watched = |peer: &Peer| peer.wire.borrow().watched;
    assert_eq!(watched(&peer), Some(40));
    // The system does not cut off a stalled client before the server says that it is slow.
    world.set_space(&peer, 0);
    world.send(&peer, b"SAY hi\n");
    assert_eq!(watched(&peer), None);
    world.set_space(&peer, usize::MAX);
    assert_eq!(watched(&peer), Some(40));
    world.send(&peer, b"DETACH\n");
    assert_eq!(watched(&peer), None);
    let other = member(&mut world, "JOIN bob idle=40");
    assert_eq!(watched(&other), None);
}

/// Nobody stays without a session for longer than twice the time.
#[test]
fn only_the_first_help_without_a_session_starts_the_time_again() {
    let said = |world: &mut World, peer: &Peer, line: &str| {
        world.send(peer, line.as_bytes());
        text(peer)
    };
    let mut world = World::new(limits());
    let (ann, bob) = (world.connect(), world.connect());
    said(&mut world, &ann, "PING\n");
    world.advance(59_999);
    assert!(said(&mut world, &ann, "HELP\n").starts_with("OK HELP "));
    assert!(said(&mut world, &bob, "HELP me\n").contains("ERR bad-argument "));
    world.advance(1);
    assert!(text(&bob).starts_with("BYE handshake "));
    world.advance(59_000);
    assert!(said(&mut world, &ann, "HELP\n").starts_with("OK HELP "));
    world.advance(998);
    assert_eq!(said(&mut world, &ann, "PING\n"), "OK PING\r\n");
    world.advance(1);
    assert!(text(&ann).starts_with("BYE handshake "));

    // That of a member does not count, and one before the session does.
    let cid = world.connect();
    for (lines, ends_after_ms) in [
        ("JOIN cid mode=pull\nHELP\nLEAVE\n", None),
        ("HELP\n", None),
        ("JOIN cid mode=pull\nLEAVE\nHELP\n", None),
        ("HELP\n", Some(1000)),
    ] {
        assert!(said(&mut world, &cid, lines).contains("OK "));
        world.advance(ends_after_ms.unwrap_or(59_000) - 1);
        assert_eq!(text(&cid), "", "{lines}");
        world.advance(1);
    }
    assert!(text(&cid).starts_with("BYE handshake "));
    // Nor does one that is not answered, because its client reads nothing.
    let dan = world.connect();
    world.set_space(&dan, 0);
    said(&mut world, &dan, &"HELP\n".repeat(20));
    world.advance(59_999);
    assert!(!dan.wire.borrow().is_closed);
    world.advance(1);
    assert!(dan.wire.borrow().is_closed);
}
