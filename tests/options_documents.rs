//! What documents say of options, defaults and bounds is what the code has.

use std::fs;
use std::path::Path;

use chinwag::options::table::{Kind, OPTIONS, Row};
use chinwag::options::{Number, Unit};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).expect(start);
    rest.split_once(end).expect(end).0
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
        if !row.letter.is_empty() {
            head = format!("Fl {} , {head}", row.letter);
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
