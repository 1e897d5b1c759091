//! Why the server refuses a line.

use std::borrow::Cow;

use super::event::LeaveReason;
use super::name::Name;
use super::words::words;

words! {
    /// What kind of mistake the server found in a line. Codes are stable, so clients may act on
    /// them.
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

/// What the server advises somebody to type instead of a word that is not a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The verb that is nearest to it.
    Verb(&'static str),
    /// How to begin.
    Begin,
    /// How to say something.
    Say,
}

/// How somebody gets back a session that they had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// With its token.
    Token,
    /// With its token, or with the key of its name.
    TokenOrKey,
    /// With TALK, from the same address, once it has no connection.
    Talk,
    /// With TALK and the key of its name.
    TalkWithKey,
}

/// When a session that shows no further sign of life expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenUntil {
    /// It has no connection, and expires in that many seconds.
    Detached {
        /// How many are left.
        left_s: u64,
    },
    /// It is connected, and expires in that many seconds if its client stays silent.
    Silent {
        /// How many are left.
        left_s: u64,
    },
    /// Its open connection or a POLL that waits keeps it alive. It expires that many seconds after that
    /// has ended.
    KeptAlive {
        /// Its idle time.
        idle_s: u32,
    },
}

/// Why the server refuses a line: a code for programs and a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Something is wrong with the line; the text says what.
    BadLine(Code, Cow<'static, str>),
    /// The line's first word is not a verb.
    UnknownVerb {
        /// What the line begins with, for people.
        found: String,
        /// What its sender may have wanted.
        advice: Advice,
    },
    /// The line's first word is not a verb of the operator's socket.
    NotForOperators {
        /// What the line begins with, for people.
        found: String,
    },
    /// Nobody in that room has that name.
    NoMember,
    /// The member is on another box, where its session can be ended.
    OnOtherBox {
        /// That box.
        at: Name,
    },
    /// The line is longer than `bytes_max`.
    LineTooLong {
        /// The longest line that the server accepts.
        bytes_max: usize,
    },
    /// The command needs a session.
    NoSession,
    /// The command needs a connection without a session.
    AlreadyJoined,
    /// No session has this token, and the server remembers no ended one that had it.
    UnknownSession,
    /// The session with this token has ended. Programs read this text too.
    SessionEnded {
        /// Why it ended.
        reason: LeaveReason,
        /// How long ago.
        ago_s: u64,
    },
    /// A member of the room has this name.
    NameTaken {
        /// The name as that member wrote it.
        name: Name,
        /// How its client can get it back.
        way_back: WayBack,
        /// When the name will be free at the latest if its session shows no further sign of life.
        until: TakenUntil,
    },
    /// The person is in that room already.
    InRoom {
        /// The room.
        room: Name,
    },
    /// The name is unknown, or this is not its key.
    NotAuthorized,
    /// The command is for pull sessions.
    WrongMode,
    /// `after=` is the number of an event that the room has not had yet.
    AfterNewest {
        /// The room's newest event.
        newest: u64,
    },
    /// The server has as many sessions as it may have.
    TooManySessions,
    /// The client's address has as many sessions as one address may have.
    TooManySessionsOfAddress,
    /// The server has as many rooms as it may have.
    TooManyRooms,
    /// The room has used up the numbers that are promised on disk, and the server cannot write there.
    NotSaved,
    /// The system has no random numbers for a token.
    NoRandomNumbers,
}

impl Error {
    /// The error as a member gets it: with advice on how to say something, not on how to begin.
    pub fn for_member(mut self) -> Error {
        if let Error::UnknownVerb { advice, .. } = &mut self {
            if *advice == Advice::Begin {
                *advice = Advice::Say;
            }
        }
        self
    }

    /// The code for this mistake.
    pub const fn code(&self) -> Code {
        match self {
            Error::BadLine(code, _) => *code,
            Error::UnknownVerb { .. } | Error::NotForOperators { .. } => Code::BadCommand,
            Error::LineTooLong { .. } => Code::LineTooLong,
            Error::NoSession => Code::NoSession,
            Error::AlreadyJoined | Error::InRoom { .. } => Code::AlreadyJoined,
            Error::UnknownSession | Error::NoMember => Code::UnknownSession,
            Error::OnOtherBox { .. } => Code::BadArgument,
            Error::SessionEnded { .. } => Code::SessionEnded,
            Error::NameTaken { .. } => Code::NameTaken,
            Error::NotAuthorized => Code::NotAuthorized,
            Error::WrongMode => Code::WrongMode,
            Error::AfterNewest { .. } => Code::BadArgument,
            Error::TooManySessions
            | Error::TooManySessionsOfAddress
            | Error::TooManyRooms
            | Error::NotSaved
            | Error::NoRandomNumbers => Code::Full,
        }
    }
}
