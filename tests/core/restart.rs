//! What becomes of sessions and rooms when the server stops and starts again, and when it crashes.

use std::collections::HashMap;

use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::chat::{Chat, Kind, Origin};
use chinwag::protocol::Limits;
use chinwag::time::Millis;
use fastrand::Rng;

use crate::members::{limits, lines, messages_and_lost, text};
use crate::seeds::play_seeds;
use crate::world::{BOOT, Peer, World};

/// How many numbers a save promises beyond the newest.
const AHEAD: u64 = 1_000_000;

/// What a new client that sends something gets for it.
fn ask(world: &mut World, line: &str) -> (Peer, Vec<String>) {
    let peer = world.connect();
    text(&peer);
    let said = again(world, &peer, line);
    (peer, said)
}

/// What a client that sends something gets for it.
fn again(world: &mut World, peer: &Peer, line: &str) -> Vec<String> {
    world.send(peer, format!("{line}\n").as_bytes());
    lines(peer)
}

/// The value that a line has for a key.
fn value(line: &str, key: &str) -> String {
    let word = line.split(' ').find_map(|word| word.strip_prefix(key));
    word.unwrap_or_else(|| panic!("no {key} in {line}")).into()
}

/// Somebody who joins and has got all that came for it, with the session's token.
fn join(world: &mut World, line: &str) -> (Peer, String) {
    let (peer, said) = ask(world, line);
    let token = value(&said[0], "session=");
    (peer, token)
}

fn resume(world: &mut World, token: &str) -> (Peer, Vec<String>) {
    ask(world, &format!("RESUME {token}"))
}

/// A session that nobody holds.
fn detached(world: &mut World, line: &str) -> String {
    let (peer, token) = join(world, line);
    world.reset(&peer);
    token
}

fn says(count: usize) -> String {
    vec!["SAY something"; count].join("\n")
}

fn stat(world: &mut World, name: &str) -> u64 {
    let (_, stats) = ask(world, "STATS");
    let start = format!("STAT {name} ");
    let line = stats.iter().find_map(|line| line.strip_prefix(&start));
    line.unwrap().parse().unwrap()
}

/// G40.
#[test]
fn a_session_that_resumes_after_a_restart_finds_everything_as_it_was() {
    let mut world = World::new(limits());
    let (ann, token) = join(&mut world, "JOIN ann mode=pull idle=600");
    let (bob, _) = join(&mut world, "JOIN bob");
    again(&mut world, &ann, "SAY one\nSAY two\nPOLL max=2\nDETACH");
    again(&mut world, &bob, "SAY three");
    let (_, before) = resume(&mut world, &token);
    assert!(before[0].contains(" said=2 "), "{before:?}");
    let boot = world.hub.chat().boot();
    world.restart();
    assert_eq!(
        (world.hub.chat().sessions(), world.hub.chat().boot()),
        (2, boot)
    );
    assert!(text(&bob).ends_with("BYE shutdown the server is shutting down\r\n"));
    let (ann, after) = resume(&mut world, &token);
    assert_eq!(after, before);
    let polled = again(&mut world, &ann, "SAY four\nPOLL");
    assert!(polled[0].starts_with("OK SAY 6 "), "{polled:?}");
    assert_eq!(polled[1], "OK POLL 4 last=6 more=0");
    let numbers = messages_and_lost(&polled.join("\n")).0;
    assert_eq!(numbers, [3, 4, 5, 6], "{polled:?}");
    // What it has seen is still there for a client that asks again.
    let seen_again = again(&mut world, &ann, "POLL after=1");
    assert_eq!(seen_again[0], "OK POLL 5 last=6 more=0");
    let who = again(&mut world, &ann, "WHO");
    assert_eq!(who[2], "MEMBER bob push detached 0");
}

/// G40 and G12: also if what it lacks is lost, before the restart or by it.
#[test]
fn lost_is_exact_over_a_restart_into_a_smaller_log() {
    let mut world = World::new(Limits {
        log_bytes: 64 * 1024,
        ..limits()
    });
    let token = detached(&mut world, "JOIN ann mode=pull idle=600");
    let (bob, bobs) = join(&mut world, "JOIN bob");
    again(&mut world, &bob, &says(1000));
    let events = stat(&mut world, "events");
    world.restart_within(Limits {
        log_bytes: 4096,
        ..limits()
    });
    assert!(stat(&mut world, "log-bytes") <= 4096);
    assert_eq!(stat(&mut world, "events"), events);
    let (ann, _) = resume(&mut world, &token);
    let polled = again(&mut world, &ann, "POLL after=1 max=1000");
    let (seqs, lost) = messages_and_lost(&polled.join("\n"));
    assert_eq!(seqs, (lost + 2..=1002).collect::<Vec<_>>());
    assert!(seqs.len() > 40);
    assert_eq!(polled[1], format!("LOST {lost} {}", lost + 2));
    // A line that is longer than any may be now goes, and what came before it.
    let (bob, _) = resume(&mut world, &bobs);
    again(&mut world, &bob, &format!("SAY {}", "x".repeat(900)));
    again(&mut world, &bob, "SAY short");
    world.restart_within(Limits {
        log_bytes: 4096,
        message_bytes_max: 300,
        ..limits()
    });
    let (ann, _) = resume(&mut world, &token);
    let polled = again(&mut world, &ann, "POLL");
    assert_eq!(polled[..2], ["OK POLL 2 last=1004 more=0", "LOST 1 1004"]);
}

