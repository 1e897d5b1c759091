//! The operator's socket: places of its own, sessions listed and ended, and notices for everybody.

use chinwag::chat::{Kind, Origin};
use chinwag::protocol::{Limits, OPERATOR_SILENCE_S, OPERATORS_MAX, REPLY_BYTES_MAX};

use crate::world::{Peer, World};

fn limits() -> Limits {
    Limits {
        operators_max: OPERATORS_MAX,
        ..Limits::default()
    }
}

/// A world that has an operator's socket.
fn world() -> World {
    World::new(limits())
}

/// What has come since the last call.
fn output(peer: &Peer) -> String {
    String::from_utf8(std::mem::take(&mut peer.wire.borrow_mut().output)).unwrap()
}

/// Sends a line and returns what has come since the last call, and for it.
fn ask(world: &mut World, peer: &Peer, line: &str) -> String {
    world.send(peer, format!("{line}\n").as_bytes());
    let now = world.now();
    world.hub.assert_consistent(now);
    output(peer)
}

fn join(world: &mut World, line: &str) -> Peer {
    let peer = world.connect();
    let reply = ask(world, &peer, line);
    assert!(reply.contains("OK JOIN "), "{reply}");
    peer
}

/// Many quiet members in several rooms, who have read all that has come.
fn crowd(world: &mut World, members: usize) -> Vec<Peer> {
    let join = |member| {
        let peer = world.connect();
        let line = format!("JOIN m{member} quiet=yes room=r{}\n", member % 64);
        world.send(&peer, line.as_bytes());
        assert!(output(&peer).contains("OK JOIN "));
        peer
    };
    (0..members).map(join).collect()
}

fn operator(world: &mut World) -> Peer {
    let peer = world.connect_operator();
    let hello = output(&peer);
    assert!(hello.starts_with("HELLO chinwag/") && hello.ends_with(" socket=admin\r\n"));
    peer
}

fn is_closed(peer: &Peer) -> bool {
    peer.wire.borrow().is_closed
}

fn stat(world: &mut World, operator: &Peer, name: &str) -> u64 {
    let stats = ask(world, operator, "STATS");
    let row = format!("STAT {name} ");
    let value = stats.lines().find_map(|line| line.strip_prefix(&row));
    value.expect(&stats).parse().unwrap()
}

#[test]
fn no_limit_of_clients_keeps_the_operator_out_and_no_operator_keeps_a_client_out() {
    let mut world = World::new(Limits {
        connections_max: 2,
        sessions_max: 1,
        per_address_max: 1,
        lines_per_s: 1,
        ..limits()
    });
    let clients = [world.connect(), world.connect()];
    let operators = [operator(&mut world), operator(&mut world)];
    assert!(is_closed(&world.connect()));
    for operator in &operators {
        // Far more than the rate would allow.
        let reply = ask(&mut world, operator, &"STATS\n".repeat(100));
        assert_eq!(reply.matches("OK STATS ").count(), 100);
    }
    assert_eq!(stat(&mut world, &operators[0], "connections"), 2);
    assert_eq!(stat(&mut world, &operators[0], "connections-total"), 2);
    assert_eq!(stat(&mut world, &operators[0], "refused-connections"), 1);
    assert_eq!(stat(&mut world, &operators[0], "lines-throttled"), 0);
    world.reset(&clients[0]);
    let client = world.connect();
    assert!(!is_closed(&client));
    for peer in clients.iter().chain(&operators).chain([&client]) {
        world.reset(peer);
    }
    assert!(world.hub.is_empty());
    world.hub.assert_consistent(world.now());
}

#[test]
fn without_the_option_nobody_is_the_operator() {
    let mut world = World::new(Limits::default());
    let refused = world.connect_operator();
    assert!(output(&refused).contains("\r\nBYE full "));
    assert!(is_closed(&refused));
}

