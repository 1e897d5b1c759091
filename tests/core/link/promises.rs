//! What the link promises, one promise at a time.

use chinwag::chat::{PROMISED_AHEAD, SessionKey};
use chinwag::protocol::Limits;

use super::boxes::{Boxes, Setup};
use super::broker::{ELSEWHERE, publish_packet};
use crate::logged;
use crate::members::{limits, lines};
use crate::restart::promise;
use crate::world::Peer;

/// The place of each box in the lists below.
const ATTIC: usize = 0;
const CELLAR: usize = 1;
const BARN: usize = 2;
const NAMES: [&str; 3] = ["attic", "cellar", "barn"];

/// How long boxes take at most to meet on a good bus.
const MEETING_MS: u64 = 5_000;
/// The time between two digests.
const EVERY_MS: u64 = 10_000;
/// How long after its last digest a box is lost at the latest.
const LOST_MS: u64 = 3 * EVERY_MS;
/// How long after its will a box is lost.
const GRACE_MS: u64 = 3_000;

/// Some boxes with one linked room each, the kitchen, that have met.
fn boxes(count: usize) -> Boxes {
    boxes_with(count, limits())
}

fn boxes_with(count: usize, limits: Limits) -> Boxes {
    let mut boxes = Boxes::new();
    boxes.turns_per_check = 16;
    for name in &NAMES[..count] {
        let mut setup = Setup::new(name, &["kitchen"]);
        setup.limits = limits;
        boxes.start(setup);
    }
    boxes.advance(MEETING_MS);
    boxes
}

/// The attic and the cellar, all of whose rooms span boxes, and are freed when nobody has been there for this
/// long.
fn boxes_that_free_rooms(keep_rooms_s: u32) -> Boxes {
    let mut boxes = boxes(0);
    for name in ["attic", "cellar"] {
        let mut setup = Setup::new(name, &["*"]);
        setup.limits.keep_rooms_s = keep_rooms_s;
        boxes.start(setup);
    }
    boxes
}

/// A member of the kitchen, who has read everything up to now.
fn join(boxes: &mut Boxes, index: usize, join: &str) -> Peer {
    let peer = boxes.connect(index);
    let said = boxes.ask(index, &peer, &format!("JOIN {join} room=kitchen alive=tcp"));
    assert!(said[1].starts_with("OK JOIN "), "{said:?}");
    peer
}

fn say(boxes: &mut Boxes, index: usize, peer: &Peer, text: &str) {
    boxes.send(index, peer, &format!("SAY {text}\n"));
}

/// The events that a member has got since it was asked last, without numbers and times.
fn heard(peer: &Peer) -> Vec<String> {
    let kinds = ["MSG", "JOINED", "LEFT", "SPLIT", "HEALED", "MISSED", "LOST"];
    let lines = lines(peer).into_iter();
    let events = lines.filter_map(|line| {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        kinds
            .contains(&words[0])
            .then(|| format!("{} {}", words[0], words[3]))
    });
    events.collect()
}

/// The lines that WHO gets, without their first word and the last, which is a time.
fn who(boxes: &mut Boxes, index: usize, peer: &Peer) -> Vec<String> {
    let said = boxes.ask(index, peer, "WHO");
    let members = said.iter().filter_map(|line| line.strip_prefix("MEMBER "));
    members
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

fn stat(boxes: &mut Boxes, index: usize, name: &str) -> u64 {
    let peer = boxes.connect(index);
    let said = boxes.ask(index, &peer, "STATS");
    let start = format!("STAT {name} ");
    let value = said.iter().find_map(|line| line.strip_prefix(&start));
    let value = value.unwrap().parse().unwrap();
    boxes.ask(index, &peer, "QUIT");
    value
}

fn publish(boxes: &mut Boxes, topic: &str, payload: &str) {
    boxes.broker.publish(ELSEWHERE, topic, payload.as_bytes());
    boxes.run();
}

#[test]
fn what_is_said_on_one_box_is_said_on_all() {
    let mut boxes = boxes(3);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob mode=pull");
    let cyd = join(&mut boxes, BARN, "cyd");
    boxes.run();
    heard(&ann);
    heard(&cyd);
    say(&mut boxes, ATTIC, &ann, "supper is ready");
    boxes.run();
    assert_eq!(heard(&ann), ["MSG ann supper is ready"]);
    assert_eq!(heard(&cyd), ["MSG ann@attic supper is ready"]);
    let polled = boxes.ask(CELLAR, &bob, "POLL");
    assert!(
        polled
            .last()
            .unwrap()
            .ends_with(" ann@attic supper is ready"),
        "{polled:?}"
    );
    boxes.ask(ATTIC, &ann, "QUIT");
    boxes.run();
    assert_eq!(heard(&cyd), ["LEFT ann@attic quit"]);
}

/// A member of another box never has a name that a member of this box could have.
#[test]
fn the_same_name_on_two_boxes_is_two_names() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let other = join(&mut boxes, CELLAR, "ann");
    boxes.run();
    heard(&ann);
    say(&mut boxes, CELLAR, &other, "hello");
    boxes.run();
    assert_eq!(heard(&ann), ["MSG ann@cellar hello"]);
    let said = who(&mut boxes, ATTIC, &ann);
    assert_eq!(said, ["ann push attached", "ann@cellar push linked"]);
    let mallory = boxes.connect(ATTIC);
    let said = boxes.ask(ATTIC, &mallory, "JOIN ann@cellar room=kitchen");
    assert!(said[1].starts_with("ERR bad-name "), "{said:?}");
}

#[test]
fn a_box_that_meets_another_gets_its_members_and_nothing_that_was_said_before() {
    let mut boxes = boxes(1);
    let ann = join(&mut boxes, ATTIC, "ann");
    join(&mut boxes, ATTIC, "Bob mode=pull");
    for number in 0..100 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
    }
    boxes.start(Setup::new("cellar", &["kitchen"]));
    let cyd = join(&mut boxes, CELLAR, "cyd");
    heard(&ann);
    heard(&cyd);
    boxes.advance(MEETING_MS);
    assert_eq!(heard(&cyd), ["HEALED attic 2"]);
    assert_eq!(heard(&ann), ["HEALED cellar 1"]);
    let said = who(&mut boxes, CELLAR, &cyd);
    assert_eq!(
        said,
        [
            "cyd push attached",
            "ann@attic push linked",
            "Bob@attic pull linked"
        ]
    );
}

