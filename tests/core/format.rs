//! The description of the states' format agrees with the code that saves them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::script::sources::document;

/// The texts of all sources.
fn sources() -> Vec<String> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        let mut paths: Vec<_> = (fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "rs") => {
                    texts.push(code_of(&path));
                }
                false => {}
            }
        }
    }
    texts
}

/// A file without its comments and its tests.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().map(|line| match line.split_once("//") {
        Some((code, _)) => code,
        None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What stands in `text` from `start` on, up to the bracket that closes the first one there.
fn bracketed(text: &str, start: usize) -> &str {
    let rest = &text[start..];
    let mut depth = 0;
    let end = rest.char_indices().find(|(_, c)| {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(c, '}' | ')')
    });
    &rest[..end.unwrap().0 + 1]
}

/// A text in one line, without spaces that only lay it out.
fn in_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.replace(",)", ")").replace(", }", " }");
    text.replace("pub(super) ", "").replace("pub ", "")
}

/// A definition in one line, without attributes.
fn without_attributes(definition: &str) -> String {
    let is_code = |line: &&str| !line.trim().starts_with("#[");
    let lines: Vec<_> = definition.lines().filter(is_code).collect();
    in_line(&lines.join("\n"))
}

/// The parts of a list. A comma within a part belongs to it.
fn parts(list: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in list.split(", ") {
        match found.last_mut() {
            Some(last)
                if last.matches(['<', '(', '[', '{']).count()
                    > last.matches(['>', ')', ']', '}']).count() =>
            {
                *last = format!("{last}, {part}");
            }
            _ => found.push(part.to_owned()),
        }
    }
    found
}

/// A kind of value with the types of what belongs to it: `saved` names the fields, and `definition` has
/// the types.
fn variant_of(saved: &str, definition: &str) -> String {
    let (number, saved) = saved.split_once(" = ").unwrap();
    let end = saved.find([' ', '(']).unwrap_or(saved.len());
    let name = &saved[..end];
    let inner = definition.split_once('{').unwrap().1.trim_end_matches('}');
    let variants = parts(inner.trim().trim_end_matches(','));
    let is_it = |variant: &&String| variant.trim().split([' ', '(']).next() == Some(name);
    let variant = variants.iter().find(is_it).expect(name).trim();
    match saved[end..].strip_prefix('(') {
        None => format!("{number} {variant}"),
        Some(fields) => {
            let fields = fields.trim_end_matches(')').split(", ");
            let types = variant.split_once('(').unwrap().1;
            let types = parts(types.strip_suffix(')').unwrap());
            let fields = fields
                .zip(types)
                .map(|(field, of)| format!("{field}: {of}"));
            format!("{number} {name}({})", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text in which the lengths of arrays are numbers.
fn with_lengths(row: &str, sources: &[String]) -> String {
    let mut row = row.to_owned();
    for length in ["LINES_MAX", "SERVER_WIDE.len()", "WINDOW_SIZE_BYTES"] {
        let (constant, start, end) = match length.strip_suffix(".len()") {
            Some(constant) => (constant, "; ", "] ="),
            None => (length, "usize = ", ";"),
        };
        let number = sources.iter().find_map(|text| {
            let (_, text) = text.split_once(&format!("const {constant}: "))?;
            let (_, text) = text.split_once(start)?;
            Some(text.split_once(end)?.0)
        });
        row = row.replace(
            &format!("; {length}]"),
            &format!("; {}]", number.expect(length)),
        );
    }
    row
}

/// The types of a definition's fields: `name: Type` for each, in the order of the definition.
fn fields_of(definition: &str) -> BTreeMap<String, String> {
    let body = without_attributes(definition);
    let inner = body.split_once('{').map_or("", |(_, inner)| inner);
    let fields = parts(inner.trim_end_matches('}'));
    let named = fields.iter().filter_map(|field| {
        let (name, of) = field.trim().split_once(": ")?;
        Some((name.to_owned(), of.trim().trim_end_matches(',').to_owned()))
    });
    named.collect()
}

/// The table of types, as it follows from the code: each with what is saved of it.
fn types() -> Vec<String> {
    let sources = sources();
    let definition = |here: &String, kind: &str, name: &str| {
        let found = std::iter::once(here).chain(&sources).find_map(|text| {
            let marks = [" ", "("].map(|after| format!("{kind} {name}{after}"));
            let at = marks.iter().find_map(|mark| {
                let at = text.match_indices(mark.as_str()).map(|(at, _)| at);
                at.into_iter().find(|&at| !text[..at].ends_with("saved!("))
            })?;
            Some(bracketed(text, at).to_owned())
        });
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let mut rows = Vec::new();
    for text in &sources {
        for (at, _) in text.match_indices("saved!(") {
            let call = in_line(bracketed(text, at));
            let Some(call) = call
                .strip_prefix("saved!(")
                .and_then(|c| c.strip_suffix(')'))
            else {
                continue;
            };
            let (kind, rest) = call.split_once(' ').unwrap_or((call, ""));
            let end = rest.find([' ', '(']).unwrap_or(rest.len());
            let (name, saved) = rest.split_at(end);
            if name.starts_with('$') || !matches!(kind, "struct" | "enum") {
                continue;
            }
            let saved = saved
                .trim()
                .trim_matches(|c| matches!(c, '{' | '}' | '(' | ')'))
                .trim();
            let definition = definition(text, kind, name);
            let saved = match (kind, definition.contains('{')) {
                ("struct", true) => {
                    let types = fields_of(&definition);
                    let fields = saved.split(", ").map(|field| {
                        let of = types.get(field);
                        let of = of.unwrap_or_else(|| panic!("{name}: {field} in {types:?}"));
                        format!("{field}: {of}")
                    });
                    fields.collect::<Vec<_>>().join(", ")
                }
                ("struct", false) => {
                    let of = in_line(&definition);
                    let of = of.split_once('(').unwrap().1.trim_end_matches(')');
                    format!("{saved}: {of}")
                }
                _ => {
                    let definition = without_attributes(&definition);
                    let kinds = parts(saved.trim_end_matches(','));
                    let kinds = kinds.iter().map(|saved| variant_of(saved, &definition));
                    kinds.collect::<Vec<_>>().join(", ")
                }
            };
            let saved = with_lengths(&saved, &sources);
            rows.push(format!("| `{name}` | {} |", saved.replace('|', "\\|")));
        }
    }
    rows.sort();
    rows
}

/// Each tag in the code.
fn tags() -> Vec<String> {
    let mut tags = Vec::new();
    for text in sources() {
        for (at, _) in text.match_indices(": Tag = *b\"") {
            let tag = &text[at + ": Tag = *b\"".len()..][..4];
            tags.push(format!("`{}`", tag.trim_end()));
        }
    }
    tags.sort();
    tags
}

#[test]
fn the_format_of_states_is_described_as_it_is() {
    let text = document("src/state/FORMAT.md");
    let rows = |heading: &str| -> Vec<&str> {
        let section = text.split_once(&format!("\n## {heading}\n")).unwrap().1;
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.collect()
    };
    let expected = types();
    assert!(rows("Types") == expected, "\n{}", expected.join("\n"));
    let mut described: Vec<_> = (rows("Records and fields").iter())
        .map(|row| {
            row.split(" | ")
                .next()
                .unwrap()
                .trim_start_matches("| ")
                .to_owned()
        })
        .collect();
    described.sort();
    assert_eq!(described, tags());
}
