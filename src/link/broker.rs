//! The connection to the broker: when to open one, what to say first, and whether it still lives.
//!
//! Its stream belongs to the hub. A broker that takes nothing costs the output buffer and no more: what
//! goes out comes from rooms' logs when there is space.

use super::mqtt;
use crate::protocol::LifeId;
use crate::state::saved;
use crate::time::Millis;

/// How long a broker has to accept a connection.
const GREETING_MAX: Millis = Millis(10_000);
/// How long the holder of a name has to say so.
pub const CLAIM_WAIT: Millis = Millis(2000);
/// How long a box waits whose name another has.
const NAME_TAKEN_PAUSE: Millis = Millis(60_000);
/// After this time without a word to the broker, or from it, it is asked whether it is there. It would
/// close the connection after one and a half times [`KEEP_ALIVE_S`] without a word to it.
pub const QUIET_MAX: Millis = Millis(15_000);
/// After this time without a word from the broker, or while it takes nothing, it counts as dead.
pub const SILENCE_MAX: Millis = Millis(30_000);
/// How soon the broker counts this box as dead, in seconds.
pub const KEEP_ALIVE_S: u16 = 30;
/// The first pause before another attempt; each further one is twice as long, up to the longest.
pub const PAUSE_MIN_MS: u64 = 250;
/// See [`PAUSE_MIN_MS`].
pub const PAUSE_MAX_MS: u64 = 15_000;
/// While the output is at least as long, nothing is added to it.
pub const OUT_BYTES_ENOUGH: usize = 16 * 1024;

/// Where a connection to the broker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none; one may be opened from this time on.
    Closed {
        /// Since when one may be opened.
        until: Millis,
    },
    /// It is opening, or the broker has not accepted it yet.
    Greeting {
        /// Until when that may take.
        until: Millis,
    },
    /// The broker has accepted it, and somebody else may say that this box's name is taken.
    Claiming {
        /// Until when.
        until: Millis,
    },
    /// It carries events.
    Linked,
}

saved!(enum Stage {
    0 = Closed { until },
    1 = Greeting { until },
    2 = Claiming { until },
    3 = Linked,
});

/// The connection to the broker.
#[derive(Clone, Debug)]
pub struct Broker {
    stage: Stage,
    /// What has come and is still to be read, from `at` on.
    input: Vec<u8>,
    at: usize,
    /// How many bytes of a packet that is too long are still to come.
    skip: u64,
    /// What is still to be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    heard_at: Millis,
    sent_at: Millis,
    /// It has been asked for a word since it was last heard.
    has_asked: bool,
    /// How many attempts have failed since the last good connection.
    failures: u32,
    /// Nobody else has the box's name: nobody has said so when this box claimed it.
    has_name: bool,
    next_id: u16,
}

saved!(struct Broker {
    stage,
    input,
    at,
    skip,
    out,
    written,
    heard_at,
    sent_at,
    has_asked,
    failures,
    has_name,
    next_id,
});

impl Default for Broker {
    fn default() -> Self {
        Broker {
            stage: Stage::Closed { until: Millis(0) },
            input: Vec::new(),
            at: 0,
            skip: 0,
            out: Vec::new(),
            written: 0,
            heard_at: Millis(0),
            sent_at: Millis(0),
            has_asked: false,
            failures: 0,
            has_name: false,
            next_id: 0,
        }
    }
}

impl Broker {
    /// Where it stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether it carries events.
    pub fn is_linked(&self) -> bool {
        self.stage == Stage::Linked
    }

    /// Whether there is a stream that the broker has not accepted yet.
    pub fn is_greeting(&self) -> bool {
        matches!(self.stage, Stage::Greeting { .. })
    }