/// G41.
#[test]
fn what_is_left_of_an_idle_time_is_carried_over_but_at_least_a_minute() {
    for (options, is_attached, silent_s, left_s) in [
        ("idle=600", false, 100, 500),
        ("idle=600 mode=pull", true, 100, 500),
        ("idle=600 mode=pull", true, 570, 60),
        ("idle=1", true, 0, 60),
        ("idle=60", false, 59, 60),
        ("idle=3600", false, 1, 3599),
        ("idle=900 alive=tcp", true, 3000, 900),
        ("idle=900 alive=tcp", false, 500, 400),
    ] {
        let mut world = World::new(limits());
        world.advance(1_234);
        let (peer, _) = join(&mut world, &format!("JOIN ann {options}"));
        if !is_attached {
            world.reset(&peer);
        }
        world.advance(silent_s * 1000);
        world.restart();
        world.advance(left_s * 1000 - 1);
        assert_eq!(world.hub.chat().sessions(), 1, "{options} {silent_s}");
        world.advance(1);
        assert_eq!(world.hub.chat().sessions(), 0, "{options} {silent_s}");
    }
}

/// G41: a session has more time over a restart only until its client is back.
#[test]
fn a_short_idle_time_counts_again_after_resume() {
    for mode in ["push", "pull"] {
        let mut world = World::new(limits());
        let token = detached(&mut world, &format!("JOIN ann idle=2 mode={mode}"));
        world.restart();
        world.advance(30_000);
        let (ann, _) = resume(&mut world, &token);
        world.advance(1_999);
        assert!(!text(&ann).contains("BYE "));
        world.advance(1);
        assert!(text(&ann).starts_with("BYE expired "), "{mode}");
        assert!(
            world
                .hub
                .next_deadline()
                .is_none_or(|when| when.0 > world.at)
        );
    }
}

/// G41.
#[test]
fn a_session_that_nobody_comes_back_to_ends_after_16_restarts() {
    let mut world = World::new(limits());
    let ann = detached(&mut world, "JOIN ann idle=3600");
    let quiet = detached(&mut world, "JOIN quiet idle=3600 quiet=yes");
    let bob = detached(&mut world, "JOIN bob idle=3600 history=9");
    for restart in 1..=16 {
        world.restart();
        assert_eq!(world.hub.chat().sessions(), 3, "{restart}");
        if restart == 8 {
            let (peer, _) = resume(&mut world, &bob);
            world.reset(&peer);
        }
    }
    world.restart();
    assert_eq!(world.hub.chat().sessions(), 1);
    for token in [&ann, &quiet] {
        let (_, said) = resume(&mut world, token);
        assert!(said[0] == "ERR session-ended expired 0", "{said:?}");
    }
    let (_, said) = resume(&mut world, &bob);
    assert!(
        said[1].starts_with("LEFT 3 ") && said[1].ends_with(" ann expired"),
        "{said:?}"
    );
    assert_eq!(said.len(), 2);
}

/// G25 and G40.
#[test]
fn sessions_that_have_ended_are_known_after_a_restart_too() {
    let mut world = World::new(limits());
    let (left, left_token) = join(&mut world, "JOIN left");
    let expired = detached(&mut world, "JOIN expired idle=5");
    again(&mut world, &left, "LEAVE");
    world.advance(12_000);
    world.restart();
    world.advance(3_000);
    world.restart();
    for (token, end) in [(left_token, "left 15"), (expired, "expired 10")] {
        let (_, said) = resume(&mut world, &token);
        assert_eq!(said, [format!("ERR session-ended {end}")]);
    }
}

/// G29 and G40.
#[test]
fn keys_that_changed_meanwhile_end_their_sessions() {
    let keys = |entries: &[(&str, &str)]| {
        let line = |(name, key): &(&str, &str)| format!("{name}:{}\n", KeyHash::of(key));
        let text: String = entries.iter().map(line).collect();
        Some(Keys::parse(&text).unwrap())
    };
    let mut world = World::new(limits());
    let now = world.now();
    let all = [("ann", "a"), ("bob", "b"), ("cyd", "c")];
    world.hub.set_keys(keys(&all), now);
    let tokens = all.map(|(name, key)| detached(&mut world, &format!("JOIN {name} key={key}")));
    world.restart();
    let now = world.now();
    world
        .hub
        .set_keys(keys(&[("ann", "a"), ("bob", "other")]), now);
    let (_, said) = resume(&mut world, &tokens[0]);
    let seen = messages_and_lost(&said.join("\n"));
    assert_eq!(seen, (vec![], 0));
    for name in ["bob", "cyd"] {
        assert!(
            said.iter()
                .any(|line| line.ends_with(&format!(" {name} replaced"))),
            "{said:?}"
        );
    }
    for token in &tokens[1..] {
        let (_, said) = resume(&mut world, token);
        assert!(said[0] == "ERR session-ended replaced 0", "{said:?}");
    }
}

