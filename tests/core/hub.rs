//! What the loop promises about order, fairness and memory, played in a world without sockets.

use std::cell::Cell;

use crate::world::{Peer, UNIX_MS, World};
use chinwag::chat::Origin;
use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::protocol::Limits;
use chinwag::time::{Clock, Millis, Now};

fn text(peer: &Peer) -> String {
    let output = std::mem::take(&mut peer.wire.borrow_mut().output);
    String::from_utf8(output).unwrap()
}

fn lines(peer: &Peer) -> Vec<String> {
    text(peer).lines().map(Into::into).collect()
}

fn member(world: &mut World, join: &str) -> Peer {
    let peer = world.connect();
    world.send(&peer, format!("{join}\n").as_bytes());
    let joined = lines(&peer);
    assert!(joined[1].starts_with("OK JOIN "), "{joined:?}");
    peer
}

/// Limits that are not in the way of tests that are about others.
fn limits() -> Limits {
    Limits {
        connections_max: 1_000_000,
        sessions_max: 1_000_000,
        rooms_max: 1_000_000,
        per_address_max: 1_000_000,
        lines_per_s: 0,
        ..Limits::default()
    }
}

fn log_of(log_bytes: usize) -> Limits {
    Limits {
        log_bytes,
        ..limits()
    }
}

