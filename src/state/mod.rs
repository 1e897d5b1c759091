//! The server's state as bytes: how it is written down, and how it is read back.
//!
//! A state goes from one program to the next when the server is upgraded, and through a file over a
//! restart. FORMAT.md in this folder describes every byte. Each part of the server saves and loads
//! itself, next to its type, with `saved!` or a [`Part`] of its own; what is here knows none of them.
//! Files and descriptors are the shell's: it brings a [`Sink`] and a [`Source`].

mod part;
mod reader;
mod summary;
mod writer;

pub use part::Part;
pub(crate) use part::{IMPOSSIBLE, load_text, save_text, saved};
pub use reader::{Fields, Reader, STEP_BYTES as READ_STEP_BYTES, Source, pass_over};
pub use summary::Summary;
pub use writer::{CHUNK_BYTES, Sink, Writer};

use std::fmt;

/// The first bytes of every state. The zero keeps programs from taking it for text.
const MAGIC: [u8; 8] = *b"chinwag\0";

/// The number of the format that this version writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The name of a kind of record. If the first letter is small, a reader that does not know the kind
/// passes over the record; otherwise it refuses the state.
pub type Tag = [u8; 4];

/// The last record.
const DONE: Tag = *b"DONE";

/// Why a state is refused, as a text for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage(pub &'static str);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
