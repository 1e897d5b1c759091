//! The most memory that the server can ever need with its settings.
//!
//! Everything that clients can make it keep has a limit. Here each limit is multiplied by the most
//! that one such thing takes: arrays at their largest, with the copy that growing makes, and full
//! buffers.
//!
//! It does not count pages of files, the program's own and its libraries': the system chooses how many are
//! resident, shares them among processes, and may drop them and read them again at any time.

use std::fmt;

use crate::allocator::{array_bytes, slab_bytes};
use crate::chat::Chat;
use crate::chat::event_log::EventLog;
use crate::chat::keys::Keys;
use crate::hub::conn::{Conn, buffers_bytes_max};
use crate::hub::edit::{EDITORS_MAX, editor_bytes_max};
use crate::protocol::Limits;
use crate::state::{CHUNK_BYTES, READ_STEP_BYTES};
use crate::users::USERS_BYTES_MAX;

/// The most that an allocation takes besides its own bytes.
const ALLOCATION_OVERHEAD_BYTES: u64 = 32;

/// A stream as a release build has it; a debug build adds fields that check its use.
type Descriptor = u64;

/// What the program takes before any client connects: its variables and those of its libraries, the stack,
/// the poll's events.
const PROGRAM_BYTES: u64 = 512 * 1024;

/// The most that the server takes itself while it saves or loads a state, in bytes: what goes to a file at
/// once, with a record that may be as long as a connection's buffers and an event, each twice while it
/// grows; the timers, in the order in which they are filed; sessions and connections, before they have
/// their places.
fn saving_bytes_max(limits: &Limits) -> u64 {
    let (conns, sessions) = (
        limits.connections_at_once_max() as u64,
        limits.sessions_max as u64,
    );
    let record = buffers_bytes_max(limits) + editor_bytes_max(limits) + limits.event_bytes_max();
    let timers = array_bytes(conns.max(sessions), 2 * size_of::<u64>());
    let lists = 3 * array_bytes(conns, size_of::<u32>());
    2 * (CHUNK_BYTES + READ_STEP_BYTES + record) as u64 + timers + lists
}

/// The memory for one kind of thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub name: &'static str,
    /// The most of them that there can be.
    pub count: u64,
    /// The most that they take together, in bytes.
    pub bytes: u64,
}

/// The most memory that the server can need with some settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The parts that it is the sum of.
    pub parts: Vec<Part>,
    /// The most that the system keeps for the connections' sockets, in bytes.
    pub kernel_bytes: u64,
    /// The most that is taken for a moment during an upgrade, in bytes: the state, and a second process that
    /// loads it. A process that saves takes less.
    pub upgrade_bytes: u64,
    /// The most that a stop writes to the file of `--state`, in bytes; `None` without that.
    pub file_bytes: Option<u64>,
    /// The most that clients of Unix sockets can keep in their own sockets, in bytes; `None` without a
    /// Unix socket.
    pub client_bytes: Option<u64>,
    limits: Limits,
    /// The most members of other boxes that are listed; `None` if no room spans boxes.
    link_members_max: Option<usize>,
}

