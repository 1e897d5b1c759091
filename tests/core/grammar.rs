//! The grammar in PROTOCOL.md: the server takes what it describes, and sends nothing else.
//!
//! It is ABNF (RFC 5234, with RFC 7405's case-sensitive strings), which is read here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

use chinwag::link::Prefix;
use chinwag::link::payload::Payload;
use chinwag::link::topic::{self, Topic, TopicOf};
use chinwag::protocol::{Code, Command, Limits, Name, Request, Resume};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::dialogues::{CoreStage, limits};
use crate::script::sources::{blocks, document, documents, transcripts};
use crate::seeds::cases;

#[derive(Clone, Debug)]
enum Node {
    /// Bytes, in upper and lower case alike if that is true.
    Text(Vec<u8>, bool),
    Range(u8, u8),
    Rule(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat(usize, usize, Box<Node>),
}

static GRAMMAR: LazyLock<Grammar> = LazyLock::new(Grammar::of_the_document);

struct Grammar(HashMap<String, Node>);

impl Grammar {
    /// The one of PROTOCOL.md.
    fn of_the_document() -> Grammar {
        let blocks = blocks(&document("PROTOCOL.md"), "abnf");
        assert_eq!(blocks.len(), 5);
        let text: String = blocks.into_iter().map(|(_, text)| text).collect();
        let core = "ALPHA = %x41-5A / %x61-7A\nDIGIT = %x30-39\nHEXDIG = DIGIT / \"A\" / \"B\" / \
                    \"C\" / \"D\" / \"E\" / \"F\"\nHTAB = %x09\nSP = %x20\nCR = %x0D\nLF = %x0A\n\
                    CRLF = CR LF\n";
        let grammar = Grammar::parse(&format!("{core}{text}"));
        for rule in grammar.0.values() {
            grammar.check_names(rule);
        }
        grammar
    }

    fn parse(text: &str) -> Grammar {
        // A line that begins with a space goes on with the rule above.
        let mut rules: Vec<String> = Vec::new();
        for line in text.lines() {
            let line = without_remark(line);
            match line.starts_with(' ') {
                true => rules.last_mut().expect("a rule").push_str(line),
                false if line.is_empty() => {}
                false => rules.push(line.into()),
            }
        }
        let mut grammar = HashMap::new();
        for rule in rules {
            let (name, definition) = rule.split_once('=').expect(&rule);
            let name = name.trim().to_owned();
            let (adds, definition) = match definition.strip_prefix('/') {
                Some(rest) => (true, rest),
                None => (false, definition),
            };
            let mut rest = definition;
            let node = choice(&mut rest);
            assert_eq!(rest, "", "{rule}");
            let node = match grammar.remove(&name) {
                Some(before) => Node::Choice(vec![before, node]),
                None => node,
            };
            let is_new = matches!(&node, Node::Choice(nodes) if adds && nodes.len() == 2) || !adds;
            assert!(is_new, "{name} is defined twice, or not before");
            grammar.insert(name, node);
        }
        Grammar(grammar)
    }

    /// Checks that each rule that another names is there.
    fn check_names(&self, node: &Node) {
        match node {
            Node::Text(..) | Node::Range(..) => {}
            Node::Rule(name) => assert!(self.0.contains_key(name), "no rule {name}"),
            Node::Sequence(nodes) | Node::Choice(nodes) => {
                nodes.iter().for_each(|node| self.check_names(node));
            }
            Node::Repeat(_, _, node) => self.check_names(node),
        }
    }

    /// Whether all of `input` is what a rule describes.
    fn matches(&self, rule: &str, input: &[u8]) -> bool {
        let mut ends = Vec::new();
        self.ends(&self.0[rule], input, 0, &mut ends);
        ends.contains(&input.len())
    }

