//! One connection: its stream, its unfinished line, its output, and the state of both directions.
//!
//! A connection's buffers exist only while they hold something. The hub decides when to read and
//! when to write.

use std::io::{self, IoSlice, Read, Write};
use std::mem::ManuallyDrop;

use crate::chat::{Caller, Peer, Pending};
use crate::hub::edit::Editing;
use crate::hub::line::{Ends, Splitter};
use crate::protocol::{LINE_BYTES_MAX, Limits, REPLY_BYTES_MAX, REPLY_HEAD_BYTES_MAX};
use crate::state::{Damage, Fields, IMPOSSIBLE, Part, Writer, saved};
use crate::talk::editor::Editor;
use crate::talk::shown_bytes_max;
use crate::time::Millis;

/// The most bytes that one read takes.
pub const READ_BYTES: usize = 2048;
/// While this many bytes of output are waiting, the connection is not read.
pub const OUT_BYTES_ENOUGH: usize = 4096;

/// The most bytes of notices and a goodbye that wait behind replies.
pub(super) const NOTICES_BYTES_MAX: usize = 256;

/// A stream that does not block: a socket, or a test's substitute for one.
pub trait Transport: Read + Write {
    /// Makes the system find out within `idle_s` seconds if the peer has silently vanished, and
    /// report that as an error. With `None` the system stops looking.
    fn watch_peer(&mut self, idle_s: Option<u32>);

    /// How many of the bytes written to it the system still holds: the peer has neither
    /// acknowledged nor read them. While a stream takes nothing, this changes only when its peer
    /// takes something.
    fn untaken(&self) -> u32;

    /// Whether the system throws away what the peer has not taken when the stream fails, so that
    /// [`untaken`](Self::untaken) is 0 then.
    fn drops_untaken(&self) -> bool;

    /// Whether a read may return fewer bytes than fit although there are more to read.
    fn may_read_in_part(&self) -> bool;

    /// The number by which the next program finds the stream again: that of its descriptor.
    fn number(&self) -> u32;
}

/// What a connection has received and not answered, and what it has not written yet.
#[derive(Debug, Default)]
struct Buffers {
    /// Cuts the input into lines.
    lines: Splitter,
    /// Input that has not been cut into lines yet.
    input: Vec<u8>,
    /// A command that waits for the output to be written.
    postponed: Option<Box<Pending>>,
    /// Replies, notices, and the rest of an event whose line was written in part.
    out: Vec<u8>,
    /// How many bytes of `out` have been written.
    written: usize,
}

impl Buffers {
    fn new(ends: Ends) -> Box<Self> {
        let mut buffers = Box::<Buffers>::default();
        buffers.lines.set_ends(ends);
        buffers
    }

    /// Whether a connection could have them.
    fn is_sound(&self, limits: &Limits) -> bool {
        self.written <= self.out.len() && self.lines.is_sound(limits.line_bytes_max())
    }

    fn is_idle(&self) -> bool {
        let has_input = !self.input.is_empty() || self.postponed.is_some();
        self.lines.is_idle() && !has_input && self.out.is_empty()
    }
}

/// A connection on a stream `T`.
#[derive(Debug)]
pub struct Conn<T> {
    /// The stream.
    pub(super) stream: T,
    /// The core's part of it.
    pub caller: Caller,
    /// `None` while there is nothing to hold.
    buffers: Option<Box<Buffers>>,
    /// Where a person's client and the server are with editing lines; `None` if nobody has asked for it.
    pub(super) editing: Option<Box<Editing>>,
    /// Whether the client was asked to send what is typed with all its bits.
    pub(super) is_asked_for_binary: bool,
    /// Whether the client has let the server edit the line, now or before.
    pub(super) has_been_edited: bool,
    /// What was known about its line ends when the buffers were last freed.
    ends: Ends,
    /// What may still happen on the connection.
    life: Life,
    /// Whether the stream may have something to read.
    pub(super) is_readable: bool,
    /// Whether more may be left to read after a read that did not fill the buffer.
    pub(super) is_read_in_part: bool,
    /// Whether the poll has reported input that has not been read since.
    pub(super) is_reported: bool,
    /// Whether it was read since the last report, so that some input may have come after that.
    pub(super) is_ahead: bool,
    /// Whether the stream may take something.
    pub(super) space: Space,
    /// Whether the client takes what the server writes.
    pub(super) flow: Flow,
    /// How many bytes the stream has taken; wraps around.
    sent: u32,
    /// Whether it is on the hub's list of connections to read.
    pub(super) is_to_read: bool,
    /// Whether it is on the hub's list of connections to write to.
    pub(super) is_to_write: bool,
    /// The last time limit that [`Transport::watch_peer`] got.
    pub(super) watched_s: Option<u32>,
}

