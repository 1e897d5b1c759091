//! The stream to the broker: what comes from it goes to the core, and what the core has for it goes out.

use std::io::{self, ErrorKind};

use super::{Hub, hang_up};
use crate::chat::FromBroker;
use crate::hub::conn::{READ_BYTES, Readiness, Transport};
use crate::link::Settings;
use crate::time::{Clock, Now};

/// The most bytes that one turn reads from the broker, so that it delays nobody.
const READ_BYTES_PER_TURN: usize = 64 * 1024;
/// The most writes to the broker in one turn.
const WRITES_PER_TURN: usize = 32;

/// The stream to the broker, and what the poll has said of it.
#[derive(Debug)]
pub(super) struct BrokerStream<T> {
    pub stream: T,
    /// There may be something to read.
    pub is_readable: bool,
    /// A read that does not fill the buffer may leave something: on Unix sockets, and at the end of the
    /// stream.
    pub is_read_in_part: bool,
    /// It may take something.
    pub is_writable: bool,
    /// The last turn has not offered it all that it might take.
    pub has_output: bool,
}

impl<T: Transport> Hub<T> {
    /// Makes rooms span boxes. To be called before the first turn.
    pub fn set_link(&mut self, settings: Settings, now: Now) {
        self.chat.set_link(settings, now);
    }

    /// Whether the server should open a stream to the broker now.
    pub fn wants_broker(&self, now: Now) -> bool {
        self.broker.is_none() && self.chat.wants_broker(now)
    }

    /// Goes on with a stream to the broker, which may still be opening.
    pub fn open_broker(&mut self, stream: T, now: Now) {
        self.broker = Some(BrokerStream {
            is_read_in_part: stream.may_read_in_part(),
            stream,
            is_readable: false,
            is_writable: true,
            has_output: false,
        });
        self.chat.open_broker(now);
    }

    /// Notes that no stream could be opened.
    pub fn fail_broker(&mut self, error: &io::Error, now: Now) {
        self.close_broker(&error.to_string(), now);
    }

    /// The stream to the broker, if there is one.
    pub fn broker(&mut self) -> Option<&mut T> {
        self.broker.as_mut().map(|broker| &mut broker.stream)
    }

    /// Notes what the poll reports about the broker's stream.
    pub fn ready_broker(&mut self, readiness: Readiness) {
        if let Some(broker) = &mut self.broker {
            let Readiness {
                readable,
                writable,
                read_closed,
                broken,
                ..
            } = readiness;
            broker.is_readable |= readable || read_closed || broken;
            broker.is_read_in_part |= read_closed || broken;
            broker.is_writable |= writable;
        }
    }

    /// Whether something has come from the broker that is still to be read.
    pub(super) fn has_broker_input(&self) -> bool {
        self.broker
            .as_ref()
            .is_some_and(|broker| broker.is_readable)
    }

    /// Reads what has come from the broker, up to the budget of a turn.
    pub(super) fn read_broker(&mut self, clock: &impl Clock) {
        let mut left = READ_BYTES_PER_TURN;
        while left > 0 {
            let Some(broker) = self.broker.as_mut().filter(|broker| broker.is_readable) else {
                return;
            };
            let now = clock.now();
            match broker.stream.read(&mut self.buffer) {
                Ok(0) => return self.close_broker("the broker has closed the connection", now),
                Ok(bytes) => {
                    if bytes < READ_BYTES && !broker.is_read_in_part {
                        broker.is_readable = false;
                    }
                    left = left.saturating_sub(bytes);
                    self.chat.take_from_broker(&self.buffer[..bytes], now);
                    self.read_packets(now);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => broker.is_readable = false,
                    ErrorKind::Interrupted => {}
                    _ => return self.close_broker(&error.to_string(), now),
                },
            }
        }
    }

    fn read_packets(&mut self, now: Now) {
        loop {
            match self.chat.read_packet(now) {
                FromBroker::Nothing => return,
                FromBroker::Handled => self.serve_rooms(now, true),
                FromBroker::Closes(reason) => return self.close_broker(reason, now),
            }
        }
    }

    /// Does what is due on the link.
    pub(super) fn fire_broker(&mut self, now: Now) {
        self.serve_rooms(now, true);
        if let Some(reason) = self.chat.link_due(now) {
            self.close_broker(reason, now);
        }
        self.serve_rooms(now, true);
        if self.chat.is_link_unfinished() {
            self.read_packets(now);
        }
    }

    /// Whether the stream to the broker may take more at once.
    pub(super) fn has_broker_output(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.has_output)
    }

    /// Writes to the broker until its stream takes no more, or the turn's writes are used up.
    pub(super) fn write_broker(&mut self, now: Now) {
        for _ in 0..WRITES_PER_TURN {
            let Some(broker) = self.broker.as_mut() else {
                return;
            };
            broker.has_output = false;
            if !broker.is_writable {
                return;
            }
            self.chat.fill_broker(now);
            let output = self.chat.broker_output();
            if output.is_empty() {
                return;
            }
            match broker.stream.write(output) {
                Ok(bytes) => self.chat.advance_broker(bytes, now),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => broker.is_writable = false,
                    ErrorKind::Interrupted => {}
                    _ => return self.close_broker(&error.to_string(), now),
                },
            }
        }
        if let Some(broker) = &mut self.broker {
            broker.has_output = true;
        }
    }

    /// Says goodbye to the broker before the server ends. If the next start does not go on with this
    /// server's state, other boxes learn that it is gone.
    pub fn leave_broker(&mut self, is_kept: bool, now: Now) {
        self.write_broker(now);
        self.chat.leave_broker(is_kept);
        if let Some(mut broker) = self.broker.take() {
            // If it does not take that, it notices that this box is gone all the same.
            let _ = broker.stream.write(self.chat.broker_output());
            hang_up(broker.stream);
        }
    }

    fn close_broker(&mut self, reason: &str, now: Now) {
        self.broker = None;
        self.chat.close_broker(reason, now);
    }
}