    /// Appends where what a node describes may end if it begins at `at`.
    fn ends(&self, node: &Node, input: &[u8], at: usize, ends: &mut Vec<usize>) {
        match node {
            Node::Text(text, any_case) => {
                let end = at + text.len();
                let is_found = input.get(at..end).is_some_and(|found| match any_case {
                    true => found.eq_ignore_ascii_case(text),
                    false => found == text,
                });
                ends.extend(is_found.then_some(end));
            }
            Node::Range(from, to) => {
                let is_found = input
                    .get(at)
                    .is_some_and(|byte| (from..=to).contains(&byte));
                ends.extend(is_found.then_some(at + 1));
            }
            Node::Rule(name) => self.ends(&self.0[name], input, at, ends),
            Node::Sequence(nodes) => {
                let reached = nodes
                    .iter()
                    .fold(vec![at], |from, node| self.all_ends(node, input, &from));
                ends.extend(reached);
            }
            Node::Choice(nodes) => {
                for node in nodes {
                    self.ends(node, input, at, ends);
                }
            }
            Node::Repeat(min, max, node) => {
                let mut found = BTreeSet::new();
                let mut newest = vec![at];
                for count in 0.. {
                    if count >= *min {
                        newest.retain(|&end| found.insert(end));
                    }
                    if count == *max || newest.is_empty() {
                        break;
                    }
                    newest = self.all_ends(node, input, &newest);
                }
                ends.extend(found);
            }
        }
    }

    fn all_ends(&self, node: &Node, input: &[u8], from: &[usize]) -> Vec<usize> {
        let mut ends = Vec::new();
        for &at in from {
            self.ends(node, input, at, &mut ends);
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }
}

/// A line of ABNF before its remark.
fn without_remark(line: &str) -> &str {
    let mut is_quoted = false;
    let end = line.find(|c| {
        is_quoted ^= c == '"';
        c == ';' && !is_quoted
    });
    line[..end.unwrap_or(line.len())].trim_end()
}

/// Reads alternatives off a text, up to its end or to a bracket that closes.
fn choice(rest: &mut &str) -> Node {
    let mut choices = vec![sequence(rest)];
    while let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        choices.push(sequence(rest));
    }
    match choices.len() {
        1 => choices.remove(0),
        _ => Node::Choice(choices),
    }
}

fn sequence(rest: &mut &str) -> Node {
    let mut nodes = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() || rest.starts_with(['/', ')', ']']) {
            return Node::Sequence(nodes);
        }
        nodes.push(repetition(rest));
    }
}

/// Reads the first bytes of a text that fit.
fn take<'a>(rest: &mut &'a str, fits: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !fits(c)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken
}

fn repetition(rest: &mut &str) -> Node {
    let counts = take(rest, |c| c.is_ascii_digit() || c == '*');
    let node = element(rest);
    match counts.split_once('*') {
        None if counts.is_empty() => node,
        None => {
            let count = counts.parse().unwrap();
            Node::Repeat(count, count, Box::new(node))
        }
        Some((min, max)) => {
            let (min, max) = (min.parse().unwrap_or(0), max.parse().unwrap_or(usize::MAX));
            Node::Repeat(min, max, Box::new(node))
        }
    }
}

fn element(rest: &mut &str) -> Node {
    for (open, close) in [('(', ')'), ('[', ']')] {
        if let Some(after) = rest.strip_prefix(open) {
            *rest = after;
            let node = choice(rest);
            *rest = rest.strip_prefix(close).expect("a bracket that closes");
            return match open {
                '(' => node,
                _ => Node::Repeat(0, 1, Box::new(node)),
            };
        }
    }
    for (mark, any_case) in [("\"", true), ("%s\"", false)] {
        if let Some(after) = rest.strip_prefix(mark) {
            let (text, after) = after.split_once('"').expect("a quote that closes");
            *rest = after;
            return Node::Text(text.into(), any_case);
        }
    }
    if let Some(after) = rest.strip_prefix("%x") {
        *rest = after;
        let digits = take(rest, |c| c.is_ascii_hexdigit() || ".-".contains(c));
        let byte = |digits| u8::from_str_radix(digits, 16).expect("a byte");
        return match digits.split_once('-') {
            Some((from, to)) => Node::Range(byte(from), byte(to)),
            None => Node::Text(digits.split('.').map(byte).collect(), false),
        };
    }
    let name = take(rest, |c| c.is_ascii_alphanumeric() || c == '-');
    assert!(!name.is_empty(), "what is {rest:?}?");
    Node::Rule(name.into())
}