/// What may still happen on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Both sides may send.
    Open,
    /// The client has ended its side. It still gets its replies and its session's events.
    HalfClosed,
    /// Nothing reaches the client any more. What it has sent is still read and carried out.
    Unreachable,
    /// Nothing reaches the client any more, and all that it has sent was read.
    UnreachableAndRead,
    /// The server has said goodbye. The connection closes when the output is written.
    Closing,
    /// The server has said goodbye, and nothing reaches the client: there is nothing to wait for.
    Closed,
}

/// Whether a stream may take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// It may.
    Some,
    /// It took nothing in this turn, and the poll has not reported space since.
    NoneInTurn(u32),
}

/// Whether a client takes what the server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It does, or nothing shows that it does not.
    Flows,
    /// The stream has space again, but the client may have taken nothing since it stalled: `taken` is
    /// what [`Conn::taken`] was then.
    Unknown { since: Millis, taken: u32 },
    /// The stream takes nothing.
    Stalled { since: Millis, taken: u32 },
}

/// The most bytes that a connection's buffers take.
///
/// A connection never keeps input and an unfinished line at once: it keeps input only after a whole
/// line, and an unfinished line only when all its input has been looked at. A long reply begins
/// only when no other output is waiting; short replies stop at [`OUT_BYTES_ENOUGH`]. A warning, a
/// goodbye, or the rest of an event may follow either.
pub fn buffers_bytes_max(limits: &Limits) -> usize {
    let input = READ_BYTES.max(limits.line_bytes_max());
    let command = size_of::<Buffers>() + size_of::<Pending>();
    input + replies_bytes_max(limits) + NOTICES_BYTES_MAX + command
}

/// The most bytes of replies that wait in a connection's output.
pub(super) fn replies_bytes_max(limits: &Limits) -> usize {
    let short_replies = OUT_BYTES_ENOUGH + LINE_BYTES_MAX;
    let long_event = shown_bytes_max(limits.event_bytes_max());
    let long_reply = REPLY_BYTES_MAX.max(REPLY_HEAD_BYTES_MAX + long_event);
    short_replies.max(long_reply)
}

impl<T: Transport> Conn<T> {
    /// Makes a new connection.
    pub fn new(stream: T, caller: Caller, greeting: Vec<u8>) -> Self {
        Conn {
            is_read_in_part: stream.may_read_in_part(),
            stream,
            caller,
            buffers: Some(Box::new(Buffers {
                out: greeting,
                ..Buffers::default()
            })),
            editing: None,
            is_asked_for_binary: false,
            has_been_edited: false,
            ends: Ends::default(),
            life: Life::Open,
            is_readable: true,
            is_reported: true,
            is_ahead: false,
            space: Space::Some,
            flow: Flow::Flows,
            sent: 0,
            is_to_read: false,
            is_to_write: false,
            watched_s: None,
        }
    }

    /// Notes that the end of the stream was read.
    pub fn end_input(&mut self) {
        self.life = match self.life {
            Life::Open => Life::HalfClosed,
            Life::Unreachable => Life::UnreachableAndRead,
            life => life,
        };
    }

    /// Notes that nothing reaches the client any more.
    pub fn lose_client(&mut self) {
        self.life = match self.life {
            Life::Open => Life::Unreachable,
            Life::HalfClosed => Life::UnreachableAndRead,
            Life::Closing => Life::Closed,
            life => life,
        };
    }

    /// Notes that the server has said goodbye: the connection closes when the output is written.
    pub fn close_after_output(&mut self) {
        self.life = match self.life {
            Life::Open | Life::HalfClosed | Life::Closing => Life::Closing,
            Life::Unreachable | Life::UnreachableAndRead | Life::Closed => Life::Closed,
        };
    }

