//! Reads a state, record by record. Whatever the bytes are, it takes no more memory than there are bytes.

use super::{DONE, Damage, IMPOSSIBLE, MAGIC, Part, Tag};

/// The longest record, in bytes: a connection with the longest message, waiting both ways.
const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The memory for a record grows by this many bytes while there are more to read.
pub const STEP_BYTES: usize = 16 * 1024;

/// Where the bytes of a state come from.
pub trait Source {
    /// Fills the beginning of `buffer` and returns how much it has filled; 0 at the end.
    ///
    /// # Errors
    ///
    /// If nothing more can be read.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Damage>;
}

impl Source for &[u8] {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        let len = self.len().min(buffer.len());
        let (head, rest) = self.split_at(len);
        buffer[..len].copy_from_slice(head);
        *self = rest;
        Ok(len)
    }
}

/// Reads a state.
pub struct Reader<'a> {
    source: &'a mut dyn Source,
    /// What has been read from the source: from `at` on, it is still to come.
    buffer: Vec<u8>,
    at: usize,
    records: u64,
}

impl<'a> Reader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    ///
    /// If this is no state.
    pub fn new(source: &'a mut dyn Source) -> Result<Reader<'a>, Damage> {
        let mut reader = Reader {
            source,
            buffer: Vec::new(),
            at: 0,
            records: 0,
        };
        match reader.take(MAGIC.len()) {
            Ok(magic) if *magic == MAGIC => Ok(reader),
            Ok(_) | Err(_) => Err(Damage("this is not the state of a chinwag")),
        }
    }

    /// The next record; `None` behind the last one, where the state ends.
    ///
    /// # Errors
    ///
    /// If the state is cut short, or goes on behind its end.
    pub fn next_record(&mut self) -> Result<Option<(Tag, Fields<'_>)>, Damage> {
        let mut head = Fields::new(self.take(size_of::<Tag>() + size_of::<u32>())?);
        let tag = Tag::load(&mut head);
        let length = u32::load(&mut head) as usize;
        if length > RECORD_BYTES_MAX {
            return Err(Damage("a record is too long"));
        }
        if tag != DONE {
            self.records += 1;
            return Ok(Some((tag, Fields::new(self.take(length)?))));
        }
        let records = u64::load(&mut Fields::new(self.take(length)?));
        if records != self.records {
            return Err(Damage("some records are missing"));
        }
        match self.at == self.buffer.len() && self.read_more(1)? == 0 {
            true => Ok(None),
            false => Err(Damage("there are bytes behind the end")),
        }
    }

    /// Takes the next `len` bytes.
    fn take(&mut self, len: usize) -> Result<&[u8], Damage> {
        if self.buffer.len() - self.at < len {
            self.buffer.drain(..self.at);
            self.at = 0;
            self.buffer.shrink_to(len.max(STEP_BYTES));
            while self.buffer.len() < len {
                let missing = len - self.buffer.len();
                if self.read_more(missing)? == 0 {
                    return Err(Damage("it is cut short"));
                }
            }
        }
        let bytes = &self.buffer[self.at..][..len];
        self.at += len;
        Ok(bytes)
    }

    /// Reads some more of the source, at least if `wanted` bytes are.
    fn read_more(&mut self, wanted: usize) -> Result<usize, Damage> {
        let step = wanted.clamp(STEP_BYTES, 4 * STEP_BYTES);
        let before = self.buffer.len();
        self.buffer.reserve_exact(step);
        self.buffer.resize(before + step, 0);
        let read = self.source.fill(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// What is left of a record, and whether all values that were taken off it made sense.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    is_damaged: bool,
}

impl<'a> Fields<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Fields<'a> {
        Fields {
            rest,
            is_damaged: false,
        }
    }

    /// Notes that the record is damaged, if that is so. Then nothing more is left of it.
    pub fn damage(&mut self, is_damaged: bool) {
        if is_damaged {
            self.is_damaged = true;
            self.rest = &[];
        }
    }

    /// Whether a value that was taken off made no sense, so that no value counts.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Checks that all values that were taken off made sense.
    ///
    /// # Errors
    ///
    /// If one did not.
    pub fn check(&self) -> Result<(), Damage> {
        match self.is_damaged {
            false => Ok(()),
            true => Err(IMPOSSIBLE),
        }
    }

    /// Takes the next `len` bytes. If there are fewer, the record is damaged.
    #[inline(never)]
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            self.damage(true);
            return &[];
        };
        self.rest = rest;
        taken
    }

    /// Fills `bytes` with the next bytes. If there are fewer, the record is damaged.
    #[inline(never)]
    pub fn fill(&mut self, bytes: &mut [u8]) {
        let taken = self.take(bytes.len());
        if taken.len() == bytes.len() {
            bytes.copy_from_slice(taken);
        }
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Takes the values of a record that [`Writer::list`](super::Writer::list) has written.
    pub fn list<T: Part>(&mut self) -> Vec<T> {
        let mut values = Vec::new();
        while !self.rest.is_empty() {
            values.push(T::load(self));
        }
        values
    }
}

/// Whether a reader passes over records of a kind that it does not know.
///
/// # Errors
///
/// If it must not.
pub fn pass_over(tag: Tag) -> Result<(), Damage> {
    match tag[0].is_ascii_lowercase() {
        true => Ok(()),
        false => Err(Damage(
            "a newer version wrote it, which keeps more than this one can",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Sink, Writer};

    /// A state with one record.
    fn state(fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut out = Writer::new(&mut bytes as &mut dyn Sink);
        fill(&mut out);
        assert!(out.finish());
        bytes
    }

    #[test]
    fn fields_that_a_newer_version_has_appended_are_passed_over() {
        let bytes = state(|out| {
            out.record(*b"SOME", |out| (7_u32, 8_u64).save(out));
            out.record(*b"NEXT", |out| 9_u32.save(out));
        });
        let mut source = &bytes[..];
        let mut reader = Reader::new(&mut source).unwrap();
        for (tag, number) in [(*b"SOME", 7), (*b"NEXT", 9)] {
            let (found, mut fields) = reader.next_record().unwrap().unwrap();
            assert_eq!((found, u32::load(&mut fields)), (tag, number));
            assert_eq!(fields.check(), Ok(()));
        }
        assert!(reader.next_record().unwrap().is_none());
    }

    #[test]
    fn a_record_that_ends_too_early_is_damaged() {
        let bytes = state(|out| out.record(*b"SOME", |out| 7_u32.save(out)));
        let mut source = &bytes[..];
        let mut reader = Reader::new(&mut source).unwrap();
        let (_, mut fields) = reader.next_record().unwrap().unwrap();
        u64::load(&mut fields);
        assert_eq!(fields.check(), Err(IMPOSSIBLE));
    }

    #[test]
    fn only_kinds_of_records_with_a_small_letter_may_be_unknown() {
        assert_eq!(pass_over(*b"some"), Ok(()));
        assert!(pass_over(*b"Some").is_err());
    }
}
