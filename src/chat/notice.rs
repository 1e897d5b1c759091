//! What the server sends to a connection that did not ask for it, apart from events.

use super::caller::Caller;
use super::ids::ConnId;

/// Lines for a connection, which the hub hands to it with [`hand_to`](Self::hand_to).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the connection may have lost its session without knowing it"]
pub struct Notice {
    conn: ConnId,
    text: Vec<u8>,
    is_last: bool,
}

impl Notice {
    /// Makes a notice after which the connection goes on as before.
    pub(super) fn lines(conn: ConnId, text: Vec<u8>) -> Notice {
        Notice {
            conn,
            text,
            is_last: false,
        }
    }

    /// Makes a notice that is the last that the connection gets. It has lost its session, if it had one.
    pub fn goodbye(conn: ConnId, text: Vec<u8>) -> Notice {
        Notice {
            conn,
            text,
            is_last: true,
        }
    }

    /// The connection that gets the lines.
    pub fn conn(&self) -> ConnId {
        self.conn
    }

    /// Returns the lines for `caller`'s connection, and whether they are the last. If so, takes the
    /// session from `caller`; the hub closes the connection once its client has the lines.
    pub fn hand_to(self, caller: &mut Caller) -> (Vec<u8>, bool) {
        debug_assert_eq!(self.conn, caller.conn);
        if self.is_last {
            caller.session = None;
        }
        (self.text, self.is_last)
    }
}
