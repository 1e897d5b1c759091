//! The newest lines, as bytes, to compare with what others are given.

/// What there is at least room for, in bytes.
const BYTES_MIN: usize = 1 << 20;

/// Where a line is kept; none by default.
#[derive(Clone, Copy, Default)]
pub struct Text {
    start: u64,
    len: u32,
}

/// A ring of lines: the newest overwrite the oldest.
pub struct Texts {
    /// As long as a power of two.
    ring: Vec<u8>,
    /// Bytes that were ever written, those included that were left out for want of room at the
    /// ring's end.
    written: u64,
}

impl Texts {
    /// With room for some lines of so many bytes in all.
    pub fn new(bytes: usize) -> Texts {
        Texts {
            ring: vec![0; bytes.max(BYTES_MIN).next_power_of_two()],
            written: 0,
        }
    }

    /// Keeps a line, which must not be longer than half of all.
    pub fn store(&mut self, line: &[u8]) -> Text {
        let mut at = self.at(self.written);
        let room = self.ring.len() - at;
        if room < line.len() {
            self.written += room as u64;
            at = 0;
        }
        self.ring[at..at + line.len()].copy_from_slice(line);
        let start = self.written;
        self.written += line.len() as u64;
        Text {
            start,
            len: line.len() as u32,
        }
    }

    /// A line; empty if it was overwritten.
    pub fn get(&self, text: Text) -> &[u8] {
        if self.written > text.start + self.ring.len() as u64 {
            return &[];
        }
        let at = self.at(text.start);
        &self.ring[at..at + text.len as usize]
    }

    fn at(&self, offset: u64) -> usize {
        offset as usize & (self.ring.len() - 1)
    }
}