/// The numbers of the messages in what a client received, and how many LOST says it lost.
fn messages_and_lost(output: &str) -> (Vec<u64>, u64) {
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

/// G3, too: the replies come first.
#[test]
fn all_that_one_turn_appended_leaves_in_one_write_per_receiver() {
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

/// G13.
#[test]
fn who_has_room_loses_nothing_however_small_the_log_and_however_fast_the_others() {
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

/// G13: of what it did not take at first, too, as soon as it may take it.
#[test]
fn who_has_room_again_is_served_before_the_log_moves_on() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_room(&receiver, 0);
    world.send(
        &sender,
        &b"SAY one of those that nearly fill the log\n".repeat(50),
    );
    assert_eq!(text(&receiver), "");
    // In one turn there is room again, and more is said than the log holds.
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

/// G13: of a log that is larger than what one connection is written in a turn.
#[test]
fn a_backlog_of_many_turns_is_given_whole_while_others_speak() {
    let mut world = World::new(log_of(2 * 1024 * 1024));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_room(&receiver, 0);
    let line = format!("SAY {}\n", "x".repeat(1000));
    world.send(&sender, line.repeat(1900).as_bytes());
    world.open(&receiver);
    world.post(&sender, line.repeat(3000).as_bytes());
    world.run();
    let (seqs, lost) = messages_and_lost(&text(&receiver));
    assert_eq!(lost, 0);
    assert_eq!(seqs, (3..4903).collect::<Vec<_>>());
}

/// The system reports that a stream has room only when it has much: one that takes a little all
/// the time is not slow.
#[test]
fn who_takes_a_little_unreported_is_not_slow() {
    let mut world = World::new(limits());
    let receiver = member(&mut world, "JOIN receiver alive=tcp idle=30");
    let sender = member(&mut world, "JOIN sender alive=tcp");
    text(&receiver);
    world.set_room(&receiver, 0);
    world.send(
        &sender,
        &b"SAY something that takes long to read\n".repeat(1000),
    );
    for _ in 0..10 {
        world.advance(20_000);
        receiver.wire.borrow_mut().room = 10;
        world.advance(10_000);
        assert!(!receiver.wire.borrow().is_closed);
    }
    world.advance(30_000);
    assert!(receiver.wire.borrow().is_closed);
    assert!(text(&sender).contains("receiver slow"));
}

/// That the system takes something gives a client no more time; that the client does, all of it.
#[test]
fn a_client_is_slow_from_when_it_took_something_itself() {
    for (is_held, secs) in [(true, 20), (false, 30)] {
        let mut world = World::new(limits());
        let receiver = member(&mut world, "JOIN receiver alive=tcp idle=30");
        let sender = member(&mut world, "JOIN sender alive=tcp");
        text(&receiver);
        world.set_room(&receiver, 0);
        world.send(&sender, b"SAY one\n");
        world.advance(10_000);
        world.set_room(&receiver, usize::MAX);
        let taken = text(&receiver).len() as u32;
        receiver.wire.borrow_mut().untaken = if is_held { taken } else { 0 };
        world.set_room(&receiver, 0);
        world.send(&sender, b"SAY two\n");
        world.advance(secs * 1000 - 1);
        assert!(!receiver.wire.borrow().is_closed, "{is_held}");
        world.advance(1);
        assert!(receiver.wire.borrow().is_closed, "{is_held}");
        assert!(text(&sender).contains("receiver slow"));
    }
}

/// What a client takes of what the system holds is not reported, but looked for.
#[test]
fn who_takes_nothing_any_more_goes_an_eighth_of_the_idle_time_late_at_most() {
    for took_at in [1, 3999, 4001, 9000] {
        let mut world = World::new(limits());
        let receiver = member(&mut world, "JOIN receiver alive=tcp idle=32");
        let sender = member(&mut world, "JOIN sender alive=tcp");
        receiver.wire.borrow_mut().untaken = 10;
        world.set_room(&receiver, 0);
        world.send(&sender, b"SAY something\n");
        world.advance(took_at);
        receiver.wire.borrow_mut().untaken = 5;
        world.advance(31_999);
        assert!(!receiver.wire.borrow().is_closed, "{took_at}");
        world.advance(4001);
        assert!(receiver.wire.borrow().is_closed, "{took_at}");
    }
}

/// However often the log moves on in a turn.
#[test]
fn who_takes_nothing_is_offered_something_once_a_turn() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    world.set_room(&receiver, 0);
    let (turns, refusals) = (world.turns, receiver.wire.borrow().refusals);
    let say = format!("SAY {}\n", "x".repeat(1000));
    world.send(&sender, say.repeat(200).as_bytes());
    let turns = world.turns - turns;
    let refusals = receiver.wire.borrow().refusals - refusals;
    assert!(refusals <= turns, "{refusals} in {turns} turns");
}

/// G12.
#[test]
fn who_takes_nothing_is_told_exactly_what_was_lost() {
    let mut world = World::new(log_of(4096));
    let receiver = member(&mut world, "JOIN receiver");
    let sender = member(&mut world, "JOIN sender");
    text(&receiver);
    world.set_room(&receiver, 100);
    world.send(
        &sender,
        &b"SAY some words to fill the log with\n".repeat(1000),
    );
    world.set_room(&receiver, 333);
    world.send(
        &sender,
        &b"SAY some words to fill the log with\n".repeat(1000),
    );
    world.set_room(&receiver, usize::MAX);
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
fn who_does_not_take_its_replies_is_not_read_from_until_it_does() {
    let mut world = World::new(limits());
    let greedy = world.connect_with_room(1000);
    let lines_sent = 5000;
    world.send(&greedy, &b"HELP\n".repeat(lines_sent));
    assert!(greedy.wire.borrow().input.len() > 10_000);
    let other = member(&mut world, "JOIN other");
    world.send(&other, b"PING\n");
    assert!(text(&other).contains("OK PING"));
    world.set_room(&greedy, usize::MAX);
    assert!(greedy.wire.borrow().input.is_empty());
    let replies = text(&greedy).matches("OK HELP").count();
    assert_eq!(replies, lines_sent);
}

/// G27: the work of a turn is bounded for each connection, whatever it asks for.
#[test]
fn a_flooder_gets_its_share_of_a_turn_and_no_more() {
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

/// G31: what a client sends counts as one line for every 96 bytes begun, lines or not.
#[test]
fn every_byte_counts_against_the_rate_whether_it_ends_a_line_or_not() {
    let one_by_one = |bytes: &[u8]| bytes.iter().map(|&b| vec![b]).collect::<Vec<_>>();
    let long = |bytes: usize| vec![b"x".repeat(bytes), b"\n".to_vec()];
    for (pieces, lines) in [
        (vec![b"\n".to_vec()], 1),
        (vec![b"\n\r\n\n".to_vec()], 3),
        (one_by_one(b"PING\n"), 1),
        (long(95), 1),
        (long(96), 2),
        (long(191), 2),
        (long(192), 3),
        (one_by_one(&long(192).concat()), 3),
        // Too long, and skipped.
        (long(4800), 51),
        (vec![b"x".repeat(96)], 1),
        (vec![b"x".repeat(97)], 2),
        (vec![b"\xff\xf1".repeat(48)], 1),
        (vec![b"\xff\xf1".repeat(49)], 2),
        (one_by_one(&b"\xff\xfb\x01".repeat(320)), 10),
        (
            vec![b"\xff\xfa".to_vec(), b"x".repeat(94), b"\xff\xf0".to_vec()],
            2,
        ),
    ] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            ..limits()
        });
        let peer = world.connect();
        world.send(&peer, b"PING\nPING\n");
        let sent = pieces.concat();
        for piece in pieces {
            world.send(&peer, &piece);
        }
        peer.wire.borrow_mut().output.clear();
        // What was begun is the beginning of the first of these.
        world.send(&peer, &b"\nPING\n".repeat(300));
        let answered = text(&peer).matches("OK PING").count();
        assert_eq!(answered, (198 - lines) / 2, "{}", sent.escape_ascii());
    }
}

/// How many SAYs of one member are carried out in `seconds` if it comes back on another connection
/// whenever it has to wait, with `connect` to say where each connection comes from.
fn said_by_one_who_reconnects(seconds: u64, mut connect: impl FnMut(&mut World) -> Peer) -> u64 {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        ..limits()
    });
    let first = connect(&mut world);
    world.send(&first, b"JOIN ann mode=pull\n");
    let reply = text(&first);
    let (_, token) = reply.split_once("session=").unwrap();
    let resume = format!("RESUME {}\n", &token[..40]);
    world.reset(&first);
    for _ in 0..seconds * 10 {
        for _ in 0..20 {
            let peer = connect(&mut world);
            let lines = resume.clone() + &"SAY x\n".repeat(199);
            world.send(&peer, lines.as_bytes());
            world.hub.assert_consistent(world.now());
            // What is not carried out at once would be, later.
            peer.wire.borrow_mut().input.clear();
            world.reset(&peer);
        }
        world.advance(100);
    }
    world.origin = Origin::V4([192, 0, 2, 99]);
    let witness = world.connect();
    text(&witness);
    newest(&mut world, &witness) - 1
}