#[test]
fn abnf_is_understood() {
    let grammar = Grammar::parse(
        "a = 1*2b [ \"x;\" / %x79.7A ] *c ; a remark\n\
         b = %s\"B\"\n\
         c = 2d\n\
         c =/ \"-\"\n\
         d = %x30-39",
    );
    for (text, fits) in [
        ("B", true),
        ("BBx;", true),
        ("BX;", true),
        ("Byz", true),
        ("B12-34", true),
        ("", false),
        ("b", false),
        ("BBB", false),
        ("B1", false),
        ("Bxyz", false),
        ("BYZ", false),
    ] {
        assert_eq!(grammar.matches("a", text.as_bytes()), fits, "{text}");
    }
}

/// Checks that the server understands a line as the grammar does.
fn check_line(line: &[u8]) {
    let fits = GRAMMAR.matches("line", line);
    let request = Request::read(line, &Limits::default());
    // What values an option takes, and which text can be seen, is in sentences.
    let may_fit = match &request {
        // A word that cannot be a token gets `unknown-session`, like a token that no session has.
        Request::Command(Command::Resume(Resume { token: None, .. })) => false,
        Request::Command(_) | Request::Empty => {
            assert!(fits, "the grammar lacks \"{}\"", line.escape_ascii());
            true
        }
        Request::Bad(error) => !matches!(error.code(), Code::BadCommand | Code::BadName),
        _ => false,
    };
    let shown = line.escape_ascii();
    assert!(may_fit || !fits, "the grammar has \"{shown}\": {request:?}");
}

/// The same for a line on the operator's socket.
fn check_order(line: &[u8]) {
    let fits = GRAMMAR.matches("order", line);
    let may_fit = match Request::read_of_operator(line, &Limits::default()) {
        Request::Command(_) | Request::Empty => {
            assert!(fits, "the grammar lacks \"{}\"", line.escape_ascii());
            true
        }
        Request::Bad(error) => !matches!(error.code(), Code::BadCommand | Code::BadName),
        _ => false,
    };
    assert!(
        may_fit || !fits,
        "the grammar has \"{}\"",
        line.escape_ascii()
    );
}

/// The replies in a stream with their bodies, and its other lines, up to where talk form begins or the
/// last line has no end.
fn units(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = stream.split_inclusive(|&byte| byte == b'\n');
    let mut units = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with(b"-- ") || !line.ends_with(b"\n") {
            break;
        }
        let mut unit = line.to_vec();
        let words: Vec<_> = line.splitn(4, |&byte| byte == b' ').collect();
        if let [
            b"OK",
            b"POLL" | b"WHO" | b"ROOMS" | b"STATS" | b"HELP" | b"SESSIONS",
            count,
            ..,
        ] = words[..]
        {
            let count = std::str::from_utf8(count).unwrap().trim_end();
            let body = lines.by_ref().take(count.parse().unwrap());
            unit.extend(body.flatten());
        }
        units.push(unit);
    }
    units
}

/// Takes telnet's answers out of what the server sends. It sends no other byte 255.
fn without_telnet(stream: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = stream.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            255 => _ = bytes.nth(1),
            byte => text.push(byte),
        }
    }
    text
}

