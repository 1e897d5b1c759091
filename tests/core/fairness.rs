//! What one turn of the loop does for each client, however many there are and whatever they send.

use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::protocol::Limits;
use chinwag::time::Millis;

use crate::members::{limits, lines, member, messages_and_lost, newest, text};
use crate::world::{Peer, World};

/// G3 as well: the replies come first.
#[test]
fn events_of_one_turn_leave_in_one_write_per_receiver() {
    let mut world = World::new(limits());
    let receivers: Vec<_> = (0..10)
        .map(|i| member(&mut world, &format!("JOIN r{i}")))
        .collect();
    let senders: Vec<_> = (0..5)
        .map(|i| member(&mut world, &format!("JOIN s{i}")))
        .collect();
    let before: Vec<_> = receivers.iter().map(|r| r.wire.borrow().writes).collect();
    for sender in &senders {
        world.post(sender, b"SAY one\nSAY two\n");
    }
    world.run();
    for (receiver, before) in receivers.iter().zip(before) {
        assert_eq!(receiver.wire.borrow().writes, before + 1);
        assert_eq!(messages_and_lost(&text(receiver)).0.len(), 10);
    }
    // A sender's replies and its events are one write too, the replies first.
    let sent = lines(&senders[0]);
    let tail = &sent[sent.len() - 12..];
    assert!(tail[0].starts_with("OK SAY ") && tail[1].starts_with("OK SAY "));
    assert!(tail[2].starts_with("MSG "));
}

/// G27: a turn does a bounded amount of work for each connection, whatever it asks for.
#[test]
fn a_flooder_gets_its_budget_of_a_turn_and_no_more() {
    for (line, most_lines, most_bytes) in [
        ("PING\n", 512, 16 * 1024),
        ("\n", 0, 0),
        ("STATS\n", 512, 256 * 1024),
        ("HELP\n", 512, 256 * 1024),
        ("WHO\n", 512, 256 * 1024),
        ("SAY hello\n", 512, 256 * 1024),
    ] {
        let mut world = World::new(limits());
        let gateway = world.connect();
        for i in 0..500 {
            world.send(
                &gateway,
                format!("JOIN n{i} mode=pull\nDETACH\n").as_bytes(),
            );
        }
        let flooder = member(&mut world, "JOIN flooder mode=pull");
        let polite = member(&mut world, "JOIN polite mode=pull");
        text(&flooder);
        world.post(&flooder, line.repeat(100_000).as_bytes());
        world.post(&polite, b"PING\n");
        for turn in 0..5 {
            world.hub.turn(&world.now(), Millis(world.at), true);
            let answer = text(&flooder);
            let lines = answer
                .lines()
                .filter(|line| line.starts_with("OK "))
                .count();
            assert!(
                lines <= most_lines && answer.len() <= most_bytes,
                "{line:?} {lines}"
            );
            assert_eq!(text(&polite), if turn == 0 { "OK PING\r\n" } else { "" });
            assert!(world.hub.has_work());
        }
    }
}

/// G27: a connection that is closed is still read, so that its client is not reset before it has
/// taken the last line; a client that goes on sending cannot hold up the others that way.
#[test]
fn little_is_read_of_what_a_client_sent_behind_its_last_line() {
    for last in [&b"QUIT\n"[..], b"GET / HTTP/1.1\n"] {
        let mut world = World::new(limits());
        let ann = world.connect();
        let behind = 1024 * 1024;
        world.post(&ann, &[last, &vec![b'x'; behind]].concat());
        world.run();
        assert!(text(&ann).contains("BYE "));
        assert!(ann.wire.borrow().is_closed);
        let left = ann.wire.borrow().input.len();
        assert!(left < behind - 8 * 1024, "{left}");
        assert!(left > behind - 128 * 1024, "{left}");
    }
}