#[test]
fn a_third_connection_is_refused_while_both_others_are_in_use() {
    let mut world = world();
    let operators = [operator(&mut world), operator(&mut world)];
    let silence_ms = u64::from(OPERATOR_SILENCE_S) * 1000;
    world.advance(silence_ms - 1);
    let third = world.connect_operator();
    let said = output(&third);
    assert!(
        said.contains("BYE full two connections are here already"),
        "{said}"
    );
    assert!(is_closed(&third));
    for operator in &operators {
        assert!(ask(&mut world, operator, "HELP").starts_with("OK HELP "));
    }
}

/// Its client closes one connection and opens the next before the server looks at either.
#[test]
fn a_connection_that_has_just_been_closed_makes_room_for_the_next() {
    let mut world = world();
    let terminal = operator(&mut world);
    for _ in 0..10 {
        let script = operator(&mut world);
        world.post(&script, b"STATS\n");
        world.end_later(&script);
        let next = world.connect_operator();
        assert!(output(&script).starts_with("OK STATS ") && is_closed(&script));
        assert!(!is_closed(&next), "{}", output(&next));
        world.close(&next);
    }
    // The poll need not have reported it yet.
    let script = operator(&mut world);
    script.wire.borrow_mut().has_ended = true;
    assert!(!is_closed(&world.connect_operator()));
    assert!(ask(&mut world, &terminal, "HELP").starts_with("OK HELP "));
}

/// What the operator does wrong is nobody's abuse.
#[test]
fn an_operator_who_is_left_counts_as_no_client_that_is() {
    let mut world = world();
    let clumsy = operator(&mut world);
    world.send(&clumsy, b"NONSENSE\n".repeat(200).as_slice());
    assert!(output(&clumsy).contains("BYE abuse ") && is_closed(&clumsy));
    let operator = operator(&mut world);
    let stats = ask(&mut world, &operator, "STATS");
    assert!(stats.contains("STAT connections-abuse 0\r\n"), "{stats}");
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_that_has_been_silent_for_longest() {
    let mut world = world();
    let silence_ms = u64::from(OPERATOR_SILENCE_S) * 1000;
    let first = operator(&mut world);
    world.advance(10);
    let second = operator(&mut world);
    world.advance(10);
    ask(&mut world, &first, "");
    world.advance(silence_ms);
    let third = operator(&mut world);
    assert!(is_closed(&second) && !is_closed(&first));
    assert!(output(&second).starts_with("BYE replaced another connection needed the place"));
    // The other two are served.
    for operator in [&first, &third] {
        assert!(ask(&mut world, operator, "HELP").starts_with("OK HELP "));
    }
}

#[test]
fn a_connection_that_does_not_read_holds_no_place() {
    let mut world = world();
    let silence_ms = u64::from(OPERATOR_SILENCE_S) * 1000;
    let stuck = [(); 2].map(|()| world.connect_operator_with_space(0));
    for stuck in &stuck {
        world.send(stuck, &b"STATS\nSESSIONS\nQUIT\n".repeat(1000));
        world.hub.assert_consistent(world.now());
    }
    world.advance(silence_ms);
    let free = [operator(&mut world), operator(&mut world)];
    assert!(stuck.iter().all(is_closed));
    for operator in &free {
        assert!(ask(&mut world, operator, "HELP").starts_with("OK HELP "));
    }
}

#[test]
fn silence_ends_no_connection_and_nobody_is_asked_to_talk() {
    let mut world = world();
    let operator = operator(&mut world);
    world.advance(100 * 24 * 3600 * 1000);
    assert_eq!(output(&operator), "");
    assert!(ask(&mut world, &operator, "QUIT").ends_with("BYE quit goodbye\r\n"));
    assert!(is_closed(&operator));
    assert_eq!(world.hub.next_deadline(), None);
}

#[test]
fn sessions_are_listed_by_room_and_name() {
    let mut world = world();
    world.origin = Origin::V4([192, 0, 2, 7]);
    let ann = join(&mut world, "JOIN Ann room=den");
    world.origin = Origin::V6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1]);
    let bob = join(&mut world, "JOIN bob room=den mode=pull");
    world.origin = Origin::Local;
    let eve = join(&mut world, "JOIN eve room=Attic");
    world.advance(2000);
    ask(&mut world, &ann, "SAY Tea?");
    ask(&mut world, &eve, "DETACH");
    world.advance(3000);
    let operator = operator(&mut world);
    assert_eq!(
        ask(&mut world, &operator, "SESSIONS"),
        "OK SESSIONS 3 more=0\r\n\
         SESSION Attic eve push detached 3 - 0\r\n\
         SESSION den Ann push attached 3 192.0.2.7 0\r\n\
         SESSION den bob pull attached 5 2001:db8:0:1::/64 2\r\n"
    );
    for (after, names) in [
        ("attic/eve", "Ann bob"),
        ("ATTIC/zoe", "Ann bob"),
        ("attic/a", "eve Ann bob"),
        ("b/z", "Ann bob"),
        ("den/ANN", "bob"),
        ("den/bob", ""),
        ("zoo/a", ""),
    ] {
        let reply = ask(&mut world, &operator, &format!("SESSIONS after={after}"));
        let lines = reply.lines().skip(1);
        let found: Vec<_> = lines.map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(found.join(" "), names, "{after}");
    }
    drop(bob);
}

