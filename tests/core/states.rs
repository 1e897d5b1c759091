//! States of all releases, in `tests/states`: a server loads each, and a state that is saved now is, byte by
//! byte, what the newest release saved.
//!
//! `CHINWAG_WRITE_STATES=1 cargo test --test core states::` writes those of this version;
//! with the path of a folder in place of the 1, it writes them there. Then the other tests here say whether
//! they are as they should be.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use chinwag::chat::{Head, Kind};
use chinwag::state::Reader;

use crate::eventful::{Record, eventful_state, limits, records, token};
use crate::link::eventful::{linked_state, linked_world};
use crate::members::lines;
use crate::world::{Wire, World};

/// What makes a state, and its name.
type Maker = (fn() -> Vec<u8>, &'static str);

const MAKERS: [Maker; 5] = [
    (|| eventful_state(Kind::Upgrade), "upgrade"),
    (|| eventful_state(Kind::Stop), "stop"),
    (|| eventful_state(Kind::Running), "running"),
    (|| linked_state(Kind::Upgrade), "linked-upgrade"),
    (|| linked_state(Kind::Stop), "linked-stop"),
];

/// A release with states, and the summaries of those for upgrades, alone and on a link: other versions have
/// to come to the same.
struct Release {
    version: &'static str,
    summary: &'static str,
    linked_summary: &'static str,
}

const RELEASES: [Release; 1] = [Release {
    version: "0.2.0",
    summary: "12 8 3 a5b4a29756f473e9",
    linked_summary: "1 1 1 08317e664c93cec6",
}];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/states")
}

fn file_name(version: &str, kind: &str) -> String {
    format!("{version}-{kind}.state")
}