/// G28 and G40.
#[test]
fn lower_limits_end_those_who_have_been_silent_for_longest() {
    let from = |world: &mut World, last| world.origin = Origin::V4([192, 0, 2, last]);
    let mut world = World::new(limits());
    let mut tokens = Vec::new();
    for (last, name, room) in [
        (1, "ann", "hall"),
        (1, "bob", "hall"),
        (1, "cyd quiet=yes", "hall"),
        (2, "dan", "hall"),
        (2, "eve", "attic"),
        (1, "fay", "hall"),
    ] {
        from(&mut world, last);
        tokens.push(detached(
            &mut world,
            &format!("JOIN {name} room={room} idle=3600"),
        ));
        world.advance(1000);
    }
    // They show signs of life in another order than they came in.
    from(&mut world, 3);
    for at in [3, 2, 0, 4, 5, 1] {
        let (peer, _) = resume(&mut world, &tokens[at]);
        world.reset(&peer);
        world.advance(1000);
    }
    let alive = |world: &mut World, tokens: &[String]| -> Vec<usize> {
        let is_there = |at: &usize| {
            // Nothing of this is a sign of life: RESUME refuses an event that has not happened.
            let (peer, said) = ask(world, &format!("RESUME {} after=99999", tokens[*at]));
            world.reset(&peer);
            let has_ended = said[0].starts_with("ERR session-ended expired ");
            assert!(
                has_ended || said[0].starts_with("ERR bad-argument "),
                "{said:?}"
            );
            !has_ended
        };
        (0..tokens.len()).filter(is_there).collect()
    };
    let mut lower = limits();
    lower.per_address_max = 3;
    world.restart_within(lower);
    assert_eq!(alive(&mut world, &tokens), [0, 1, 3, 4, 5]);
    lower.sessions_max = 6;
    world.restart_within(lower);
    assert_eq!(alive(&mut world, &tokens), [0, 1, 3, 4, 5]);
    lower.keep_rooms_s = 0;
    lower.rooms_max = 1;
    world.restart_within(lower);
    // Those who went first have not emptied a room.
    assert_eq!(alive(&mut world, &tokens), [1, 5]);
    lower.sessions_max = 2;
    world.restart_within(lower);
    // The last place is not there any more.
    assert_eq!(alive(&mut world, &tokens), [1]);
    let (_, said) = resume(&mut world, &tokens[1]);
    let left: Vec<_> = said[1..]
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap())
        .collect();
    assert!(
        left.iter().all(|(_, reason)| *reason == "expired"),
        "{said:?}"
    );
    // Quiet ones go without a word.
    let names: Vec<_> = left
        .iter()
        .map(|(start, _)| start.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(names, ["dan", "ann", "fay"], "{said:?}");
}

/// G33 and G41.
#[test]
fn rooms_that_nobody_is_in_keep_their_order_and_their_time() {
    let mut world = World::new(Limits {
        keep_rooms_s: 60,
        ..limits()
    });
    for room in ["cellar", "attic", "barn"] {
        let (visitor, _) = join(&mut world, &format!("JOIN visitor room={room}"));
        again(&mut world, &visitor, "SAY I was here\nQUIT");
        world.advance(10_000);
    }
    let rooms = world.hub.chat().rooms();
    world.restart();
    let names = |world: &World| {
        let mut rooms = world.hub.chat().rooms();
        rooms.sort_by_key(|room| room.empty_since);
        rooms
            .iter()
            .map(|room| room.name.to_string())
            .collect::<Vec<_>>()
    };
    let mut after = world.hub.chat().rooms();
    after.sort_by_key(|room| rooms.iter().position(|before| before.name == room.name));
    assert_eq!(after, rooms);
    world.advance(29_999);
    assert_eq!(names(&world), ["cellar", "attic", "barn"]);
    world.advance(1);
    assert_eq!(names(&world), ["attic", "barn"]);
    let (_, said) = ask(&mut world, "JOIN ann room=barn history=9 idle=3600");
    assert!(
        said[0].contains(" seq=4 ") && said[2].ends_with("I was here"),
        "{said:?}"
    );
    world.advance(10_000);
    assert_eq!(world.hub.chat().rooms().len(), 1);
    // A server that keeps none.
    let (visitor, _) = join(&mut world, "JOIN visitor room=shed");
    again(&mut world, &visitor, "QUIT");
    world.restart_within(Limits {
        keep_rooms_s: 0,
        ..limits()
    });
    assert_eq!(names(&world), ["barn"]);
}

/// G30 and G40.
#[test]
fn a_key_of_ones_own_still_takes_the_name_back() {
    let mut world = World::new(limits());
    let token = detached(&mut world, "JOIN ann key=mine");
    world.restart();
    for wrong in ["JOIN ann", "JOIN ann key=another"] {
        let (_, said) = ask(&mut world, wrong);
        assert!(said[0].starts_with("ERR name-taken "), "{said:?}");
    }
    let (_, said) = ask(&mut world, "JOIN ann key=mine");
    assert!(said[0].starts_with("OK JOIN "), "{said:?}");
    let (_, said) = resume(&mut world, &token);
    assert!(said[0] == "ERR session-ended replaced 0", "{said:?}");
}

/// G36 and G40.
#[test]
fn a_person_comes_back_by_the_same_talk() {
    let home = Origin::V4([192, 0, 2, 1]);
    for (origin, user, key, stranger) in [
        (home, 0, "", (Origin::V4([192, 0, 2, 2]), 0, "")),
        (home, 0, " key=mine", (home, 0, "")),
        (Origin::Local, 7, "", (Origin::Local, 8, "")),
    ] {
        let mut world = World::new(limits());
        (world.origin, world.user) = (origin, user);
        let (ann, _) = ask(&mut world, &format!("TALK ann{key}"));
        let (bob, _) = join(&mut world, "JOIN bob");
        again(&mut world, &bob, "SAY seen");
        assert!(text(&ann).contains(" <bob> seen\r\n"));
        // The client's system acknowledges nothing more.
        ann.wire.borrow_mut().holds = true;
        again(&mut world, &bob, "SAY on the way");
        assert!(text(&ann).contains(" <bob> on the way\r\n"));
        world.restart();
        (world.origin, world.user) = (stranger.0, stranger.1);
        let (_, said) = ask(&mut world, &format!("TALK ann{}", stranger.2));
        assert!(said[0].contains("ann is taken"), "{said:?}");
        (world.origin, world.user) = (origin, user);
        let (_, said) = ask(&mut world, &format!("TALK ann{key}"));
        let said = said.join("\n");
        assert!(
            said.contains("<bob> on the way") && !said.contains("<bob> seen"),
            "{said}"
        );
        assert_eq!(world.hub.chat().sessions(), 2);
    }
}

