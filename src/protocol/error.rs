//! The errors that a client can be told.

use std::borrow::Cow;

use super::words::words;

words! {
    /// What kind of mistake a line was. Codes are stable: clients may act on them.
    #[allow(missing_docs, reason = "PROTOCOL.md's table of errors documents them")]
    pub enum Code {
        BadCommand = "bad-command",
        BadArgument = "bad-argument",
        BadEncoding = "bad-encoding",
        LineTooLong = "line-too-long",
        NoSession = "no-session",
        AlreadyJoined = "already-joined",
        UnknownSession = "unknown-session",
        SessionEnded = "session-ended",
        BadName = "bad-name",
        NameTaken = "name-taken",
        NotAuthorized = "not-authorized",
        MessageEmpty = "message-empty",
        MessageTooLong = "message-too-long",
        WrongMode = "wrong-mode",
        Full = "full",
    }
}

/// Why a command was refused: a code for programs and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of mistake it was.
    pub code: Code,
    /// What to tell a person, in one line.
    pub text: Cow<'static, str>,
}

impl Error {
    /// An error with its text.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        Error { code, text }
    }
}
