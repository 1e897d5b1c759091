//! How the server shows people what it says, apart from events.
//!
//! Each line begins with `-- `. A line of a member's begins with the time and the member's name, so
//! nobody's text can look like the server's.

use std::fmt::{self, Write};

use crate::plural::plural;
use crate::protocol::{
    Bye, Code, Earlier, Entered, Error, Listing, Output, Presence, Reach, Reply, TakenUntil,
};

/// Columns that fit on every terminal.
const COLUMNS: usize = 78;

/// What /help shows.
const HELP: &str = "\
-- type a line to say it; a line that begins with / is a command:
--   /me waves      say what you do
--   /who           who is here
--   /rooms         which rooms there are
--   /room kitchen  go to another room
--   /again 50      show the last 50 events once more
--   /edit          with telnet: arrow keys, history, and your line stays
--                  whole while others speak; /edit off ends it
--   //me           say a line that begins with /
--   /quit          leave
";

/// Appends a line with its end.
pub(super) fn line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = Text(out).write_fmt(text);
    out.extend_from_slice(b"\r\n");
}

/// A span of time, in seconds, roughly.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s @ 0..120 => write!(f, "{s} s"),
            s @ 120..7200 => write!(f, "{} min", s / 60),
            s => write!(f, "{} h", s / 3600),
        }
    }
}

/// Lets the `write!` family append to a buffer of bytes.
struct Text<'a>(&'a mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Appends an output as people see it.
pub(super) fn write(output: &Output<'_>, out: &mut Vec<u8>) {
    match *output {
        Output::Reply(reply) => write_reply(reply, out),
        Output::Error(error) => write_error(error, out),
        Output::Member {
            name,
            presence: Presence::Attached,
            ..
        } => add_to_list(out, format_args!("{name}")),
        Output::Member {
            name,
            presence: Presence::Detached,
            silent_s,
            ..
        } => add_to_list(out, format_args!("{name} (away {})", Span(silent_s))),
        Output::RemoteMember {
            name,
            reach: Reach::Linked,
            ..
        } => add_to_list(out, format_args!("{name}")),
        Output::RemoteMember {
            name,
            reach: Reach::Away,
            since_s,
            ..
        } => add_to_list(out, format_args!("{name} (away {})", Span(since_s))),
        Output::Room { name, members, .. } => add_to_list(out, format_args!("{name} ({members})")),
        Output::Lost { count: 1, .. } => line(
            out,
            format_args!("-- one event was gone before you could get it"),
        ),
        Output::Lost { count, .. } => line(
            out,
            format_args!("-- {count} events were gone before you could get them"),
        ),
        Output::Gap { .. } => line(
            out,
            format_args!("-- the server crashed here; what was said just before may be missing"),
        ),
        Output::Alive => line(out, format_args!("-- the server is here")),
        Output::Bye(Bye::Quit) => line(out, format_args!("-- goodbye")),
        Output::Bye(Bye::Replaced) => line(
            out,
            format_args!(
                "-- goodbye: you are here on another connection now, or your key has changed"
            ),
        ),
        Output::Bye(bye) => line(out, format_args!("-- goodbye: {}", bye.text())),
        Output::Hello { .. }
        | Output::Version
        | Output::Stat { .. }
        | Output::Help(_)
        | Output::Session { .. }
        | Output::Expiring { .. }
        | Output::Notice(_)
        | Output::Event(_) => {
            unreachable!("talk form has no command for it, no need, or another way to show it")
        }
    }
}

/// Appends an error. Where its usual text names commands of programs, a person gets another.
fn write_error(error: &Error, out: &mut Vec<u8>) {
    match error {
        Error::NameTaken {
            until: TakenUntil::Detached { left_s },
            ..
        } => line(
            out,
            format_args!(
                "-- somebody there has your name, so you stay here; if it was you, try again in {left_s} s"
            ),
        ),
        Error::NameTaken { .. } => line(
            out,
            format_args!("-- somebody there has your name, so you stay here"),
        ),
        error if error.code() == Code::Full => line(
            out,
            format_args!(
                "-- the server is too full for that, so you stay here; /rooms lists rooms"
            ),
        ),
        _ => line(out, format_args!("-- {error}")),
    }
}