/// G40.
#[test]
fn counters_go_on_over_a_restart_but_uptime_begins_again() {
    let mut world = World::new(limits());
    let (ann, token) = join(&mut world, "JOIN ann");
    again(&mut world, &ann, "SAY one\nSAY two\nNONSENSE");
    world.advance(10_000);
    let counters = [
        "events",
        "sessions-total",
        "sessions-most",
        "errors",
        "events-delivered",
    ];
    let before = counters.map(|name| stat(&mut world, name));
    assert_eq!(before, [3, 1, 1, 1, 3]);
    assert_eq!(stat(&mut world, "uptime"), 10);
    world.restart();
    assert_eq!(counters.map(|name| stat(&mut world, name)), before);
    assert_eq!(stat(&mut world, "uptime"), 0);
    let (ann, _) = resume(&mut world, &token);
    again(&mut world, &ann, "SAY three");
    world.advance(7_000);
    assert_eq!(
        (stat(&mut world, "events"), stat(&mut world, "uptime")),
        (4, 7)
    );
}

/// G43.
#[test]
fn what_a_server_saves_for_a_file_holds_no_token() {
    let mut world = World::new(limits());
    let (_ann, token) = join(&mut world, "JOIN ann key=secret");
    let (ended, ended_token) = join(&mut world, "JOIN bob");
    again(&mut world, &ended, "QUIT");
    for kind in [Kind::Stop, Kind::Running] {
        let state = world.save(kind);
        let holds = |bytes: &[u8]| state.windows(bytes.len()).any(|window| window == bytes);
        assert!(holds(b" ann\r\n") && !holds(b"secret"));
        for token in [&token, &ended_token] {
            let secret = u128::from_str_radix(&token[8..], 16).unwrap();
            assert!(!holds(&token.as_bytes()[8..]));
            assert!(!holds(&secret.to_be_bytes()) && !holds(&secret.to_le_bytes()));
        }
    }
}

/// G44.
#[test]
fn after_a_crash_no_session_goes_on_and_boot_is_another() {
    let mut world = World::new(limits());
    let first = detached(&mut world, "JOIN first idle=3600");
    world.advance(1000);
    let tokens: Vec<String> = (0..1023)
        .map(|at| {
            detached(
                &mut world,
                &format!("JOIN n{at} room=r{} idle=3600", at % 7),
            )
        })
        .collect();
    let (_attached, late) = join(&mut world, "JOIN late alive=tcp idle=3600");
    world.advance(5_000);
    let state = world.save_on_disk();
    let unknown = detached(&mut world, "JOIN unknown");
    world.advance(50_000);
    world.crash(&state);
    assert_eq!(world.hub.chat().sessions(), 0);
    assert_ne!(world.hub.chat().boot(), BOOT);
    let peer = world.connect();
    let hello = format!(" boot={} ", world.hub.chat().boot());
    assert!(text(&peer).contains(&hello));
    world.advance(12_000);
    for token in tokens.iter().chain([&late]) {
        let (peer, said) = resume(&mut world, token);
        assert!(said[0] == "ERR session-ended crashed 12", "{said:?}");
        world.reset(&peer);
    }
    for token in [first, unknown] {
        let (_, said) = resume(&mut world, &token);
        assert!(said[0].starts_with("ERR unknown-session "), "{said:?}");
    }
    assert_eq!(stat(&mut world, "sessions-crashed"), 1025);
    let rooms = world.hub.chat().rooms();
    assert!(rooms.len() == 8 && rooms.iter().all(|room| room.members == 0));
}

/// A world that has crashed, with the events 1 to 8 of a room saved and 9 and 10 lost, and the room's log.
fn crashed(limits: Limits) -> (World, String) {
    let mut world = World::new(limits);
    let (bob, said) = ask(&mut world, "JOIN bob idle=3600");
    let log = value(&said[0], "log=");
    again(&mut world, &bob, &says(7));
    let state = world.save_on_disk();
    again(&mut world, &bob, &says(2));
    world.crash(&state);
    (world, log)
}

/// The numbers of the events that came, and each LOST as it was.
fn came(said: &[String]) -> (Vec<u64>, Vec<&str>) {
    let (mut numbers, mut lost) = (Vec::new(), Vec::new());
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        match words[0] {
            "MSG" | "JOINED" | "LEFT" => numbers.push(words[1].parse().unwrap()),
            "LOST" => lost.push(line.as_str()),
            _ => {}
        }
    }
    (numbers, lost)
}

