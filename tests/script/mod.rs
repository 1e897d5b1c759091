//! Dialogues as text: what each client sends and receives, and how time passes.
//!
//! A script is played step by step, against the core or over TCP:
//!
//! ```text
//! $ chinwag --idle 5      the server's options; only as the first line
//! key ann open-sesame     ann has this key, and the server keys; later: from now on
//! no key ann bob          from now on these have no key
//! ann> SAY hi             ann sends a line; her first mention connects her
//! ann< OK SAY 2 <ms>      ann receives exactly this line next
//! ann>> "\xff\xf4"        ann sends these bytes
//! ann<< "\xff\xfc\x06"    ann receives exactly these bytes next
//! operator> STATS         a client whose name begins like this is on the socket of --admin
//! ann ends                ann ends her side of the stream
//! ann hangs up            ann's connection goes away
//! ann closed              the server has closed ann's connection
//! +30s, +500ms            time passes
//! stopped 90s             time passes and the server is stopped meanwhile
//! ann stalls at 100       ann's connection takes 100 bytes more and then nothing
//! ann reads on            ann's connection takes everything again
//! link up                 the broker accepts the server's connection, and the server has its name
//! link down               the connection to the broker breaks
//! cellar says e/den SAY a b   under its topic e/den, the box cellar publishes this
//! box says e/den MSG <...>    under its topic e/den, the server publishes this next; of other kinds and
//!                         topics it may have published something before
//! # a remark
//! ```
//!
//! In a line that is received `<word>` stands for one word, the same wherever it is named again,
//! `<ms>` for any number of 13 digits, and `<...>` for the rest of the line. A number of 13 digits
//! stands for any such number, and `17:32` for any time of day. 40 hexadecimal digits stand for a token, and 16 for a life of a log
//! or of the server, the same wherever they are named again; `log=<...>` stands for any. A connection's HELLO is passed over unless it is what the script receives
//! first. At the end, nobody may have received anything that the script does not show.

pub mod sources;

use std::collections::{BTreeMap, HashMap};

use chinwag::chat::keys::KeyHash;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Send(String, Vec<u8>),
    SendLine(String, String),
    Receive(String, Vec<u8>),
    ReceiveLine(String, String),
    Ends(String),
    HangsUp(String),
    Closed(String),
    Advance(u64),
    Stopped(u64),
    Stalls(String, usize),
    ReadsOn(String),
    /// The server reads a users file with this text.
    Users(String),
    LinkUp,
    LinkDown,
    /// Another box publishes a payload under a topic.
    Publish(String, String),
    /// The server publishes a payload like this under a topic.
    Published(String, String),
}

/// Whether a client is the operator, on the socket of `--admin`.
pub fn is_operator(who: &str) -> bool {
    who.starts_with("operator")
}

#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub args: Vec<String>,
    /// The text of the users file that the server starts with, if any.
    pub users: Option<String>,
    /// The steps with their line numbers.
    pub steps: Vec<(usize, Op)>,
}

impl Script {
    /// Reads a script; `first_line` is the number of its first line in the file `name`.
    pub fn parse(name: &str, first_line: usize, text: &str) -> Script {
        let mut script = Script {
            name: format!("{name}:{first_line}"),
            args: Vec::new(),
            users: None,
            steps: Vec::new(),
        };
        let mut keys = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let number = first_line + index;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(args) = line.strip_prefix("$ chinwag") {
                assert!(
                    script.steps.is_empty(),
                    "{name}:{number}: options come first"
                );
                script.args = args.split_whitespace().map(Into::into).collect();
                continue;
            }
            if let Some(users) = parse_key(line, &mut keys) {
                match script.steps.is_empty() {
                    true => script.users = Some(users),
                    false => script.steps.push((number, Op::Users(users))),
                }
                continue;
            }
            let op = parse_op(line).unwrap_or_else(|| panic!("{name}:{number}: what is `{line}`?"));
            script.steps.push((number, op));
        }
        script
    }

    /// Plays the script.
    pub fn play(&self, stage: &mut impl Stage) -> Result<(), String> {
        let mut play = Play {
            stage,
            names: HashMap::new(),
            skip_hello: HashMap::new(),
        };
        for (index, (number, op)) in self.steps.iter().enumerate() {
            play.step(op, &self.steps[index..])
                .map_err(|error| format!("{}, line {number}: {error}", self.name))?;
        }
        play.rest()
            .map_err(|error| format!("{}: {error}", self.name))
    }
}