/// What happens while the list of members is on its way comes behind HEALED.
#[test]
fn nothing_is_lost_between_the_first_digest_and_the_list_of_members() {
    let mut boxes = boxes(1);
    let ann = join(&mut boxes, ATTIC, "ann");
    boxes.start(Setup::new("cellar", &["kitchen"]));
    let cyd = join(&mut boxes, CELLAR, "cyd");
    // What the cellar asks for does not arrive.
    boxes.broker.block(CELLAR, ATTIC);
    boxes.advance(EVERY_MS);
    say(&mut boxes, ATTIC, &ann, "one");
    let bob = join(&mut boxes, ATTIC, "bob");
    boxes.ask(ATTIC, &bob, "QUIT");
    say(&mut boxes, ATTIC, &ann, "two");
    boxes.run();
    heard(&cyd);
    boxes.broker.unblock();
    boxes.advance(EVERY_MS);
    assert_eq!(
        heard(&cyd),
        [
            "HEALED attic 1",
            "MSG ann@attic one",
            "JOINED bob@attic",
            "LEFT bob@attic quit",
            "MSG ann@attic two",
        ]
    );
    let said = who(&mut boxes, CELLAR, &cyd);
    assert_eq!(said, ["cyd push attached", "ann@attic push linked"]);
}

#[test]
fn a_message_that_was_lost_at_the_end_is_found_by_the_next_digest() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    boxes.broker.block(ATTIC, CELLAR);
    say(&mut boxes, ATTIC, &ann, "is anybody there?");
    boxes.run();
    boxes.broker.unblock();
    boxes.run();
    assert_eq!(heard(&bob), [""; 0]);
    boxes.advance(EVERY_MS + 200);
    assert_eq!(heard(&bob), ["MSG ann@attic is anybody there?"]);
}

#[test]
fn a_hole_is_filled_by_the_box_itself_and_the_order_kept() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    say(&mut boxes, ATTIC, &ann, "one");
    boxes.run();
    boxes.broker.block(ATTIC, CELLAR);
    say(&mut boxes, ATTIC, &ann, "two");
    boxes.run();
    boxes.broker.unblock();
    say(&mut boxes, ATTIC, &ann, "three");
    boxes.run();
    assert_eq!(heard(&bob), ["MSG ann@attic one"]);
    // It may only be late.
    boxes.advance(99);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.advance(1);
    assert_eq!(heard(&bob), ["MSG ann@attic two", "MSG ann@attic three"]);
    assert_eq!(stat(&mut boxes, CELLAR, "link-missed"), 0);
}

#[test]
fn whatever_the_bus_repeats_is_heard_once() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    heard(&bob);
    boxes.broker.faults.double = 200;
    boxes.broker.faults.delay = 100;
    boxes.broker.faults.repeat = 200;
    boxes.broker.faults.delay_ms = 300;
    boxes.broker.faults.repeat_ms = 5_000;
    let mut expected = Vec::new();
    for number in 0..200 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
        expected.push(format!("MSG ann@attic text {number}"));
        boxes.advance(10);
    }
    boxes.advance(30_000);
    assert_eq!(heard(&bob), expected);
}

/// The numbers in texts like `text 17`.
fn numbers(events: &[String]) -> Vec<u64> {
    let numbers = events.iter().filter_map(|event| {
        let (_, number) = event.split_once(" text ")?;
        Some(number.parse().unwrap())
    });
    numbers.collect()
}

#[test]
fn what_the_log_has_dropped_by_then_is_counted_at_its_place() {
    let small = Limits {
        log_bytes: 4096,
        ..limits()
    };
    let mut boxes = boxes_with(2, small);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    say(&mut boxes, ATTIC, &ann, "text 0");
    boxes.run();
    heard(&bob);
    boxes.boxes[ATTIC].is_cut_off = true;
    boxes.cut(ATTIC);
    boxes.run();
    for number in 1..=500 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
    }
    boxes.boxes[ATTIC].is_cut_off = false;
    boxes.advance(2_000);
    say(&mut boxes, ATTIC, &ann, "text 501");
    boxes.advance(20_000);
    let events = heard(&bob);
    let numbers = numbers(&events);
    let first = numbers[0];
    assert!((350..480).contains(&first), "{first}");
    assert_eq!(numbers, (first..=501).collect::<Vec<_>>());
    // It was away for a moment only.
    assert_eq!(events[0], format!("MISSED attic {}", first - 1));
    assert_eq!(events.len(), numbers.len() + 1);
    assert_eq!(stat(&mut boxes, CELLAR, "link-missed"), first - 1);
}

#[test]
fn a_message_that_is_too_long_here_is_counted_as_missed() {
    let mut boxes = boxes(1);
    let mut setup = Setup::new("cellar", &["kitchen"]);
    setup.limits.message_bytes_max = 80;
    boxes.start(setup);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    heard(&bob);
    for text in ["one", &"x".repeat(81), &"y".repeat(80)] {
        say(&mut boxes, ATTIC, &ann, text);
    }
    boxes.run();
    let longest = format!("MSG ann@attic {}", "y".repeat(80));
    assert_eq!(
        heard(&bob),
        ["MSG ann@attic one", "MISSED attic 1", &longest]
    );
}

#[test]
fn a_box_whose_connection_breaks_is_split_three_seconds_later() {
    let mut boxes = boxes(2);
    join(&mut boxes, ATTIC, "ann");
    join(&mut boxes, ATTIC, "bea mode=pull");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    heard(&bob);
    boxes.boxes[ATTIC].is_cut_off = true;
    boxes.cut(ATTIC);
    boxes.advance(GRACE_MS - 1);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.advance(1);
    assert_eq!(heard(&bob), ["SPLIT attic 2"]);
    let said = who(&mut boxes, CELLAR, &bob);
    assert_eq!(
        said,
        [
            "bob push attached",
            "ann@attic push away",
            "bea@attic pull away"
        ]
    );
    // However long that takes, it is one event.
    boxes.advance(600_000);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.boxes[ATTIC].is_cut_off = false;
    boxes.advance(30_000);
    assert_eq!(heard(&bob), ["HEALED attic 2"]);
    let said = who(&mut boxes, CELLAR, &bob);
    assert_eq!(
        said,
        [
            "bob push attached",
            "ann@attic push linked",
            "bea@attic pull linked"
        ]
    );
}