    /// Whether nothing reaches the client any more.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.life,
            Life::Unreachable | Life::UnreachableAndRead | Life::Closed
        )
    }

    /// Whether the server has said goodbye.
    pub fn is_closing(&self) -> bool {
        matches!(self.life, Life::Closing | Life::Closed)
    }

    /// Whether all that the client has sent was read, and the server has not said goodbye.
    pub fn has_ended(&self) -> bool {
        matches!(self.life, Life::HalfClosed | Life::UnreachableAndRead)
    }

    /// Whether the stream takes nothing of what the server has to write.
    pub fn is_stalled(&self) -> bool {
        matches!(self.flow, Flow::Stalled { .. })
    }

    /// Keeps input for later. An unfinished line is part of it, so the connection never keeps both.
    pub fn keep_input(&mut self, input: &[u8]) {
        let buffers = self.buffers();
        buffers.lines.release();
        buffers.input = input.to_vec();
    }

    /// Takes the input that has not been cut into lines yet.
    pub fn take_input(&mut self) -> Vec<u8> {
        let buffers = self.buffers.as_mut();
        buffers.map_or_else(Vec::new, |b| std::mem::take(&mut b.input))
    }

    /// Keeps a command until the output has been written.
    pub fn postpone(&mut self, pending: Pending) {
        self.buffers().postponed = Some(Box::new(pending));
    }

    /// Takes the command that waits for the output to be written.
    pub fn take_postponed(&mut self) -> Option<Box<Pending>> {
        self.buffers.as_mut()?.postponed.take()
    }

    /// Whether a command waits for the output to be written.
    pub fn has_postponed(&self) -> bool {
        self.buffers.as_ref().is_some_and(|b| b.postponed.is_some())
    }

    /// Returns the memory of a line that was answered, which is no beginning of another.
    pub fn release_line(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.lines.release();
        }
    }

    /// Whether the beginning of a line is kept.
    pub fn is_within_line(&self) -> bool {
        self.buffers
            .as_ref()
            .is_some_and(|b| b.lines.held_bytes() > 0)
    }

    /// Appends to the output, and reserves no more memory than that needs.
    pub fn append(&mut self, text: &[u8]) {
        let out = self.out();
        let before = out.len();
        out.reserve_exact(text.len());
        out.extend_from_slice(text);
        self.show_above(before);
    }

    /// The editor of what a person types, if it is on, and the buffer to append output to.
    pub(super) fn editor_and_out(&mut self) -> Option<(&mut Editor, &mut Vec<u8>)> {
        let editor = self.editing.as_mut()?.editor.as_mut()?;
        let buffers = self.buffers.get_or_insert_with(|| Buffers::new(self.ends));
        Some((editor, &mut buffers.out))
    }

    /// Whether the server edits what a person types.
    pub fn is_edited(&self) -> bool {
        self.editing
            .as_ref()
            .is_some_and(|editing| editing.editor.is_some())
    }

    /// Puts what was appended to the output since it had `before` bytes above the line that a person
    /// types, if the server edits that.
    pub fn show_above(&mut self, before: usize) {
        if let Some((editor, out)) = self.editor_and_out() {
            if out.len() > before {
                let text = out.split_off(before);
                editor.above(&text, out);
            }
        }
    }

    /// The buffer to append output to.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.buffers().out
    }

    /// What it takes to answer a line: what cuts it off, who sent it, where the answer goes.
    pub fn parts(&mut self) -> (&mut Splitter, &mut Caller, &mut Vec<u8>) {
        let buffers = self.buffers.get_or_insert_with(|| Buffers::new(self.ends));
        (&mut buffers.lines, &mut self.caller, &mut buffers.out)
    }

    fn buffers(&mut self) -> &mut Buffers {
        self.buffers.get_or_insert_with(|| Buffers::new(self.ends))
    }

    /// Frees the buffers if they hold nothing.
    pub fn release_buffers(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.lines.release();
            if buffers.is_idle() {
                self.ends = buffers.lines.ends();
                self.buffers = None;
            }
        }
    }

    /// How many bytes of output are waiting to be written.
    pub fn out_len(&self) -> usize {
        let buffers = self.buffers.as_ref();
        buffers.map_or(0, |b| b.out.len() - b.written)
    }

    /// How many bytes have been received that are not yet a line that was answered.
    pub fn in_len(&self) -> usize {
        let buffers = self.buffers.as_ref();
        buffers.map_or(0, |b| b.lines.partial_len() + b.input.len())
    }

    /// Whether there may be input that should be looked at now. A client that does not take its
    /// answers has to wait, and so does one that has sent too fast.
    pub fn may_be_read(&self) -> bool {
        let may_come = self.is_readable && matches!(self.life, Life::Open | Life::Unreachable);
        let has_input = may_come || self.has_unanswered();
        has_input
            && !self.is_closing()
            && !self.is_throttled()
            && (self.is_unreachable() || self.out_len() <= self.out_len_max())
    }

    /// Whether the client has to wait because it has sent too fast.
    pub fn is_throttled(&self) -> bool {
        self.caller.is_throttled()
    }

    /// How many bytes of output may be waiting when the next line is answered.
    pub fn out_len_max(&self) -> usize {
        match self.has_postponed() {
            true => 0,
            false => OUT_BYTES_ENOUGH - 1,
        }
    }

    /// Whether something that was received is still to be answered.
    pub fn has_unanswered(&self) -> bool {
        let buffers = self.buffers.as_ref();
        buffers.is_some_and(|b| b.postponed.is_some() || !b.input.is_empty())
    }

    /// Whether the connection may have to be closed.
    pub fn may_be_done(&self) -> bool {
        !matches!(self.life, Life::Open | Life::Unreachable)
    }

    /// Whether the connection is to be closed; `is_owed` says whether its session is still owed
    /// something.
    pub fn is_done(&self, is_owed: bool) -> bool {
        let has_written_all = self.out_len() == 0;
        match self.life {
            Life::Open | Life::Unreachable => false,
            Life::HalfClosed => has_written_all && !self.has_unanswered() && !is_owed,
            Life::UnreachableAndRead => !self.has_unanswered(),
            Life::Closing => has_written_all,
            Life::Closed => true,
        }
    }

    /// Writes the output and, after it, what is `owed`, until the stream takes no more.
    ///
    /// # Errors
    ///
    /// Whatever the stream reports, or `WriteZero` if it takes nothing without an error.
    pub fn write(&mut self, owed: &[&[u8]; 3]) -> io::Result<Written> {
        let out = match &self.buffers {
            Some(buffers) => &buffers.out[buffers.written..],
            None => &[],
        };
        let bytes = match (out, *owed) {
            (only, [[], [], []]) | ([], [[], only, []]) => self.stream.write(only)?,
            (out, [a, b, c]) => self
                .stream
                .write_vectored(&[out, a, b, c].map(IoSlice::new))?,
        };
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.sent = self.sent.wrapping_add(bytes as u32);
        let of_out = bytes.min(out.len());
        if of_out == out.len() {
            self.drop_out();
        } else {
            let buffers = self.buffers();
            buffers.written += of_out;
            if buffers.written >= OUT_BYTES_ENOUGH {
                buffers.out.drain(..std::mem::take(&mut buffers.written));
            }
        }
        Ok(Written {
            bytes,
            of_owed: bytes - of_out,
        })
    }

    /// How many bytes the peer has taken; wraps around, and is only good for comparisons.
    pub fn taken(&self) -> u32 {
        self.sent.wrapping_sub(self.stream.untaken())
    }

    /// Frees the memory that the output does not need, since it may have to wait for long.
    pub fn shrink_out(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.out.drain(..std::mem::take(&mut buffers.written));
            buffers.out.shrink_to_fit();
        }
    }

    /// How many bytes its buffers hold, and what edits a person's line.
    pub fn held_bytes(&self) -> usize {
        let held = |b: &Buffers| b.input.capacity() + b.lines.held_bytes() + b.out.len();
        let editing = self.editing.as_deref().map_or(0, Editing::held_bytes);
        self.buffers.as_deref().map_or(0, held) + editing
    }

    /// Throws the output away, since nobody will read it.
    pub fn drop_out(&mut self) {
        if let Some(buffers) = &mut self.buffers {
            buffers.out = Vec::new();
            buffers.written = 0;
        }
    }
}

