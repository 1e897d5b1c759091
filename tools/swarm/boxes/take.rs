//! What the servers' lines mean to each session.

use memchr::memchr;

use super::Swarm;
use super::event::Numbered;
use super::session::{Ask, Body, Role, Stage};
use crate::ledger::Checked;
use crate::line::{self, Line};

impl Swarm<'_> {
    /// Takes the whole lines of what a session has received; gives their length.
    pub(super) fn take(&mut self, index: usize, bytes: &[u8]) -> Checked<usize> {
        let mut at = 0;
        loop {
            at += self.take_known(index, &bytes[at..])?;
            let Some(len) = memchr(b'\n', &bytes[at..]) else {
                return Ok(at);
            };
            let whole = &bytes[at..=at + len];
            at += whole.len();
            self.take_line(index, whole)?;
        }
    }

    /// Takes from the beginning what others got before, which is nearly everything.
    fn take_known(&mut self, index: usize, bytes: &[u8]) -> Checked<usize> {
        let now_us = self.clock.now_us();
        let session = &mut self.sessions[index];
        let Role::Reader(reader) = &mut session.role else {
            return Ok(0);
        };
        let lines_max = match &session.body {
            Some(body) => body.lines,
            None if session.stage == Stage::Joined && !reader.is_pull => u64::MAX,
            None => return Ok(0),
        };
        let (len, lines) = self.ledger.take_known(reader, bytes, lines_max, now_us);
        self.end_lines(index, lines)?;
        Ok(len)
    }

    fn take_line(&mut self, index: usize, whole: &[u8]) -> Checked<()> {
        let strange = || format!("this is no line of the protocol: {:?}", line::shown(whole));
        let bare = whole.strip_suffix(b"\r\n").ok_or_else(strange)?;
        let session = &mut self.sessions[index];
        if Numbered::is_one(bare) {
            let now_us = self.clock.now_us();
            let is_asked = session.body.is_some();
            let Role::Reader(reader) = &mut session.role else {
                return Err(format!(
                    "it does not poll, and was sent {:?}",
                    line::shown(whole)
                ));
            };
            if reader.is_pull && !is_asked {
                return Err(format!(
                    "it did not poll, and was sent {:?}",
                    line::shown(whole)
                ));
            }
            self.ledger.take_event(reader, whole, now_us)?;
            return self.end_lines(index, u64::from(is_asked));
        }
        match Line::parse(bare).ok_or_else(strange)? {
            Line::Hello if session.stage == Stage::Connecting => {
                let word = |key: &[u8]| {
                    let found = line::field(bare, key).ok_or_else(strange)?;
                    std::str::from_utf8(found).map_err(|_| strange())
                };
                let (boot, name) = (word(b"boot=")?, word(b"link=")?);
                self.greeted(index, boot, name)
            }
            Line::Lost { count, next } => {
                let is_asked = session.body.is_some();
                if let Role::Reader(reader) = &mut session.role {
                    self.ledger.take_lost(reader, count, next)?;
                }
                self.end_lines(index, u64::from(is_asked))
            }
            Line::Ok(words) => self.take_reply(index, words),
            // Somebody has stopped the server, and may start it again.
            Line::Bye(words) if words.starts_with(b"shutdown ") => Ok(()),
            Line::Bye(words) => Err(format!(
                "the server said BYE {}; start it like this: {}",
                line::shown(words),
                self.plan.server()
            )),
            Line::Err(words) => {
                let ask = session.asks.front();
                let ask = ask.map_or("nothing".into(), |ask| format!("{ask:?}"));
                Err(format!("to {ask}, it said ERR {}", line::shown(words)))
            }
            _ => Ok(()),
        }
    }

    fn take_reply(&mut self, index: usize, words: &[u8]) -> Checked<()> {
        let session = &mut self.sessions[index];
        let strange = || {
            format!(
                "this is no reply to what it asked: OK {}",
                line::shown(words)
            )
        };
        let ask = session.asks.pop_front().ok_or_else(strange)?;
        let (verb, rest) = line::word(words);
        match (ask, verb) {
            (Ask::Join, b"JOIN") => {
                let token = line::field(rest, b"session=").ok_or_else(strange)?;
                let seq = line::field_number(rest, b"seq=").ok_or_else(strange)?;
                session.token = Some(line::shown(token));
                session.stage = Stage::Joined;
                self.ledger.joined(session.home, session.room, seq);
                if let Role::Reader(reader) = &mut session.role {
                    reader.next = seq;
                }
            }
            (Ask::Resume, b"RESUME") => {
                session.stage = Stage::Joined;
                if let Role::Sender(sender) = session.role {
                    let said = line::field_number(rest, b"said=").ok_or_else(strange)?;
                    self.ledger.resume(sender, said)?;
                }
            }
            (Ask::Say, b"SAY") => {
                let (seq, _) = line::number(rest).ok_or_else(strange)?;
                if let Role::Sender(sender) = session.role {
                    self.ledger.confirm(sender, seq)?;
                }
            }
            (Ask::Poll, b"POLL") => {
                let (lines, rest) = line::number(rest).ok_or_else(strange)?;
                let last = line::field_number(rest, b"last=").ok_or_else(strange)?;
                if line::field_number(rest, b"more=") > Some(0) {
                    session.due_us = 0;
                }
                session.body = Some(Body { lines, last });
                self.end_lines(index, 0)?;
            }
            _ => return Err(strange()),
        }
        Ok(())
    }

    /// Counts lines off the reply to a POLL, if one is under way.
    fn end_lines(&mut self, index: usize, lines: u64) -> Checked<()> {
        let session = &mut self.sessions[index];
        let (Role::Reader(reader), Some(body)) = (&session.role, &mut session.body) else {
            return Ok(());
        };
        body.lines -= lines;
        if body.lines > 0 {
            return Ok(());
        }
        let last = body.last;
        session.body = None;
        match reader.next == last + 1 {
            true => Ok(()),
            false => Err(format!(
                "the reply to POLL ended with event {}, and said last={last}",
                reader.next - 1
            )),
        }
    }
}