#[test]
fn a_box_that_says_nothing_is_split_after_three_digests() {
    let mut boxes = boxes(2);
    join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    boxes.broker.block(ATTIC, CELLAR);
    boxes.advance(2 * EVERY_MS);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.advance(EVERY_MS);
    assert_eq!(heard(&bob), ["SPLIT attic 1"]);
}

/// All boxes are split, and what they say meanwhile comes behind HEALED.
#[test]
fn without_the_broker_each_box_goes_on_alone_and_misses_nothing_later() {
    let mut boxes = boxes(3);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&ann);
    heard(&bob);
    for linked in &mut boxes.boxes {
        linked.is_cut_off = true;
    }
    boxes.broker.restart(false);
    boxes.advance(40_000);
    for peer in [&ann, &bob] {
        let mut splits = heard(peer);
        splits.sort();
        assert_eq!(splits.len(), 2, "{splits:?}");
    }
    for number in 1..4 {
        let said = boxes.ask(ATTIC, &ann, &format!("SAY text {number}"));
        assert!(said[0].starts_with("OK SAY "), "{said:?}");
    }
    for linked in &mut boxes.boxes {
        linked.is_cut_off = false;
    }
    boxes.advance(30_000);
    let events = heard(&bob);
    let healed = events.iter().position(|event| event == "HEALED attic 1");
    assert_eq!(numbers(&events[healed.unwrap()..]), [1, 2, 3]);
}

#[test]
fn a_broker_that_starts_again_is_no_event() {
    for has_wills in [true, false] {
        let mut boxes = boxes(3);
        let ann = join(&mut boxes, ATTIC, "ann");
        let bob = join(&mut boxes, CELLAR, "bob");
        boxes.advance(EVERY_MS);
        heard(&bob);
        boxes.broker.restart(has_wills);
        say(&mut boxes, ATTIC, &ann, "meanwhile");
        boxes.advance(60_000);
        assert_eq!(heard(&bob), ["MSG ann@attic meanwhile"]);
    }
}

#[test]
fn an_upgrade_is_no_event() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    let opened = boxes.boxes[ATTIC].opened;
    for number in 0..50 {
        boxes.upgrade(ATTIC);
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
        boxes.upgrade(CELLAR);
        boxes.advance(1_000);
    }
    let events = heard(&bob);
    assert_eq!(numbers(&events), (0..50).collect::<Vec<_>>());
    assert_eq!(events.len(), 50);
    assert_eq!(boxes.boxes[ATTIC].opened, opened);
}

#[test]
fn a_restart_with_the_state_is_no_event_if_it_is_short() {
    let mut boxes = boxes(2);
    let ann = boxes.connect(ATTIC);
    let said = boxes.ask(ATTIC, &ann, "JOIN ann room=kitchen idle=600");
    let token = said[1].split_once("session=").unwrap().1[..40].to_owned();
    say(&mut boxes, ATTIC, &ann, "before");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    heard(&bob);
    boxes.stop(ATTIC, true);
    boxes.advance(20_000);
    assert!(boxes.start_again(ATTIC));
    let ann = boxes.connect(ATTIC);
    boxes.ask(ATTIC, &ann, &format!("RESUME {token}"));
    say(&mut boxes, ATTIC, &ann, "after");
    boxes.advance(60_000);
    assert_eq!(heard(&bob), ["MSG ann@attic after"]);
}

#[test]
fn a_box_that_starts_again_without_its_state_is_split_and_healed() {
    for is_crash in [false, true] {
        let mut boxes = boxes(2);
        join(&mut boxes, ATTIC, "ann");
        join(&mut boxes, ATTIC, "bea");
        let bob = join(&mut boxes, CELLAR, "bob");
        boxes.run();
        heard(&bob);
        match is_crash {
            true => boxes.crash(ATTIC),
            false => boxes.stop(ATTIC, false),
        }
        assert!(!boxes.start_again(ATTIC));
        let cyd = join(&mut boxes, ATTIC, "cyd");
        boxes.advance(10_000);
        say(&mut boxes, ATTIC, &cyd, "I am new here");
        boxes.advance(10_000);
        assert_eq!(
            heard(&bob),
            [
                "SPLIT attic 2",
                "HEALED attic 1",
                "MSG cyd@attic I am new here"
            ]
        );
        let said = who(&mut boxes, CELLAR, &bob);
        assert_eq!(said, ["bob push attached", "cyd@attic push linked"]);
    }
}

/// The numbers of a room have a gap then.
#[test]
fn a_box_that_goes_on_after_a_crash_with_what_was_saved_speaks_on() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    say(&mut boxes, ATTIC, &ann, "saved");
    boxes.save(ATTIC);
    say(&mut boxes, ATTIC, &ann, "not saved");
    boxes.run();
    heard(&bob);
    boxes.crash(ATTIC);
    assert!(!boxes.start_again(ATTIC));
    let ann = join(&mut boxes, ATTIC, "ann");
    boxes.advance(10_000);
    say(&mut boxes, ATTIC, &ann, "I am back");
    boxes.advance(10_000);
    assert_eq!(
        heard(&bob),
        ["SPLIT attic 1", "HEALED attic 1", "MSG ann@attic I am back"]
    );
}

#[test]
fn the_members_of_a_lost_box_are_listed_for_the_hold_time() {
    let mut boxes = boxes(1);
    let mut setup = Setup::new("cellar", &["kitchen"]);
    setup.hold_s = 100;
    boxes.start(setup);
    join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    boxes.crash(ATTIC);
    boxes.advance(GRACE_MS);
    assert!(heard(&bob).contains(&"SPLIT attic 1".to_owned()));
    boxes.advance(99_999);
    let said = who(&mut boxes, CELLAR, &bob);
    assert_eq!(said, ["bob push attached", "ann@attic push away"]);
    boxes.advance(1);
    assert_eq!(who(&mut boxes, CELLAR, &bob), ["bob push attached"]);
    assert_eq!(heard(&bob), [""; 0]);
}

/// With `*`, a room is linked while it exists.
#[test]
fn a_room_that_is_freed_and_made_again_begins_again() {
    let mut boxes = boxes_that_free_rooms(5);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    say(&mut boxes, ATTIC, &ann, "one");
    boxes.run();
    heard(&bob);
    boxes.ask(ATTIC, &ann, "QUIT");
    boxes.advance(20_000);
    assert_eq!(heard(&bob), ["LEFT ann@attic quit"]);
    assert_eq!(who(&mut boxes, CELLAR, &bob), ["bob push attached"]);
    let bea = join(&mut boxes, ATTIC, "bea");
    say(&mut boxes, ATTIC, &bea, "two");
    boxes.advance(20_000);
    assert_eq!(heard(&bob), ["JOINED bea@attic", "MSG bea@attic two"]);
    let said = who(&mut boxes, CELLAR, &bob);
    assert_eq!(said, ["bob push attached", "bea@attic push linked"]);
}