/// What the poll reports about a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There may be something to read.
    pub readable: bool,
    /// It may take something.
    pub writable: bool,
    /// The peer has ended its side; the end comes after what is still to be read.
    pub read_closed: bool,
    /// There is an urgent byte, at which a read stops.
    pub urgent: bool,
    /// Nothing that the server writes reaches the peer any more.
    pub broken: bool,
    /// The system reports an error on the stream.
    pub failed: bool,
}

/// What a write has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many bytes the stream took.
    pub bytes: usize,
    /// How many of them were owed lines.
    pub of_owed: usize,
}

saved!(struct Buffers { lines, input, postponed, out, written });
saved!(enum Life {
    0 = Open,
    1 = HalfClosed,
    2 = Unreachable,
    3 = UnreachableAndRead,
    4 = Closing,
    5 = Closed,
});
saved!(enum Space { 0 = Some, 1 = NoneInTurn(turn) });
saved!(enum Flow { 0 = Flows, 1 = Unknown { since, taken }, 2 = Stalled { since, taken } });

impl<T: Transport> Conn<T> {
    /// Appends it to the record that is being written. Its stream is there by its number.
    pub(super) fn save(&self, out: &mut Writer<'_>) {
        // Whether it is on a list follows from the lists.
        let Conn {
            stream,
            caller,
            buffers,
            editing,
            is_asked_for_binary,
            has_been_edited,
            ends,
            life,
            is_readable,
            is_read_in_part,
            is_reported,
            is_ahead,
            space,
            flow,
            sent,
            is_to_read: _,
            is_to_write: _,
            watched_s,
        } = self;
        stream.number().save(out);
        caller.save(out);
        buffers.save(out);
        editing.save(out);
        is_asked_for_binary.save(out);
        has_been_edited.save(out);
        ends.save(out);
        life.save(out);
        is_readable.save(out);
        is_read_in_part.save(out);
        is_reported.save(out);
        is_ahead.save(out);
        space.save(out);
        flow.save(out);
        sent.save(out);
        watched_s.save(out);
    }

