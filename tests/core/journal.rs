//! What the log says of clients, and that they cannot fill it, played in a world without sockets.

use crate::logged::{keep, take};
use crate::world::{Peer, World};
use chinwag::chat::Origin;
use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::protocol::Limits;

fn limits() -> Limits {
    Limits {
        lines_per_s: 0,
        ..Limits::default()
    }
}

/// The lines that are logged without `-v`.
fn logged() -> Vec<String> {
    let lines = take().into_iter();
    lines.filter(|line| !line.starts_with("DEBUG ")).collect()
}

fn from(world: &mut World, last: u8) -> Peer {
    world.origin = Origin::V4([192, 0, 2, last]);
    world.connect()
}

#[test]
fn refusals_are_logged_with_the_address_and_the_reason() {
    let with_keys = |world: &mut World| {
        let keys = format!("ann:{}\n", KeyHash::of("sesame"));
        world
            .hub
            .set_keys(Some(Keys::parse(&keys).unwrap()), world.now());
    };
    for (sent, expected) in [
        (
            b"JOIN ann key=x\nJOIN ann key=x\nJOIN ann key=x\n".to_vec(),
            "WARN refused 192.0.2.7: wrong key for a name (3 times), connection closed",
        ),
        (
            b"nonsense\n".repeat(100),
            "WARN refused 192.0.2.7: 100 errors without an OK, connection closed",
        ),
        (
            b"GET / HTTP/1.1\r\n".to_vec(),
            "WARN refused 192.0.2.7: it speaks HTTP, connection closed",
        ),
        (
            b"\x16\x03\x01\x02\x00".to_vec(),
            "WARN refused 192.0.2.7: it speaks TLS, connection closed",
        ),
        (
            b"x".repeat(3000),
            "WARN refused 192.0.2.7: its first line is too long, connection closed",
        ),
    ] {
        keep();
        let mut world = World::new(limits());
        with_keys(&mut world);
        let peer = from(&mut world, 7);
        world.send(&peer, &sent);
        assert_eq!(logged(), [expected]);
    }
}

#[test]
fn keys_guessed_one_per_connection_are_logged_too() {
    for (sent, times) in [(1, "1 time"), (2, "2 times")] {
        keep();
        let mut world = World::new(limits());
        let keys = format!("ann:{}\n", KeyHash::of("sesame"));
        world
            .hub
            .set_keys(Some(Keys::parse(&keys).unwrap()), world.now());
        for _ in 0..50 {
            let peer = from(&mut world, 7);
            world.send(&peer, b"JOIN ann key=x\n".repeat(sent).as_slice());
            world.end(&peer);
        }
        let line = format!("WARN refused 192.0.2.7: wrong key for a name ({times})");
        assert_eq!(logged(), [line]);
        world.advance(60_000);
        assert_eq!(logged(), ["WARN 49 more refusals in the past minute"]);
    }
}

#[test]
fn an_address_is_logged_whole_even_if_only_its_network_counts() {
    keep();
    let mut world = World::new(limits());
    world.origin = Origin::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 9]);
    let peer = world.connect();
    world.send(&peer, b"JOIN ann\nQUIT\n");
    let joined = "DEBUG ann joined lobby from [2001:db8:0:9::1]:47480";
    assert!(take().iter().any(|line| line == joined));
    let peer = world.connect();
    world.send(&peer, b"Host: x\n");
    let refused = "WARN refused 2001:db8:0:9::1: it speaks HTTP, connection closed";
    assert_eq!(logged(), [refused]);
    world.origin = Origin::Local;
    let peer = world.connect();
    world.send(&peer, b"JOIN bob\n");
    let joined = "DEBUG bob joined lobby from a Unix socket";
    assert!(take().iter().any(|line| line == joined));
}

#[test]
fn an_address_gets_one_line_a_minute_and_all_of_them_ten() {
    keep();
    let mut world = World::new(limits());
    for _ in 0..5 {
        for last in 0..20 {
            let peer = from(&mut world, last);
            world.send(&peer, b"Host: x\n");
        }
    }
    let lines = logged();
    assert_eq!(lines.len(), 10, "{lines:?}");
    for (last, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!(" 192.0.2.{last}: ")), "{line}");
    }
    world.advance(59_999);
    assert_eq!(logged(), [""; 0]);
    world.advance(1);
    assert_eq!(logged(), ["WARN 90 more refusals in the past minute"]);
    // Nothing more is due, and it begins again.
    assert_eq!(world.hub.next_deadline(), None);
    let peer = from(&mut world, 0);
    world.send(&peer, b"Host: x\n");
    assert_eq!(logged().len(), 1);
}