fn read(version: &str, kind: &str) -> Vec<u8> {
    let path = folder().join(file_name(version, kind));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn head(mut state: &[u8]) -> Head {
    Head::read(&mut Reader::new(&mut state).unwrap()).unwrap()
}

/// Writes the states of this version into a folder, if the environment asks for that.
fn write_if_asked() -> bool {
    let Some(asked) = std::env::var_os("CHINWAG_WRITE_STATES") else {
        return false;
    };
    let folder = match asked == "1" {
        true => folder(),
        false => asked.into(),
    };
    fs::create_dir_all(&folder).unwrap();
    for (make, name) in MAKERS {
        let name = file_name(env!("CARGO_PKG_VERSION"), name);
        fs::write(folder.join(name), make()).unwrap();
    }
    true
}

#[test]
fn a_state_is_saved_as_the_newest_release_has_saved_it() {
    if write_if_asked() {
        return;
    }
    let Release { version, .. } = RELEASES[RELEASES.len() - 1];
    for (make, name) in MAKERS {
        let (was, is) = (read(version, name), make());
        assert_eq!(
            Head {
                version: version.to_owned(),
                ..head(&is)
            },
            head(&was)
        );
        let (was, is) = (records(&was), records(&is));
        let differs = |(was, is): (&Record, &Record)| was != is;
        let differing = was.iter().zip(&is).skip(1).position(differs);
        let shown = |records: &[Record]| {
            let Record { tag, fields } = &records[1 + differing.unwrap_or(0)];
            format!("{} {}", tag.escape_ascii(), fields.escape_ascii())
        };
        assert!(
            differing.is_none() && was.len() == is.len(),
            "The state for kind {name} is not what version {version} saved: {} records instead of {}; \
             the first that differs is\\n{}\\ninstead of\\n{}\\nIf that is meant, src/state/FORMAT.md says \
             whether the format needs another number, and what else to do. Then raise the version if \
             {version} has been released, and write this version's states: \
             CHINWAG_WRITE_STATES=1 cargo test --test core states::",
            is.len(),
            was.len(),
            shown(&is),
            shown(&was),
        );
    }
}

/// A world that has begun with a release's state of a kind.
fn begun_with(version: &str, kind: &str) -> World {
    begun_in(World::new(limits()), version, kind)
}

/// The same in another world, which only has to have the right limits and options.
fn begun_in(mut world: World, version: &str, kind: &str) -> World {
    let state = read(version, kind);
    assert_eq!(head(&state).version, version);
    let wire = |number| {
        let space = usize::MAX;
        Rc::new(RefCell::new(Wire {
            number,
            space,
            ..Wire::default()
        }))
    };
    world.wires = (0..16).map(wire).collect();
    world.begin_with(&state).unwrap();
    world
}

/// What a client gets that sends something, without the greeting.
fn ask(world: &mut World, line: &str) -> Vec<String> {
    let peer = world.connect();
    world.send(&peer, format!("{line}\n").as_bytes());
    lines(&peer).split_off(1)
}

/// What the session in a slot gets that resumes: the reply without the life of its room's log, and the
/// first words of each line that follows.
fn resume(world: &mut World, slot: u32, options: &str) -> Vec<String> {
    let mut said = ask(world, &format!("RESUME {}{options}", token(slot)));
    for line in &mut said {
        let end = line.find(" log=").or_else(|| line.find(" 17638"));
        line.truncate(end.unwrap_or(line.len()));
    }
    said
}

/// What [`crate::eventful`] leaves is there: rooms, names, numbers, what a session has said and lost.
fn assert_sessions_are_back(world: &mut World) {
    let den = "room=Den mode=push idle=";
    assert_eq!(
        resume(world, 1, ""),
        [
            &format!("OK RESUME name=cat {den}3600 alive=ping seq=1000017 members=5 said=2"),
            "LOST 6 1000014",
            "MSG 1000014",
            "MSG 1000015",
            "MSG 1000016",
            "MSG 1000017",
        ]
    );
    // The first life of the server knew two events of this room.
    let attic = resume(world, 3, " after=1");
    assert_eq!(
        attic[0],
        "OK RESUME name=joe room=attic mode=push idle=60 alive=tcp seq=1000005 members=3 said=1"
    );
    assert_eq!(
        attic[1..4],
        ["MSG 2", "LOST 1000000 1000003", "MSG 1000003"]
    );
    assert_eq!(
        resume(world, 0, ""),
        [format!(
            "OK RESUME name=ann {den}600 alive=ping seq=1000017 members=5 said=7"
        )]
    );
    assert!(resume(world, 8, "")[0].starts_with("ERR unknown-session "));
    let rooms = ask(
        world,
        "JOIN gus room=Den key=wrong\nJOIN gus room=DEN key=g quiet=yes\nROOMS",
    );
    assert!(rooms[0].starts_with("ERR not-authorized "), "{rooms:?}");
    assert_eq!(
        rooms[2..],
        [
            "OK ROOMS 3 more=0",
            "ROOM attic 3 1000005",
            "ROOM Den 6 1000017",
            "ROOM porch 0 2"
        ]
    );
}

#[test]
fn states_for_upgrades_load_with_all_connections_and_come_to_the_same_summary() {
    for Release {
        version, summary, ..
    } in RELEASES
    {
        let mut world = begun_with(version, "upgrade");
        assert_eq!(world.hub.summary().to_string(), summary);
        world.hub.assert_consistent(world.now());
        assert_sessions_are_back(&mut world);
    }
}

#[test]
fn states_of_stops_load_with_all_sessions() {
    for Release { version, .. } in RELEASES {
        let mut world = begun_with(version, "stop");
        world.hub.assert_consistent(world.now());
        assert_sessions_are_back(&mut world);
    }
}

#[test]
fn states_of_running_servers_load_with_rooms_whose_numbers_go_on_behind_a_gap() {
    for Release { version, .. } in RELEASES {
        let mut world = begun_with(version, "running");
        world.hub.assert_consistent(world.now());
        for slot in 0..8 {
            assert_eq!(
                resume(&mut world, slot, ""),
                ["ERR session-ended crashed 0"]
            );
        }
        let rooms = ask(&mut world, "JOIN gus room=den key=g history=0\nROOMS");
        assert_eq!(
            rooms[2..],
            [
                "OK ROOMS 3 more=0",
                "ROOM attic 0 2000005",
                "ROOM Den 1 2000018",
                "ROOM porch 0 1000002",
            ]
        );
        // A program that has seen all but the last message before the crash.
        let since = "after=1000016 log=157a3807a48faa9d";
        let missed = ask(
            &mut world,
            &format!("JOIN ann room=den key=a quiet=yes {since}"),
        );
        let words: Vec<_> = missed[1..]
            .iter()
            .map(|line| &line[..line.len().min(20)])
            .collect();
        assert_eq!(
            words,
            [
                "MSG 1000017 17638001",
                "LOST 1000000 2000018",
                "JOINED 2000018 17638"
            ]
        );
    }
}

/// What [`linked_state`] leaves is there: members of other boxes, and an event that is held back.
#[test]
fn states_of_a_linked_box_load_with_all_that_is_known_of_others() {
    for Release {
        version,
        linked_summary,
        ..
    } in RELEASES
    {
        for kind in ["linked-upgrade", "linked-stop"] {
            let mut world = begun_in(linked_world(), version, kind);
            if kind == "linked-upgrade" {
                assert_eq!(world.hub.summary().to_string(), linked_summary);
            }
            world.hub.assert_consistent(world.now());
            let who = ask(&mut world, "JOIN eve room=kitchen quiet=yes\nWHO\nSTATS");
            let listed = |begin| who.iter().filter_map(move |line| line.strip_prefix(begin));
            let remote = listed("MEMBER ").filter(|line| line.contains('@'));
            let names = remote.map(|line| line.rsplit_once(' ').unwrap().0);
            assert_eq!(
                names.collect::<Vec<_>>(),
                [
                    "dan@barn push away",
                    "bob@cellar push linked",
                    "cat@cellar pull linked"
                ],
                "{kind}"
            );
            assert_eq!(listed("STAT link-boxes ").next(), Some("2"), "{kind}");
        }
    }
}