/// G32 and G45.
#[test]
fn one_lost_counts_the_numbers_that_never_come_after_a_crash() {
    // The first number behind the gap.
    const NEXT: u64 = 8 + AHEAD + 1;
    for (options, first, lost) in [
        ("after=5", Some(6), Some(AHEAD)),
        ("after=8", None, Some(AHEAD)),
        ("after=9", None, Some(AHEAD - 1)),
        ("after=10", None, Some(AHEAD - 2)),
        ("after=700000", None, Some(NEXT - 700_001)),
        ("after=1000008", None, None),
        ("history=3", Some(6), Some(AHEAD)),
        ("history=0", None, None),
    ] {
        let (mut world, log) = crashed(limits());
        let since = match options.starts_with("after") {
            true => format!("{options} log={log}"),
            false => options.to_owned(),
        };
        let mut expected: Vec<u64> = first.map_or(vec![], |first| (first..=8).collect());
        expected.push(NEXT);
        let lost_line = lost.map(|lost| format!("LOST {lost} {NEXT}"));
        let lost_lines: Vec<&str> = lost_line.as_deref().into_iter().collect();

        let (ann, said) = ask(&mut world, &format!("JOIN ann {since}"));
        assert!(said[0].contains(&format!(" seq={NEXT} ")), "{said:?}");
        assert_eq!(value(&said[0], "log="), log);
        assert_eq!(
            came(&said),
            (expected.clone(), lost_lines.clone()),
            "{options}"
        );
        let next = again(&mut world, &ann, "SAY on");
        assert_eq!(came(&next), (vec![NEXT + 1], vec![]), "{options}");
        if let (Some(at), Some(_)) = (said.iter().position(|line| line.starts_with("LOST ")), lost)
        {
            assert!(said[at + 1].starts_with("JOINED "), "{said:?}");
        }
        world.hub.assert_consistent(world.now());

        // In batches of two lines, none of which goes beyond the gap.
        let (mut world, _) = crashed(limits());
        let (ann, _) = ask(&mut world, &format!("JOIN ann mode=pull {since}"));
        let mut all = Vec::new();
        let events = expected.len() as u64;
        let mut more = events;
        while more > 0 {
            let polled = again(&mut world, &ann, "POLL max=2");
            assert!((2..=3).contains(&polled.len()), "{polled:?}");
            let left = more - came(&polled).0.len() as u64;
            more = value(&polled[0], "more=").parse().unwrap();
            assert_eq!(more, left, "{polled:?}");
            all.extend(polled);
        }
        assert_eq!(came(&all), (expected, lost_lines), "{options}");
        assert_eq!(
            again(&mut world, &ann, "POLL"),
            [format!("OK POLL 0 last={NEXT} more=0")]
        );
    }
}

/// G45.
#[test]
fn a_quiet_session_learns_at_once_what_is_lost_although_nothing_has_come_behind_it() {
    const NEXT: u64 = 8 + AHEAD + 1;
    let lost = format!("LOST {AHEAD} {NEXT}");
    let (mut world, log) = crashed(limits());
    let (ann, said) = ask(&mut world, &format!("JOIN ann quiet=yes after=6 log={log}"));
    assert_eq!(came(&said), (vec![7, 8], vec![lost.as_str()]));
    let said = again(&mut world, &ann, "SAY on");
    assert_eq!(came(&said), (vec![NEXT], vec![]));

    let (mut world, log) = crashed(limits());
    let join = format!("JOIN ann quiet=yes after=6 log={log} mode=pull");
    let (ann, _) = ask(&mut world, &join);
    let said = again(&mut world, &ann, "POLL wait=5\nPOLL wait=5");
    assert_eq!(said[0], "OK POLL 2 last=8 more=0");
    assert_eq!(
        said[3..],
        [format!("OK POLL 1 last={} more=0", NEXT - 1), lost]
    );
    // Where nothing is lost, it waits.
    assert_eq!(again(&mut world, &ann, "POLL wait=5"), [""; 0]);
    world.advance(5_000);
    assert_eq!(lines(&ann), [format!("OK POLL 0 last={} more=0", NEXT - 1)]);
    // However little its connection takes.
    for space in 0..120 {
        let (mut world, log) = crashed(limits());
        let ann = world.connect();
        text(&ann);
        world.set_space(&ann, space);
        let join = format!("JOIN ann quiet=yes after=7 log={log}");
        again(&mut world, &ann, &join);
        world.set_space(&ann, usize::MAX);
        again(&mut world, &ann, "SAY on");
        let taken = String::from_utf8(ann.wire.borrow().taken.clone()).unwrap();
        let said: Vec<String> = taken.lines().map(Into::into).collect();
        let lost = format!("LOST {AHEAD} {NEXT}");
        assert_eq!(
            came(&said),
            (vec![8, NEXT], vec![lost.as_str()]),
            "{said:?}"
        );
        world.hub.assert_consistent(world.now());
    }
}

/// G34 and G45.
#[test]
fn a_person_is_told_in_words_that_there_was_a_crash() {
    const CRASHED: &str = "-- the server crashed here; what was said just before may be missing";
    let (mut world, _) = crashed(limits());
    let (ann, said) = ask(&mut world, "TALK ann history=3");
    let is_something = |line: &&String| line.contains("<bob> something");
    assert_eq!(said.iter().filter(is_something).count(), 3, "{said:?}");
    assert_eq!(said.last().unwrap(), CRASHED);
    assert_eq!(world.hub.stats().events_lost, 0);
    again(&mut world, &ann, "new");
    for (events, something) in [(50, 7), (3, 1), (2, 0)] {
        let shown = again(&mut world, &ann, &format!("/again {events}"));
        let count = events.min(something + 3);
        assert!(
            shown[0].starts_with(&format!("-- the last {count} events:")),
            "{shown:?}"
        );
        assert_eq!(
            shown.iter().filter(is_something).count(),
            something,
            "{shown:?}"
        );
        let crashes = shown.iter().filter(|line| *line == CRASHED).count();
        assert_eq!(crashes, usize::from(something > 0), "{shown:?}");
        assert!(shown.last().unwrap().ends_with(" <ann> new"), "{shown:?}");
    }
    world.hub.assert_consistent(world.now());

    // Somebody who takes over a session for which nothing has come behind the gap.
    for (since, events) in [("after=6", 2), ("after=8", 0), ("after=9", 0)] {
        let (mut world, log) = crashed(limits());
        let join = format!("JOIN ann quiet=yes {since} log={log} mode=pull key=mine");
        let (_, joined) = ask(&mut world, &join);
        assert!(joined[0].starts_with("OK JOIN "), "{joined:?}");
        let (ann, said) = ask(&mut world, "TALK ann key=mine");
        assert_eq!(said.iter().filter(is_something).count(), events, "{said:?}");
        assert_eq!(said.last().unwrap(), CRASHED);
        let shown = again(&mut world, &ann, "/again 50");
        assert!(!shown.is_empty());
        world.hub.assert_consistent(world.now());
    }
}