fn write_reply(reply: &Reply<'_>, out: &mut Vec<u8>) {
    match reply {
        Reply::Entered(entered) => write_entered(entered, out),
        Reply::Again { events } => {
            match events.lines() {
                0 => line(out, format_args!("-- there is nothing to show")),
                1 => line(out, format_args!("-- the last event:")),
                count => line(out, format_args!("-- the last {count} events:")),
            }
            out.extend_from_slice(events.text());
        }
        Reply::Who { members, more, .. } => {
            let count = members.lines() + more;
            let s = plural(count);
            write_list(format_args!("{count} member{s}"), members, *more, out);
        }
        Reply::Rooms { rooms, more } => {
            let count = rooms.lines() + more;
            let s = plural(count);
            write_list(format_args!("{count} room{s}"), rooms, *more, out);
        }
        Reply::Help => HELP
            .lines()
            .for_each(|text| line(out, format_args!("{text}"))),
        // What one has said stands on one's screen, and the BYE says the rest.
        Reply::Said { .. } | Reply::Quit => {}
        Reply::Joined { .. }
        | Reply::Resumed { .. }
        | Reply::Polled { .. }
        | Reply::Pong { .. }
        | Reply::Left
        | Reply::Detached
        | Reply::Stats { .. }
        | Reply::Sessions { .. }
        | Reply::Ended
        | Reply::Telling { .. }
        | Reply::OperatorHelp => unreachable!("talk form has no command with this reply"),
    }
}

fn write_entered(entered: &Entered, out: &mut Vec<u8>) {
    let Entered {
        name,
        room,
        others,
        more,
        missed,
        earlier,
    } = entered;
    match missed {
        None => line(
            out,
            format_args!("-- you are {name} in {room}; /help helps"),
        ),
        Some(0) => line(
            out,
            format_args!("-- welcome back, {name} in {room}; nothing has happened since"),
        ),
        Some(missed) => {
            let s = plural(*missed);
            line(
                out,
                format_args!(
                    "-- welcome back, {name} in {room}: {missed} event{s} while you were away"
                ),
            );
        }
    }
    match others.lines() {
        0 => line(out, format_args!("-- nobody else is here")),
        _ => {
            out.extend_from_slice(b"-- here:");
            out.extend_from_slice(others.text());
            end_list(*more, out);
        }
    }
    if let Some(Earlier { shown, held }) = earlier {
        line(
            out,
            format_args!("-- the last {shown} of {held} events; /again {held} shows more"),
        );
    }
}

/// Appends a list under a heading.
fn write_list(heading: fmt::Arguments<'_>, list: &Listing, more: u64, out: &mut Vec<u8>) {
    line(out, format_args!("-- {heading}:"));
    if list.lines() > 0 || more > 0 {
        out.extend_from_slice(b"--  ");
        out.extend_from_slice(list.text());
        end_list(more, out);
    }
}

fn end_list(more: u64, out: &mut Vec<u8>) {
    if more == 0 {
        return out.extend_from_slice(b"\r\n");
    }
    let start = out.len();
    let _ = write!(Text(out), " and {more} more");
    if out.len() - line_start(out) > COLUMNS {
        begin_line(start, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an item to a list that goes on over several lines. What the list begins with is written
/// later, and has eight columns.
fn add_to_list(out: &mut Vec<u8>, item: fmt::Arguments<'_>) {
    let start = out.len();
    let line_start = line_start(out);
    if start > 0 {
        out.push(b',');
    }
    let _ = write!(Text(out), " {item}");
    let columns = out.len() - line_start + if line_start == 0 { 8 } else { 0 };
    if start > 0 && columns > COLUMNS {
        begin_line(start + 1, out);
    }
}

/// Where the last line starts.
fn line_start(out: &[u8]) -> usize {
    let end = out.iter().rposition(|&byte| byte == b'\n');
    end.map_or(0, |end| end + 1)
}

/// Moves what a list has from `start` on to a line of its own.
fn begin_line(start: usize, out: &mut Vec<u8>) {
    let rest = out.split_off(start);
    out.extend_from_slice(b"\r\n--  ");
    out.extend_from_slice(&rest);
}
