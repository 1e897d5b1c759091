//! What the poll watches, and the tokens by which it says so.

use mio::Token;

use crate::chat::ConnId;

/// Something that the poll watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSource {
    /// Signals of the system.
    Signals,
    /// The process that saves the state.
    Save,
    /// The stream to the broker.
    Broker,
    /// The listener with this index.
    Listener(usize),
    /// A connection.
    Connection(ConnId),
}

// Connections get the even numbers, and the others the odd ones. Doubling cannot overflow, since each
// connection and listener has a descriptor, whose number is an i32.
const SIGNALS: usize = 1;
const SAVE: usize = 3;
const BROKER: usize = 5;
const FIRST_LISTENER: usize = 7;

impl From<EventSource> for Token {
    fn from(source: EventSource) -> Token {
        Token(match source {
            EventSource::Signals => SIGNALS,
            EventSource::Save => SAVE,
            EventSource::Broker => BROKER,
            EventSource::Listener(index) => FIRST_LISTENER + 2 * index,
            EventSource::Connection(conn) => 2 * conn.index(),
        })
    }
}

impl From<Token> for EventSource {
    fn from(token: Token) -> EventSource {
        match token.0 {
            SIGNALS => EventSource::Signals,
            SAVE => EventSource::Save,
            BROKER => EventSource::Broker,
            number if number % 2 == 0 => EventSource::Connection(ConnId::at(number / 2)),
            number => EventSource::Listener((number - FIRST_LISTENER) / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_token_leads_back_to_what_it_was_made_for_and_to_nothing_else() {
        let connections = [0, 1, 2, 3, 1_000_000, i32::MAX as u32];
        let connections = connections.map(|number| EventSource::Connection(ConnId(number)));
        let listeners = [0, 1, 2, 3, 1_000_000].map(EventSource::Listener);
        let others = [EventSource::Signals, EventSource::Save, EventSource::Broker];
        let sources = others.into_iter();
        let mut seen = HashSet::new();
        for source in sources.chain(connections).chain(listeners) {
            let token = Token::from(source);
            assert_eq!(EventSource::from(token), source);
            assert!(seen.insert(token), "{source:?}");
        }
    }
}