    /// Takes a connection off the front of what is left of a record. `stream_of` finds its stream.
    ///
    /// # Errors
    ///
    /// If no connection could be like that.
    pub(super) fn load(
        from: &mut Fields<'_>,
        limits: &Limits,
        stream_of: &mut impl FnMut(u32, &Peer) -> T,
    ) -> Result<Self, Damage> {
        let number = Part::load(from);
        let caller: Caller = Part::load(from);
        let stream = stream_of(number, caller.peer());
        // Whoever wrote the state can go on with the stream if it is damaged.
        let conn = ManuallyDrop::new(Conn {
            stream,
            caller,
            buffers: Part::load(from),
            editing: Part::load(from),
            is_asked_for_binary: Part::load(from),
            has_been_edited: Part::load(from),
            ends: Part::load(from),
            life: Part::load(from),
            is_readable: Part::load(from),
            is_read_in_part: Part::load(from),
            is_reported: Part::load(from),
            is_ahead: Part::load(from),
            space: Part::load(from),
            flow: Part::load(from),
            sent: Part::load(from),
            is_to_read: false,
            is_to_write: false,
            watched_s: Part::load(from),
        });
        from.check()?;
        let is_sound = conn.buffers.as_ref().is_none_or(|b| b.is_sound(limits))
            && conn.editing.as_ref().is_none_or(|e| e.is_sound(limits));
        match is_sound {
            true => Ok(ManuallyDrop::into_inner(conn)),
            false => Err(IMPOSSIBLE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Chat, ConnId, Peer};
    use crate::protocol::LifeId;
    use crate::time::{Millis, Now, Zone};

    /// A stream that takes a few bytes and then nothing more.
    struct Narrow {
        space: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.space);
            self.space -= taken;
            match taken {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                taken => Ok(taken),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Narrow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    impl Transport for Narrow {
        fn watch_peer(&mut self, _: Option<u32>) {}

        fn untaken(&self) -> u32 {
            0
        }

        fn drops_untaken(&self) -> bool {
            false
        }

        fn may_read_in_part(&self) -> bool {
            false
        }

        fn number(&self) -> u32 {
            0
        }
    }

    #[test]
    fn waiting_output_holds_no_more_memory_than_it_has_bytes() {
        let mut chat = Chat::new(Limits::default(), LifeId::new(0), Zone::UTC);
        let now = Now::exactly(Millis(0), 0);
        let mut greeting = Vec::new();
        let caller = chat.connect(ConnId(0), Peer::Local { user: 0 }, now, &mut greeting);
        assert!(greeting.len() > 10);
        let mut conn = Conn::new(Narrow { space: 10 }, caller.unwrap(), greeting);
        while conn.write(&[&[b'x'; 5000], &[], &[]]).is_ok() {}
        for bytes in [1, 100, 5000] {
            // The buffer may have grown to twice its size.
            conn.out().extend((0..bytes).map(|_| b'x'));
            let waiting = conn.out_len();
            conn.shrink_out();
            assert_eq!((conn.out_len(), conn.out().capacity()), (waiting, waiting));
        }
    }
}