/// Page by page, each is listed once, and `more` says how many are left.
#[test]
fn all_sessions_are_listed_in_pages_of_a_bounded_size() {
    const ROOMS: usize = 30;
    const MEMBERS: usize = 30;
    let mut world = World::new(Limits {
        per_address_max: 1 << 20,
        lines_per_s: 0,
        ..limits()
    });
    for room in 0..ROOMS {
        for member in 0..MEMBERS {
            let line = format!(
                "JOIN a-name-that-is-long-{member} room=r{}",
                room * 7 % ROOMS
            );
            let peer = join(&mut world, &line);
            world.close(&peer);
        }
    }
    let operator = operator(&mut world);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let reply = ask(&mut world, &operator, &format!("SESSIONS{after}"));
        assert!(reply.len() <= REPLY_BYTES_MAX);
        let mut lines = reply.lines();
        let head: Vec<_> = lines.next().unwrap().split(' ').collect();
        let more: usize = head[3].strip_prefix("more=").unwrap().parse().unwrap();
        let page: Vec<_> = lines.map(str::to_owned).collect();
        assert_eq!(head[2], page.len().to_string());
        found.extend(page);
        assert_eq!(found.len() + more, ROOMS * MEMBERS);
        if more == 0 {
            break;
        }
        let last: Vec<_> = found.last().unwrap().split(' ').collect();
        after = format!(" after={}/{}", last[1], last[2]);
    }
    found.dedup();
    assert_eq!(found.len(), ROOMS * MEMBERS);
}

/// It looks at each room, even those that nobody is in.
#[test]
fn listing_sessions_among_very_many_rooms_holds_nobody_up() {
    const ROOMS: usize = 20_000;
    let mut world = World::new(Limits {
        rooms_max: ROOMS,
        lines_per_s: 0,
        ..limits()
    });
    let ann = join(&mut world, "JOIN ann");
    let bob = world.connect();
    for room in 1..ROOMS {
        world.send(&bob, format!("JOIN bob room=r{room}\nLEAVE\n").as_bytes());
    }
    let operator = operator(&mut world);
    let before = world.turns;
    world.post(&operator, "SESSIONS\n".repeat(50).as_bytes());
    world.run();
    assert!(world.turns - before >= 25, "{}", world.turns - before);
    assert_eq!(
        output(&operator).matches("OK SESSIONS 1 more=0").count(),
        50
    );
    assert!(ask(&mut world, &ann, "PING").ends_with("OK PING\r\n"));
}

