//! The sessions that ended last, so that a client which comes back learns why.

use std::collections::{HashMap, VecDeque};

use crate::protocol::{ENDED_MAX, LeaveReason, Token};
use crate::time::Millis;

/// How and when a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub reason: LeaveReason,
    pub at: Millis,
}

/// The last 1,024 ended sessions by their tokens.
#[derive(Debug)]
pub(super) struct Ended {
    ends: HashMap<Token, End>,
    oldest_first: VecDeque<Token>,
}

impl Ended {
    /// Takes its memory at once, so that it does not lie behind that of a crowd which goes.
    pub fn new() -> Self {
        Ended {
            ends: HashMap::with_capacity(ENDED_MAX),
            oldest_first: VecDeque::with_capacity(ENDED_MAX),
        }
    }

    pub fn add(&mut self, token: Token, end: End) {
        if self.oldest_first.len() == ENDED_MAX {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.ends.remove(&oldest);
            }
        }
        self.oldest_first.push_back(token);
        self.ends.insert(token, end);
    }

    pub fn get(&self, token: &Token) -> Option<End> {
        self.ends.get(token).copied()
    }
}