#[test]
fn all_that_is_said_in_a_dialogue_is_in_the_grammar_and_no_line_is_too_long() {
    let (mut sent, mut received) = (0, HashSet::new());
    for script in transcripts().into_iter().chain(documents()) {
        let mut stage = CoreStage::new(&script);
        let limits = limits(&script);
        let overhead = if limits.is_linked { 96 } else { 71 };
        let line_bytes_max = 2051.max(limits.message_bytes_max + overhead);
        script.play(&mut stage).unwrap();
        for line in stage.ordered.split(|&byte| byte == b'\n') {
            check_order(line.strip_suffix(b"\r").unwrap_or(line));
        }
        for line in stage.sent.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // What erases, telnet's commands, and the mark before a first line are not in the line.
            let is_raw = |byte: &u8| [0x08, 0x15, 0x7f, 0xff].contains(byte);
            if line.len() <= 2048 && !line.iter().any(is_raw) && !line.starts_with(b"\xef\xbb\xbf")
            {
                check_line(line);
                sent += 1;
            }
        }
        for (who, stream) in &stage.received {
            for unit in units(&without_telnet(stream)) {
                if received.contains(&unit) {
                    continue;
                }
                let kinds = ["hello", "reply", "event", "notice", "bye"];
                let fits = kinds.iter().any(|rule| GRAMMAR.matches(rule, &unit));
                let shown = unit.escape_ascii();
                assert!(fits, "{}: {who} received \"{shown}\"", script.name);
                let mut lines = unit.split(|&byte| byte == b'\n');
                let is_short = lines.all(|line| line.len() <= line_bytes_max + 1);
                assert!(is_short, "{}: {who} received \"{shown}\"", script.name);
                received.insert(unit);
            }
        }
    }
    let received = received.len();
    assert!(sent > 1000 && received > 1000, "{sent} {received}");
}