/// G45.
#[test]
fn each_crash_keeps_what_was_saved_before_it() {
    const NEXT: u64 = 8 + AHEAD + 1;
    // Nothing has happened between the two.
    let (mut world, log) = crashed(limits());
    let state = world.save_on_disk();
    world.crash(&state);
    let next = NEXT + AHEAD;
    let (_, said) = ask(&mut world, &format!("JOIN ann after=6 log={log}"));
    let lost = format!("LOST {} {next}", 2 * AHEAD);
    assert_eq!(came(&said), (vec![7, 8, next], vec![lost.as_str()]));

    // Something has.
    let (mut world, log) = crashed(limits());
    ask(&mut world, "JOIN ann\nSAY new");
    let state = world.save_on_disk();
    ask(&mut world, "JOIN lost");
    world.crash(&state);
    let newest = NEXT + 1;
    let next = newest + AHEAD + 1;
    let (_, said) = ask(&mut world, &format!("JOIN ann after=6 log={log}"));
    let lost = [NEXT, next].map(|behind| format!("LOST {AHEAD} {behind}"));
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    assert_eq!(came(&said), (vec![7, 8, NEXT, newest, next], lost));

    // The second one comes before anything was saved again.
    let mut world = World::new(limits());
    let (bob, said) = ask(&mut world, "JOIN bob");
    let log = value(&said[0], "log=");
    let state = world.save_on_disk();
    again(&mut world, &bob, "SAY lost");
    world.crash(&state);
    world.crash(&state);
    let (_, said) = ask(&mut world, &format!("JOIN ann after=2 log={log}"));
    let lost = format!("LOST {} {}", AHEAD - 1, AHEAD + 2);
    assert_eq!(came(&said), (vec![AHEAD + 2], vec![lost.as_str()]));
}

/// G12 and G45.
#[test]
fn a_gap_falls_out_of_a_log_that_is_full_and_survives_a_restart_before() {
    let small = Limits {
        log_bytes: 4096,
        ..limits()
    };
    const NEXT: u64 = 8 + AHEAD + 1;
    let (mut world, log) = crashed(small);
    let (bob, bobs) = join(&mut world, "JOIN bob");
    let (ann, anns) = join(
        &mut world,
        &format!("JOIN ann mode=pull after=6 log={log} idle=3600"),
    );
    world.restart();
    let (_, said) = ask(&mut world, &format!("JOIN eve quiet=yes after=7 log={log}"));
    let lost = format!("LOST {AHEAD} {NEXT}");
    assert_eq!(came(&said), (vec![8, NEXT, NEXT + 1], vec![lost.as_str()]));
    drop((bob, ann));
    let (bob, _) = resume(&mut world, &bobs);
    again(&mut world, &bob, &says(1000));
    let (ann, _) = resume(&mut world, &anns);
    let polled = again(&mut world, &ann, "POLL max=1000");
    let (numbers, lost) = came(&polled);
    let first = numbers[0];
    assert_eq!(lost, [format!("LOST {} {first}", first - 7)]);
    assert_eq!(numbers, (first..=NEXT + 1001).collect::<Vec<_>>());
    // A line before the gap that is longer than any may be now.
    let mut world = World::new(limits());
    let (bob, said) = ask(&mut world, "JOIN bob");
    let log = value(&said[0], "log=");
    again(&mut world, &bob, &format!("SAY {}", "x".repeat(900)));
    let state = world.save_on_disk();
    world.crash(&state);
    ask(&mut world, "JOIN bob idle=3600");
    world.restart_within(Limits {
        message_bytes_max: 300,
        ..limits()
    });
    let (_, said) = ask(&mut world, &format!("JOIN eve quiet=yes after=1 log={log}"));
    let next = AHEAD + 3;
    assert_eq!(
        came(&said),
        (
            vec![next],
            vec![format!("LOST {} {next}", AHEAD + 1).as_str()]
        )
    );
}

/// What `--check` says of the file is never too little, and not much too much.
#[test]
fn the_longest_state_is_as_long_as_the_check_says() {
    let limits = Limits {
        sessions_max: 300,
        rooms_max: 20,
        log_bytes: 64 * 1024,
        lines_per_s: 0,
        connections_max: 40,
        ..Limits::default()
    };
    let mut world = World::new(limits);
    for number in 0..2 * (limits.sessions_max - 1) {
        let [high, low] = (number as u16).to_be_bytes();
        world.origin = Origin::V6([0x20, 0x01, 0x0d, 0xb8, 0, 0, high, low]);
        // Half of them end, so that they are among those that have ended.
        let room = number % limits.rooms_max;
        let name = format!("{number:0>24}");
        let join = format!("JOIN {name} room={room:0>24} idle=3600 mode=pull key=mine");
        let (peer, said) = ask(&mut world, &join);
        assert!(said[0].starts_with("OK JOIN"), "{said:?}");
        match number % 2 {
            0 => world.send(&peer, b"QUIT\n"),
            _ => world.reset(&peer),
        }
    }
    for room in 0..limits.rooms_max {
        let join = format!("JOIN x room={room:0>24} mode=pull");
        let peer = join_any(&mut world, &join);
        for _ in 0..limits.log_bytes / 1000 + 3 {
            world.send(&peer, format!("SAY {}\n", "x".repeat(1000)).as_bytes());
        }
        world.send(&peer, b"QUIT\n");
    }
    let names = 1000;
    let mut text = String::new();
    for name in 0..names {
        text += &format!("n{name:0>23}:{}\n", KeyHash::of("key"));
    }
    let most = Chat::state_bytes_max(&limits, names) as usize;
    let without = world.save(Kind::Stop).len();
    world
        .hub
        .set_keys(Some(Keys::parse(&text).unwrap()), world.now());
    let with = world.save(Kind::Stop).len();
    assert!(with > without && with <= most, "{with} of {most}");
    assert!(2 * with > most, "{with} of {most}");
}

