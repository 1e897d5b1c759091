//! Checks what must hold between connections and sessions after each turn. Only tests call it.

use super::conn::{NOTICES_BYTES_MAX, buffers_bytes_max, replies_bytes_max};
use super::edit::{EDITORS_MAX, drawn_bytes_max, editor_bytes_max};
use super::{Hub, Transport};
use crate::chat::ConnId;
use crate::time::Now;

impl<T: Transport> Hub<T> {
    /// Checks that connections and sessions agree, and that the core is consistent in itself. To be
    /// called between two turns.
    ///
    /// # Panics
    ///
    /// If something does not agree.
    pub fn assert_consistent(&self, now: Now) {
        self.chat.assert_consistent(now);
        let (clients, operators) = (self.chat.connections(), self.chat.operators());
        assert_eq!(clients + operators, self.conns.len());
        let of_operator = self.conns.iter().filter(|(_, c)| c.caller.is_operator());
        assert_eq!(of_operator.count(), operators);
        let limits = self.chat.limits();
        let editing = self.conns.iter().filter(|(_, c)| c.editing.is_some());
        assert_eq!(editing.count(), self.editors);
        assert!(self.editors <= EDITORS_MAX);
        for (key, conn) in &self.conns {
            if let Some(session) = conn.caller.session() {
                assert_eq!(self.chat.conn_of(session), Some(ConnId::at(key)));
            }
            let editor = conn.editing.as_ref().map(|_| editor_bytes_max(limits));
            let bytes_max = buffers_bytes_max(limits) + editor.unwrap_or(0);
            assert!(conn.held_bytes() <= bytes_max, "{}", conn.held_bytes());
            let drawn = conn.editing.as_ref().map(|_| drawn_bytes_max(limits));
            let out_max = replies_bytes_max(limits) + NOTICES_BYTES_MAX + drawn.unwrap_or(0);
            assert!(conn.out_len() <= out_max, "{}", conn.out_len());
        }
        let holding = self
            .conns
            .iter()
            .filter(|(_, c)| c.caller.session().is_some());
        assert_eq!(holding.count(), self.chat.attached_sessions());
    }
}