/// Each kind of topic, with the rule of what is said there.
fn topics() -> [(Topic, &'static str); 5] {
    let room = Name::parse("kitchen").unwrap();
    [
        (Topic::Events { room }, "on-e"),
        (Topic::Digests { room }, "on-d"),
        (Topic::Here, "on-here"),
        (Topic::Gone, "on-gone"),
        (Topic::Wants, "on-w"),
    ]
}

#[test]
fn topics_are_in_the_grammar() {
    for prefix in ["chinwag", "a/b-c/_d"] {
        let prefix = &Prefix::parse(prefix).unwrap();
        let name = Name::parse("Attic").unwrap();
        for (topic, _) in topics() {
            let written = TopicOf {
                prefix,
                name,
                topic,
            }
            .to_string();
            assert!(GRAMMAR.matches("topic", written.as_bytes()), "{written}");
        }
    }
    let prefix = Prefix::default();
    for topic in [
        "chinwag/attic",
        "chinwag/attic/e",
        "chinwag/attic/e/",
        "chinwag/attic/x/kitchen",
        "chinwag/attic/W",
        "chinwag//w",
        "/chinwag/attic/w",
        "chinwag/at+tic/w",
        "chinwag/_attic/w",
    ] {
        assert_eq!(topic::read(&prefix, topic), None, "{topic}");
        assert!(!GRAMMAR.matches("topic", topic.as_bytes()), "{topic}");
    }
}

/// Checks what a box makes of a line on every topic: it takes none that the grammar does not have there.
fn check_payload(line: &str) {
    for (topic, rule) in topics() {
        if let Some(payload) = Payload::read(topic, line.as_bytes()) {
            let fits = |line: &str| GRAMMAR.matches(rule, line.as_bytes());
            assert!(fits(line), "the grammar lacks {line:?}");
            let written = payload.to_string();
            assert!(fits(&written), "the grammar lacks {written:?}");
        }
    }
}

#[test]
fn a_box_takes_what_the_grammar_of_payloads_has() {
    let id = "5f2ce1a09b34d7c8/1/17";
    for (rule, line) in [
        ("on-e", format!("MSG {id} 1763800000000 ann Nearly.")),
        ("on-e", format!("JOINED {id} 1763800000000 ann pull more")),
        ("on-e", format!("LEFT {id} 1763800000000 ann slow")),
        ("on-e", "SAY boiler It is 19 degrees.".into()),
        (
            "on-d",
            format!("DIGEST {id} 3 2 0123456789abcdef 10 more words"),
        ),
        ("on-d", format!("FREED {id}")),
        (
            "on-d",
            format!("MEMBERS {id} 0123456789abcdef 1 1 ann bob/pull"),
        ),
        ("on-d", format!("MEMBERS {id} 0123456789abcdef 1 1")),
        ("on-here", "HERE 5f2ce1a09b34d7c8".into()),
        ("on-gone", "GONE 5f2ce1a09b34d7c8".into()),
        ("on-w", "CLAIM 5f2ce1a09b34d7c8".into()),
        ("on-w", format!("WANT kitchen {id} 20")),
        ("on-w", "LIST kitchen 5f2ce1a09b34d7c8/1".into()),
    ] {
        check_payload(&line);
        for (topic, found) in topics() {
            let taken = Payload::read(topic, line.as_bytes()).is_some();
            assert_eq!(taken, rule == found, "{line}");
            let fits = GRAMMAR.matches(found, line.as_bytes());
            assert_eq!(fits, rule == found, "{line}");
        }
    }
}

/// Pieces of payloads.
const PAYLOAD_PIECES: &[&str] = &[
    "MSG",
    "JOINED",
    "LEFT",
    "SAY",
    "DIGEST",
    "FREED",
    "MEMBERS",
    "HERE",
    "GONE",
    "CLAIM",
    "WANT",
    "LIST",
    "msg",
    " ",
    "  ",
    "\t",
    "5f2ce1a09b34d7c8",
    "5F2CE1A09B34D7C8",
    "5f2ce1a09b34d7c8/1",
    "5f2ce1a09b34d7c8/1/17",
    "5f2ce1a09b34d7c8/1/0",
    "1",
    "2",
    "17",
    "20",
    "0",
    "-1",
    "4097",
    "1763800000000",
    "ann",
    "Ann",
    "bob/pull",
    "ann@attic",
    "kitchen",
    "push",
    "pull",
    "left",
    "slow",
    "crashed",
    "more=words",
    "\u{e9}",
    "\u{85}",
    "\u{200b}",
];

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn a_box_takes_no_payload_that_the_grammar_does_not_have(
        pieces in vec(select(PAYLOAD_PIECES.to_vec()), 1..9),
    ) {
        check_payload(&pieces.join(" "));
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn the_server_takes_the_lines_that_the_grammar_describes(
        pieces in vec(select(PIECES.to_vec()), 0..7),
        is_spaced in any::<bool>(),
    ) {
        let line = pieces.join(if is_spaced { " " } else { "" });
        check_line(line.as_bytes());
        check_order(line.as_bytes());
    }
}

const PIECES: &[&str] = &[
    "TALK",
    "JOIN",
    "resume",
    "Say",
    "POLL",
    "PING",
    "LEAVE",
    "DETACH",
    "who",
    "ROOMS",
    "STATS",
    "HELP",
    "QUIT",
    "SESSIONS",
    "end",
    "Tell-All",
    "after=den/ann",
    "after=den/",
    "after=/ann",
    " ",
    "  ",
    "\t",
    "ann",
    "b-_9",
    "_c",
    "d.",
    "abcdefghijklmnopqrstuvwx",
    "abcdefghijklmnopqrstuvwxy",
    "0123456789abcdef",
    "0123456789abcdef0123456789ABCDEF01234567",
    "room=",
    "room=den",
    "mode=push",
    "MODE=Pull",
    "mode=loud",
    "idle=5",
    "idle=-5",
    "alive=tcp",
    "alive=",
    "history=20",
    "after=1",
    "after=ann",
    "after=ann@attic",
    "after=ann@",
    "after=@attic",
    "ann@attic",
    "log=0123456789abcdef",
    "log=12",
    "quiet=yes",
    "quiet=no",
    "key=x",
    "key=\u{e9}\t",
    "max=7",
    "wait=3",
    "wait=99999999999999999999999",
    "=",
    "\u{e9}",
    "\u{10ffff}",
    "\u{85}",
    "\u{2028}",
    "\u{200b}",
];