impl Ceiling {
    /// Works out the ceiling for `names` names in the users file, if there is one, and sockets that
    /// have `socket_buffer_bytes` for each direction.
    pub fn of(limits: &Limits, names: Option<usize>, socket_buffer_bytes: usize) -> Ceiling {
        let (conns, sessions, rooms) = (
            limits.connections_max as u64,
            limits.sessions_max as u64,
            limits.rooms_at_once_max() as u64,
        );
        // During a reload there are the old keys, the new ones, and the text of the file, which may
        // be at its longest without any name.
        let keys = names.map_or(0, |names| {
            2 * Keys::memory_bytes_max(names) + 2 * USERS_BYTES_MAX
        });
        let names = names.unwrap_or(0) as u64;
        let operators = limits.operators_max as u64;
        let all_conns = conns + operators;
        let editors = conns.min(EDITORS_MAX as u64);
        let part = |name, count, bytes| Part { name, count, bytes };
        let conn = buffers_bytes_max(limits) as u64 + 4 * ALLOCATION_OVERHEAD_BYTES;
        let log = EventLog::memory_bytes_max(limits.log_bytes) as u64;
        // Each connection with its place on the hub's lists: to read, to write, a room's audience, and a
        // spare one.
        let places = |conns| {
            slab_bytes::<Conn<Descriptor>>(conns) + 4 * array_bytes(conns, size_of::<u32>())
        };
        let mut parts = vec![
            part("the program itself", 1, PROGRAM_BYTES),
            part("connections", conns, places(conns) + conns * conn),
            part(
                "line editors",
                editors,
                editors * (editor_bytes_max(limits) as u64 + 4 * ALLOCATION_OVERHEAD_BYTES),
            ),
            part(
                "sessions",
                sessions,
                Chat::sessions_memory_bytes_max(limits),
            ),
            part(
                "rooms",
                rooms,
                Chat::rooms_memory_bytes_max(limits) + rooms * log,
            ),
            part(
                "ended sessions",
                crate::protocol::ENDED_MAX as u64,
                Chat::ended_memory_bytes_max(),
            ),
            part("names with keys", names, keys),
            part(
                "a state that is saved or loaded",
                1,
                saving_bytes_max(limits),
            ),
        ];
        if operators > 0 {
            let more_places = places(all_conns) - places(conns);
            let texts = (limits.message_bytes_max + limits.event_bytes_max()) as u64;
            let bytes = more_places + operators * conn + texts;
            parts.insert(2, part("connections of the operator", operators, bytes));
        }
        // Two directions, and the system doubles each for its own bookkeeping: socket(7).
        let kernel_bytes = all_conns * 2 * 2 * socket_buffer_bytes as u64;
        let sum: u64 = parts.iter().map(|part| part.bytes).sum();
        let loaded = sum - PROGRAM_BYTES;
        Ceiling {
            parts,
            kernel_bytes,
            // The state is no larger than what it is made of, and neither is what is loaded of it.
            upgrade_bytes: PROGRAM_BYTES + 2 * loaded,
            file_bytes: None,
            client_bytes: None,
            limits: *limits,
            link_members_max: None,
        }
    }

    /// The same for a server whose rooms span boxes, with at most this many listed members of other boxes.
    pub fn with_link(mut self, members_max: usize) -> Ceiling {
        let bytes = Chat::link_memory_bytes_max(&self.limits, members_max);
        self.parts.push(Part {
            name: "members of other boxes, and the link",
            count: members_max as u64,
            bytes,
        });
        Ceiling {
            upgrade_bytes: self.upgrade_bytes + 2 * bytes,
            link_members_max: Some(members_max),
            ..self
        }
    }

    /// The same for a server that keeps its state in a file, with `names` names in the users file.
    pub fn with_state_file(self, names: Option<usize>) -> Ceiling {
        let names = names.unwrap_or(0) as u64;
        let link = self.link_members_max;
        let link = link.map_or(0, |most| Chat::link_state_bytes_max(&self.limits, most));
        let file_bytes = Some(Chat::state_bytes_max(&self.limits, names) + link);
        Ceiling { file_bytes, ..self }
    }

    /// The same for a server with Unix sockets, each of whose clients can keep `bytes` in its own
    /// socket. The operator is always on one; `are_all` says that all clients may be.
    pub fn with_unix_clients(self, bytes: u64, are_all: bool) -> Ceiling {
        let limits = &self.limits;
        let clients = match are_all {
            true => limits.connections_at_once_max(),
            false => limits.operators_max,
        };
        let client_bytes = Some(clients as u64 * bytes);
        Ceiling {
            client_bytes,
            ..self
        }
    }

