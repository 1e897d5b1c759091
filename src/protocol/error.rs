//! The errors that a client can be told.

use std::borrow::Cow;

/// What kind of mistake a line was. Codes are stable: clients may act on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "PROTOCOL.md's table of errors documents them")]
pub enum Code {
    BadCommand,
    BadArgument,
    BadEncoding,
    LineTooLong,
    NoSession,
    AlreadyJoined,
    UnknownSession,
    SessionEnded,
    BadName,
    NameTaken,
    NotAuthorized,
    MessageEmpty,
    MessageTooLong,
    WrongMode,
    Full,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 15] = [
        Code::BadCommand,
        Code::BadArgument,
        Code::BadEncoding,
        Code::LineTooLong,
        Code::NoSession,
        Code::AlreadyJoined,
        Code::UnknownSession,
        Code::SessionEnded,
        Code::BadName,
        Code::NameTaken,
        Code::NotAuthorized,
        Code::MessageEmpty,
        Code::MessageTooLong,
        Code::WrongMode,
        Code::Full,
    ];

    /// The code as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::BadCommand => "bad-command",
            Code::BadArgument => "bad-argument",
            Code::BadEncoding => "bad-encoding",
            Code::LineTooLong => "line-too-long",
            Code::NoSession => "no-session",
            Code::AlreadyJoined => "already-joined",
            Code::UnknownSession => "unknown-session",
            Code::SessionEnded => "session-ended",
            Code::BadName => "bad-name",
            Code::NameTaken => "name-taken",
            Code::NotAuthorized => "not-authorized",
            Code::MessageEmpty => "message-empty",
            Code::MessageTooLong => "message-too-long",
            Code::WrongMode => "wrong-mode",
            Code::Full => "full",
        }
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