/// Reads a line that gives or takes a key; returns the text of the users file from then on.
fn parse_key(line: &str, keys: &mut BTreeMap<String, KeyHash>) -> Option<String> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        ["key", name, key] => _ = keys.insert(name.into(), KeyHash::of(key)),
        ["no", "key", ref names @ ..] => keys.retain(|name, _| !names.contains(&name.as_str())),
        _ => return None,
    }
    let lines = keys.iter().map(|(name, hash)| format!("{name}:{hash}\n"));
    Some(lines.collect())
}

fn parse_op(line: &str) -> Option<Op> {
    if let Some(time) = line.strip_prefix('+') {
        return millis(time).map(Op::Advance);
    }
    if let Some(time) = line.strip_prefix("stopped ") {
        return millis(time).map(Op::Stopped);
    }
    match line {
        "link up" => return Some(Op::LinkUp),
        "link down" => return Some(Op::LinkDown),
        _ => {}
    }
    let end = line.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (who, rest) = line.split_at(end);
    if let Some(said) = rest.strip_prefix(" says ") {
        let (topic, payload) = said.split_once(' ')?;
        let payload = payload.to_owned();
        return Some(match who {
            "box" => Op::Published(topic.into(), payload),
            // What it wants of another box stands under that one's name.
            _ if topic.ends_with("/w") => Op::Publish(topic.into(), payload),
            _ => Op::Publish(format!("{who}/{topic}"), payload),
        });
    }
    let who = who.to_owned();
    let op = match rest {
        " ends" => Op::Ends(who),
        " hangs up" => Op::HangsUp(who),
        " closed" => Op::Closed(who),
        " reads on" => Op::ReadsOn(who),
        ">" => Op::SendLine(who, String::new()),
        _ => {
            if let Some(bytes) = rest.strip_prefix(">> ") {
                Op::Send(who, unescape(bytes)?)
            } else if let Some(bytes) = rest.strip_prefix("<< ") {
                Op::Receive(who, unescape(bytes)?)
            } else if let Some(text) = rest.strip_prefix("> ") {
                Op::SendLine(who, text.into())
            } else if let Some(text) = rest.strip_prefix("< ") {
                Op::ReceiveLine(who, text.into())
            } else {
                let space = rest.strip_prefix(" stalls at ")?;
                Op::Stalls(who, space.parse().ok()?)
            }
        }
    };
    Some(op)
}

fn millis(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(ms) => ms.parse().ok(),
        None => text.strip_suffix('s')?.parse().ok().map(|s: u64| s * 1000),
    }
}

/// Bytes between quotes, with \n \r \t \0 \\ \" \xHH; `*N` behind the quotes repeats them.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let (quoted, times) = text.rsplit_once('"')?;
    let times = match times {
        "" => 1,
        times => times.strip_prefix('*')?.parse().ok()?,
    };
    let mut chars = quoted.strip_prefix('"')?.chars();
    let mut bytes = Vec::new();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend(c.to_string().bytes());
            continue;
        }
        bytes.push(match chars.next()? {
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            '0' => 0,
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                u8::from_str_radix(&digits, 16).ok()?
            }
            other => u8::try_from(other).ok()?,
        });
    }
    Some(bytes.repeat(times))
}

/// Where a script is played.
pub trait Stage {
    /// Connects a new client.
    fn connect(&mut self, who: &str);
    fn is_connected(&self, who: &str) -> bool;
    fn send(&mut self, who: &str, bytes: &[u8]);
    /// The next `len` bytes, or all up to the next LF and with it if that is `None`. The error is
    /// what came instead.
    fn receive(&mut self, who: &str, len: Option<usize>) -> Result<Vec<u8>, Vec<u8>>;
    fn end(&mut self, who: &str);
    fn hang_up(&mut self, who: &str);
    /// Whether the server has closed the connection, and everything it sent was received.
    fn is_closed(&mut self, who: &str) -> bool;
    /// Makes the server read a users file of this text.
    fn set_users(&mut self, text: &str);
    /// Steps that need the core's world.
    fn world(&mut self, op: &Op);
    /// What the server has published, with the topic in front, from the first that begins like this on;
    /// it is not returned again. Topics are without the prefix, and the server's own without its name.
    fn published(&mut self, beginning: &str) -> Option<String>;
    /// The clients that have not received everything that the server is known to have sent.
    fn unread(&mut self) -> Vec<(String, Vec<u8>)>;
}