/// In any minute, not only in one that begins with the first line.
#[test]
fn no_minute_has_more_than_ten_lines_or_two_of_one_address() {
    keep();
    let mut world = World::new(limits());
    let mut lines = Vec::new();
    let mut rng = fastrand::Rng::with_seed(1);
    while world.at < 1_000_000 {
        world.advance(rng.u64(1..4000));
        let peer = from(&mut world, rng.u8(..30));
        world.send(&peer, b"Host: x\n");
        for line in logged() {
            if line.contains(" refused 192.") {
                lines.push((world.at, line));
            }
        }
    }
    assert!(lines.len() > 100, "{lines:?}");
    for (index, (at, line)) in lines.iter().enumerate() {
        let minute = lines[..index]
            .iter()
            .filter(|(then, _)| then + 60_000 > *at);
        let before: Vec<_> = minute.map(|(_, line)| line).collect();
        assert!(before.len() < 10, "{at}: {before:?}");
        assert!(!before.contains(&line), "{at}: {before:?}");
    }
}

#[test]
fn refusals_left_out_are_counted_a_minute_after_the_first_of_them() {
    keep();
    let mut world = World::new(limits());
    for _ in 0..2 {
        for pause in [0, 10_000, 30_000, 19_999] {
            world.advance(pause);
            let peer = from(&mut world, 1);
            world.send(&peer, b"Host: x\n");
        }
        assert_eq!(logged().len(), 1);
        world.advance(10_000);
        assert_eq!(logged(), [""; 0]);
        world.advance(1);
        assert_eq!(logged(), ["WARN 3 more refusals in the past minute"]);
    }
}

#[test]
fn a_limit_is_logged_when_it_is_reached_and_when_it_no_longer_is() {
    keep();
    let mut world = World::new(Limits {
        connections_max: 2,
        sessions_max: 2,
        rooms_max: 1,
        per_address_max: 2,
        ..limits()
    });
    let ann = from(&mut world, 1);
    world.send(
        &ann,
        b"JOIN ann mode=pull idle=600\nDETACH\nJOIN bob mode=pull idle=600\n",
    );
    let other = from(&mut world, 2);
    world.send(&other, b"JOIN cem\nJOIN dan\nJOIN eve\n");
    let lines = logged();
    assert_eq!(
        lines,
        [
            "WARN --max-sessions 2 is reached; refusing more sessions",
            "WARN refused 192.0.2.2: too many sessions (--max-sessions 2)",
        ]
    );
    for _ in 0..100 {
        from(&mut world, 3);
        world.reset(&other);
        let other = from(&mut world, 2);
        from(&mut world, 3);
        world.reset(&other);
    }
    let lines = logged();
    assert_eq!(
        lines[0],
        "WARN --max-connections 2 is reached; refusing more connections"
    );
    assert_eq!(lines.len(), 2, "{lines:?}");
    world.advance(61_000);
    let lines = logged();
    assert!(
        lines.contains(&"INFO no sessions refused for a minute, after 3 refusals".to_owned()),
        "{lines:?}"
    );
    let ends = lines
        .iter()
        .filter(|line| line.contains(" refused for a minute, "));
    assert_eq!(ends.count(), 2, "{lines:?}");
}

#[test]
fn a_limit_is_no_longer_reached_a_minute_after_the_last_refusal() {
    keep();
    let mut world = World::new(Limits {
        connections_max: 1,
        ..limits()
    });
    let ann = from(&mut world, 1);
    world.send(&ann, b"JOIN ann mode=pull alive=tcp\n");
    from(&mut world, 2);
    assert_eq!(logged().len(), 2);
    world.advance(30_000);
    from(&mut world, 2);
    world.advance(59_999);
    assert_eq!(logged(), [""; 0]);
    world.advance(1);
    let end = "INFO no connections refused for a minute, after";
    let left_out = "WARN 1 more refusal in the past minute".to_owned();
    assert_eq!(logged(), [left_out, format!("{end} 2 refusals")]);
    // It begins again.
    from(&mut world, 2);
    assert_eq!(logged().len(), 2);
    world.advance(60_000);
    assert_eq!(logged(), [format!("{end} 1 refusal")]);
}

