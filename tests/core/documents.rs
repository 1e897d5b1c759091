//! The documents tell the truth: they name what the code has, with its values. Their dialogues are
//! played in `dialogues`.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use crate::script::sources::{blocks, document};
use crate::world::World;
#[cfg(target_pointer_width = "64")]
use chinwag::ceiling::Ceiling;
use chinwag::link::payload::Payload;
use chinwag::link::remotes::{BOX_BURST_S, LINES_PER_S};
use chinwag::link::{Prefix, mqtt, topic};
use chinwag::options::{self, Action, LinkOptions, SOCKET_BUFFER_BYTES};
use chinwag::protocol::{
    self, BURST_S, BYTES_PER_LINE, Bye, Code, DENIALS_MAX, DENIALS_PER_ADDRESS_MAX, ENDED_MAX,
    ERRORS_MAX, HINT_AFTER_S, IDLE_TCP_MIN_S, LINE_BYTES_MAX, LeaveReason, Limits, NAME_BYTES_MAX,
    OPERATOR_SILENCE_S, OPERATOR_VERBS, OPERATORS_MAX, POLL_EVENTS_DEFAULT, POLL_EVENTS_MAX,
    POLL_WAIT_MAX_S, REPLY_BYTES_MAX, Request, UNASKED, VERBS,
};
use chinwag::talk::COMMANDS;

