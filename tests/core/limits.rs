//! How many there may be, and how much is held or sent at once.

use chinwag::chat::Origin;
use chinwag::chat::keys::Keys;
use chinwag::protocol::Limits;

use crate::members::{limits, lines, member, text};
use crate::world::{Peer, World};

/// G27: not even telnet's answers and a POLL that waited add up to more than a connection may hold.
#[test]
fn telnet_and_a_poll_that_waited_stay_within_what_a_connection_may_hold() {
    let mut world = World::new(limits());
    let puller = member(&mut world, "JOIN cron mode=pull");
    let bob = member(&mut world, "JOIN bob mode=pull");
    world.send(&puller, b"POLL\n");
    world.set_space(&puller, 0);
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
    world.set_space(&other, 0);
    world.send(&other, &b"PING and so on\n".repeat(300));
    world.send(&other, &[b'x'; 2040]);
    world.send(&other, &[255, 251, 1].repeat(900));
    world.hub.assert_consistent(world.now());
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

/// G33: with random comings and goings, a room that makes way is the one that has been empty longest,
/// and the logs never take more than those of as many rooms as there may be.
#[test]
fn the_room_that_has_been_empty_longest_makes_way() {
    const ROOMS_MAX: usize = 5;
    let mut world = World::new(Limits {
        rooms_max: ROOMS_MAX,
        log_bytes: 4096,
        ..limits()
    });
    let mut random = fastrand::Rng::with_seed(1);
    // What there is: rooms with somebody in them, and empty ones, the oldest first.
    let mut taken: Vec<(u8, Peer)> = Vec::new();
    let mut empty: Vec<u8> = Vec::new();
    let (mut refused, mut evicted) = (0, 0);
    for n in 0..2000 {
        if !taken.is_empty() && random.bool() {
            let (room, peer) = taken.swap_remove(random.usize(..taken.len()));
            world.send(&peer, b"QUIT\n");
            empty.push(room);
        } else {
            let room = random.u8(..10);
            let is_new = !empty.contains(&room) && taken.iter().all(|(taken, _)| *taken != room);
            let peer = world.connect();
            world.send(&peer, format!("JOIN n{n} room=r{room}\n").as_bytes());
            let reply = text(&peer);
            if is_new && taken.len() == ROOMS_MAX {
                assert!(reply.contains("ERR full "), "{reply}");
                refused += 1;
            } else if taken.iter().all(|(taken, _)| *taken != room) {
                assert!(reply.contains("OK JOIN "), "{reply}");
                assert_eq!(reply.contains(" seq=1 "), is_new, "{reply}");
                if is_new && taken.len() + empty.len() == ROOMS_MAX {
                    empty.remove(0);
                    evicted += 1;
                }
                empty.retain(|&empty| empty != room);
                taken.push((room, peer));
            } else {
                // Only one is in each, so that the test knows when it is empty.
                world.send(&peer, b"QUIT\n");
            }
        }
        let rooms = world.hub.chat().rooms();
        let mut names: Vec<_> = rooms.iter().map(|room| room.name.to_string()).collect();
        let known = taken.iter().map(|(room, _)| room).chain(&empty);
        let mut known: Vec<_> = known.map(|room| format!("r{room}")).collect();
        names.sort();
        known.sort();
        assert_eq!(names, known);
        world.advance(random.u64(..3));
        world.hub.assert_consistent(world.now());
    }
    assert!(refused > 20 && evicted > 100, "{refused}, {evicted}");
    assert_eq!(world.hub.stats().rooms_evicted, evicted);
}

/// A script that watches over the server needs no key of its own.
#[test]
fn on_a_unix_socket_stats_needs_no_session_even_on_a_server_with_keys() {
    let mut world = World::new(limits());
    let now = world.now();
    world.hub.set_keys(Some(Keys::default()), now);
    for (origin, stats) in [
        (Origin::Local, "OK STATS "),
        (Origin::V4([192, 0, 2, 1]), "ERR no-session "),
    ] {
        world.origin = origin;
        let peer = world.connect();
        text(&peer);
        world.send(&peer, b"STATS\n");
        assert!(text(&peer).starts_with(stats), "{origin:?}");
        world.send(&peer, b"ROOMS\n");
        assert!(text(&peer).starts_with("ERR no-session "), "{origin:?}");
    }
}

/// Rooms and replies are bounded: G5, with the longest lists.
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
        assert!(reply.len() <= 7168);
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

/// Returning memory to the system takes time, so a few clients that come and go among many that stay
/// cause it seldom.
#[test]
fn visitors_among_many_connections_seldom_cause_memory_to_be_returned() {
    let mut world = World::new(limits());
    let clients: Vec<_> = (0..200)
        .map(|n| member(&mut world, &format!("JOIN n{n}")))
        .collect();
    world.end(&clients[20]);
    world.hub.take_has_freed_memory();
    let mut returned = 0;
    for _ in 0..100 {
        let visitor = world.connect();
        world.end(&visitor);
        returned += usize::from(world.hub.take_has_freed_memory());
    }
    // An eighth of the space for 256 connections has to go each time.
    assert!(returned <= 4, "{returned}");
}