#[test]
fn only_an_address_that_has_too_many_is_logged_for_that() {
    keep();
    let mut world = World::new(Limits {
        per_address_max: 1,
        ..limits()
    });
    let first = from(&mut world, 1);
    from(&mut world, 1);
    from(&mut world, 1);
    assert_eq!(
        logged(),
        ["WARN refused 192.0.2.1: too many connections from this address (--max-per-address 1)"]
    );
    world.send(&first, b"PING\n");
    world.advance(60_000);
    assert_eq!(logged(), ["WARN 1 more refusal in the past minute"]);
    let second = from(&mut world, 1);
    world.send(&second, b"JOIN ann\nDETACH\nJOIN bob\n");
    assert_eq!(
        logged(),
        ["WARN refused 192.0.2.1: too many sessions from this address (--max-per-address 1)"]
    );
}

/// A client that lets itself be overtaken again and again writes no more than others.
#[test]
fn members_that_lose_events_by_turns_do_not_fill_the_log() {
    keep();
    let mut world = World::new(Limits {
        log_bytes: 4096,
        ..limits()
    });
    let peers: Vec<_> = (0..50)
        .map(|n| {
            let peer = from(&mut world, n % 20);
            world.send(&peer, format!("JOIN n{n} mode=pull\n").as_bytes());
            peer
        })
        .collect();
    let say = format!("SAY {}\n", "x".repeat(1000));
    world.send(&peers[0], say.repeat(10).as_bytes());
    for _ in 0..100 {
        for peer in &peers {
            world.send(peer, b"POLL after=0 max=1\nPOLL after=60\n");
            peer.wire.borrow_mut().output.clear();
        }
    }
    let lines = logged();
    assert_eq!(lines.len(), 10, "{lines:?}");
    assert!(
        lines[0].ends_with(" has fallen behind and lost events"),
        "{lines:?}"
    );
    world.advance(30_000);
    for peer in &peers {
        world.send(peer, b"PING\n");
    }
    world.advance(30_001);
    let lines = logged();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].ends_with(" more times in the past minute"),
        "{lines:?}"
    );
}

#[test]
fn slow_members_are_counted_though_nothing_else_happens() {
    keep();
    let mut world = World::new(Limits {
        log_bytes: 4096,
        ..limits()
    });
    let [ann, bob, cem] = ["ann", "bob", "cem"].map(|name| {
        let peer = from(&mut world, 1);
        let join = format!("JOIN {name} mode=pull alive=tcp\n");
        world.send(&peer, join.as_bytes());
        peer
    });
    let say = format!("SAY {}\n", "x".repeat(1000));
    world.send(&ann, say.repeat(10).as_bytes());
    for peer in [bob, cem] {
        world.send(&peer, b"POLL max=1\n");
    }
    assert_eq!(logged().len(), 1);
    world.advance(60_000);
    let line = "INFO sessions fell behind or stalled 1 more time in the past minute";
    assert_eq!(logged(), [line]);
}

#[test]
fn connections_that_get_no_session_in_time_are_logged_if_wanted() {
    keep();
    let mut world = World::new(limits());
    from(&mut world, 9);
    world.advance(60_000);
    let line = "DEBUG 192.0.2.9:47480 got no session in time";
    assert!(take().iter().any(|logged| logged == line));
}

/// A session counts towards the address that joined, even when that has nothing else any more.
#[test]
fn a_stalled_session_is_logged_for_the_address_that_joined() {
    keep();
    let mut world = World::new(limits());
    let speaker = from(&mut world, 9);
    world.send(&speaker, b"JOIN ann idle=3600\n");
    let stalled: Vec<_> = (1..=2)
        .map(|n| {
            let joins = from(&mut world, n);
            world.send(&joins, format!("JOIN n{n} idle=4\nDETACH\n").as_bytes());
            let output = String::from_utf8(joins.wire.borrow().output.clone()).unwrap();
            let (_, token) = output.split_once("session=").unwrap();
            world.end(&joins);
            let resumes = from(&mut world, 8);
            let resume = format!("RESUME {}\n", &token[..40]);
            world.send(&resumes, resume.as_bytes());
            world.set_space(&resumes, 0);
            resumes
        })
        .collect();
    world.send(&speaker, b"SAY hello\n");
    for _ in 0..6 {
        world.advance(1000);
        for peer in &stalled {
            world.send(peer, b"PING\n");
        }
    }
    let lines = logged();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, name) in lines.iter().zip(["n1", "n2"]) {
        let expected = format!("INFO {name} in lobby stalled: it read nothing for 4 s");
        assert_eq!(*line, expected);
    }
}
