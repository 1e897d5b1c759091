//! What all states of the core have in common: limits, the time, a line.

use chinwag::protocol::Limits;
use chinwag::time::{Millis, Now};

/// An event line of a common length.
pub const EVENT: &[u8] = b"MSG 123456 1763800000000 ann Shall we have another cup of tea?\r\n";

/// A message of a common length, as a program says it.
pub const SAY: &[u8] = b"SAY Shall we have another cup of tea?";

/// The same message, as a person says it.
pub const TEXT: &[u8] = b"Shall we have another cup of tea?";

/// Whether `cargo bench` runs the program. `cargo test --all-targets` runs it too, but without
/// optimization measuring takes long and says nothing.
pub fn is_bench() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// The default limits, but with no bound on how many there are of anything.
pub fn limits() -> Limits {
    Limits {
        connections_max: usize::MAX,
        sessions_max: usize::MAX,
        rooms_max: usize::MAX,
        per_address_max: usize::MAX,
        lines_per_s: 0,
        ..Limits::default()
    }
}

/// The time `at_ms` milliseconds after the start.
pub fn moment(at_ms: u64) -> Now {
    Now::exactly(Millis(at_ms), 1_763_800_000_000 + at_ms)
}