#[test]
fn end_ends_a_session_and_its_connection_and_frees_the_name() {
    let mut world = world();
    let ann = join(&mut world, "JOIN ann room=den");
    let bob = join(&mut world, "JOIN bob room=den");
    let pulled = join(&mut world, "JOIN carl room=den mode=pull");
    output(&ann);
    output(&bob);
    let operator = operator(&mut world);
    ask(&mut world, &ann, "SAY one");
    assert_eq!(ask(&mut world, &operator, "END DEN Ann"), "OK END\r\n");
    assert_eq!(
        output(&ann),
        "BYE ended the operator has ended this session\r\n"
    );
    assert!(is_closed(&ann));
    let seen = output(&bob);
    assert!(
        seen.ends_with(" ann ended\r\n") && seen.contains("LEFT 5 "),
        "{seen}"
    );
    let again = join(&mut world, "JOIN ann room=den");
    // A session without a connection ends as well, and one that a POLL waits for.
    ask(&mut world, &again, "DETACH");
    assert_eq!(ask(&mut world, &operator, "END den ann"), "OK END\r\n");
    world.send(&pulled, b"POLL\n");
    output(&pulled);
    world.send(&pulled, b"POLL wait=60\n");
    assert_eq!(output(&pulled), "");
    assert_eq!(ask(&mut world, &operator, "END den carl"), "OK END\r\n");
    let said = output(&pulled);
    assert!(
        said.starts_with("OK POLL ") && said.contains("\r\nBYE ended "),
        "{said}"
    );
    assert_eq!(stat(&mut world, &operator, "sessions-ended"), 3);
    for (line, error) in [
        (
            "END den ann",
            "ERR unknown-session nobody in that room has that name",
        ),
        ("END attic bob", "ERR unknown-session "),
        (
            "END den bob@attic",
            "ERR bad-argument that member is on the box attic",
        ),
    ] {
        let reply = ask(&mut world, &operator, line);
        assert!(reply.starts_with(error), "{line}: {reply}");
    }
    assert!(!is_closed(&bob));
}

