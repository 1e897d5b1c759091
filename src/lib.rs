//! The parts of chinwag, a chat server for very small Linux boxes.
//!
//! A core that is told the time and knows no sockets, and around it a thin shell that alone touches
//! sockets and clocks. Each of these uses only what stands below it:
//!
//! - `main` reads the command line, sets up the log, and starts the server.
//! - [`server`] polls sockets and reads the clocks, turn by turn.
//! - [`startup`] checks and prepares all that a start needs.
//! - [`ceiling`] works out the most memory that the settings can need.
//! - [`options`] is the command line.
//! - [`users`] is the users file.
//! - `net` is sockets: listeners, streams, and the service manager's.
//! - [`hub`] moves bytes between connections and the core, within the budget of a turn.
//! - [`chat`] is the core: sessions, rooms, and what each verb does.
//! - `sorted_index` finds them by name.
//! - [`protocol`] is what goes over the wire, as values; PROTOCOL.md tells clients the same.
//! - [`wheel`] keeps the timers.
//! - [`time`] is the time as the core is told it.
//! - `shrink` says when it is worth returning memory.
//! - `allocator` takes memory from the system and returns it.
//!
//! | Which file answers …? | |
//! |---|---|
//! | what goes over the wire: verbs, replies, events, errors, limits | `protocol` |
//! | how bytes become lines, telnet's commands, the Return and erase keys | `hub/line.rs` |
//! | what a verb does | `chat/commands.rs` |
//! | how a session is created, attached, detached, destroyed | `chat/life.rs` |
//! | when a session expires, is warned, or is found to be stalled | `chat/session.rs` says when, `chat/deadlines.rs` what happens, `wheel.rs` keeps the timers |
//! | how a clock reading becomes the time that the core is told | `time.rs`, `server/clock.rs` |
//! | what a room's log keeps, and what it drops | `chat/event_log.rs` |
//! | push against pull: what a session is owed, and what it has lost | `chat/owed.rs`, `chat/audience.rs` |
//! | what becomes of slow readers | `hub/write.rs`, `hub/read.rs` |
//! | how much a connection may cost in a turn, and what is done in which order | `hub/mod.rs`, `hub/read.rs` |
//! | how fast a client may send | `chat/rate.rs` |
//! | limits: their values, who is let in, what an address may have | `protocol` (`Limits`), `chat/admission.rs`, `chat/usage.rs` |
//! | keys: who may join, the users file, `--new-key` | `chat/keys.rs`, `users.rs` |
//! | what ends a connection that is no chat client's | `chat/connections.rs`, `protocol/http.rs` |
//! | the memory ceiling, and memory that goes back to the system | `ceiling.rs`, `chat/memory.rs`; `shrink.rs`, `allocator.rs` |
//! | what STATS shows | `chat/stats.rs` |
//! | what is logged of clients; where the log goes; dropped lines | `chat/journal.rs`; `server/log_sink.rs`; `server/report.rs` |
//! | options and `--help` | `options.rs` |
//! | start, `--check`, reload, open files | `startup.rs` |
//! | signals | `server/signals.rs` |
//! | the service manager: passed sockets, readiness, watchdog | `net/passed.rs`, `net/service_manager.rs` |
//! | listening, and what happens when accepting fails | `net/listener.rs`, `net/unix_socket.rs`, `server/listeners.rs` |
//! | what the system does for a connection: keepalive, buffers | `net/stream.rs`, `net/listener.rs` |

mod allocator;
pub mod ceiling;
pub mod chat;
pub mod hub;
mod net;
pub mod options;
pub mod protocol;
pub mod server;
mod shrink;
mod sorted_index;
pub mod startup;
pub mod time;
pub mod users;
pub mod wheel;