/// G31: neither an address nor a session gets another allowance by connecting again.
#[test]
fn connecting_again_is_no_way_around_the_rate() {
    let from = |last: u8| Origin::V4([192, 0, 2, last]);
    let said = said_by_one_who_reconnects(3, |world| {
        world.origin = from(1);
        world.connect()
    });
    assert!((150..=350).contains(&said), "{said} from one address");
    // A session does not either if each connection comes from another address, ...
    let mut last = 0;
    let said = said_by_one_who_reconnects(3, |world| {
        last = (last + 1) % 200;
        world.origin = from(last);
        world.connect()
    });
    assert!((150..=350).contains(&said), "{said} from many addresses");
    // ... or from none.
    let said = said_by_one_who_reconnects(3, |world| {
        world.origin = Origin::Local;
        world.connect()
    });
    assert!((150..=350).contains(&said), "{said} on a Unix socket");
}

/// G31: an address has as many allowances as it has connections, and others have their own.
#[test]
fn an_address_has_an_allowance_for_each_of_its_connections() {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        ..limits()
    });
    world.origin = Origin::V4([192, 0, 2, 1]);
    let answered = |world: &mut World, peer: &Peer| {
        world.send(peer, &b"PING\n".repeat(200));
        text(peer).matches("OK PING").count()
    };
    let peers: Vec<_> = (0..3).map(|_| world.connect()).collect();
    for peer in &peers {
        assert_eq!(answered(&mut world, peer), 200);
    }
    let unused = world.connect();
    world.send(&unused, b"PING\n");
    text(&unused);
    for peer in &peers {
        peer.wire.borrow_mut().input.clear();
        world.reset(peer);
    }
    world.advance(200);
    // One that was there has all of its own, one that comes has what is left of theirs.
    assert!(answered(&mut world, &unused) >= 199);
    let next = world.connect();
    assert!(answered(&mut world, &next) <= 10);
    let here = std::mem::replace(&mut world.origin, Origin::V4([192, 0, 2, 9]));
    let other = world.connect();
    assert_eq!(answered(&mut world, &other), 200);
    // After four seconds all is forgotten.
    world.origin = here;
    for peer in [&unused, &next, &other] {
        peer.wire.borrow_mut().input.clear();
        world.reset(peer);
    }
    world.advance(60_000);
    let later = world.connect();
    assert_eq!(answered(&mut world, &later), 200);
    world.hub.assert_consistent(world.now());
}

