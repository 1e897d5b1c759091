//! What a client has sent is counted, and its lines are answered, at once or behind the output.

use super::Chat;
use super::caller::Caller;
use super::notice::Notice;
use super::rate::Permit;
use crate::protocol::{
    Abuse, Bye, Code, Command, DENIALS_MAX, ERRORS_MAX, Error, Output, Poll, Query, Reply, Request,
};
use crate::time::Now;

/// What was taken of a connection's input.
#[derive(Debug)]
pub struct Input<'a> {
    /// How many bytes that were.
    pub bytes: usize,
    /// Whether a line ends with them.
    pub ends_line: bool,
    /// What is to be answered; none if that is still to come.
    pub request: Option<Request<'a>>,
}

/// What became of it.
#[derive(Debug)]
pub struct Answered {
    /// How many lines it counts as, by its bytes.
    pub lines: usize,
    /// What is left to do.
    pub outcome: Outcome,
}

/// What an answer leaves to do.
#[derive(Debug)]
#[must_use = "connections are to be closed or told something"]
pub enum Outcome {
    /// Nothing.
    Done,
    /// The command is to be carried out once the connection was written to.
    Later(Pending),
    /// The connection is to be closed when it has its answer.
    Closes,
    /// Another connection has lost its session to this one.
    Replaced(Notice),
}

/// A command that waits for output to be written: what a session is owed reaches its client before
/// the client lets go of it, and a connection has never more than one long reply waiting.
#[derive(Debug)]
pub struct Pending(Command<'static>);

impl Chat {
    /// Counts what was taken of a connection's input against its rate, and answers what is in it; the
    /// answer is appended to `out`, the connection's output.
    pub fn answer(
        &mut self,
        caller: &mut Caller,
        permit: Permit,
        input: Input<'_>,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Answered {
        let lines = self.count(permit, caller, input.bytes, input.ends_line, now);
        let outcome = match input.request {
            None => Outcome::Done,
            Some(request) => match self.defer(caller, &request, out) {
                Some(pending) => Outcome::Later(pending),
                None => self.respond(caller, request, now, out),
            },
        };
        Answered { lines, outcome }
    }

    /// Carries out a command that has waited for the connection to be written to. It waits on if its
    /// reply is long and there is still some output.
    pub fn carry_out(
        &mut self,
        caller: &mut Caller,
        pending: Pending,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        if !out.is_empty() && self.has_long_reply(caller, &pending.0) {
            return Outcome::Later(pending);
        }
        self.respond(caller, Request::Command(pending.0), now, out)
    }

    /// The command in a request, if it has to wait for output to be written.
    fn defer(&self, caller: &Caller, request: &Request<'_>, out: &[u8]) -> Option<Pending> {
        let Request::Command(command) = request else {
            return None;
        };
        let command = command.after_output()?;
        let is_owed = caller.session.is_some_and(|key| self.is_owed(key));
        let waits = is_owed || !out.is_empty() && self.has_long_reply(caller, &command);
        waits.then_some(Pending(command))
    }

    /// Whether the reply to a command can be long as things are. That to a POLL which has nothing to
    /// give is not, if it comes at once.
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
            // What telnet says is a sign of life and no line.
            if !matches!(request, Request::Sign | Request::AreYouThere) {
                self.end_wait_as_of(key, caller.heard_at, now, out);
            }
            // A line is a sign of life when it is complete.
            if request != Request::TooLong {
                self.sessions[key.index()].touch(caller.heard_at);
            }
        }
        let mut replaced = None;
        let result = match request {
            Request::Empty | Request::Sign => return Outcome::Done,
            Request::AreYouThere => {
                Output::Alive.write(out);
                return Outcome::Done;
            }
            Request::Abuse(abuse) => return self.expel(caller, abuse, now, out),
            // An HTTP request line may be as long as a web page likes.
            Request::TooLong if !caller.is_understood => {
                return self.expel(caller, Abuse::TooLong, now, out);
            }
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
                    Output::Reply(&reply).write(out);
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

    /// Answers with an error, one of which is the last.
    fn refuse(
        &mut self,
        caller: &mut Caller,
        error: &Error,
        now: Now,
        out: &mut Vec<u8>,
    ) -> Outcome {
        self.stats.errors += 1;
        // A text that somebody pasted in a room is no attack.
        if error.code() != Code::BadCommand || !caller.has_had_session {
            caller.errors += 1;
        }
        Output::Error(error).write(out);
        if caller.denials >= DENIALS_MAX {
            return self.expel(caller, Abuse::Denials, now, out);
        }
        if caller.errors >= ERRORS_MAX {
            return self.expel(caller, Abuse::Errors, now, out);
        }
        Outcome::Done
    }

    /// Closes a connection that does what no chat client does: the one place where that is done.
    fn expel(&mut self, caller: &mut Caller, abuse: Abuse, now: Now, out: &mut Vec<u8>) -> Outcome {
        self.stats.connections_abuse += 1;
        self.journal.abuse(abuse, &caller.peer, now);
        self.say_goodbye(caller, Bye::Abuse(abuse), now, out);
        Outcome::Closes
    }
}
