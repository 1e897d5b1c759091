//! Answering what a client sends: at once, or after the output that it has to read first.

use super::Chat;
use super::caller::Caller;
use super::notice::Notice;
use super::owed::Owed;
use super::rate::Permit;
use crate::protocol::{
    Abuse, Bye, Code, Command, DENIALS_MAX, Deferred, ERRORS_MAX, Error, Output, Poll, Query,
    Reply, Request,
};
use crate::state::saved;
use crate::talk::Form;
use crate::time::Now;

/// How many rooms SESSIONS looks at in about the time that a line takes.
const ROOMS_PER_LINE: usize = 16;

/// A piece of a connection's input.
#[derive(Debug)]
pub struct Input<'a> {
    /// Its length.
    pub bytes: usize,
    /// Whether it only negotiates telnet options, which some clients do by themselves.
    pub is_negotiation: bool,
    /// Whether a line ends with it.
    pub ends_line: bool,
    /// The request that it completes, if it does.
    pub request: Option<Request<'a>>,
}

/// What the core made of an [`Input`].
#[derive(Debug)]
pub struct Answered {
    /// How many lines it counts as for the turn: its bytes, and how long the answer takes.
    pub lines: usize,
    /// What the hub has to do next.
    pub outcome: Outcome,
}

/// What the hub has to do after an answer.
#[derive(Debug)]
#[must_use = "a connection may have to be closed or written to"]
pub enum Outcome {
    /// Nothing.
    Done,
    /// Write the connection's output, then [carry out](Chat::carry_out) the command.
    Later(Pending),
    /// Close the connection once its client has the answer.
    Closes,
    /// Hand a notice to another connection, which has lost its session to this one.
    Replaced(Notice),
}

/// A command that waits until output has been written. This way a client gets its session's events
/// before it leaves, and a connection never has more than one long reply waiting.
#[derive(Debug)]
pub struct Pending(Deferred);

impl Chat {
    /// Counts a piece of input against its connection's rate, and answers the request in it. Appends the
    /// answer to `out`, the connection's output.
    pub fn answer(
        &mut self,
        caller: &mut Caller,
        permit: Permit,
        input: Input<'_>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Answered {
        if !input.is_negotiation {
            self.end_silence(caller, now);
        }
        let lines = self.count(permit, caller, input.bytes, input.ends_line, now)
            + input
                .request
                .as_ref()
                .map_or(0, |request| self.cost(request));
        let outcome = match input.request {
            None => Outcome::Done,
            Some(request) => match self.defer(caller, &request, out) {
                Some(pending) => Outcome::Later(pending),
                None => self.respond(caller, request, now, out),
            },
        };
        Answered { lines, outcome }
    }

    /// What a request costs besides its bytes, in lines. All but one cost little more than their replies.
    fn cost(&self, request: &Request<'_>) -> usize {
        match request {
            Request::Command(Command::Query(Query::Sessions { .. })) => {
                self.rooms.len() / ROOMS_PER_LINE
            }
            _ => 0,
        }
    }

    /// Carries out a command that has waited until output was written. If some output is left and the
    /// reply is long, the command waits on.
    pub fn carry_out(
        &mut self,
        caller: &mut Caller,
        pending: Pending,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if !out.is_empty() && self.has_long_reply(caller, &pending.0.into()) {
            return Outcome::Later(pending);
        }
        self.respond(caller, Request::Command(pending.0.into()), now, out)
    }

    /// Takes the command from a request if it has to wait until output has been written.
    fn defer(&mut self, caller: &Caller, request: &Request<'_>, out: &[u8]) -> Option<Pending> {
        let Request::Command(command) = request else {
            return None;
        };
        let command = command.after_output()?;
        let is_owed = !matches!(self.owed(caller), Owed::Nothing);
        let waits = is_owed || !out.is_empty() && self.has_long_reply(caller, &command.into());
        waits.then_some(Pending(command))
    }

    /// Whether the reply to a command can be long now. A POLL that does not wait gets a short one if
    /// there are no events.
    fn has_long_reply(&self, caller: &Caller, command: &Command<'_>) -> bool {
        match command {
            Command::Query(Query::Poll(Poll {
                after: None,
                wait_s: 0,
                ..
            })) => caller.session.is_some_and(|key| self.has_events_for(key)),
            Command::Query(_) => true,
            _ => false,
        }
    }

    fn respond(
        &mut self,
        caller: &mut Caller,
        request: Request<'_>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if let Some(key) = caller.session {
            // A telnet command is a sign of life but not a line, and ends no wait.
            if !matches!(request, Request::SignOfLife | Request::AreYouThere) {
                self.end_wait_as_of(key, caller.heard_at, now, out);
            }
            // A line is a sign of life once it is complete.
            if request != Request::TooLong {
                self.sessions[key.index()].touch(caller.heard_at);
            }
        }
        let mut replaced = None;
        let result = match request {
            Request::Empty | Request::SignOfLife | Request::Edit { .. } => return Outcome::Done,
            Request::AreYouThere => {
                caller.form.write(&Output::Alive, out);
                return Outcome::Done;
            }
            Request::Abuse(abuse) => return self.expel(caller, abuse, now, out),
            // A web page may make an HTTP request line as long as it likes.
            Request::TooLong if !caller.is_understood => {
                return self.expel(caller, Abuse::TooLong, now, out);
            }
            Request::Bad(error) if caller.session.is_some() => Err(error.for_member()),
            Request::Bad(error) => Err(error),
            Request::TooLong => Err(Error::LineTooLong {
                bytes_max: self.limits.line_bytes_max(),
            }),
            Request::Command(command) => self.execute(caller, command, now, &mut replaced),
        };
        match result {
            Ok(reply) => {
                caller.errors = 0;
                caller.is_understood = true;
                self.stats.commands += 1;
                if let Some(reply) = reply {
                    caller.form.write(&Output::Reply(&reply), out);
                    if reply == Reply::Quit {
                        self.say_goodbye(caller, Bye::Quit, now, out);
                        return Outcome::Closes;
                    }
                }
                replaced.map_or(Outcome::Done, Outcome::Replaced)
            }
            Err(error) => self.refuse(caller, &error, now, out),
        }
    }

    /// Answers with an error, and closes the connection if that was one too many.
    fn refuse(
        &mut self,
        caller: &mut Caller,
        error: &Error,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.stats.errors += 1;
        // Somebody who pastes text into a room does not attack the server.
        let is_pasted = match caller.form {
            Form::Lines | Form::Operator => {
                error.code() == Code::BadCommand && caller.has_had_session
            }
            Form::Talk => true,
        };
        caller.errors += u32::from(!is_pasted);
        caller.form.write(&Output::Error(error), out);
        if caller.denials >= DENIALS_MAX {
            return self.expel(caller, Abuse::Denials, now, out);
        }
        if caller.errors >= ERRORS_MAX {
            return self.expel(caller, Abuse::Errors, now, out);
        }
        Outcome::Done
    }

    /// Says goodbye to a client that does what no chat client does, and counts and logs that. Every case
    /// of abuse ends here.
    fn expel(&mut self, caller: &mut Caller, abuse: Abuse, now: Now, out: &mut Vec<u8>) -> Outcome {
        // The operator is no client.
        if !caller.is_operator() {
            self.stats.count_abuse(abuse);
            self.journal.abuse(abuse, &caller.peer, now);
        }
        self.say_goodbye(caller, Bye::Abuse(abuse), now, out);
        Outcome::Closes
    }
}

saved!(struct Pending(command));