/// A room that is freed in the same turn does not take their last events with it.
#[test]
fn members_that_all_expire_at_once_are_seen_to_leave_on_other_boxes() {
    const MEMBERS: usize = 50;
    let mut boxes = boxes_that_free_rooms(0);
    let bob = join(&mut boxes, CELLAR, "bob idle=3600");
    for member in 0..MEMBERS {
        let peer = join(&mut boxes, ATTIC, &format!("m{member} idle=30 mode=pull"));
        boxes.ask(ATTIC, &peer, "DETACH");
    }
    boxes.advance(MEETING_MS);
    heard(&bob);
    boxes.advance(60_000);
    let said = heard(&bob);
    let left = |line: &&String| line.starts_with("LEFT m") && line.ends_with("@attic expired");
    assert_eq!(said.iter().filter(left).count(), MEMBERS, "{said:#?}");
    assert_eq!(said.len(), MEMBERS, "{said:#?}");
}

/// It has had the room in its former life, and freed it.
#[test]
fn a_box_that_has_the_room_again_in_another_life_is_met_at_once() {
    let mut boxes = boxes_that_free_rooms(0);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    boxes.ask(ATTIC, &ann, "QUIT");
    boxes.advance(MEETING_MS);
    heard(&bob);
    // Nobody hears its will.
    boxes.broker.block(ATTIC, CELLAR);
    boxes.crash(ATTIC);
    boxes.broker.unblock();
    boxes.start_again(ATTIC);
    let bea = join(&mut boxes, ATTIC, "bea");
    boxes.advance(MEETING_MS);
    say(&mut boxes, ATTIC, &bea, "hello again");
    boxes.run();
    assert_eq!(
        heard(&bob),
        [
            "SPLIT attic 0",
            "HEALED attic 1",
            "MSG bea@attic hello again"
        ]
    );
}

/// Others have its events up to its end, or know how many they have missed.
#[test]
fn a_room_that_is_freed_while_its_box_is_away_leaves_nothing_uncounted() {
    let mut boxes = boxes_that_free_rooms(0);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    heard(&bob);
    boxes.boxes[ATTIC].is_cut_off = true;
    boxes.cut(ATTIC);
    say(&mut boxes, ATTIC, &ann, "nobody hears this");
    boxes.ask(ATTIC, &ann, "QUIT");
    boxes.run();
    boxes.boxes[ATTIC].is_cut_off = false;
    let bea = join(&mut boxes, ATTIC, "bea");
    say(&mut boxes, ATTIC, &bea, "but this");
    boxes.advance(30_000);
    let events = heard(&bob);
    let missed = events
        .iter()
        .filter_map(|event| event.strip_prefix("MISSED attic "));
    let missed: u64 = missed.map(|count| count.parse::<u64>().unwrap()).sum();
    assert_eq!(missed, 2, "{events:?}");
    assert!(events.ends_with(&["JOINED bea@attic".into(), "MSG bea@attic but this".into()]));
}

/// Each log of a room has another number, in every life of the server.
#[test]
fn a_room_that_is_made_again_after_a_crash_is_another_one() {
    let mut boxes = boxes_that_free_rooms(5);
    join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    boxes.save(ATTIC);
    boxes.crash(ATTIC);
    assert!(!boxes.start_again(ATTIC));
    let ann = join(&mut boxes, ATTIC, "ann");
    boxes.advance(MEETING_MS);
    for number in 0..9 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
    }
    boxes.ask(ATTIC, &ann, "QUIT");
    boxes.advance(30_000);
    heard(&bob);
    let bea = join(&mut boxes, ATTIC, "bea");
    say(&mut boxes, ATTIC, &bea, "hello");
    boxes.advance(30_000);
    assert_eq!(heard(&bob), ["JOINED bea@attic", "MSG bea@attic hello"]);
}

#[test]
fn a_second_box_of_a_name_stays_alone_until_the_first_is_gone() {
    logged::keep();
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    logged::take();
    let second = boxes.start(Setup::new("attic", &["kitchen"]));
    let eve = join(&mut boxes, second, "eve");
    boxes.advance(50_000);
    let errors = |logged: &[String]| {
        logged
            .iter()
            .filter(|line| line.starts_with("ERROR"))
            .count()
    };
    // Both say so.
    assert_eq!(errors(&logged::take()), 2);
    assert_eq!(stat(&mut boxes, second, "link-up"), 0);
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 1);
    heard(&bob);
    heard(&eve);
    say(&mut boxes, second, &eve, "I am alone");
    say(&mut boxes, ATTIC, &ann, "I am not");
    boxes.run();
    assert_eq!(heard(&bob), ["MSG ann@attic I am not"]);
    assert_eq!(heard(&eve), ["MSG eve I am alone"]);
    boxes.stop(ATTIC, false);
    boxes.advance(80_000);
    assert_eq!(stat(&mut boxes, second, "link-up"), 1);
    assert_eq!(heard(&bob), ["SPLIT attic 1", "HEALED attic 1"]);
}

#[test]
fn of_two_boxes_that_claim_a_name_at_once_one_gets_it() {
    let mut boxes = Boxes::new();
    let both = [
        boxes.start(Setup::new("attic", &["kitchen"])),
        boxes.start(Setup::new("attic", &["kitchen"])),
    ];
    boxes.advance(50_000);
    let up = both.map(|index| stat(&mut boxes, index, "link-up"));
    assert_eq!(up.iter().sum::<u64>(), 1, "{up:?}");
    let boots = both.map(|index| boxes.boxes[index].boot.number());
    assert_eq!(up[0] == 1, boots[0] < boots[1]);
}