struct Play<'a, S> {
    stage: &'a mut S,
    names: HashMap<String, String>,
    skip_hello: HashMap<String, bool>,
}

impl<S: Stage> Play<'_, S> {
    fn step(&mut self, op: &Op, rest: &[(usize, Op)]) -> Result<(), String> {
        if let Some(who) = who(op) {
            if !self.stage.is_connected(who) {
                let first = rest.iter().find_map(|(_, op)| match op {
                    Op::ReceiveLine(whom, text) if whom == who => Some(text.starts_with("HELLO")),
                    Op::Receive(whom, _) if whom == who => Some(false),
                    _ => None,
                });
                self.skip_hello.insert(who.into(), first != Some(true));
                self.stage.connect(who);
            }
        }
        match op {
            Op::SendLine(who, text) => {
                let line = self.fill_in(text)? + "\r\n";
                self.stage.send(who, line.as_bytes());
            }
            Op::Send(who, bytes) => self.stage.send(who, bytes),
            Op::ReceiveLine(who, expected) => {
                self.pass_over_hello(who)?;
                let line = self.line(who)?;
                self.compare(expected, &line)?;
            }
            Op::Receive(who, expected) => {
                self.pass_over_hello(who)?;
                let bytes = self.stage.receive(who, Some(expected.len()));
                if bytes.as_ref() != Ok(expected) {
                    return Err(format!("received {}", show(bytes)));
                }
            }
            Op::Ends(who) => self.stage.end(who),
            Op::Users(text) => self.stage.set_users(text),
            Op::HangsUp(who) => self.stage.hang_up(who),
            Op::Closed(who) => {
                self.pass_over_hello(who)?;
                if !self.stage.is_closed(who) {
                    return Err(format!(
                        "not closed; next is {}",
                        show(self.stage.receive(who, None))
                    ));
                }
            }
            Op::Publish(topic, payload) => {
                let payload = self.fill_in(payload)?;
                self.stage.world(&Op::Publish(topic.clone(), payload));
            }
            Op::Published(topic, payload) => {
                let kind = payload.split(' ').next().unwrap_or_default();
                let found = self.stage.published(&format!("{topic} {kind} "));
                let found = found.ok_or_else(|| format!("the server has said no {kind}"))?;
                self.compare(&format!("{topic} {payload}"), &found)?;
            }
            Op::Advance(_)
            | Op::Stopped(_)
            | Op::Stalls(..)
            | Op::ReadsOn(_)
            | Op::LinkUp
            | Op::LinkDown => self.stage.world(op),
        }
        Ok(())
    }

    /// Checks that nobody has received anything that the script does not show.
    fn rest(&mut self) -> Result<(), String> {
        let who: Vec<_> = self.skip_hello.keys().cloned().collect();
        for who in who {
            // A client that hung up at once may not have received a HELLO.
            let _ = self.pass_over_hello(&who);
        }
        match self.stage.unread().first() {
            None => Ok(()),
            Some((who, bytes)) => Err(format!(
                "at the end {who} was also sent {}",
                show(Ok(bytes.clone()))
            )),
        }
    }

    fn pass_over_hello(&mut self, who: &str) -> Result<(), String> {
        if self.skip_hello.get(who) == Some(&true) {
            self.skip_hello.insert(who.into(), false);
            let line = self.line(who)?;
            if !line.starts_with("HELLO chinwag/") {
                return Err(format!("no HELLO but `{line}`"));
            }
        }
        Ok(())
    }

    fn line(&mut self, who: &str) -> Result<String, String> {
        let bytes = self.stage.receive(who, None);
        let text = bytes
            .as_ref()
            .ok()
            .and_then(|b| std::str::from_utf8(b).ok());
        match text.and_then(|text| text.strip_suffix("\r\n")) {
            Some(line) => Ok(line.into()),
            None => Err(format!("no line but {}", show(bytes))),
        }
    }

    /// Replaces the names in a line to be sent by what they stand for.
    fn fill_in(&self, text: &str) -> Result<String, String> {
        let words = text.split(' ').map(|word| {
            let (before, name, after) = split_name(word);
            match name {
                Some(name) if is_id(name) => {
                    let value = self.names.get(name).map_or(name, |v| v);
                    Ok(format!("{before}{value}{after}"))
                }
                Some(name) => match self.names.get(name) {
                    Some(value) => Ok(format!("{before}{value}{after}")),
                    None => Err(format!("nothing was named {name}")),
                },
                None => Ok(word.to_owned()),
            }
        });
        words
            .collect::<Result<Vec<_>, _>>()
            .map(|words| words.join(" "))
    }

    fn compare(&mut self, expected: &str, line: &str) -> Result<(), String> {
        let differ = || format!("expected `{expected}`, received `{line}`");
        let mut words = line.split(' ');
        // What people see has names in angle brackets of its own.
        let is_talk = expected.split(' ').next().is_some_and(is_clock);
        for pattern in expected.split(' ') {
            if pattern == "<...>" {
                return Ok(());
            }
            let word = words.next().ok_or_else(differ)?;
            let (before, name, after) = split_name(pattern);
            let Some(name) = name.filter(|_| !is_talk) else {
                let is_time = |is: fn(&str) -> bool| is(pattern) && is(word);
                if word != pattern && !is_time(is_millis) && !is_time(is_clock) {
                    return Err(differ());
                }
                continue;
            };
            let value = word
                .strip_prefix(before)
                .and_then(|word| word.strip_suffix(after))
                .ok_or_else(differ)?;
            let fits = match name {
                "ms" => is_millis(value),
                "..." => true,
                name => {
                    let known = self
                        .names
                        .entry(name.into())
                        .or_insert_with(|| value.into());
                    known == value && (!is_id(name) || is_id(value) && name.len() == value.len())
                }
            };
            if !fits {
                return Err(differ());
            }
        }
        match words.next() {
            None => Ok(()),
            Some(_) => Err(differ()),
        }
    }
}

