//! What documents say of options, defaults and bounds is what the code has.

mod numbers;

use std::fs;
use std::path::Path;

use chinwag::ceiling::Ceiling;
use chinwag::options::table::{Kind, OPTIONS, Row};
use chinwag::options::{self, Action, DEFAULT_ADDRESS, Number, Unit};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
}

/// What a unit says of something.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = document(unit);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// The number that an option sets, if it sets one whose range is the same on every processor.
fn number(row: &Row) -> Option<&Number> {
    match &row.kind {
        Kind::Number(number) if *number.range.end() != isize::MAX as u64 => Some(number),
        _ => None,
    }
}

/// A number as the errors of options show it.
fn plain(unit: Unit, number: u64) -> String {
    match unit {
        Unit::Mode => format!("{number:04o}"),
        _ => number.to_string(),
    }
}

/// An option as the manual page has it.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    /// Its names and its argument.
    head: String,
    range: Option<String>,
    default: Option<String>,
}

/// The options in the manual page's source.
fn items_of_manual(manual: &str) -> Vec<Item> {
    let list = between(manual, "The options are:\n", "\n.El\n");
    let item = |text: &str| {
        let (head, text) = text.split_once('\n').unwrap();
        let sentence = |start: &str| {
            let mut lines = text.lines().filter_map(|line| line.strip_prefix(start));
            let line = lines.next().map(|line| line.strip_suffix('.').unwrap());
            assert_eq!(lines.next(), None, "{head}: {start}");
            line.map(str::to_owned)
        };
        Item {
            head: head.to_owned(),
            range: sentence("From "),
            default: sentence("Default: "),
        }
    };
    list.split("\n.It ").skip(1).map(item).collect()
}

#[test]
fn the_manual_page_has_every_option_with_its_range_and_default() {
    let expected = OPTIONS.iter().map(|row| {
        let mut head = format!("Fl -{}", row.name);
        if let Some(letter) = row.letter {
            head = format!("Fl {letter} , {head}");
        }
        if !row.placeholder().is_empty() {
            head += &format!(" Ar {}", row.placeholder().to_lowercase());
        }
        let range = number(row).map(|number| {
            let [from, to] = [number.range.start(), number.range.end()];
            let [from, to] = [from, to].map(|end| plain(number.unit, *end));
            format!("{from} to {to}")
        });
        let default = row.default();
        Item {
            head,
            range,
            default,
        }
    });
    let shown = items_of_manual(&document("dist/chinwag.8"));
    assert_eq!(shown, expected.collect::<Vec<_>>());
}

#[test]
fn the_protocol_document_has_the_range_of_every_option_that_is_a_number() {
    let text = document("PROTOCOL.md");
    let table = between(&text, "\n| option | from | to |\n|---|---|---|\n", "\n\n");
    let cells = |line: &'_ str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace(',', "")).collect()
    };
    let mut shown: Vec<_> = table.lines().map(cells).collect();
    for row in OPTIONS {
        let Some(number) = number(row) else {
            continue;
        };
        let option = format!("`--{}`", row.name);
        let place = shown.iter().position(|cells| cells[0] == option);
        let cells = shown.remove(place.unwrap_or_else(|| panic!("no {option}")));
        let from = plain(number.unit, *number.range.start());
        let to = match row.name {
            "idle" => "the value of `--max-idle`".to_owned(),
            _ => plain(number.unit, *number.range.end()),
        };
        // Behind the number a word may say what it means.
        assert_eq!(cells[1].split(' ').next(), Some(from.as_str()), "{option}");
        assert!(cells[2].starts_with(&to), "{option}: {to}");
        assert!(!cells[2][to.len()..].starts_with(|c: char| c.is_ascii_digit()));
    }
    assert_eq!(shown, [[""; 0]; 0]);
}