    /// The sum of the parts, in bytes.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The parts and what comes on top, a line each, for people.
    pub fn breakdown(&self) -> String {
        use fmt::Write;
        let mut text = String::new();
        for Part { name, count, bytes } in &self.parts {
            let _ = writeln!(text, "{:>12}  {count} {name}", Mib(*bytes).to_string());
        }
        let _ = writeln!(
            text,
            "{:>12}  in all, at most",
            Mib(self.bytes()).to_string()
        );
        let kernel = Mib(self.kernel_bytes).to_string();
        let _ = writeln!(
            text,
            "{kernel:>12}  more in the system, for the sockets' buffers"
        );
        let upgrade = Mib(self.upgrade_bytes).to_string();
        let _ = writeln!(
            text,
            "{upgrade:>12}  more for a moment during an upgrade or a save, in a second process"
        );
        if let Some(bytes) = self.file_bytes {
            let file = Mib(bytes).to_string();
            let _ = writeln!(text, "{file:>12}  in the file that a stop writes, at most");
        }
        if let Some(bytes) = self.client_bytes {
            let clients = Mib(bytes).to_string();
            let _ = writeln!(
                text,
                "{clients:>12}  more in the sockets of clients on Unix sockets"
            );
        }
        text
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most {} for {} connections, {} sessions, {} rooms; the system's sockets {} more",
            Mib(self.bytes()),
            self.limits.connections_max,
            self.limits.sessions_max,
            self.limits.rooms_max,
            Mib(self.kernel_bytes)
        )?;
        write!(f, ", an upgrade {}", Mib(self.upgrade_bytes))?;
        match self.client_bytes {
            Some(bytes) => write!(f, ", those of clients on Unix sockets {}", Mib(bytes)),
            None => Ok(()),
        }
    }
}