/// They could not hear each other when they started.
#[test]
fn of_two_linked_boxes_of_one_name_everybody_follows_the_first() {
    logged::keep();
    let mut boxes = boxes(3);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    let cyd = join(&mut boxes, BARN, "cyd");
    boxes.run();
    let second = boxes.boxes.len();
    for other in 0..3 {
        boxes.broker.block(second, other);
        boxes.broker.block(other, second);
    }
    boxes.start(Setup::new("attic", &["kitchen"]));
    let eve = join(&mut boxes, second, "eve");
    boxes.advance(MEETING_MS);
    assert_eq!(stat(&mut boxes, second, "link-up"), 1);
    heard(&bob);
    heard(&cyd);
    logged::take();
    boxes.broker.unblock();
    for number in 0..100 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
        say(&mut boxes, second, &eve, &format!("other {number}"));
        boxes.advance(1_000);
    }
    for peer in [&bob, &cyd] {
        let events = heard(peer);
        assert_eq!(numbers(&events), (0..100).collect::<Vec<_>>());
        assert_eq!(events.len(), 100, "{events:?}");
    }
    // Both of them say so, once a minute.
    let logged = logged::take();
    let errors = logged
        .iter()
        .filter(|line| line.starts_with("ERROR"))
        .count();
    assert!((2..=4).contains(&errors), "{logged:#?}");
}

#[test]
fn a_box_that_is_too_fast_silences_no_other() {
    let mut boxes = boxes(3);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    let cyd = join(&mut boxes, BARN, "cyd");
    boxes.turns_per_check = 100;
    boxes.advance(EVERY_MS);
    heard(&bob);
    let flood: String = (0..25_000)
        .map(|number| format!("SAY text {number}\n"))
        .collect();
    boxes.send(ATTIC, &ann, &flood);
    boxes.run();
    let events = heard(&bob);
    // As many as a box may say at once.
    assert_eq!(events.len(), 20_000);
    say(&mut boxes, BARN, &cyd, "what a noise");
    boxes.run();
    assert_eq!(heard(&bob), ["MSG cyd@barn what a noise"]);
    boxes.advance(30_000);
    let rest = heard(&bob);
    let missed = rest[0].strip_prefix("MISSED attic ").unwrap();
    let missed: u64 = missed.parse().unwrap();
    let numbers = [numbers(&events), numbers(&rest)].concat();
    let expected = (0..20_000).chain(20_000 + missed..25_000);
    assert_eq!(numbers, expected.collect::<Vec<_>>());
}

/// What cannot be written stays in the log, as for any client that takes nothing.
#[test]
fn a_broker_that_takes_nothing_costs_no_memory_and_delays_nobody() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&ann);
    boxes.set_space(ATTIC, 0);
    for number in 0..2_000 {
        let said = boxes.ask(ATTIC, &ann, &format!("SAY text {number}"));
        // The room's members have it, and the turn checks the buffers.
        assert!(said[0].starts_with("OK SAY "), "{said:?}");
        assert!(said[1].starts_with("MSG "), "{said:?}");
        if number % 100 == 0 {
            boxes.advance(10);
        }
    }
    heard(&bob);
    boxes.set_space(ATTIC, usize::MAX);
    boxes.advance(20_000);
    let events = heard(&bob);
    let missed = events
        .iter()
        .find_map(|event| event.strip_prefix("MISSED attic "));
    let missed: u64 = missed.unwrap().parse().unwrap();
    let numbers = numbers(&events);
    assert_eq!(missed + numbers.len() as u64, 2_000, "{missed}");
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.last() == Some(&1_999));
}

/// The poll says only once that a stream takes more, and what a turn writes has a bound.
#[test]
fn what_waits_for_the_broker_goes_out_without_anything_else_to_wake_the_server() {
    let mut limits = limits();
    limits.log_bytes = 8 << 20;
    let mut boxes = boxes_with(1, limits);
    let ann = join(&mut boxes, ATTIC, "ann mode=pull");
    boxes.set_space(ATTIC, 0);
    let text = "x".repeat(1000);
    let count = 2_000;
    for _ in 0..count {
        say(&mut boxes, ATTIC, &ann, &text);
    }
    // Not even its own events come back.
    boxes.broker.is_mute = true;
    let published = boxes.broker.published;
    boxes.set_space(ATTIC, usize::MAX);
    let turns = boxes.turns;
    boxes.run();
    assert!(boxes.turns > turns + 2, "one turn wrote all of it");
    assert!(boxes.broker.published >= published + count);
}

#[test]
fn a_broker_that_goes_with_a_last_word_is_missed_at_once() {
    let mut boxes = boxes(1);
    boxes.end_with(ATTIC, b"\xd0\0");
    boxes.run();
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 0);
}

/// As many bytes wait for the broker as promised, however long the messages are that it has not got.
#[test]
fn long_messages_that_wait_for_the_broker_take_no_more_memory_than_promised() {
    let mut limits = limits();
    (limits.log_bytes, limits.message_bytes_max) = (1 << 20, 8192);
    let mut boxes = boxes_with(2, limits);
    boxes.turns_per_check = 1;
    let ann = join(&mut boxes, ATTIC, "ann mode=pull");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    boxes.set_space(ATTIC, 0);
    let text = "x".repeat(8000);
    let count = 100;
    for _ in 0..count {
        say(&mut boxes, ATTIC, &ann, &text);
    }
    for _ in 0..200 {
        boxes.set_space(ATTIC, 20_000);
        // The cellar asks for what it has not got yet.
        boxes.advance(50);
    }
    assert_eq!(heard(&bob).len(), count);
}

/// It may say so much that it is heard all the time.
#[test]
fn a_broker_that_takes_nothing_is_left_within_half_a_minute() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    let opened = boxes.boxes[ATTIC].opened;
    boxes.set_space(ATTIC, 0);
    say(&mut boxes, ATTIC, &ann, "this waits");
    for _ in 0..31 {
        say(&mut boxes, CELLAR, &bob, "the attic hears this");
        boxes.advance(1_000);
    }
    assert!(heard(&ann).len() >= 15);
    assert!(boxes.boxes[ATTIC].opened > opened);
    boxes.set_space(ATTIC, usize::MAX);
    boxes.advance(MEETING_MS);
    assert!(heard(&bob).contains(&"MSG ann@attic this waits".to_owned()));
}

/// What came behind the packet that ended the connection to the broker is not the next connection's.
#[test]
fn a_box_whose_name_is_claimed_twice_at_once_tries_again_after_a_minute() {
    let mut boxes = boxes(1);
    let here = publish_packet("chinwag/cellar/here", b"HERE 5f2ce1a09b34d7c8");
    let cellar = boxes.start(Setup::new("cellar", &["kitchen"]));
    boxes.run();
    let client = boxes.boxes[cellar].client().unwrap();
    boxes.broker.spoil(client, &[&here[..], &here].concat());
    boxes.run();
    assert_eq!(boxes.boxes[cellar].client(), None);
    boxes.advance(60_000 + MEETING_MS);
    assert_eq!(stat(&mut boxes, cellar, "link-up"), 1);
}