#[test]
fn the_configuration_of_openwrt_has_every_option_with_its_default() {
    let config = document("dist/openwrt/files/chinwag.config");
    let init = document("dist/openwrt/files/chinwag.init");
    let names_in = |variable: &str| -> Vec<String> {
        let names = between(&init, &format!("\n{variable}='"), "'");
        names.split_whitespace().map(str::to_owned).collect()
    };
    let (mut values, mut flags) = (names_in("VALUES"), names_in("FLAGS"));
    let take = |names: &mut Vec<String>, name: &str| {
        let place = names.iter().position(|n| n == name);
        names.remove(place.unwrap_or_else(|| panic!("chinwag.init has no {name}")));
    };
    for row in OPTIONS {
        let name = row.name.replace('-', "_");
        let mut default = row.default();
        let mut kind = "option";
        match row.kind {
            // For a shell, not for a configuration.
            Kind::Action { .. } => continue,
            Kind::Text { is_list: true, .. } => kind = "list",
            Kind::Switch(_) => {
                take(&mut flags, &name);
                default = Some("0".to_owned());
            }
            Kind::Number(_) | Kind::Text { .. } => take(&mut values, &name),
        }
        let line = match default {
            // Without --log, the log's form depends on where it goes.
            Some(default) if name != "log" => format!("\t#{kind} {name} '{default}'\n"),
            _ => format!("\t#\t{kind} {name} '"),
        };
        assert!(config.contains(&line), "chinwag.config has no {line:?}");
    }
    assert_eq!([values, flags], [[""; 0], [""; 0]]);
}

/// README.md shows options of other programs too, so it is not among these.
#[test]
fn every_option_that_a_document_names_exists() {
    for name in [
        "PROTOCOL.md",
        "dist/chinwag.8",
        "dist/chinwag.service",
        "dist/chinwag.socket",
        "dist/default",
        "dist/openwrt/files/chinwag.config",
        "dist/openwrt/files/chinwag.init",
    ] {
        // A line may end within a name.
        let text = document(name).replace("-\n", "-");
        let mark = match name {
            "dist/chinwag.8" => "Fl -",
            _ => "--",
        };
        let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
        let mut named = 0;
        for (at, _) in text.match_indices(mark) {
            let rest = &text[at + mark.len()..];
            let option = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
            if option.starts_with(|c: char| c.is_ascii_lowercase()) {
                let exists = OPTIONS.iter().any(|row| row.name == option);
                assert!(exists, "{name}: there is no --{option}");
                named += 1;
            }
        }
        assert!(named > 0, "{name}");
    }
}

/// The commands in a document that start the program, without what the shell does with it.
fn commands(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_start);
    let commands = lines.filter_map(|line| {
        let line = line.strip_prefix(".Dl ").unwrap_or(line);
        let arguments = line.strip_prefix("chinwag ")?;
        arguments.starts_with('-').then_some(arguments)
    });
    commands
        .map(|arguments| arguments.split('#').next().unwrap())
        .collect()
}

#[test]
fn the_commands_in_the_documents_are_understood_and_need_no_more_memory_than_they_say() {
    let mut with_memory = 0;
    for name in ["README.md", "dist/chinwag.8"] {
        let text = document(name);
        let commands = commands(&text);
        assert!(commands.len() > 1, "{name}");
        for command in commands {
            let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
            let options = match options::parse(&words) {
                Ok(Action::Run(options) | Action::Check(options)) => options,
                Ok(Action::NewKey(..)) => continue,
                other => panic!("{name}: {command}: {other:?}"),
            };
            if let Some(max) = options.memory_bytes_max {
                // Somebody who adds a users file to the example should not have to change it.
                let names = Some(100);
                let ceiling = Ceiling::of(&options.limits, names, options.socket_buffer_bytes);
                assert!(ceiling.bytes() <= max as u64, "{name}: {command}");
                with_memory += 1;
            }
        }
    }
    assert_eq!(with_memory, 2);
}

#[test]
fn people_are_told_the_port_on_which_the_program_listens() {
    // Those of brokers: MQTT's, and NATS' own.
    const BROKERS: [&str; 2] = ["1883", "4222"];
    let loopback = DEFAULT_ADDRESS.ip().to_string();
    for name in [
        "README.md",
        "PROTOCOL.md",
        "examples/README.md",
        "dist/chinwag.8",
    ] {
        let text = document(name);
        let mut told = 0;
        for (at, _) in text.match_indices(&loopback) {
            let rest = &text[at + loopback.len()..];
            let port = rest.trim_start_matches([':', ' ']);
            let end = port.find(|c: char| !c.is_ascii_digit());
            let port = &port[..end.unwrap_or(port.len())];
            if !port.is_empty() && !BROKERS.contains(&port) {
                assert_eq!(port, DEFAULT_ADDRESS.port().to_string(), "{name}");
                told += 1;
            }
        }
        assert!(told > 0, "{name}");
    }
}
