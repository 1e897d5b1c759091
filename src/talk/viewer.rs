//! How the events of a room are shown to one person.

use super::wrap::wrap;
use crate::plural::count;
use crate::protocol::{Event, LeaveReason, Name, Numbered};
use crate::state::saved;
use crate::time::{Day, LocalTime, Zone};

/// A member's message that begins with this is shown as what they do.
const ACTION: &str = "/me ";
/// What `17:32 ` takes.
const CLOCK_COLUMNS: usize = 6;

/// Local time, for many events after each other. Asking the zone takes a while, and it changes only
/// at quarters of an hour.
#[derive(Clone, Copy, Debug)]
pub struct LocalClock {
    zone: Zone,
    /// The quarter of an hour that was asked about last.
    quarter: u64,
    /// By how much local time is ahead of UTC in it.
    ahead_s: i32,
}

impl LocalClock {
    /// A clock that shows the time of a zone.
    pub fn new(zone: Zone) -> LocalClock {
        LocalClock {
            zone,
            quarter: 0,
            ahead_s: (zone.0)(0),
        }
    }

    /// The local time at a moment, in milliseconds since 1970-01-01 UTC.
    pub fn at(&mut self, unix_ms: u64) -> LocalTime {
        const QUARTER_S: u64 = 15 * 60;
        let unix_s = unix_ms / 1000;
        let quarter = unix_s / QUARTER_S;
        if quarter != self.quarter {
            (self.quarter, self.ahead_s) = (quarter, (self.zone.0)(unix_s));
        }
        LocalTime::of(unix_s, self.ahead_s)
    }
}

/// What decides how the next event is shown to a person.
#[derive(Clone, Copy, Debug)]
pub struct Viewer {
    /// From this number on, what was said under the person's name was typed on this connection, and
    /// stands on the person's screen already.
    own_from: u64,
    /// The number behind the newest event that the person has caused on this connection.
    own_to: u64,
    /// The day of what was shown last.
    pub day: Day,
    /// How wide the person's window is.
    pub columns: u16,
}

impl Viewer {
    /// Someone who comes on a day, when the room's next event will be number `next`, with a window of
    /// `columns`.
    pub fn new(next: u64, today: Day, columns: u16) -> Viewer {
        Viewer {
            own_from: next,
            own_to: next,
            day: today,
            columns,
        }
    }

    /// The same person, who wants to see everything, with its date.
    pub fn who_sees_all(self) -> Viewer {
        Viewer {
            own_from: u64::MAX,
            day: Day::NEVER,
            ..self
        }
    }

    /// Notes that the person has said event number `seq` on this connection.
    pub fn has_said(&mut self, seq: u64) {
        self.own_to = seq + 1;
    }

    /// Whether some event from number `seq` on may be the person's own.
    pub fn may_have_own(&self, seq: u64) -> bool {
        seq < self.own_to
    }

    /// Whether an event is not shown, because the person, who has this name in the room, has caused it
    /// on this connection.
    pub fn is_own(&self, own_name: Name, Numbered { seq, event, .. }: &Numbered<'_>) -> bool {
        match *event {
            Event::Msg { name, .. } => *seq >= self.own_from && name == own_name.into(),
            // It comes right before the connection gets the session.
            Event::Joined { name } => {
                *seq >= self.own_from.saturating_sub(1) && name == own_name.into()
            }
            Event::Left { .. }
            | Event::Split { .. }
            | Event::Healed { .. }
            | Event::Missed { .. } => false,
        }
    }

    /// Whether a viewer may be like that: a window has columns.
    pub fn is_sound(&self) -> bool {
        self.columns > 0
    }

    /// Appends an event as the person sees it: a line, and before it the date if that has changed.
    pub fn show(&mut self, numbered: &Numbered<'_>, clock: &mut LocalClock, out: &mut Vec<u8>) {
        let local = clock.at(numbered.unix_ms);
        if local.day != self.day {
            self.day = local.day;
            super::shown::line(out, format_args!("-- {}", local.day));
        }
        let digit = |number: u16| b'0' + number as u8;
        let (hour, minute) = (local.minute / 60, local.minute % 60);
        out.extend_from_slice(&[
            digit(hour / 10),
            digit(hour % 10),
            b':',
            digit(minute / 10),
            digit(minute % 10),
            b' ',
        ]);
        let (before, name, behind, text) = match numbered.event {
            Event::Msg { name, text } => match action(text) {
                Some(action) => ("* ", name, " ", action),
                None => ("<", name, "> ", text),
            },
            Event::Joined { name } => ("-- ", name, " came", ""),
            Event::Left { name, reason } => ("-- ", name, left(reason), ""),
            Event::Split { .. } | Event::Healed { .. } | Event::Missed { .. } => {
                return show_link(&numbered.event, out);
            }
        };
        let beginning = out.len();
        for part in [before, name.name.as_str()] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(at) = name.at {
            out.push(b'@');
            out.extend_from_slice(at.as_str().as_bytes());
        }
        out.extend_from_slice(behind.as_bytes());
        let used = CLOCK_COLUMNS + out.len() - beginning;
        wrap(text, used, self.columns, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends what happened to the link to another box, behind the time.
fn show_link(event: &Event<'_>, out: &mut Vec<u8>) {
    use super::shown::line;
    match *event {
        Event::Split { at, members } => {
            let members = count(members, "member");
            line(
                out,
                format_args!("-- the link to {at} is down ({members} away)"),
            );
        }
        Event::Healed { at, members } => {
            let members = count(members, "member");
            line(out, format_args!("-- the link to {at} is up ({members})"));
        }
        Event::Missed { at, count: 1 } => {
            line(out, format_args!("-- one event from {at} is lost"));
        }
        Event::Missed { at, count } => {
            line(out, format_args!("-- {count} events from {at} are lost"));
        }
        Event::Msg { .. } | Event::Joined { .. } | Event::Left { .. } => {}
    }
}

/// What a message says that somebody does.
fn action(text: &str) -> Option<&str> {
    let (beginning, action) = text.split_at_checked(ACTION.len())?;
    let is_action = beginning.eq_ignore_ascii_case(ACTION) && !action.trim().is_empty();
    is_action.then_some(action)
}

fn left(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::Left | LeaveReason::Quit => " left",
        LeaveReason::Expired => " timed out",
        LeaveReason::Slow => " left: read nothing for too long",
        LeaveReason::Replaced => " left: the name was taken back",
        LeaveReason::Ended => " left: the operator ended it",
        LeaveReason::Crashed => " left: the server crashed",
    }
}

saved!(struct Viewer { own_from, own_to, day, columns });
