//! Lines for a connection that did not ask for them.

use super::caller::Caller;
use super::ids::ConnId;

/// Lines for a connection whose client has not just sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the connection may have lost its session, and is still to be told"]
pub struct Notice {
    conn: ConnId,
    text: Vec<u8>,
    is_last: bool,
}

impl Notice {
    /// Lines after which the connection goes on as before.
    pub(super) fn lines(conn: ConnId, text: Vec<u8>) -> Notice {
        Notice {
            conn,
            text,
            is_last: false,
        }
    }

    /// The last lines that the connection gets; it has lost its session, if it had one.
    pub(super) fn goodbye(conn: ConnId, text: Vec<u8>) -> Notice {
        Notice {
            conn,
            text,
            is_last: true,
        }
    }

    /// The connection that is to get the lines.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Hands the lines to their connection, with whether they are the last, after which it is to be
    /// closed. Its client then holds no session any more.
    pub fn hand_to(self, caller: &mut Caller) -> (Vec<u8>, bool) {
        debug_assert_eq!(self.conn, caller.conn);
        if self.is_last {
            caller.session = None;
        }
        (self.text, self.is_last)
    }
}