fn who(op: &Op) -> Option<&str> {
    match op {
        Op::Send(who, _)
        | Op::SendLine(who, _)
        | Op::Receive(who, _)
        | Op::ReceiveLine(who, _)
        | Op::Ends(who)
        | Op::HangsUp(who)
        | Op::Closed(who)
        | Op::Stalls(who, _)
        | Op::ReadsOn(who) => Some(who),
        Op::Advance(_)
        | Op::Stopped(_)
        | Op::Users(_)
        | Op::LinkUp
        | Op::LinkDown
        | Op::Publish(..)
        | Op::Published(..) => None,
    }
}

/// Splits a word around the name in it: `session=<ann>`, or a token.
fn split_name(word: &str) -> (&str, Option<&str>, &str) {
    if let Some((before, rest)) = word.split_once('<') {
        if let Some((name, after)) = rest.split_once('>') {
            return (before, Some(name), after);
        }
    }
    let value = word.rsplit_once('=').map_or(word, |(_, value)| value);
    // Something may follow it: `boot/log/number`.
    let (id, _) = value.split_once('/').unwrap_or((value, ""));
    if is_id(id) {
        let before = word.len() - value.len();
        return (&word[..before], Some(id), &word[before + id.len()..]);
    }
    (word, None, "")
}

/// Whether a word is a token or the number of a life.
fn is_id(word: &str) -> bool {
    [16, 40].contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_millis(word: &str) -> bool {
    word.len() == 13 && word.bytes().all(|b| b.is_ascii_digit())
}

/// Whether a word is a time of day.
fn is_clock(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    word.len() == 5 && digits == 4 && word.as_bytes()[2] == b':'
}

fn show(bytes: Result<Vec<u8>, Vec<u8>>) -> String {
    match bytes {
        Ok(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Err(bytes) if bytes.is_empty() => "nothing".into(),
        Err(bytes) => format!("only \"{}\"", bytes.escape_ascii()),
    }
}
