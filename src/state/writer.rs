//! Writes a state, record by record.

use super::{DONE, MAGIC, Part, Tag};

/// Records go to the sink together once they have this many bytes, and what is long is cut into records
/// of about this size.
pub const CHUNK_BYTES: usize = 16 * 1024;

/// Where the bytes of a state go.
pub trait Sink {
    /// Takes all of `bytes`; false if it cannot, and then it is not asked again.
    fn put(&mut self, bytes: &[u8]) -> bool;
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.extend_from_slice(bytes);
        true
    }
}

/// Writes a state.
pub struct Writer<'a> {
    sink: &'a mut dyn Sink,
    /// Records that have not gone to the sink yet.
    buffer: Vec<u8>,
    /// How many records there are.
    records: u64,
    has_failed: bool,
}

impl<'a> Writer<'a> {
    /// Begins a state.
    pub fn new(sink: &'a mut dyn Sink) -> Writer<'a> {
        Writer {
            sink,
            buffer: MAGIC.to_vec(),
            records: 0,
            has_failed: false,
        }
    }

    /// Appends a record with the parts that `fill` saves.
    pub fn record(&mut self, tag: Tag, fill: impl FnOnce(&mut Writer<'a>)) {
        self.buffer.extend_from_slice(&tag);
        let length_at = self.buffer.len();
        0_u32.save(self);
        fill(self);
        let length = (self.buffer.len() - length_at - size_of::<u32>()) as u32;
        self.buffer[length_at..][..size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
        self.records += 1;
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    /// Appends values as records with a tag, as many records as they take.
    pub fn list<T: Part>(&mut self, tag: Tag, values: impl IntoIterator<Item = T>) {
        let mut values = values.into_iter().peekable();
        while values.peek().is_some() {
            self.record(tag, |out| {
                let most = out.buffer.len() + CHUNK_BYTES;
                while let Some(value) = values.next_if(|_| out.buffer.len() < most) {
                    value.save(out);
                }
            });
        }
    }

    /// Ends the state; false if the sink has not taken all of it.
    pub fn finish(mut self) -> bool {
        let records = self.records;
        self.record(DONE, |out| records.save(out));
        self.flush();
        !self.has_failed
    }

    /// Appends bytes to the record that is being written.
    #[inline(never)]
    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.has_failed = self.has_failed || !self.sink.put(&self.buffer);
        self.buffer.clear();
    }
}