/// Lowers what the last save has promised of the only room, as if that were used up.
pub fn promise(world: &mut World, from: u64, to: u64) {
    let mut state = world.save(Kind::Upgrade);
    let [from, to] = [from, to].map(u64::to_le_bytes);
    let places: Vec<usize> = (0..state.len() - 8)
        .filter(|&at| state[at..at + 8] == from)
        .collect();
    assert_eq!(places.len(), 1);
    state[places[0]..places[0] + 8].copy_from_slice(&to);
    let open: Vec<_> = (world.wires.iter())
        .filter(|wire| !wire.borrow().is_closed)
        .cloned()
        .collect();
    world.load(&state).unwrap();
    for wire in open {
        wire.borrow_mut().is_closed = false;
    }
}

/// G45: nobody gets a number that no save has promised, but whoever goes is seen to go.
#[test]
fn a_room_without_promised_numbers_waits_for_the_next_save() {
    let mut world = World::new(limits());
    let (ann, _) = join(&mut world, "JOIN ann");
    let (bob, token) = join(&mut world, "JOIN bob");
    assert!(!world.hub.is_save_urgent());
    world.save_on_disk();
    // Enough for one more message, and for two LEFT.
    promise(&mut world, 2 + AHEAD, 5);
    text(&ann);
    assert!(again(&mut world, &ann, "SAY last")[0].starts_with("OK SAY 3 "));
    assert!(world.hub.is_save_urgent());
    for line in ["SAY more", "SAY and more"] {
        let said = again(&mut world, &ann, line);
        assert!(
            said[0].starts_with("ERR full ") && said.len() == 1,
            "{said:?}"
        );
    }
    for line in ["JOIN cyd", "JOIN cyd quiet=yes", "TALK cyd"] {
        let (_, said) = ask(&mut world, line);
        assert!(said[0].contains("cannot save this room"), "{said:?}");
    }
    // Another room does not care, nor does whoever is back.
    let (_, said) = ask(&mut world, "JOIN ann room=other\nSAY here");
    assert!(
        said.iter().any(|line| line.starts_with("OK SAY 2 ")),
        "{said:?}"
    );
    text(&bob);
    again(&mut world, &bob, "DETACH");
    let (bob, said) = resume(&mut world, &token);
    assert!(said[0].contains(" said=0 "), "{said:?}");
    // A save that fails changes nothing.
    world.hub.begin_save();
    world.hub.end_save(false);
    assert!(world.hub.is_save_urgent());
    assert!(again(&mut world, &ann, "SAY more")[0].starts_with("ERR full "));
    world.hub.begin_save();
    assert!(again(&mut world, &ann, "SAY more")[0].starts_with("ERR full "));
    again(&mut world, &bob, "LEAVE");
    assert!(text(&ann).contains("LEFT 4 "));
    // Once it is on disk, everything goes on.
    world.hub.end_save(true);
    assert!(!world.hub.is_save_urgent());
    assert!(again(&mut world, &ann, "SAY more")[0].starts_with("OK SAY 5 "));
    let (_, said) = ask(&mut world, "JOIN cyd");
    assert!(said[0].contains(" seq=6 "), "{said:?}");
}

/// G45.
#[test]
fn a_save_is_urgent_once_half_of_the_promised_numbers_are_used() {
    let mut world = World::new(limits());
    let (ann, _) = join(&mut world, "JOIN ann");
    world.save_on_disk();
    promise(&mut world, 1 + AHEAD, 3 + AHEAD / 2);
    again(&mut world, &ann, "SAY two\nSAY three");
    assert!(!world.hub.is_save_urgent());
    again(&mut world, &ann, "SAY four");
    assert!(world.hub.is_save_urgent());
    world.save_on_disk();
    assert!(!world.hub.is_save_urgent());
}

/// G45: a save that is said to have failed may be on disk all the same.
#[test]
fn what_a_failed_save_has_promised_of_a_new_room_is_kept() {
    let mut world = World::new(limits());
    let (ann, _) = join(&mut world, "JOIN ann");
    world.hub.begin_save();
    world.hub.end_save(false);
    promise(&mut world, 1 + AHEAD, 3);
    assert!(again(&mut world, &ann, "SAY two")[0].starts_with("OK SAY 2 "));
    assert!(again(&mut world, &ann, "SAY three")[0].starts_with("ERR full "));
}