#[test]
fn a_client_whose_session_the_operator_has_ended_learns_that_from_its_token() {
    let mut world = world();
    let ann = world.connect();
    let reply = ask(&mut world, &ann, "JOIN ann");
    let token = reply
        .split("session=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    let operator = operator(&mut world);
    ask(&mut world, &operator, "END lobby ann");
    world.advance(2000);
    let back = world.connect();
    let reply = ask(&mut world, &back, &format!("RESUME {token}"));
    assert!(reply.ends_with("ERR session-ended ended 2\r\n"), "{reply}");
}

#[test]
fn a_person_reads_who_has_ended_a_session_and_what_the_operator_says() {
    let mut world = world();
    let [ann, bob] = ["TALK ann", "TALK bob"].map(|line| {
        let peer = world.connect();
        ask(&mut world, &peer, line);
        peer
    });
    let operator = operator(&mut world);
    output(&ann);
    assert_eq!(
        ask(&mut world, &operator, "TELL-ALL We restart at noon."),
        "OK TELL-ALL 2\r\n"
    );
    for peer in [&ann, &bob] {
        assert_eq!(
            output(peer),
            "-- the operator says: We restart at noon.\r\n"
        );
    }
    let long = format!("TELL-ALL {}\tend", "for a long time ".repeat(6));
    ask(&mut world, &operator, &long);
    for peer in [&ann, &bob] {
        assert_eq!(
            output(peer),
            "-- the operator says: for a long time for a long time for a long time for a\r\n      \
             long time for a long time for a long time  end\r\n"
        );
    }
    ask(&mut world, &operator, "END lobby bob");
    assert_eq!(
        output(&bob),
        "-- goodbye: the operator has ended this session\r\n"
    );
    assert!(output(&ann).ends_with(" -- bob left: the operator ended it\r\n"));
}

#[test]
fn only_members_in_push_mode_that_are_connected_are_told() {
    let mut world = world();
    let push = join(&mut world, "JOIN ann");
    let quiet = join(&mut world, "JOIN bob room=den quiet=yes");
    let pull = join(&mut world, "JOIN carl mode=pull");
    let waiting = join(&mut world, "JOIN dora mode=pull");
    world.send(&waiting, b"POLL wait=60\nPOLL wait=60\n");
    let detached = join(&mut world, "JOIN eve");
    ask(&mut world, &detached, "DETACH");
    let nobody = world.connect();
    let operator = operator(&mut world);
    let all = [&push, &quiet, &pull, &waiting, &detached, &nobody];
    all.iter().for_each(|peer| drop(output(peer)));
    assert_eq!(
        ask(&mut world, &operator, "TELL-ALL Hello"),
        "OK TELL-ALL 2\r\n"
    );
    let told = all.map(output).map(|output| output == "NOTICE Hello\r\n");
    assert_eq!(told, [true, true, false, false, false, false]);
    assert_eq!(stat(&mut world, &operator, "notices"), 2);
    for peer in all {
        world.reset(peer);
    }
    assert_eq!(
        ask(&mut world, &operator, "TELL-ALL Hello"),
        "OK TELL-ALL 0\r\n"
    );
    assert_eq!(stat(&mut world, &operator, "notices"), 2);
}

/// It gets neither the notice nor any memory for it, and the others do not wait.
#[test]
fn a_member_that_takes_nothing_misses_what_others_are_told() {
    // The rest of an event waits, or all of it.
    [5, 0]
        .into_iter()
        .for_each(expect_nothing_for_a_member_with_space);
}

fn expect_nothing_for_a_member_with_space(space: usize) {
    let mut world = world();
    let ann = join(&mut world, "JOIN ann");
    let bob = join(&mut world, "JOIN bob");
    world.set_space(&bob, space);
    ask(&mut world, &ann, "SAY one");
    output(&bob);
    let operator = operator(&mut world);
    for _ in 0..10 {
        assert_eq!(
            ask(&mut world, &operator, "TELL-ALL Hello"),
            "OK TELL-ALL 2\r\n"
        );
        world.advance(1);
    }
    assert_eq!(output(&ann).matches("NOTICE Hello\r\n").count(), 10);
    world.set_space(&bob, usize::MAX);
    let late = output(&bob);
    assert!(
        !late.contains("NOTICE") && late.ends_with(" ann one\r\n"),
        "{late}"
    );
    assert_eq!(stat(&mut world, &operator, "notices-missed"), 10);
    assert_eq!(
        ask(&mut world, &operator, "TELL-ALL Again"),
        "OK TELL-ALL 2\r\n"
    );
    assert_eq!(output(&bob), "NOTICE Again\r\n");
}

/// One turn tells few enough that others are served meanwhile, and the operator's next line waits for
/// the last member.
#[test]
fn thousands_of_members_are_told_in_several_turns_one_notice_after_the_other() {
    const MEMBERS: usize = 3000;
    let mut world = World::new(Limits {
        connections_max: MEMBERS + 1,
        per_address_max: MEMBERS + 1,
        lines_per_s: 0,
        ..limits()
    });
    let members = crowd(&mut world, MEMBERS);
    let operator = operator(&mut world);
    let before: usize = members.iter().map(|m| m.wire.borrow().writes).sum();
    world.post(&operator, b"TELL-ALL One\nTELL-ALL Two\nSTATS\n");
    let (mut turns, mut told, mut most) = (0, 0, 0);
    while told < 2 * MEMBERS {
        let now = world.now();
        world.hub.turn(&now, now.past, true);
        turns += 1;
        let lines = |member: &Peer| member.wire.borrow().writes;
        let sum = members.iter().map(lines).sum::<usize>() - before;
        most = most.max(sum - told);
        told = sum;
        if !world.hub.has_work() {
            let deadline = world.hub.next_deadline().unwrap();
            world.at = world.at.max(deadline.0);
        }
        assert!(turns < 100, "{told} in {turns} turns");
    }
    world.run();
    world.hub.assert_consistent(world.now());
    assert!(most <= 512, "{most} in a turn");
    world.advance(1000);
    for member in &members {
        assert_eq!(output(member), "NOTICE One\r\nNOTICE Two\r\n");
    }
    let replies = output(&operator);
    assert!(
        replies.starts_with("OK TELL-ALL 3000\r\nOK TELL-ALL 3000\r\nOK STATS "),
        "{replies}"
    );
    assert!(replies.contains("STAT notices 6000\r\n"), "{replies}");
}

#[test]
fn whatever_ends_the_server_everybody_gets_the_notice_before() {
    const MEMBERS: usize = 1500;
    for stops in [true, false] {
        let mut world = World::new(Limits {
            connections_max: MEMBERS + 1,
            per_address_max: MEMBERS + 1,
            ..limits()
        });
        let members = crowd(&mut world, MEMBERS);
        let operator = operator(&mut world);
        world.post(&operator, b"TELL-ALL Back soon\n");
        let now = world.now();
        world.hub.turn(&now, now.past, true);
        match stops {
            true => world.hub.shut_down(now),
            false => world.hub.finish_telling(now),
        }
        for member in &members {
            let said = output(member);
            assert!(said.starts_with("NOTICE Back soon\r\n"), "{said}");
            assert_eq!(said.contains("BYE shutdown"), stops);
        }
    }
}

#[test]
fn an_operators_connection_survives_an_upgrade_and_no_restart() {
    let mut world = world();
    let one = operator(&mut world);
    let other = operator(&mut world);
    let ann = join(&mut world, "JOIN ann idle=3600");
    world.send(&one, b"STA");
    world.upgrade();
    world.hub.assert_consistent(world.now());
    let reply = ask(&mut world, &one, "TS");
    assert!(reply.starts_with("OK STATS "), "{reply}");
    assert!(is_closed(&world.connect_operator()));
    output(&ann);
    assert_eq!(
        ask(&mut world, &other, "TELL-ALL Still here"),
        "OK TELL-ALL 1\r\n"
    );
    assert_eq!(output(&ann), "NOTICE Still here\r\n");
    world.advance(60_000);
    world.upgrade();
    let third = operator(&mut world);
    assert!(is_closed(&one) && !is_closed(&third));
    world.restart();
    assert!(is_closed(&other) && is_closed(&third));
    let again = operator(&mut world);
    assert!(ask(&mut world, &again, "SESSIONS").starts_with("OK SESSIONS 1 more=0"));
}

#[test]
fn a_state_with_connections_of_the_operator_is_only_for_a_server_with_such_places() {
    let mut world = world();
    let _operators = [operator(&mut world), operator(&mut world)];
    let state = world.save(Kind::Upgrade);
    for operators_max in [0, 1] {
        let lower = Limits {
            operators_max,
            ..limits()
        };
        assert!(world.load_within(&state, lower).is_err(), "{operators_max}");
    }
    world.load_within(&state, limits()).unwrap();
    world.hub.assert_consistent(world.now());
}

#[test]
fn what_only_clients_or_only_operators_have_is_an_error_on_the_other_socket() {
    let mut world = world();
    let operator = operator(&mut world);
    for line in [
        "JOIN ann",
        "TALK ann",
        "SAY hello",
        "PING",
        "RESUME 00",
        "WHO",
        "POLL",
    ] {
        let reply = ask(&mut world, &operator, line);
        assert!(reply.starts_with("ERR bad-command "), "{line}: {reply}");
    }
    let client = world.connect();
    output(&client);
    for line in ["SESSIONS", "END lobby ann", "TELL-ALL hello"] {
        let reply = ask(&mut world, &client, line);
        assert!(reply.starts_with("ERR bad-command "), "{line}: {reply}");
    }
    assert_eq!(world.hub.chat().sessions(), 0);
}