    /// Whether there is a stream, perhaps one that is still opening.
    pub fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closed { .. })
    }

    /// Whether a stream may be opened now.
    pub fn wants_stream(&self, past: Millis) -> bool {
        matches!(self.stage, Stage::Closed { until } if until <= past)
    }

    /// Begins with a new stream. `connect` is what to say first.
    pub fn open(&mut self, connect: &mqtt::Connect<'_>, at: Millis) {
        self.stage = Stage::Greeting {
            until: at + GREETING_MAX,
        };
        (self.heard_at, self.sent_at) = (at, at);
        self.has_asked = false;
        connect.write(&mut self.out);
    }

    /// Notes that there is no stream any more, or none could be opened. `luck` spreads the attempts of
    /// many boxes.
    pub fn close(&mut self, luck: LifeId, at: Millis) {
        let longest = (PAUSE_MIN_MS << self.failures.min(16)).min(PAUSE_MAX_MS);
        let pause = longest / 2 + luck.nth(u64::from(self.failures)).number() % (longest / 2 + 1);
        self.failures = self.failures.saturating_add(1);
        self.close_until(at + Millis(pause));
    }

    /// Notes that another box has the name: the stream has to be closed.
    pub fn yield_name(&mut self, at: Millis) {
        self.close_until(at + NAME_TAKEN_PAUSE);
    }

    fn close_until(&mut self, until: Millis) {
        self.stage = Stage::Closed { until };
        (self.input, self.at, self.skip) = (Vec::new(), 0, 0);
        (self.out, self.written) = (Vec::new(), 0);
    }

    /// Notes that the broker has accepted the connection.
    pub fn accept(&mut self, at: Millis) {
        self.stage = match self.has_name {
            true => Stage::Linked,
            false => Stage::Claiming {
                until: at + CLAIM_WAIT,
            },
        };
    }

    /// Notes that a connection has carried events for long enough to be a good one: the next attempt does
    /// not wait for long.
    pub fn forget_failures(&mut self) {
        self.failures = 0;
    }

    /// Does what is due by `past`.
    pub fn due(&mut self, past: Millis, at: Millis) -> Option<DueBroker> {
        if self.deadline(past) > past {
            return None;
        }
        match self.stage {
            Stage::Closed { .. } => None,
            Stage::Greeting { .. } => Some(DueBroker::Dead),
            Stage::Claiming { .. } => {
                self.has_name = true;
                self.stage = Stage::Linked;
                Some(DueBroker::Linked)
            }
            Stage::Linked if self.has_output() || self.heard_at + SILENCE_MAX <= past => {
                Some(DueBroker::Dead)
            }
            Stage::Linked => {
                self.sent_at = at;
                self.has_asked = true;
                mqtt::write_ping(&mut self.out);
                Some(DueBroker::Asked)
            }
        }
    }

    /// When something is due. That a stream may be opened is not due any more at `past` if it was before.
    pub fn deadline(&self, past: Millis) -> Millis {
        match self.stage {
            Stage::Closed { until } if until <= past => Millis::NEVER,
            Stage::Closed { until } | Stage::Greeting { until } | Stage::Claiming { until } => {
                until
            }
            // Output that the broker does not take asks as well as a ping behind it would.
            Stage::Linked if self.has_output() => self.heard_at.min(self.sent_at) + SILENCE_MAX,
            Stage::Linked => {
                let silence = if self.has_asked {
                    SILENCE_MAX
                } else {
                    QUIET_MAX
                };
                (self.heard_at + silence).min(self.sent_at + QUIET_MAX)
            }
        }
    }

    /// The number of the next subscription.
    pub fn next_id(&mut self) -> u16 {
        self.next_id = match self.next_id {
            u16::MAX => 1,
            id => id + 1,
        };
        self.next_id
    }

    /// Takes bytes from the broker.
    pub fn take(&mut self, bytes: &[u8], at: Millis) {
        self.heard_at = at;
        self.has_asked = false;
        let skipped = self.skip.min(bytes.len() as u64) as usize;
        self.skip -= skipped as u64;
        self.input.extend_from_slice(&bytes[skipped..]);
    }

    /// Lends out the input, with the place where the next packet begins.
    pub fn lend_input(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.input), self.at)
    }

    /// Takes the input back, of which all before `at` has been read. If `skip` bytes from there on are of
    /// no use, they are passed over as they come.
    pub fn return_input(&mut self, input: Vec<u8>, at: usize, skip: usize) {
        (self.input, self.at) = (input, at);
        if skip > 0 {
            let here = skip.min(self.input.len() - at);
            self.at += here;
            self.skip = (skip - here) as u64;
        }
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        } else if self.at > OUT_BYTES_ENOUGH {
            self.input.drain(..self.at);
            self.at = 0;
        }
    }

    /// Makes the input short again when no packet is complete.
    pub fn end_reading(&mut self) {
        self.input.drain(..self.at);
        self.at = 0;
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    /// What is still to be written.
    pub fn output(&self) -> &[u8] {
        &self.out[self.written..]
    }

    fn has_output(&self) -> bool {
        !self.output().is_empty()
    }

    /// Where to append to the output.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether more may be appended to the output.
    pub fn has_space(&self) -> bool {
        self.out.len() - self.written < OUT_BYTES_ENOUGH
    }

    /// Notes that the stream has taken this many bytes of the output.
    pub fn advance(&mut self, bytes: usize, at: Millis) {
        self.sent_at = at;
        self.written += bytes;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written > OUT_BYTES_ENOUGH {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    /// Whether it could have come about, with packets of at most `packet_bytes_max` bytes.
    pub fn is_sound(&self, packet_bytes_max: usize) -> bool {
        self.at <= self.input.len()
            && self.written <= self.out.len()
            && self.input.len() <= buffers_bytes_max(packet_bytes_max)
            && self.out.len() <= buffers_bytes_max(packet_bytes_max)
    }
}

impl Broker {
    /// What its buffers take, in bytes.
    pub fn heap_bytes(&self) -> usize {
        self.input.capacity() + self.out.capacity()
    }
}

/// The most that each of the two buffers holds, in bytes.
pub fn buffers_bytes_max(packet_bytes_max: usize) -> usize {
    2 * OUT_BYTES_ENOUGH + 2 * packet_bytes_max
}

/// What follows from a deadline of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueBroker {
    /// The broker does not answer: the stream has to be closed.
    Dead,
    /// Nobody else has the name: rooms can be linked.
    Linked,
    /// There is something to write.
    Asked,
}