/// G27: however many clients send bytes that end no line, another client's line is answered in the
/// next turn, and a turn reads a bounded number of bytes from all of them together.
#[test]
fn bytes_that_end_no_line_count_against_the_budget_like_lines() {
    const FLOODERS: usize = 200;
    for junk in [
        &b"\xff\xf1"[..],
        b"\rx",
        b"\xff\xfa",
        b"x",
        b"\xff\xfb\x01",
        b"\n",
    ] {
        let mut world = World::new(limits());
        let polite = member(&mut world, "JOIN polite mode=pull");
        let flooders: Vec<_> = (0..FLOODERS).map(|_| world.connect()).collect();
        for flooder in &flooders {
            world.send(flooder, b"PING\n");
        }
        for flooder in &flooders {
            world.post(flooder, &junk.repeat(60_000 / junk.len()));
        }
        let left = |peer: &Peer| peer.wire.borrow().input.len();
        for _ in 0..5 {
            let before: usize = flooders.iter().map(left).sum();
            let most = flooders.iter().map(left).max().unwrap();
            world.post(&polite, b"PING\n");
            world.hub.turn(&world.now(), Millis(world.at), true);
            assert_eq!(text(&polite), "OK PING\r\n");
            let taken = before - flooders.iter().map(left).sum::<usize>();
            assert!(taken <= FLOODERS * 1024, "{}: {taken}", junk.escape_ascii());
            let least = flooders.iter().map(left).min().unwrap();
            assert!(least + 1024 >= most, "{}", junk.escape_ascii());
            for flooder in &flooders {
                flooder.wire.borrow_mut().output.clear();
            }
        }
        // One alone gets more, but no more than the budget of a turn.
        let mut world = World::new(limits());
        let flooder = world.connect();
        world.send(&flooder, b"PING\n");
        world.post(&flooder, &junk.repeat(200_000 / junk.len()));
        let before = left(&flooder);
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert!(
            before - left(&flooder) <= 64 * 1024,
            "{}",
            junk.escape_ascii()
        );
    }
}

#[test]
fn others_are_answered_while_many_sessions_expire() {
    const SESSIONS: usize = 30_000;
    let mut world = World::new(limits());
    let gateway = world.connect();
    for i in 0..SESSIONS {
        let (name, room) = (i % 1000, i / 1000);
        let lines = format!("JOIN n{name} room=r{room} mode=pull\nDETACH\n");
        world.post(&gateway, lines.as_bytes());
    }
    world.run();
    text(&gateway);
    let polite = member(&mut world, "JOIN polite mode=pull idle=600");
    world.stop_for(60_000);
    let mut turns = 0;
    while world.hub.chat().sessions() > 1 {
        world.post(&polite, b"PING\n");
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert_eq!(text(&polite), "OK PING\r\n", "after {turns} turns");
        turns += 1;
        assert!(turns < SESSIONS);
    }
    assert!(turns > SESSIONS / 1000, "all in {turns} turns");
    world.hub.assert_consistent(world.now());
}

/// Sessions whose keys are gone end turn by turn, and none is heard again from the reload on: G29.
#[test]
fn others_are_answered_while_many_sessions_lose_their_keys() {
    const SESSIONS: usize = 600;
    let keys = |names: usize| {
        let hash = KeyHash::of("sesame");
        let lines = (0..names).map(|n| format!("n{n}:{hash}\n"));
        let text = lines.collect::<String>() + &format!("polite:{hash}\n");
        Some(Keys::parse(&text).unwrap())
    };
    let mut world = World::new(Limits {
        log_bytes: 4096,
        ..limits()
    });
    world.hub.set_keys(keys(SESSIONS), world.now());
    let polite = member(&mut world, "JOIN polite key=sesame mode=pull idle=600");
    let revoked: Vec<_> = (0..SESSIONS)
        .map(|n| {
            let peer = world.connect();
            world.send(&peer, format!("JOIN n{n} key=sesame\n").as_bytes());
            peer
        })
        .collect();
    let reply = text(&revoked[0]);
    let (_, token) = reply.split_once("session=").unwrap();
    let token = &token[..40];
    let said = newest(&mut world, &polite);
    let other = world.connect();
    text(&other);
    world.hub.set_keys(keys(0), world.now());
    // Nothing that they send counts any more, and neither does a token.
    for peer in &revoked {
        world.post(peer, b"SAY still here\n");
        peer.wire.borrow_mut().writes = 0;
    }
    world.post(&other, format!("RESUME {token}\n").as_bytes());
    let writes = |peers: &[Peer]| -> usize { peers.iter().map(|p| p.wire.borrow().writes).sum() };
    let mut before = 0;
    let mut turns = 0;
    while world.hub.chat().sessions() > 1 {
        world.post(&polite, b"PING\n");
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert_eq!(text(&polite), "OK PING\r\n", "after {turns} turns");
        let now = writes(&revoked);
        assert!(now - before <= 3 * SESSIONS, "{} writes", now - before);
        before = now;
        turns += 1;
        assert!(turns < SESSIONS);
    }
    assert_eq!(text(&other), "ERR session-ended replaced 0\r\n");
    assert_eq!(newest(&mut world, &polite), said + SESSIONS as u64);
    for peer in &revoked {
        let last = peer.wire.borrow();
        assert!(last.is_closed);
        let text = String::from_utf8_lossy(&last.output);
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("BYE replaced "), "{line}");
    }
    world.hub.assert_consistent(world.now());
}
