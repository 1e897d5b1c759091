//! How fast a client may send.

use chinwag::chat::Origin;
use chinwag::chat::keys::Keys;
use chinwag::protocol::Limits;

use crate::members::{limits, member, newest, text};
use crate::world::{Peer, World};

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
        // An unfinished line is the beginning of the first of these.
        world.send(&peer, &b"\nPING\n".repeat(300));
        let answered = text(&peer).matches("OK PING").count();
        assert_eq!(answered, (198 - lines) / 2, "{}", sent.escape_ascii());
    }
}

/// The answer to a line from a new connection of `origin` straight away, and after a second.
fn answers_from(world: &mut World, origin: Origin, line: &str) -> [String; 2] {
    world.origin = origin;
    let peer = world.connect();
    text(&peer);
    world.send(&peer, line.as_bytes());
    let at_once = text(&peer);
    world.advance(1000);
    let later = text(&peer);
    world.reset(&peer);
    [at_once, later]
}

/// Whether there is a rate or not; and what waits is only that one address.
#[test]
fn wrong_keys_slow_down_their_address_and_nobody_else() {
    for lines_per_s in [0, 50] {
        let mut world = World::new(Limits {
            lines_per_s,
            ..limits()
        });
        let now = world.now();
        world.hub.set_keys(Some(Keys::default()), now);
        let guess = "JOIN ann key=guess\n";
        let refused = "ERR not-authorized ";
        let here = Origin::V4([192, 0, 2, 1]);
        let next_door = Origin::V4([192, 0, 2, 2]);
        for n in 0..10 {
            for origin in [Origin::Local, here] {
                let [at_once, _] = answers_from(&mut world, origin, guess);
                assert!(at_once.starts_with(refused), "{n}");
            }
        }
        for _ in 0..20 {
            let [at_once, later] = answers_from(&mut world, here, guess);
            assert_eq!(at_once, "");
            assert!(later.starts_with(refused));
        }
        for origin in [Origin::Local, next_door] {
            let [at_once, _] = answers_from(&mut world, origin, guess);
            assert!(at_once.starts_with(refused), "{origin:?}");
        }
        // Only a JOIN with a key makes what follows wait again.
        let lines = format!("PING\nJOIN ann\nPING\n{guess}PING\n");
        let [at_once, later] = answers_from(&mut world, here, &lines);
        assert_eq!(at_once, "");
        assert_eq!(later.matches("OK PING").count(), 2);
        assert_eq!(later.matches(refused).count(), 2);
        world.advance(60_000);
        let [at_once, _] = answers_from(&mut world, here, guess);
        assert!(at_once.starts_with(refused));
        assert!(world.hub.is_empty());
        world.hub.assert_consistent(world.now());
    }
}

/// How many SAYs of one member are carried out in `seconds` if it comes back on another connection
/// whenever it has to wait. `connect` says where each connection comes from.
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
            // Whatever is left would be carried out later.
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
    // Nor does a session if each connection comes from another address, ...
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
    // The one that was there has all of its own allowance; a new one gets what is left of theirs.
    assert!(answered(&mut world, &unused) >= 199);
    let next = world.connect();
    assert!(answered(&mut world, &next) <= 10);
    let here = std::mem::replace(&mut world.origin, Origin::V4([192, 0, 2, 9]));
    let other = world.connect();
    assert_eq!(answered(&mut world, &other), 200);
    // After four seconds everything is forgotten.
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

/// G31: even if the server hears of the old connection's end and of the new one at once.
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

/// G27: the server never remembers more addresses than it may have connections.
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

/// G31: a client that was silent for long may send as much at once as any other, and no more.
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

/// Serving a client above the rate line by line would cost a wake-up for each line.
#[test]
fn a_client_above_the_rate_is_served_ten_times_a_second() {
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
        // So a member that polls each second misses nothing, however long that goes on.
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

/// G31: all of it is carried out, and no faster than if the client were still there.
#[test]
fn lines_of_a_client_that_is_gone_are_carried_out_at_its_rate() {
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

/// Once a client has used up its allowance, a line that has arrived waits, but not the end of the
/// stream, however the last line was put together.
#[test]
fn the_end_of_a_stream_does_not_wait_for_the_rate() {
    let pings = "PING\n".repeat(199);
    for (lines_per_s, sent, answers) in [
        (50, pings.clone() + "PING\n", 200),
        (50, pings + "PINGx\x08\n", 200),
        (1, format!("PING {}\n", "x".repeat(370)), 1),
    ] {
        let mut world = World::new(Limits {
            lines_per_s,
            ..limits()
        });
        let peer = world.connect();
        world.post(&peer, sent.as_bytes());
        world.end(&peer);
        assert_eq!(text(&peer).matches("OK PING").count(), answers);
        assert!(peer.wire.borrow().is_closed, "{sent}");
        assert_eq!(world.hub.stats().lines_throttled, 0);
    }
}
