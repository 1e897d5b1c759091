//! The first record of a state: who wrote it, when, and what for.

use crate::protocol::LifeId;
use crate::state::{Damage, FORMAT, Part, Reader, Tag, Writer, saved};
use crate::time::{Millis, Now};

const HEAD: Tag = *b"HEAD";

/// The latest time that a state may be of: no server has run for hundreds of years, and in nanoseconds it
/// is still a number.
const AT_MAX: Millis = Millis(1 << 43);

/// What a state is for, and so how the server that loads it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// For the program that takes this one's place: everything goes on, connections too.
    Upgrade,
    /// For the next start, after this server has ended: sessions go on.
    Stop,
    /// For the case that this server comes to no good end: rooms go on, with other numbers.
    Running,
}

impl Kind {
    /// Whether everything goes on as it was, so that the limits must allow it as it is.
    pub fn is_upgrade(self) -> bool {
        self == Kind::Upgrade
    }
}

saved!(enum Kind { 0 = Upgrade, 1 = Stop, 2 = Running });

/// What the first record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The version of the program that wrote the state.
    pub version: String,
    /// What it is for.
    pub kind: Kind,
    /// Which life of the server it is from.
    pub boot: LifeId,
    /// The server's time when it was written.
    pub at: Millis,
    /// The wall clock then, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// Where the server's time began on the system's monotonic clock, in nanoseconds. Means nothing
    /// after the system has started again.
    pub clock_start_ns: u64,
}

saved!(struct Head { version, kind, boot, at, unix_ms, clock_start_ns });

impl Head {
    /// The head of a state that this program writes now.
    pub fn new(kind: Kind, boot: LifeId, clock_start_ns: u64, now: Now) -> Head {
        Head {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kind,
            boot,
            at: now.at,
            unix_ms: now.unix_ms,
            clock_start_ns,
        }
    }

    /// Writes it as the first record.
    pub fn write(&self, out: &mut Writer<'_>) {
        out.record(HEAD, |out| {
            FORMAT.save(out);
            self.save(out);
        });
    }

    /// Reads the first record.
    ///
    /// # Errors
    ///
    /// If it is missing, or of another format.
    pub fn read(reader: &mut Reader<'_>) -> Result<Head, Damage> {
        let (_, mut fields) = (reader.next_record()?)
            .filter(|(tag, _)| *tag == HEAD)
            .ok_or(Damage("it does not say who wrote it"))?;
        match u32::load(&mut fields) {
            FORMAT => {
                let head = Head::load(&mut fields);
                fields.damage(head.at > AT_MAX);
                fields.check().map(|()| head)
            }
            _ => Err(Damage(
                "another version wrote it, in a format that this one does not know",
            )),
        }
    }
}