/// A number of bytes, shown as MiB.
pub struct Mib(pub u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10).div_ceil(1024 * 1024);
        write!(f, "{}.{} MiB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::OPERATORS_MAX;

    const MIB: u64 = 1024 * 1024;

    fn ceiling(limits: Limits) -> Ceiling {
        Ceiling::of(&limits, None, 32768)
    }

    #[test]
    fn the_defaults_need_at_most_20_mib() {
        let ceiling = ceiling(Limits::default());
        assert!(ceiling.bytes() <= 20 * MIB, "{ceiling}");
        assert_eq!(ceiling.kernel_bytes, 128 * MIB);
    }

    #[test]
    fn it_is_the_sum_of_its_parts_and_says_so() {
        let ceiling = ceiling(Limits::default());
        let sum: u64 = ceiling.parts.iter().map(|part| part.bytes).sum();
        assert_eq!(ceiling.bytes(), sum);
        let breakdown = ceiling.breakdown();
        assert_eq!(breakdown.lines().count(), ceiling.parts.len() + 3);
        let line = format!("{:>12}  1024 connections", {
            let part = &ceiling.parts[1];
            Mib(part.bytes).to_string()
        });
        assert!(breakdown.contains(&line), "{breakdown}");
        assert!(breakdown.contains(&Mib(sum).to_string()), "{breakdown}");
        let text = ceiling.to_string();
        assert!(text.contains("1024 connections, 4096 sessions, 64 rooms"));
    }

    #[test]
    fn what_clients_of_unix_sockets_can_keep_is_said_apart() {
        let without = ceiling(Limits::default());
        let with = without.clone().with_unix_clients(MIB / 2, true);
        assert_eq!(with.bytes(), without.bytes());
        assert_eq!(with.kernel_bytes, without.kernel_bytes);
        assert_eq!(with.client_bytes, Some(512 * MIB));
        let text = format!("{without}, those of clients on Unix sockets 512.0 MiB");
        assert_eq!(with.to_string(), text);
        let breakdown = with.breakdown();
        let line = breakdown.strip_prefix(&without.breakdown()).unwrap();
        assert!(
            line.starts_with("   512.0 MiB  more in the sockets of clients"),
            "{line}"
        );
    }

    #[test]
    fn the_operators_connections_are_a_part_of_their_own() {
        let without = Limits::default();
        let with = Limits {
            operators_max: OPERATORS_MAX,
            ..without
        };
        let [without, with] = [without, with].map(ceiling);
        let part = &with.parts[2];
        assert_eq!((part.name, part.count), ("connections of the operator", 2));
        let conn = buffers_bytes_max(&Limits::default()) as u64;
        assert!(part.bytes > 2 * conn, "{}", part.bytes);
        assert!(with.bytes() >= without.bytes() + part.bytes);
        assert_eq!(with.parts.len(), without.parts.len() + 1);
        assert_eq!(with.kernel_bytes, without.kernel_bytes / 1024 * 1026);
        // They alone are on a Unix socket, or all are.
        assert_eq!(
            with.clone().with_unix_clients(MIB, false).client_bytes,
            Some(2 * MIB)
        );
        assert_eq!(
            with.with_unix_clients(MIB, true).client_bytes,
            Some(1026 * MIB)
        );
    }

    #[test]
    fn more_of_anything_never_needs_less() {
        let limits = Limits::default();
        let more = [
            Limits {
                connections_max: 2 * limits.connections_max,
                ..limits
            },
            Limits {
                sessions_max: 2 * limits.sessions_max,
                ..limits
            },
            Limits {
                rooms_max: 2 * limits.rooms_max,
                ..limits
            },
            Limits {
                log_bytes: 2 * limits.log_bytes,
                ..limits
            },
            Limits {
                message_bytes_max: 8 * limits.message_bytes_max,
                ..limits
            },
        ];
        for more in more {
            assert!(ceiling(more).bytes() > ceiling(limits).bytes(), "{more:?}");
        }
        let with_file = Ceiling::of(&limits, Some(0), 32768);
        assert!(with_file.bytes() >= ceiling(limits).bytes() + 2 * USERS_BYTES_MAX);
        let with_names = Ceiling::of(&limits, Some(1000), 32768);
        let keys = with_names.bytes() - ceiling(limits).bytes();
        assert!(keys >= 2 * (Keys::memory_bytes_max(1000) + USERS_BYTES_MAX));
        assert!(with_names.bytes() > with_file.bytes());
        let with_buffers = Ceiling::of(&limits, None, 65536);
        assert_eq!(with_buffers.bytes(), ceiling(limits).bytes());
        assert_eq!(with_buffers.kernel_bytes, 2 * ceiling(limits).kernel_bytes);
    }

    #[test]
    fn without_kept_rooms_there_are_never_more_rooms_than_sessions() {
        let limits = Limits {
            sessions_max: 8,
            rooms_max: 8,
            keep_rooms_s: 0,
            ..Limits::default()
        };
        let more_rooms = Limits {
            rooms_max: 1000,
            ..limits
        };
        assert_eq!(ceiling(more_rooms).bytes(), ceiling(limits).bytes());
        let kept = Limits {
            keep_rooms_s: 1,
            ..more_rooms
        };
        let logs = 992 * EventLog::memory_bytes_max(limits.log_bytes) as u64;
        assert!(ceiling(kept).bytes() > ceiling(limits).bytes() + logs);
    }

    #[test]
    fn the_bound_of_an_array_covers_a_vector_that_grows_by_doubling() {
        for entries in [1, 4, 5, 100, 1023, 1024, 1025] {
            let mut vector = Vec::new();
            let mut most = 0;
            for _ in 0..entries {
                let before = vector.capacity();
                vector.push([0_u8; 24]);
                let after = vector.capacity();
                most = most.max(if after > before {
                    before + after
                } else {
                    after
                });
            }
            assert!(most as u64 * 24 <= array_bytes(entries, 24), "{entries}");
        }
    }

    #[test]
    fn people_are_shown_mib_with_a_digit_rounded_up() {
        for (bytes, shown) in [
            (0, "0.0 MiB"),
            (1, "0.1 MiB"),
            (MIB / 2, "0.5 MiB"),
            (MIB, "1.0 MiB"),
            (MIB + 1, "1.1 MiB"),
            (20 * MIB, "20.0 MiB"),
            (64 * MIB, "64.0 MiB"),
        ] {
            assert_eq!(Mib(bytes).to_string(), shown, "{bytes}");
        }
    }
}
