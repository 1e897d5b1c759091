//! The sessions that ended last, so that a client that comes back learns why.

use std::collections::VecDeque;

use crate::protocol::{ENDED_MAX, LeaveReason, Token};
use crate::time::Millis;

/// How and when a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub reason: LeaveReason,
    pub at: Millis,
}

/// The last 1,024 ended sessions.
#[derive(Debug)]
pub(super) struct EndedSessions {
    oldest_first: VecDeque<(Token, End)>,
}

impl EndedSessions {
    /// Takes all its memory at once. If it grew later, its memory could end up after that of many
    /// sessions, and keep theirs from going back to the system when they are gone.
    pub fn new() -> Self {
        EndedSessions {
            oldest_first: VecDeque::with_capacity(ENDED_MAX),
        }
    }

    pub fn add(&mut self, token: Token, end: End) {
        if self.oldest_first.len() == ENDED_MAX {
            self.oldest_first.pop_front();
        }
        self.oldest_first.push_back((token, end));
    }

    /// Looks at all of them: they are few, and clients seldom ask.
    pub fn get(&self, token: &Token) -> Option<End> {
        let mut ends = self.oldest_first.iter().rev();
        ends.find(|(ended, _)| ended == token).map(|&(_, end)| end)
    }
}
