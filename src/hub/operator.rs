//! What the hub does for the operator: keeps places for their connections, and tells everybody what they
//! say.

use super::{Hub, Vacancy, WRITE_BYTES_PER_TURN};
use crate::chat::{ConnId, Notice, TellBudget};
use crate::hub::conn::Transport;
use crate::protocol::{Bye, Output};
use crate::time::Now;

/// How much of telling everybody something one turn does.
pub(super) const TELL_PER_TURN: TellBudget = TellBudget {
    keys: 8192,
    members: 512,
};
/// All of it.
const TELL_ALL: TellBudget = TellBudget {
    keys: usize::MAX,
    members: usize::MAX,
};

impl<T: Transport> Hub<T> {
    /// Gives the place of the next connection, which is one of the operator's. If they have as many as
    /// they may have, the one that has been silent for longest closes, if that is long enough.
    pub fn operators_vacancy(&mut self, now: Now) -> Vacancy<'_, T> {
        self.read_operators(now);
        if let Some(conn) = self.silent_operator(now) {
            self.make_way(conn, now);
        }
        Vacancy {
            conn: ConnId::at(self.conns.vacant_key()),
            is_operators: true,
            hub: self,
        }
    }

    /// Reads the operator's connections if all places are taken: a client that has just closed one may have
    /// done so before it opened the next.
    fn read_operators(&mut self, now: Now) {
        for conn in self.chat.operators_if_full().to_vec() {
            if self.conns.contains(conn.index()) {
                self.read_at_last(conn, &now);
                self.write_and_finish(conn, now, WRITE_BYTES_PER_TURN);
            }
        }
    }

    fn silent_operator(&self, now: Now) -> Option<ConnId> {
        let operators = self.chat.operators_if_full().iter();
        let silent = operators.filter_map(|&conn| {
            let caller = &self.conns[conn.index()].caller;
            Some((caller.silent_operator_since(now)?, conn))
        });
        silent.min().map(|(_, conn)| conn)
    }

    /// Closes a connection of the operator's with a goodbye, whether its client takes that or not.
    fn make_way(&mut self, conn: ConnId, now: Now) {
        let mut text = Vec::new();
        if !self.conns[conn.index()].is_closing() {
            Output::Bye(Bye::OperatorSilent).write(&mut text);
        }
        self.deliver(Notice::goodbye(conn, text), now);
    }

    /// Tells those whom the operator's notice has not reached yet: one on its way is not saved.
    pub fn finish_telling(&mut self, now: Now) {
        self.tell_members(TELL_ALL, now);
    }

    /// Tells everybody what the operator says, within a budget.
    pub(super) fn tell_members(&mut self, mut budget: TellBudget, now: Now) {
        while let Some(key) = self.chat.next_to_tell(&mut budget) {
            self.write(key, now, WRITE_BYTES_PER_TURN);
            let conn = &mut self.conns[key.index()];
            // Then nothing of it has to wait behind what the stream does not take, output or events.
            let takes = conn.out_len() == 0 && !conn.is_stalled();
            if !takes || conn.is_closing() || conn.is_unreachable() {
                self.chat.count_untold();
                continue;
            }
            let (_, caller, out) = conn.parts();
            self.chat.tell(caller, out);
            conn.show_above(0);
            self.write_and_finish(key, now, WRITE_BYTES_PER_TURN);
        }
    }
}