/// G31: also if the server hears of the old connection's end and of the new one at once.
#[test]
fn connecting_again_before_the_server_has_looked_is_no_way_around_the_rate() {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        ..limits()
    });
    world.origin = Origin::V4([192, 0, 2, 1]);
    let first = world.connect();
    world.send(&first, &b"PING\n".repeat(200));
    assert_eq!(text(&first).matches("OK PING").count(), 200);
    world.end_later(&first);
    let second = world.connect_with_input(&b"PING\n".repeat(200));
    let answered = text(&second).matches("OK PING").count();
    assert!(answered <= 10, "{answered}");
}

/// G27: nor does the server remember more addresses than it may have connections.
#[test]
fn addresses_that_have_gone_are_remembered_within_bounds() {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        connections_max: 10,
        ..limits()
    });
    for n in 0..1000_u16 {
        let [high, low] = n.to_be_bytes();
        world.origin = Origin::V4([198, 18, high, low]);
        let peer = world.connect();
        world.send(&peer, &b"PING\n".repeat(100));
        world.reset(&peer);
        world.hub.assert_consistent(world.now());
    }
    world.advance(100);
}

/// G31: whoever was silent for long may send as much at once as anybody else, and no more.
#[test]
fn silence_buys_no_larger_burst() {
    for (silent_ms, join) in [
        (4_000, ""),
        (20_000, ""),
        (3_600_000, "JOIN ann mode=pull alive=tcp idle=3600\n"),
    ] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            ..limits()
        });
        let ann = world.connect();
        world.send(&ann, join.as_bytes());
        world.send(&ann, b"PING\n");
        world.advance(silent_ms);
        text(&ann);
        world.send(&ann, &b"PING\n".repeat(1000));
        let at_once = text(&ann).matches("OK PING").count();
        assert_eq!(at_once, 200, "after {silent_ms} ms");
        world.advance(2000);
        let later = text(&ann).matches("OK PING").count();
        assert!((90..=101).contains(&later), "{later} after {silent_ms} ms");
    }
}

/// Serving one who is too fast line by line would cost a wake-up for each.
#[test]
fn who_is_too_fast_is_served_ten_times_a_second() {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        ..limits()
    });
    let ann = world.connect();
    world.send(&ann, &b"PING\n".repeat(1000));
    world.advance(2000);
    assert!(text(&ann).matches("OK PING").count() > 290);
    let throttled = world.hub.stats().lines_throttled;
    assert!(throttled <= 21, "{throttled}");
}

/// G31: a permitted burst of one member takes less than half of a log, whatever it says.
#[test]
fn a_permitted_burst_takes_less_than_half_of_a_default_log() {
    for text_bytes in [1, 20, 90, 91, 92, 187, 188, 500, 1024] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            ..limits()
        });
        let name = "n".repeat(24);
        let speaker = member(&mut world, &format!("JOIN {name} mode=pull"));
        let reader = member(&mut world, "JOIN reader mode=pull");
        let say = format!("SAY {}\n", "x".repeat(text_bytes));
        world.send(&speaker, say.repeat(1000).as_bytes());
        world.send(&reader, b"STATS\n");
        let stats = text(&reader);
        let held = stats
            .lines()
            .find_map(|l| l.strip_prefix("STAT log-bytes "));
        let held: usize = held.unwrap().parse().unwrap();
        assert!(held < limits().log_bytes / 2, "{text_bytes}: {held}");
        // So one who polls each second misses nothing, for as long as that goes on.
        for _ in 0..20 {
            world.advance(1000);
            loop {
                world.send(&reader, b"POLL max=1000\n");
                let polled = text(&reader);
                assert!(!polled.contains("LOST"), "{text_bytes}: {polled}");
                if polled.starts_with("OK POLL") && polled.contains(" more=0\r\n") {
                    break;
                }
            }
        }
    }
}

