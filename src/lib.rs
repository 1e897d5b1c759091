//! The parts of chinwag, a chat server for very small Linux boxes.
//!
//! The core gets the time as a number and knows no sockets. Only the thin shell around it touches
//! sockets and clocks. Each part uses only those below it:
//!
//! - `main` does what the command line asks for.
//! - [`server`] polls sockets and reads the clocks, turn by turn, and writes the log.
//! - [`startup`] checks and prepares all that a start needs.
//! - [`ceiling`] works out the most memory that the settings can need.
//! - [`options`] is the command line.
//! - [`users`] is the users file.
//! - `secret_file` reads files that only their owner may read.
//! - `net` is sockets: listeners, streams, and the service manager's.
//! - [`hub`] moves bytes between connections and the core, within the budget of a turn.
//! - [`chat`] is the core: sessions, rooms, and what each verb does.
//! - `sorted_index` finds them by name.
//! - [`talk`] is the people's form of what goes over the wire.
//! - [`link`] is what boxes say to each other through a broker, so that rooms span them.
//! - [`protocol`] is what goes over the wire, as values. PROTOCOL.md describes it for clients.
//! - [`wheel`] keeps the timers.
//! - [`time`] is the time in the form in which the core gets it.
//! - [`state`] is how the server's state is written down and read back.
//! - `plural` writes numbers of things for people.
//! - `shrink` decides when returning memory is worth it.
//! - `allocator` takes memory from the system and returns it.
//!
//! | Where to look for … | |
//! |---|---|
//! | what goes over the wire, and how it is written | `protocol/mod.rs` has a map of its own |
//! | how bytes become lines, erase keys; telnet commands | `hub/line.rs`; `hub/telnet.rs` |
//! | what people type and see: TALK | `talk/mod.rs` has a map of its own; `chat/talk.rs` |
//! | which verbs there are, and what each does | `protocol/verb.rs`, `chat/commands.rs` |
//! | how a session is created, attached, detached, destroyed | `chat/life.rs`, `chat/session.rs` |
//! | when a session expires, is warned, or counts as stalled | `chat/session.rs` says when, `chat/deadlines.rs` what happens then |
//! | how timers are kept | `wheel.rs`, `chat/timers.rs` |
//! | how the system's time becomes the core's | `server/clock.rs`, `time.rs` |
//! | what a room keeps, and what it drops | `chat/room.rs`, `chat/event_log.rs` |
//! | how long a room that nobody is in is kept, and which one makes way for another | `chat/kept_rooms.rs` |
//! | push and pull: the events that wait for a session | `chat/owed.rs`, `chat/audience.rs`; POLL: `chat/poll.rs` |
//! | slow readers, and clients that take nothing | `hub/write.rs`, `hub/read.rs`, `chat/deadlines.rs` |
//! | what the server sends without being asked | `chat/notice.rs`, `chat/ended.rs` |
//! | how much a connection may cost in a turn, and what comes first | `hub/mod.rs`, `hub/read.rs` |
//! | how a connection begins, is answered, and ends | `hub/conn.rs`, `chat/connections.rs`, `chat/answer.rs`, `chat/caller.rs` |
//! | how fast a client may send, and try keys | `chat/rate.rs`, `chat/usage.rs` |
//! | limits and their defaults; which clients get in; what an address may have | `protocol/limits.rs`; `chat/admission.rs`; `chat/origin.rs`, `chat/usage.rs` |
//! | keys, the users file, `--new-key` | `chat/keys.rs`, `users.rs` |
//! | the line editor for telnet clients: its keys; how a line stands on the screen | `talk/editor.rs`; `talk/keys.rs`; `talk/screen.rs` |
//! | browsers and other programs that are not chat clients | `protocol/http.rs`, `chat/answer.rs` |
//! | rooms that span boxes | `link/mod.rs` has a map of its own; `chat/link/mod.rs`, `hub/link.rs`, `server/link.rs` |
//! | the memory ceiling | `ceiling.rs`, `chat/memory.rs` |
//! | memory that goes back to the system | `shrink.rs`, `allocator.rs` |
//! | what STATS shows | `chat/stats.rs` |
//! | the operator's socket: its verbs, what they do, whose place a new connection takes, reserved descriptors | `protocol/operator.rs`, `chat/operator.rs`, `hub/operator.rs`, `server/listeners.rs` |
//! | what the server logs about clients; where the log goes; dropped lines | `chat/journal.rs`; `server/logging.rs`, `server/log_sink.rs`; `server/report.rs` |
//! | options: names, ranges, defaults, texts; `--help` | `options/table.rs`; `options/help.rs` |
//! | start, `--check`, reload, open files | `startup.rs` |
//! | the state's file: what is in it, what a start makes of it, and when it is written | `server/state_file.rs`, `server/restart.rs`, `server/saves.rs` |
//! | signals | `server/signals.rs` |
//! | upgrade in place: the old program's part, the new one's, what goes from one to the other | `server/upgrade.rs`, `server/resume.rs`, `server/handover.rs` |
//! | a new program on trial; `--upgrade`; how a program is executed, and what for | `server/trial.rs`; `server/ask_upgrade.rs`; `server/program.rs`, `server/errand.rs`; children: `server/child.rs` |
//! | the service manager: passed sockets, readiness, watchdog | `net/passed.rs`, `net/service_manager.rs` |
//! | listening, and what happens when accepting fails | `net/listener.rs`, `net/unix_socket.rs`, `server/listeners.rs` |
//! | what the system does for a connection: keepalive, buffers | `net/stream.rs`, `net/listener.rs` |
//! | what must always hold between all these | `chat/check.rs`, `hub/check.rs` |

mod allocator;
pub mod ceiling;
pub mod chat;
pub mod hub;
pub mod link;
mod net;
pub mod options;
mod plural;
pub mod protocol;
mod secret_file;
pub mod server;
mod shrink;
mod sorted_index;
pub mod startup;
pub mod state;
pub mod talk;
pub mod time;
pub mod users;
pub mod wheel;