fn help() -> String {
    match options::parse(&["--help".into()]) {
        Ok(Action::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_readme_shows_the_help_as_it_is() {
    let help = help();
    let shown = blocks(&document("README.md"), "text");
    assert!(shown.iter().any(|(_, text)| *text == help), "\n{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100));
}

/// What things take depends on the width of addresses.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_readme_shows_the_memory_as_it_is() {
    let ceiling = Ceiling::of(&Limits::default(), None, SOCKET_BUFFER_BYTES);
    let readme = document("README.md");
    let shown = blocks(&readme, "text");
    let breakdown = ceiling.breakdown();
    assert!(
        shown.iter().any(|(_, text)| *text == breakdown),
        "\n{breakdown}"
    );
    let words: Vec<_> = readme.split_whitespace().collect();
    let line = format!("memory: {ceiling}");
    assert!(words.join(" ").contains(&line), "{line}");
    // Twice what the system allows, and a message more.
    let with_unix = ceiling.with_unix_clients(2 * 212_992 + 64 * 1024, true);
    let line_with_unix = format!("memory: {with_unix}");
    assert!(
        words.join(" ").contains(&line_with_unix),
        "{line_with_unix}"
    );
    let (_, promise) = readme.split_once("never take more than ").unwrap();
    let bytes = format!("at most {}", promise.split(',').next().unwrap());
    assert!(line.contains(&bytes), "{line}");
}

/// The names that STATS shows.
fn stats() -> Vec<String> {
    let mut world = World::new(Limits::default());
    let peer = world.connect();
    world.send(&peer, b"STATS\n");
    let wire = peer.wire.borrow();
    let output = std::str::from_utf8(&wire.output).unwrap();
    let rows = output.lines().filter_map(|line| line.strip_prefix("STAT "));
    rows.map(|row| row.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_protocol_document_names_all_that_goes_over_the_wire() {
    let text = document("PROTOCOL.md");
    let mut missing = Vec::new();
    let mut need = |what: String| {
        if !text.contains(&what) {
            missing.push(what);
        }
    };
    for verb in VERBS.iter().chain(OPERATOR_VERBS) {
        need(format!("### {}", verb.name));
        let syntax = format!("{} {}", verb.name, verb.syntax);
        need(format!("    {}\n", syntax.trim_end()));
    }
    for code in Code::ALL {
        need(format!("| `{}` |", code.as_str()));
    }
    for first_word in UNASKED {
        need(format!("### {first_word}"));
    }
    for reason in LeaveReason::ALL {
        need(format!("| `{}` |", reason.as_str()));
    }
    for bye in Bye::ALL {
        need(format!("| `{}` |", bye.as_str()));
    }
    assert!(missing.is_empty(), "PROTOCOL.md does not have {missing:#?}");
}

#[test]
fn the_protocol_document_explains_what_stats_shows_in_its_order() {
    let text = document("PROTOCOL.md");
    let (_, table) = text
        .split_once("\n| name | kind | unit | meaning |\n")
        .unwrap();
    let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
    let explained: Vec<_> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(explained, stats());
}

#[test]
fn every_option_verb_error_and_event_is_named_for_people() {
    let (readme, protocol, help) = (document("README.md"), document("PROTOCOL.md"), help());
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let options: BTreeSet<_> = words.filter(|word| word.starts_with("--")).collect();
    assert!(options.len() > 5, "{options:?}");
    for option in options {
        assert!(readme.contains(option), "README.md does not have {option}");
        assert!(
            protocol.contains(option),
            "PROTOCOL.md does not have {option}"
        );
    }
    let verbs = VERBS.iter().chain(OPERATOR_VERBS).map(|verb| verb.name);
    let codes = Code::ALL.iter().map(|code| code.as_str());
    for word in verbs.chain(codes).chain(UNASKED) {
        assert!(
            readme.contains(&format!("`{word}")),
            "README.md does not have {word}"
        );
    }
}

#[test]
fn every_command_that_people_type_is_in_the_readme_and_the_manual_page() {
    let (readme, manual) = (document("README.md"), document("dist/chinwag.8"));
    let rows = readme.lines().filter(|line| line.starts_with("| "));
    let typed = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let items = manual
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li "));
    let items = items.flat_map(|item| item.split(" , "));
    let names = |typed: &str| typed.split(' ').next().unwrap().to_owned();
    let (typed, items): (Vec<_>, Vec<_>) = (typed.map(names).collect(), items.map(names).collect());
    for command in COMMANDS {
        assert!(
            typed.contains(&command.into()),
            "README.md has no {command}"
        );
        assert!(
            items.contains(&command.into()),
            "chinwag.8 has no {command}"
        );
    }
}

#[test]
fn those_who_work_on_the_code_are_led_to_files_that_exist() {
    let text = document("CONTRIBUTING.md");
    assert!(document("README.md").contains("](CONTRIBUTING.md)"));
    let words = text.split('`').skip(1).step_by(2);
    let is_path = |word: &&str| word.starts_with(['.', '/']) || word.contains('/');
    let mut checked = 0;
    for word in words.filter(is_path) {
        let path = word.split_whitespace().next().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        // A module may be a folder or a file.
        assert!(
            path.exists() || path.with_extension("rs").exists(),
            "{word}"
        );
        checked += 1;
    }
    assert!(checked > 15, "{checked}");
    let lines = text.lines().count();
    assert!(lines <= 100, "more than two screens: {lines} lines");
}

/// The form of Keep a Changelog: what is not released comes first, then versions with their dates.
#[test]
fn the_changelog_has_its_usual_form() {
    const KINDS: [&str; 6] = [
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    ];
    let text = document("CHANGELOG.md");
    let headings = |marks| {
        text.lines()
            .filter_map(move |line| line.strip_prefix(marks))
    };
    let mut versions = headings("## ");
    assert_eq!(versions.next(), Some("[Unreleased]"));
    for version in versions {
        let (number, date) = version.split_once("] - ").expect(version);
        assert_eq!(number.matches('.').count(), 2, "{version}");
        assert_eq!(date.matches('-').count(), 2, "{version}");
    }
    for kind in headings("### ") {
        assert!(KINDS.contains(&kind), "{kind}");
    }
}

/// The syntax that HELP and PROTOCOL.md show is the one that is understood.
#[test]
fn every_option_in_a_commands_syntax_is_taken() {
    let mut taken = 0;
    for verb in VERBS {
        let words = verb
            .syntax
            .split(['[', ']'])
            .filter(|word| !word.trim().is_empty());
        let (options, positional): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('='));
        let needed = match positional.first().map(|word| word.trim()) {
            None | Some("text") => "",
            Some(_) => " word",
        };
        for option in options {
            // Some options go together.
            let words = option.split(' ').map(|option| {
                let (key, value) = option.split_once('=').unwrap();
                let value = match value {
                    "<n>" | "<s>" | "<seq>" => "1",
                    "<id>" => "0123456789abcdef",
                    "<name>" | "<room>" | "<secret>" => "word",
                    choice => choice.split('|').next().unwrap(),
                };
                taken += 1;
                format!(" {key}={value}")
            });
            let words: String = words.collect();
            let line = format!("{}{needed}{words}", verb.name);
            let request = Request::read(line.as_bytes(), &Limits::default());
            assert!(
                matches!(request, Request::Command(_)),
                "{line}: {request:?}"
            );
        }
    }
    assert_eq!(taken, 19);
}

/// The bytes of the digest that README.md shows: of its topic, of its payload, and in all.
fn digest_bytes(readme: &str) -> [usize; 3] {
    let lines: Vec<_> = readme.lines().map(str::trim_start).collect();
    let at = lines.iter().position(|line| line.starts_with("DIGEST "));
    let (shown, payload) = (lines[at.unwrap() - 1], lines[at.unwrap()]);
    let prefix = Prefix::default();
    let (_, topic) = topic::read(&prefix, shown).unwrap();
    let read = Payload::read(topic, payload.as_bytes()).unwrap();
    assert_eq!(read.to_string(), payload);
    let mut out = Vec::new();
    mqtt::write_publish(format_args!("{shown}"), format_args!("{payload}"), &mut out);
    [shown.len(), payload.len(), out.len()]
}

/// The table is worked out from the length of a digest and the time between two.
#[test]
fn the_readme_says_what_a_link_costs_on_which_nobody_speaks() {
    let readme = document("README.md");
    let [topic, payload, all] = digest_bytes(&readme);
    let words: Vec<_> = readme.split_whitespace().collect();
    let said = format!(
        "takes {all} bytes with names like these, of which {topic} are the topic, {payload} the payload and \
         {} MQTT's own",
        all - topic - payload
    );
    assert!(words.join(" ").contains(&said), "{said}");
    let (_, table) = readme
        .split_once("\n| boxes | rooms | boxes in a room |")
        .unwrap();
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let mut checked = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let number = |cell: &str| cell.replace(',', "").parse::<f64>().unwrap();
        let [boxes, rooms, in_a_room] = [0, 1, 2].map(|at| number(cells[at]));
        let on_a_box = rooms * in_a_room / boxes;
        let every_s = (3.0 * on_a_box / 5.0).floor().clamp(10.0, 600.0);
        // A digest is up to an eighth of that time early.
        let out = on_a_box / (every_s * 15.0 / 16.0);
        let back = out * in_a_room;
        let bytes = (out + back) * all as f64;
        let expected = [
            on_a_box,
            every_s,
            out,
            back,
            bytes,
            out * boxes,
            back * boxes,
            bytes * boxes,
            3.0 * every_s,
        ];
        for (cell, expected) in cells[3..].iter().zip(expected) {
            let digits = cell.split_once('.').map_or(0, |(_, digits)| digits.len());
            let difference = (number(cell) - expected).abs();
            let most = 0.5 * 0.1_f64.powi(digits as i32) + 1e-9;
            assert!(difference <= most, "{row}: {cell} is {expected}");
        }
        assert_eq!(cells.len(), 12, "{row}");
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn the_options_in_the_table_of_limits_exist() {
    let help = help();
    for (limit, (_, option)) in limits() {
        if let Some(option) = option {
            assert!(help.contains(&option), "{limit}: there is no {option}");
        }
    }
}

/// The table of limits: by what is limited, the number and the option.
fn limits() -> HashMap<String, (u64, Option<String>)> {
    let text = document("PROTOCOL.md");
    let (_, table) = text.split_once("\n| limit | ").expect("a table of limits");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let digits = cells[1].split(' ').next().unwrap().replace(',', "");
        let number = digits
            .parse()
            .unwrap_or_else(|_| panic!("no number: {line}"));
        let option = cells[2].contains("--").then(|| cells[2].replace('`', ""));
        (cells[0].to_owned(), (number, option))
    };
    rows.map(row).collect()
}

#[test]
fn the_table_of_limits_agrees_with_the_code() {
    let defaults = Limits::default();
    let link = LinkOptions::default();
    let expected = [
        ("name of a member or a room, bytes", NAME_BYTES_MAX as u64),
        ("line, bytes without its end", LINE_BYTES_MAX as u64),
        ("message, bytes", defaults.message_bytes_max as u64),
        ("reply, bytes", REPLY_BYTES_MAX as u64),
        (
            "idle time if none is asked for, seconds",
            defaults.idle_s.into(),
        ),
        ("longest idle time, seconds", defaults.idle_max_s.into()),
        ("shortest idle time, seconds", protocol::IDLE_MIN_S.into()),
        (
            "shortest idle time with `alive=tcp`, seconds",
            IDLE_TCP_MIN_S.into(),
        ),
        (
            "time to TALK, JOIN or RESUME, seconds",
            defaults.handshake_s.into(),
        ),
        ("events kept per room, bytes", defaults.log_bytes as u64),
        (
            "time to keep a room that nobody is in, seconds",
            defaults.keep_rooms_s.into(),
        ),
        (
            "lines of a POLL without `max=`",
            POLL_EVENTS_DEFAULT.get().into(),
        ),
        ("lines of a POLL", POLL_EVENTS_MAX.into()),
        ("wait of a POLL, seconds", POLL_WAIT_MAX_S.into()),
        ("text of a PING, bytes", protocol::PING_BYTES_MAX as u64),
        ("errors in a row", ERRORS_MAX.into()),
        ("ended sessions remembered", ENDED_MAX as u64),
        ("connections", defaults.connections_max as u64),
        (
            "connections of the operator, with `--admin`",
            OPERATORS_MAX as u64,
        ),
        (
            "silence after which one of them makes way for another, seconds",
            OPERATOR_SILENCE_S.into(),
        ),
        ("sessions", defaults.sessions_max as u64),
        ("rooms", defaults.rooms_max as u64),
        (
            "connections from one address",
            defaults.per_address_max as u64,
        ),
        ("sessions from one address", defaults.per_address_max as u64),
        (
            "lines a second from one connection, and of one session",
            defaults.lines_per_s.into(),
        ),
        (
            "seconds' worth of lines that may come at once",
            BURST_S.into(),
        ),
        (
            "silence of a new client before a hint, seconds",
            HINT_AFTER_S.into(),
        ),
        ("bytes that count as one line", BYTES_PER_LINE as u64),
        (
            "system's buffer for a connection, each way, bytes",
            SOCKET_BUFFER_BYTES as u64,
        ),
        ("`not-authorized` on one connection", DENIALS_MAX.into()),
        (
            "`not-authorized` from one address in a minute, before it has to wait",
            DENIALS_PER_ADDRESS_MAX.into(),
        ),
        (
            "members of other boxes that are listed",
            link.members_max as u64,
        ),
        ("pairs of a room and another box", link.members_max as u64),
        (
            "time to list the members of a lost box, seconds",
            link.hold_s.into(),
        ),
        ("lines a second from another box", LINES_PER_S),
        ("seconds' worth of those that may come at once", BOX_BURST_S),
        (
            "what all topics begin with, bytes",
            Prefix::BYTES_MAX as u64,
        ),
    ];
    let table = limits();
    for (limit, number) in expected {
        let shown = table.get(limit).map(|(number, _)| *number);
        assert_eq!(shown, Some(number), "{limit}");
    }
    assert_eq!(table.len(), expected.len(), "a limit that is not checked");
}

/// `.ci/figures` compares the numbers.
#[test]
fn every_build_in_the_readme_is_one_that_ci_measures() {
    let scripts = ["cross", "package", "static"].map(|name| Path::new(".ci").join(name));
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci").exists() {
        return;
    }
    let scripts = scripts
        .map(|script| document(script.to_str().unwrap()))
        .concat();
    let readme = document("README.md");
    let (_, table) = readme.split_once("| build | bytes |").unwrap();
    let rows = table
        .lines()
        .skip(2)
        .map_while(|row| row.strip_prefix("| "));
    let builds: Vec<_> = rows.map(|row| row.split(" |").next().unwrap()).collect();
    assert!(builds.len() > 1);
    for build in builds {
        let is_measured = [format!("'{build}'"), format!("\"{build}\"")]
            .iter()
            .any(|quoted| scripts.contains(quoted));
        assert!(is_measured, "{build}");
    }
}