/// G27: a connection that is closed is read, so that its client is not reset before it has taken
/// the last line; one that goes on sending cannot hold up the others with that.
#[test]
fn little_is_read_of_what_a_client_has_sent_behind_its_end() {
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

/// G27: however many send what makes no line, a line of another is answered in the next turn, and
/// what a turn takes in of all of them together is bounded.
#[test]
fn bytes_that_end_no_line_are_shared_out_like_lines() {
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
        // One alone gets more, and no more than a turn is worth.
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
    world.stop_for(31_000);
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

/// G17 and G18: the loop sleeps until then, and what the poll adds is not the core's.
#[test]
fn what_is_due_happens_at_its_very_millisecond() {
    for (lines, due_ms, said) in [
        ("", 30_000, "BYE handshake "),
        ("JOIN ann\n", 40_000, "EXPIRING 20\r\n"),
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

/// A clock that goes on by a second with each look at it.
struct Running(Cell<u64>);

impl Clock for Running {
    fn now(&self) -> Now {
        let at = self.0.get();
        self.0.set(at + 1000);
        Now::exactly(Millis(at), UNIX_MS + at)
    }
}

/// G17: in a turn that takes long, a sign of life gets the time when it is read, and not the one
/// when the turn began.
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

/// G27: neither telnet's answers nor a POLL that waited add up to more than a connection may hold.
#[test]
fn telnet_and_a_poll_that_waited_stay_within_what_a_connection_may_hold() {
    let mut world = World::new(limits());
    let puller = member(&mut world, "JOIN cron mode=pull");
    let bob = member(&mut world, "JOIN bob mode=pull");
    world.send(&puller, b"POLL\n");
    world.set_room(&puller, 0);
    world.send(&puller, b"POLL wait=60\n");
    world.send(&puller, &[255, 251, 1].repeat(1360));
    for _ in 0..12 {
        world.send(&bob, format!("SAY {}\n", "x".repeat(1000)).as_bytes());
        world.hub.assert_consistent(world.now());
    }
    world.send(&puller, format!("PING {}\n", "x".repeat(2040)).as_bytes());
    world.hub.assert_consistent(world.now());
    // Nor does the beginning of a line, together with bytes that the server has not looked at yet.
    let other = member(&mut world, "JOIN other mode=pull");
    world.set_room(&other, 0);
    world.send(&other, &b"PING and so on\n".repeat(300));
    world.send(&other, &[b'x'; 2040]);
    world.send(&other, &[255, 251, 1].repeat(900));
    world.hub.assert_consistent(world.now());
}

/// The number of the newest event of the only room.
fn newest(world: &mut World, witness: &Peer) -> u64 {
    world.send(witness, b"ROOMS\n");
    let rooms = text(witness);
    let newest = rooms.trim_end().rsplit(' ').next();
    newest.unwrap().parse().unwrap()
}

/// G31: all of it is carried out, and no faster than if the client were still there.
#[test]
fn what_a_client_that_is_gone_has_sent_is_carried_out_at_its_rate() {
    let mut world = World::new(Limits {
        lines_per_s: 50,
        ..limits()
    });
    let witness = member(&mut world, "JOIN witness mode=pull idle=600");
    let ann = member(&mut world, "JOIN ann mode=pull");
    let sent = b"SAY hi\n".repeat(400);
    ann.wire.borrow_mut().input.extend(sent);
    world.reset(&ann);
    // With the JOIN these are the 200 lines that may come at once.
    assert_eq!(newest(&mut world, &witness), 2 + 199);
    world.advance(2000);
    let at_half_time = newest(&mut world, &witness);
    assert!((290..=301).contains(&at_half_time), "{at_half_time}");
    assert!(!ann.wire.borrow().is_closed);
    world.advance(2200);
    assert_eq!(newest(&mut world, &witness), 2 + 400);
    assert!(ann.wire.borrow().is_closed);
    world.send(&witness, b"WHO\n");
    let members = text(&witness);
    assert!(members.contains("MEMBER ann pull detached "), "{members}");
}

/// An open connection keeps a session alive, and one that is closed does not, though lines wait that
/// were sent over it.
#[test]
fn a_client_that_is_gone_keeps_neither_its_session_nor_its_connection_by_lines_that_wait() {
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

/// A line is a sign of life of the time when it came, and not of that when its turn has come: one
/// whose host has vanished is not kept by what it had sent before.
#[test]
fn lines_that_wait_for_their_turn_are_signs_of_life_of_the_time_when_they_came() {
    for line in ["\n", "PING\n", "POLL wait=60\n", "SAY hi\n"] {
        let mut world = World::new(Limits {
            lines_per_s: 50,
            ..limits()
        });
        let witness = member(&mut world, "JOIN witness mode=pull idle=600");
        let ann = member(&mut world, "JOIN ann mode=pull idle=3");
        // The last piece comes after 900 ms. The rest of it would take a minute.
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

/// G19: what comes while others wait counts from when it came.
#[test]
fn one_who_waits_for_being_fast_and_goes_on_sending_is_alive() {
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

/// G19: a POLL that had to wait for its turn keeps a session for its seconds from when it came.
#[test]
fn a_poll_that_came_long_before_its_turn_keeps_a_session_from_when_it_came() {
    let mut world = World::new(Limits {
        lines_per_s: 1,
        ..limits()
    });
    let witness = member(&mut world, "JOIN witness mode=pull alive=tcp");
    let ann = member(&mut world, "JOIN ann mode=pull idle=10");
    // Its turn comes after six seconds.
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
    // More than a turn's share, so that it is read on in the next turn without a report.
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

/// Nothing that a connection without a session does adds to the time that it has to get one.
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
        world.set_room(&peer, 10);
        world.send(&peer, b"PING\n");
        world.advance(1500);
        world.send(&peer, last);
        world.advance(499);
        assert!(!peer.wire.borrow().is_closed, "{}", last.escape_ascii());
        world.advance(1);
        assert!(peer.wire.borrow().is_closed, "{}", last.escape_ascii());
        // One that had a session has the time of one that has none, from its goodbye on.
        let member = member(&mut world, "JOIN member");
        world.set_room(&member, 0);
        world.send(&member, b"QUIT\n");
        world.advance(1999);
        assert!(!member.wire.borrow().is_closed);
        world.advance(1);
        assert!(member.wire.borrow().is_closed);
        text(&witness);
    }
}

/// G27: what was written is not kept, though the rest has to wait.
#[test]
fn one_who_takes_his_replies_slowly_costs_no_more_than_one_who_takes_none() {
    let mut world = World::new(limits());
    let slow = member(&mut world, "JOIN slow mode=pull");
    for _ in 0..5000 {
        world.post(&slow, b"HELP\nPING and so on\n");
        world.set_room(&slow, 1000);
        world.hub.assert_consistent(world.now());
        slow.wire.borrow_mut().output.clear();
    }
}

#[test]
fn others_are_answered_while_a_crowd_expires() {
    const CROWD: usize = 100_000;
    let mut world = World::new(limits());
    let gateway = world.connect();
    for i in 0..CROWD {
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
        assert!(turns < CROWD);
    }
    assert!(turns > CROWD / 1000, "all in {turns} turns");
    world.hub.assert_consistent(world.now());
}

/// A crowd that loses its keys goes some in each turn, and each of it is heard no more from then on:
/// G29.
#[test]
fn others_are_answered_while_a_crowd_loses_its_keys() {
    const CROWD: usize = 600;
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
    world.hub.set_keys(keys(CROWD), world.now());
    let polite = member(&mut world, "JOIN polite key=sesame mode=pull idle=600");
    let crowd: Vec<_> = (0..CROWD)
        .map(|n| {
            let peer = world.connect();
            world.send(&peer, format!("JOIN n{n} key=sesame\n").as_bytes());
            peer
        })
        .collect();
    let reply = text(&crowd[0]);
    let (_, token) = reply.split_once("session=").unwrap();
    let token = &token[..40];
    let said = newest(&mut world, &polite);
    let other = world.connect();
    text(&other);
    world.hub.set_keys(keys(0), world.now());
    // Nothing that they send counts any more, nor does a token.
    for peer in &crowd {
        world.post(peer, b"SAY still here\n");
        peer.wire.borrow_mut().writes = 0;
    }
    world.post(&other, format!("RESUME {token}\n").as_bytes());
    let writes = |crowd: &[Peer]| -> usize { crowd.iter().map(|p| p.wire.borrow().writes).sum() };
    let mut before = 0;
    let mut turns = 0;
    while world.hub.chat().sessions() > 1 {
        world.post(&polite, b"PING\n");
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert_eq!(text(&polite), "OK PING\r\n", "after {turns} turns");
        let now = writes(&crowd);
        assert!(now - before <= 3 * CROWD, "{} writes", now - before);
        before = now;
        turns += 1;
        assert!(turns < CROWD);
    }
    assert_eq!(text(&other), "ERR session-ended replaced 0\r\n");
    assert_eq!(newest(&mut world, &polite), said + CROWD as u64);
    for peer in &crowd {
        let last = peer.wire.borrow();
        assert!(last.is_closed);
        let text = String::from_utf8_lossy(&last.output);
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("BYE replaced "), "{line}");
    }
    world.hub.assert_consistent(world.now());
}

#[test]
fn the_system_watches_peers_that_keep_their_session_by_being_connected() {
    let mut world = World::new(limits());
    let peer = member(&mut world, "JOIN ann alive=tcp idle=40");
    let watched = |peer: &Peer| peer.wire.borrow().watched;
    assert_eq!(watched(&peer), Some(40));
    // The system does not cut off a stalled client before the server says that it is slow.
    world.set_room(&peer, 0);
    world.send(&peer, b"SAY hi\n");
    assert_eq!(watched(&peer), None);
    world.set_room(&peer, usize::MAX);
    assert_eq!(watched(&peer), Some(40));
    world.send(&peer, b"DETACH\n");
    assert_eq!(watched(&peer), None);
    let other = member(&mut world, "JOIN bob idle=40");
    assert_eq!(watched(&other), None);
}

#[test]
fn more_sessions_or_rooms_than_allowed_are_refused_and_change_nothing() {
    let mut world = World::new(Limits {
        sessions_max: 2,
        rooms_max: 1,
        ..limits()
    });
    let first = member(&mut world, "JOIN first");
    let next = world.connect();
    world.send(&next, b"JOIN next room=another\n");
    assert!(text(&next).contains("ERR full "));
    world.send(&next, b"JOIN next\n");
    assert!(text(&next).contains("OK JOIN "));
    let third = world.connect();
    world.send(&third, b"JOIN third\n");
    assert!(text(&third).contains("ERR full "));
    text(&first);
    world.send(&next, b"LEAVE\n");
    world.send(&third, b"JOIN third\n");
    assert!(text(&third).contains("OK JOIN "));
    assert_eq!(lines(&first).len(), 2);
    world.hub.assert_consistent(world.now());
}

/// G8.
#[test]
fn nothing_follows_a_goodbye_that_has_not_been_taken_yet() {
    let mut world = World::new(limits());
    let ann = member(&mut world, "JOIN ann");
    world.set_room(&ann, 0);
    world.send(&ann, &b"SAY\n".repeat(100));
    world.send(&ann, b"PING\n");
    world.advance(29_999);
    world.set_room(&ann, usize::MAX);
    let last = lines(&ann);
    assert_eq!(last.len(), 101);
    assert!(last[100].starts_with("BYE abuse "), "{last:?}");
    assert!(ann.wire.borrow().is_closed);
    // Nor can it keep its connection by not taking the goodbye.
    let bob = member(&mut world, "JOIN bob");
    world.set_room(&bob, 0);
    world.send(&bob, b"QUIT\n");
    world.advance(30_000);
    assert!(bob.wire.borrow().is_closed);
}

/// What a room holds and what a reply holds are bounded: G5, with the longest lists.
#[test]
fn long_lists_come_in_replies_of_at_most_8_kib() {
    let mut world = World::new(limits());
    let gateway = world.connect();
    for i in 0..1000 {
        let lines = format!("JOIN member-number-{i:04} idle=3600\nDETACH\n");
        world.post(&gateway, lines.as_bytes());
    }
    world.run();
    text(&gateway);
    let reader = member(&mut world, "JOIN zoe mode=pull");
    let mut names = Vec::new();
    let mut ask = "WHO\n".to_owned();
    loop {
        world.send(&reader, ask.as_bytes());
        let reply = text(&reader);
        assert!(reply.len() <= 8192);
        let words: Vec<_> = reply
            .lines()
            .next()
            .unwrap()
            .split(' ')
            .map(str::to_owned)
            .collect();
        let listed = reply
            .lines()
            .skip(1)
            .map(|line| line.split(' ').nth(1).unwrap().to_owned());
        names.extend(listed);
        let more: usize = words[4].strip_prefix("more=").unwrap().parse().unwrap();
        assert_eq!(names.len() + more, 1001);
        if more == 0 {
            break;
        }
        ask = format!("WHO after={}\n", names.last().unwrap());
    }
    assert!(names.is_sorted());
    assert_eq!(names.len(), 1001);
}

#[test]
fn a_shutdown_answers_polls_that_wait_and_says_goodbye_to_all() {
    let mut world = World::new(limits());
    let waiting = member(&mut world, "JOIN waiting mode=pull");
    let nobody = world.connect();
    text(&nobody);
    let stuck = member(&mut world, "JOIN stuck");
    world.set_room(&stuck, 5);
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
    world.set_room(&stuck, usize::MAX);
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