/// As one does that refuses a subscription: boxes leave it.
#[test]
fn a_broker_that_accepts_and_then_breaks_is_not_tried_often_and_fills_no_log() {
    let mut boxes = boxes(1);
    let opened = boxes.boxes[ATTIC].opened;
    logged::keep();
    for _ in 0..6_000 {
        boxes.advance(100);
        if stat(&mut boxes, ATTIC, "link-up") == 1 {
            let client = boxes.boxes[ATTIC].client().unwrap();
            boxes.broker.spoil(client, b"\x90\x03\0\x01\x80");
        }
    }
    let attempts = boxes.boxes[ATTIC].opened - opened;
    assert!((40..100).contains(&attempts), "{attempts}");
    let lines = logged::take();
    let of_link = |line: &&String| line.contains("link through") || line.contains("linked");
    let count = lines.iter().filter(of_link).count();
    assert!((10..=22).contains(&count), "{lines:#?}");
}

/// They say nothing, and what they say of themselves are lines in the room.
#[test]
fn digests_bring_no_more_lines_than_a_box_may_send() {
    let mut boxes = boxes(1);
    let ann = join(&mut boxes, ATTIC, "ann");
    boxes.turns_per_check = 1_000;
    let of_forger = "chinwag/forger/d/kitchen";
    let id = "5f2ce1a09b34d7c8/1";
    let digest = |number: u64| format!("DIGEST {id}/{number} {number} 0 0000000000000000 600");
    publish(&mut boxes, of_forger, &digest(1));
    let list = format!("MEMBERS {id}/1 0000000000000000 1 1");
    publish(&mut boxes, of_forger, &list);
    assert_eq!(heard(&ann).last().unwrap(), "HEALED forger 0");
    for number in 2..40_000 {
        publish(&mut boxes, of_forger, &digest(number));
    }
    // What it may send in three seconds, without the two above.
    let missed = heard(&ann);
    let missed: Vec<_> = missed.iter().filter(|e| e.starts_with("MISSED")).collect();
    assert!(
        (29_990..=30_000).contains(&missed.len()),
        "{}",
        missed.len()
    );
    assert_eq!(*missed.last().unwrap(), "MISSED forger 1");
}

/// However the ranges overlap that it wants.
#[test]
fn somebody_who_wants_much_gets_it_a_few_times_a_second_and_keeps_nobody_waiting() {
    let mut boxes = boxes(1);
    let ann = join(&mut boxes, ATTIC, "ann");
    for number in 0..200 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
    }
    boxes.advance(EVERY_MS);
    let log = boxes.broker.logs["chinwag/attic/d/kitchen"].clone();
    let ends = (2..=202).map(|to| (1, to));
    let starts = (1..=201).rev().map(|from| (from, 202));
    let around = (0..100).map(|n| (101 - n, 102 + n));
    let out = stat(&mut boxes, ATTIC, "link-events-out");
    let start = boxes.at;
    for (from, to) in ends.chain(starts).chain(around) {
        let want = format!("WANT kitchen {log}/{from} {to}");
        publish(&mut boxes, "chinwag/attic/w", &want);
        boxes.advance(4);
    }
    let windows = 1 + (boxes.at - start).div_ceil(500);
    let again = stat(&mut boxes, ATTIC, "link-events-out") - out;
    assert!((201..=3 * 201 * windows).contains(&again), "{again}");
    // Whoever asks all the time keeps nobody from what they want.
    boxes.advance(500);
    boxes.broker.seen = Some(Vec::new());
    for (from, to) in [(200, 201), (100, 102), (150, 151)] {
        let want = format!("WANT kitchen {log}/{from} {to}");
        publish(&mut boxes, "chinwag/attic/w", &want);
    }
    let seen = boxes.broker.seen.replace(Vec::new()).unwrap();
    for number in [100, 101, 150, 200] {
        let id = format!(" {log}/{number} ");
        assert!(seen.iter().any(|seen| seen.1.contains(&id)), "{number}");
    }
    // So with lists of members.
    for _ in 0..500 {
        let list = format!("LIST kitchen {log}");
        publish(&mut boxes, "chinwag/attic/w", &list);
        boxes.advance(4);
    }
    let seen = boxes.broker.seen.take().unwrap();
    let lists = seen.iter().filter(|seen| seen.1.starts_with("MEMBERS "));
    let lists = lists.count();
    assert!((4..=5).contains(&lists), "{lists}");
}

/// Each time it would get subscriptions, and there is no end to what one can write.
#[test]
fn a_broker_that_accepts_a_connection_twice_is_left() {
    let mut boxes = boxes(1);
    let opened = boxes.boxes[ATTIC].opened;
    let client = boxes.boxes[ATTIC].client().unwrap();
    boxes.set_space(ATTIC, 0);
    boxes.broker.spoil(client, &b"\x20\x02\0\0".repeat(10_000));
    boxes.run();
    assert_eq!(boxes.boxes[ATTIC].client(), None);
    boxes.set_space(ATTIC, usize::MAX);
    boxes.advance(1_000);
    assert_eq!(boxes.boxes[ATTIC].opened, opened + 1);
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 1);
}

/// It takes what is written, and says nothing.
#[test]
fn a_broker_that_says_nothing_is_left_within_half_a_minute() {
    let mut boxes = boxes(1);
    let opened = boxes.boxes[ATTIC].opened;
    boxes.broker.is_mute = true;
    boxes.advance(30_000);
    assert!(boxes.boxes[ATTIC].opened > opened);
    // The next one does not even accept.
    let opened = boxes.boxes[ATTIC].opened;
    boxes.advance(10_500);
    assert!(boxes.boxes[ATTIC].opened > opened);
    boxes.broker.is_mute = false;
    boxes.advance(30_000);
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 1);
}

/// Attempts are never more than 15 s apart, and never many.
#[test]
fn a_broker_that_is_away_is_tried_again_and_again_but_not_often() {
    let mut boxes = boxes(1);
    boxes.broker.connack = 3;
    boxes.cut(ATTIC);
    let opened = boxes.boxes[ATTIC].opened;
    boxes.advance(3_600_000);
    let attempts = boxes.boxes[ATTIC].opened - opened;
    assert!((240..500).contains(&attempts), "{attempts}");
    boxes.broker.connack = 0;
    boxes.advance(15_000);
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 1);
}

