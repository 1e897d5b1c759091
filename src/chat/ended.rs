//! The sessions that ended last, so that a client that comes back learns why.

use std::collections::VecDeque;

use super::ids::SessionKey;
use crate::protocol::{ENDED_MAX, LeaveReason, SecretHash};
use crate::state::{Damage, Fields, Tag, Writer, saved};
use crate::time::Millis;

/// How and when a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub reason: LeaveReason,
    pub at: Millis,
}

/// What tells a session that has ended from others, and how it ended.
pub(super) type EndedSession = ((SessionKey, SecretHash), End);

/// The last 1,024 ended sessions.
#[derive(Debug)]
pub(super) struct EndedSessions {
    oldest_first: VecDeque<EndedSession>,
}

impl EndedSessions {
    /// Takes all its memory at once. If it grew later, its memory could end up after that of many
    /// sessions, and keep theirs from going back to the system when they are gone.
    pub fn new() -> Self {
        EndedSessions {
            oldest_first: VecDeque::with_capacity(ENDED_MAX),
        }
    }

    pub fn add(&mut self, key: SessionKey, secret: SecretHash, end: End) {
        if self.oldest_first.len() == ENDED_MAX {
            self.oldest_first.pop_front();
        }
        self.oldest_first.push_back(((key, secret), end));
    }

    /// Looks at all of them: they are few, and clients seldom ask.
    pub fn get(&self, key: SessionKey, secret: SecretHash) -> Option<End> {
        let mut ends = self.oldest_first.iter().rev();
        let found = ends.find(|(ended, _)| *ended == (key, secret));
        found.map(|&(_, end)| end)
    }
}

saved!(struct End { reason, at });

/// The records of ended sessions, the oldest first.
const ENDED: Tag = *b"ENDS";

impl EndedSessions {
    /// Appends all of them to a state.
    pub fn save(&self, out: &mut Writer<'_>) {
        out.list(ENDED, self.oldest_first.iter().copied());
    }

    /// Takes a record of [`save`](Self::save); false if it is another's.
    pub fn take(&mut self, tag: Tag, fields: &mut Fields<'_>) -> Result<bool, Damage> {
        if tag != ENDED {
            return Ok(false);
        }
        for ((key, secret), end) in fields.list() {
            self.add(key, secret, end);
        }
        Ok(true)
    }
}
