//! What goes over the wire: the only place where text becomes values, and values become text.
//!
//! | question | file |
//! |---|---|
//! | which limits clients meet, and their defaults | `limits` |
//! | which verbs there are, and what may follow each | `verb` (the one table), `args` |
//! | which verbs the operator has on a socket of their own | `operator` |
//! | how the server reads a line | `request`, with `http` for lines that no chat client sends |
//! | what a client wants done | `command` |
//! | what the server writes, and in which form | `output` |
//! | how long what it writes can be, and how large that makes a log | `sizes` |
//! | what happened in a room | `event` |
//! | why a command is refused, why a connection is closed | `error`, `bye` |
//! | what names and tokens are, and what tells two lives of a log apart | `name`, `token`, `life_id` |
//! | which words stand for values | `words` |
//! | which word a mistyped one may have been | `nearest` |
//! | which characters a line may contain, and how errors show them | `text`, `quote` |
//!
//! What a command does is decided in `chat`. PROTOCOL.md describes all this for people who write
//! clients.

mod args;
mod bye;
mod command;
mod error;
mod event;
mod http;
mod life_id;
mod limits;
mod name;
mod nearest;
mod operator;
mod output;
mod quote;
mod request;
mod sizes;
mod text;
mod token;
mod verb;
mod words;

pub use args::bad_name;
pub use bye::{Abuse, Bye};
pub use command::{
    Alive, Command, Deferred, Join, Mode, Order, Parting, Poll, Query, Resume, SessionName, Since,
    Talk,
};
pub use error::{Advice, Code, Error, TakenUntil, WayBack};
pub use event::{Event, LeaveReason, Numbered};
pub(crate) use event::{is_local_line, split_word};
pub use life_id::LifeId;
pub use limits::{
    BURST_S, BYTES_PER_LINE, DENIALS_MAX, DENIALS_PER_ADDRESS_MAX, ENDED_MAX, ERRORS_MAX,
    HINT_AFTER_S, IDLE_MIN_S, IDLE_TCP_MIN_S, LINE_BYTES_MAX, LOG_BYTES_PER_EVENT, Limits,
    NAME_BYTES_MAX, OPERATOR_SILENCE_S, OPERATORS_MAX, PING_BYTES_MAX, POLL_EVENTS_DEFAULT,
    POLL_EVENTS_MAX, POLL_WAIT_MAX_S, REPLY_BYTES_MAX, TALK_HISTORY_DEFAULT,
};
pub use name::{DEFAULT_ROOM, Folded, FullName, Name};
pub use nearest::nearest;
pub use operator::OPERATOR_VERBS;
pub(crate) use output::append_text;
pub use output::{
    Earlier, Entered, Expiring, Listing, Membership, Output, Presence, Reach, Reply, UNASKED,
};
pub use quote::{QUOTE_CHARS_MAX, quote};
pub use request::Request;
pub use sizes::REPLY_HEAD_BYTES_MAX;
pub use text::{decode, is_permitted, is_visible};
pub use token::{Secret, SecretHash, Token};
pub use verb::{VERBS, Verb, message};