#[test]
fn a_box_that_was_stopped_for_a_minute_misses_nothing() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.run();
    heard(&bob);
    let until = boxes.at + 60_000;
    boxes.boxes[CELLAR].freeze_until(until);
    for number in 0..60 {
        say(&mut boxes, ATTIC, &ann, &format!("text {number}"));
        boxes.advance(1_000);
    }
    boxes.advance(20_000);
    assert_eq!(numbers(&heard(&bob)), (0..60).collect::<Vec<_>>());
}

#[test]
fn scripts_speak_into_rooms_but_not_as_the_box_itself() {
    let mut setup = Setup::new("attic", &["kitchen"]);
    setup.limits.lines_per_s = 5;
    let mut boxes = Boxes::new();
    boxes.start(setup);
    boxes.advance(MEETING_MS);
    let ann = join(&mut boxes, ATTIC, "ann");
    publish(
        &mut boxes,
        "chinwag/shed/e/kitchen",
        "SAY door somebody is at the door",
    );
    assert_eq!(heard(&ann), ["MSG door@shed somebody is at the door"]);
    publish(
        &mut boxes,
        "chinwag/attic/e/kitchen",
        "SAY door as one of yours",
    );
    publish(
        &mut boxes,
        "chinwag/shed/e/cellar",
        "SAY door in another room",
    );
    assert_eq!(heard(&ann), [""; 0]);
    // As fast as any client.
    for _ in 0..50 {
        publish(&mut boxes, "chinwag/shed/e/kitchen", "SAY door ding dong");
    }
    assert_eq!(heard(&ann).len(), 19);
    publish(&mut boxes, "chinwag/yard/e/kitchen", "SAY gate it squeaks");
    assert_eq!(heard(&ann), ["MSG gate@yard it squeaks"]);
}

#[test]
fn what_makes_no_sense_is_ignored_and_counted() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&ann);
    let log = boxes.broker.logs["chinwag/cellar/d/kitchen"].clone();
    let huge = u64::MAX - 1;
    let before = stat(&mut boxes, ATTIC, "link-refused");
    let events = "chinwag/cellar/e/kitchen";
    let digests = "chinwag/cellar/d/kitchen";
    let nonsense = [
        (
            "chinwag/Cellar/e/kitchen",
            "SAY x with a capital letter".to_owned(),
        ),
        (events, "SAY x \u{1b}[2J".to_owned()),
        (events, "SAY x@y hi".to_owned()),
        (events, format!("SAY x {}", "y".repeat(1025))),
        (events, format!("SAY x {}", "y".repeat(100_000))),
        (events, "\0".to_owned()),
        (events, format!("MSG {log}/{huge} 0 bob hi")),
        (events, format!("MSG {log}/0 0 bob hi")),
        (
            digests,
            format!("DIGEST {log}/{huge} 1 1 0000000000000000 10"),
        ),
        (digests, format!("DIGEST {log}/1 2 1 0000000000000000 10")),
        (digests, "HEALED attic 3".to_owned()),
    ];
    let count = nonsense.len() as u64;
    for (topic, payload) in nonsense {
        publish(&mut boxes, topic, &payload);
    }
    assert_eq!(stat(&mut boxes, ATTIC, "link-refused"), before + count);
    say(&mut boxes, CELLAR, &bob, "all is well");
    boxes.advance(EVERY_MS);
    assert_eq!(heard(&ann), ["MSG bob@cellar all is well"]);
}

#[test]
fn long_lists_of_members_come_in_parts_and_are_listed_in_pages() {
    let mut boxes = boxes(1);
    for number in 0..150 {
        join(&mut boxes, ATTIC, &format!("a{number:03}"));
    }
    boxes.start(Setup::new("cellar", &["kitchen"]));
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(MEETING_MS);
    assert_eq!(heard(&bob).last().unwrap(), "HEALED attic 150");
    let (mut line, mut names) = ("WHO".to_owned(), Vec::new());
    loop {
        let said = boxes.ask(CELLAR, &bob, &line);
        let of = |line: &String| line.split(' ').nth(1).unwrap().to_owned();
        names.extend(said[1..].iter().map(of));
        if said[0].ends_with(" more=0") {
            break;
        }
        line = format!("WHO after={}", names.last().unwrap());
    }
    let expected = (0..150).map(|number| format!("a{number:03}@attic"));
    assert_eq!(
        names,
        std::iter::once("bob".into())
            .chain(expected)
            .collect::<Vec<_>>()
    );
}

#[test]
fn members_for_whom_there_is_no_place_are_counted() {
    let mut boxes = boxes(1);
    let mut setup = Setup::new("cellar", &["kitchen"]);
    setup.members_max = 3;
    boxes.start(setup);
    let bob = join(&mut boxes, CELLAR, "bob");
    let ann: Vec<_> = (0..5)
        .map(|n| join(&mut boxes, ATTIC, &format!("ann{n}")))
        .collect();
    boxes.advance(MEETING_MS);
    assert_eq!(heard(&bob).last().unwrap(), "HEALED attic 5");
    assert_eq!(who(&mut boxes, CELLAR, &bob).len(), 4);
    for peer in &ann {
        boxes.ask(ATTIC, peer, "QUIT");
    }
    boxes.advance(EVERY_MS + 1_000);
    assert_eq!(heard(&bob).len(), 5);
    assert_eq!(who(&mut boxes, CELLAR, &bob), ["bob push attached"]);
    let other = join(&mut boxes, ATTIC, "dan");
    boxes.run();
    assert_eq!(who(&mut boxes, CELLAR, &bob).len(), 2);
    boxes.ask(ATTIC, &other, "QUIT");
}

/// What was saved is checked when it is loaded again.
#[test]
fn no_forged_number_keeps_a_box_from_its_upgrade() {
    let mut boxes = boxes(1);
    let of_forger = "chinwag/forger/d/kitchen";
    let id = |number: u64| format!("5f2ce1a09b34d7c8/1/{number}");
    let digest = |number: u64| format!("DIGEST {} 1 0 0000000000000000 600", id(number));
    let members = |number: u64| format!("MEMBERS {} 0000000000000000 1 1", id(number));
    publish(&mut boxes, of_forger, &digest(1));
    let before = stat(&mut boxes, ATTIC, "link-refused");
    publish(&mut boxes, of_forger, &members(1 << 61));
    assert_eq!(stat(&mut boxes, ATTIC, "link-refused"), before + 1);
    publish(&mut boxes, of_forger, &members(1));
    // It holds an event that the box then says it will never have had.
    let event = format!("MSG {} 0 zoe hi", id(5));
    publish(&mut boxes, "chinwag/forger/e/kitchen", &event);
    publish(&mut boxes, of_forger, &format!("FREED {}", id(5)));
    let ann = join(&mut boxes, ATTIC, "ann");
    boxes.upgrade(ATTIC);
    boxes.advance(1_000);
    assert_eq!(stat(&mut boxes, ATTIC, "link-up"), 1);
    say(&mut boxes, ATTIC, &ann, "hello");
}