/// G45: a room that no save knew is gone, and the next one of its name has another log.
#[test]
fn a_room_that_was_made_after_the_last_save_begins_again() {
    let mut world = World::new(limits());
    let (_ann, _) = join(&mut world, "JOIN ann");
    let state = world.save_on_disk();
    let changes = world.hub.changes();
    let (_, said) = ask(&mut world, "JOIN bob room=new");
    assert_ne!(world.hub.changes(), changes);
    let log = value(&said[0], "log=");
    world.crash(&state);
    assert_eq!(world.hub.chat().rooms().len(), 1);
    let (_, said) = ask(&mut world, &format!("JOIN bob room=new after=1 log={log}"));
    assert!(
        said[0].contains(" seq=1 ") && value(&said[0], "log=") != log,
        "{said:?}"
    );
    assert_eq!(came(&said), (vec![1], vec![]));
}

/// Somebody who remembers what it has seen of a room, over crashes.
#[derive(Default)]
struct Reader {
    log: String,
    newest: u64,
}

impl Reader {
    /// Comes back, and checks that each number either comes or is counted as lost.
    fn read(&mut self, world: &mut World, room: u8) {
        let since = match self.log.is_empty() {
            true => String::new(),
            false => format!(" after={} log={}", self.newest, self.log),
        };
        let (reader, said) = ask(world, &format!("JOIN reader room=r{room}{since}"));
        let log = value(&said[0], "log=");
        let own: u64 = value(&said[0], "seq=").parse().unwrap();
        let mut next = match log == self.log {
            true => self.newest + 1,
            false => own,
        };
        for line in &said[1..] {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().unwrap();
            match words[0] {
                "LOST" => {
                    assert_eq!(next + number(1), number(2), "{said:?}");
                    next = number(2);
                }
                _ => {
                    assert_eq!(number(1), next, "{said:?}");
                    next += 1;
                }
            }
        }
        assert_eq!(next, own + 1, "{said:?}");
        (self.log, self.newest) = (log, own);
        again(world, &reader, "LEAVE");
        world.reset(&reader);
    }
}

/// G45: at random moments the server saves, saves in vain, stops, crashes in the middle of a save.
#[test]
fn no_number_is_ever_given_twice() {
    play_seeds(40, |seed, log| {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(Limits {
            log_bytes: if rng.bool() { 4096 } else { 64 * 1024 },
            keep_rooms_s: [0, 3600][rng.usize(..2)],
            ..limits()
        });
        let mut disk = world.save_on_disk();
        // What the save in progress will have on disk.
        let mut saving: Option<Vec<u8>> = None;
        let mut given: HashMap<u64, u64> = HashMap::new();
        let mut readers: [Reader; 3] = Default::default();
        let mut member: Option<Peer> = None;
        for step in 0..80 {
            let room = rng.u8(..3);
            let what = rng.u8(..20);
            log.push(format!("{step}: {what} in r{room}"));
            match what {
                0..2 => {
                    // Its last save may have come to its end.
                    if let Some(saving) = saving.take().filter(|_| rng.bool()) {
                        disk = saving;
                    }
                    world.crash(&disk);
                    for room in world.hub.chat().rooms() {
                        let most = given.get(&room.log.number()).copied().unwrap_or(0);
                        assert!(room.newest >= most, "{room:?} has given {most}");
                    }
                    disk = world.save_on_disk();
                    member = None;
                }
                2 => {
                    saving = None;
                    world.restart();
                    disk = world.save_on_disk();
                    member = None;
                }
                3..6 if saving.is_none() => {
                    world.hub.begin_save();
                    saving = Some(world.save(Kind::Running));
                }
                3..6 => {
                    let is_saved = rng.bool();
                    world.hub.end_save(is_saved);
                    // The file may be there though the server knows of a failure only.
                    if let Some(saving) = saving.take().filter(|_| is_saved || rng.bool()) {
                        disk = saving;
                    }
                }
                6 => world.upgrade(),
                7..10 => readers[usize::from(room)].read(&mut world, room),
                10..12 => {
                    if let Some(member) = member.take() {
                        world.reset(&member);
                    }
                    let join = format!("JOIN n{step} room=r{room} idle=3600");
                    member = Some(join_any(&mut world, &join));
                }
                12 => world.advance(rng.u64(..600_000)),
                _ => {
                    if let Some(member) = &member {
                        again(&mut world, member, &says(rng.usize(1..40)));
                    }
                }
            }
            for room in world.hub.chat().rooms() {
                let most = given.entry(room.log.number()).or_default();
                *most = room.newest.max(*most);
            }
            world.hub.assert_consistent(world.now());
        }
    });
}

fn join_any(world: &mut World, line: &str) -> Peer {
    let (peer, said) = ask(world, line);
    assert!(said[0].starts_with("OK JOIN "), "{said:?}");
    peer
}

/// As many lines as one turn does not answer, so that the rest is left for the next; a connection that is
/// closed in the same turn is on the list of that turn all the same.
#[test]
fn an_upgrade_after_a_turn_that_closed_a_connection_with_lines_left_is_no_trouble() {
    for ends in ["END lobby ann\n", "JOIN ann key=mine quiet=yes\n"] {
        let mut world = World::new(Limits {
            operators_max: 1,
            ..limits()
        });
        let (ann, _) = join(&mut world, "JOIN ann key=mine");
        let (bob, _) = join(&mut world, "JOIN bob");
        let other = match ends.starts_with("END") {
            true => world.connect_operator(),
            false => world.connect(),
        };
        world.post(&ann, "\n".repeat(10_000).as_bytes());
        world.post(&other, ends.as_bytes());
        world.hub.turn(&world.now(), Millis(world.at), true);
        assert!(ann.wire.borrow().is_closed);
        world.upgrade();
        world.run();
        let said = again(&mut world, &bob, "PING");
        assert_eq!(said.last().unwrap(), "OK PING", "{ends}{said:?}");
    }
}