/// A list whose last part does not come is kept until its box is lost, and anybody can begin one.
#[test]
fn lists_that_never_end_take_no_more_memory_than_promised() {
    let mut boxes = boxes(1);
    for number in 0..200 {
        let of_box = format!("chinwag/box{number}/d/kitchen");
        let id = "5f2ce1a09b34d7c8/1/1";
        let digest = format!("DIGEST {id} 1 9 0000000000000001 600");
        publish(&mut boxes, &of_box, &digest);
        for part in 1..10 {
            let names = (0..64).map(|name| format!(" {}{part}x{name}", "m".repeat(18)));
            let names: String = names.collect();
            let list = format!("MEMBERS {id} 0000000000000001 {part} 10{names}");
            publish(&mut boxes, &of_box, &list);
        }
    }
    let now = boxes.tell_time(ATTIC);
    boxes.boxes[ATTIC].world.hub.assert_consistent(now);
    // Without them, there is space for the others' again.
    boxes.start(Setup::new("cellar", &["kitchen"]));
    boxes.advance(60_000);
    let ann = join(&mut boxes, ATTIC, "ann");
    join(&mut boxes, CELLAR, "bob");
    boxes.run();
    let members = who(&mut boxes, ATTIC, &ann);
    assert_eq!(members.len(), 2, "{members:?}");
}

/// However many boxes had to hold events, and in which order.
#[test]
fn what_was_held_leaves_no_memory_behind() {
    let mut boxes = Boxes::new();
    boxes.turns_per_check = 50;
    let mut setup = Setup::new("cellar", &["kitchen"]);
    setup.members_max = 8;
    let cellar = boxes.start(setup);
    let others = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let others: Vec<_> = others
        .map(|name| boxes.start(Setup::new(name, &["kitchen"])))
        .into();
    boxes.advance(MEETING_MS);
    for &other in &others {
        let peer = join(&mut boxes, other, "ann");
        boxes.run();
        boxes.broker.block(other, cellar);
        say(&mut boxes, other, &peer, "text 0");
        boxes.run();
        boxes.broker.unblock();
        let says: String = (1..500)
            .map(|number| format!("SAY text {number}\n"))
            .collect();
        boxes.send(other, &peer, &says);
        boxes.advance(5_000);
        boxes.ask(other, &peer, "QUIT");
    }
    boxes.advance(1_000);
    let now = boxes.tell_time(cellar);
    boxes.boxes[cellar].world.hub.assert_consistent(now);
}

#[test]
fn a_person_reads_what_the_link_does_in_words() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = boxes.connect(CELLAR);
    boxes.ask(CELLAR, &bob, "TALK bob room=kitchen");
    boxes.run();
    lines(&bob);
    say(&mut boxes, ATTIC, &ann, "hello");
    boxes.run();
    boxes.crash(ATTIC);
    boxes.advance(GRACE_MS);
    let said = lines(&bob);
    let said: Vec<_> = said
        .iter()
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    assert_eq!(
        said,
        [
            "<ann@attic> hello",
            "-- the link to attic is down (1 member away)"
        ]
    );
}

#[test]
fn tab_completes_the_names_of_members_of_other_boxes() {
    let mut boxes = boxes(3);
    for (index, name) in [
        (ATTIC, "ann"),
        (ATTIC, "Anna"),
        (BARN, "ann"),
        (BARN, "zoe"),
    ] {
        join(&mut boxes, index, name);
    }
    let bob = boxes.connect(CELLAR);
    boxes.ask(CELLAR, &bob, "TALK bob room=kitchen");
    boxes.run();
    let chat = boxes.boxes[CELLAR].world.hub.chat();
    let session = (0..9)
        .map(SessionKey)
        .find(|&key| chat.conn_of(key) == Some(bob.conn));
    for (word, names) in [
        ("an", &["ann@attic", "Anna@attic", "ann@barn"][..]),
        ("ann@", &["ann@attic", "ann@barn"]),
        ("ANN@b", &["ann@barn"]),
        ("anna@c", &[]),
        ("bob", &["bob"]),
        ("x@", &[]),
        ("@", &[]),
    ] {
        assert_eq!(chat.completions(session, word, 41), names, "{word}");
    }
    assert_eq!(
        chat.completions(session, "an", 1),
        ["ann@attic", "ann@barn"]
    );
}

/// What it has to say of other boxes waits for that, too.
#[test]
fn a_room_that_the_server_cannot_save_hears_later_of_a_box_that_goes_and_comes() {
    let mut boxes = boxes(2);
    let ann = join(&mut boxes, ATTIC, "ann");
    let bob = join(&mut boxes, CELLAR, "bob");
    boxes.advance(EVERY_MS);
    heard(&bob);
    // Enough numbers for a LEFT of the member, and no more.
    let use_up = |boxes: &mut Boxes, newest: u64| {
        boxes.save(CELLAR);
        let world = &mut boxes.boxes[CELLAR].world;
        promise(world, newest + PROMISED_AHEAD, newest + 1);
    };
    use_up(&mut boxes, 3);
    boxes.ask(ATTIC, &ann, "SAY still here");
    boxes.advance(2 * LOST_MS);
    boxes.crash(ATTIC);
    boxes.advance(2 * LOST_MS);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.save(CELLAR);
    boxes.advance(LOST_MS);
    assert_eq!(heard(&bob), ["SPLIT attic 1"]);
    use_up(&mut boxes, 4);
    boxes.start_again(ATTIC);
    join(&mut boxes, ATTIC, "cyd");
    boxes.advance(2 * LOST_MS);
    assert_eq!(heard(&bob), [""; 0]);
    boxes.save(CELLAR);
    boxes.advance(LOST_MS);
    assert_eq!(heard(&bob), ["HEALED attic 1"]);
}
