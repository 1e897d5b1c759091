//! What the server counts, and the names under which STATS shows it.
//!
//! Counters only go up, from 0 at the start. Gauges that follow from the state of things are
//! worked out when they are asked for, in `chat`.

use crate::protocol::{LeaveReason, Listing, Output};
use crate::time::Millis;

/// The server's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The most connections that were open at once.
    pub connections_most: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections refused because there were too many.
    pub refused_connections: u64,
    /// Connections refused because there were too many from their address.
    pub refused_connections_address: u64,
    /// Connections closed for what their clients did.
    pub connections_abuse: u64,
    /// Connections closed because they got no session in time.
    pub connections_handshake: u64,
    /// JOINs refused because there were too many sessions.
    pub refused_sessions: u64,
    /// JOINs refused because there were too many sessions from the client's address.
    pub refused_sessions_address: u64,
    /// JOINs refused because there were too many rooms.
    pub refused_rooms: u64,
    /// JOINs refused for want of the right key.
    pub refused_keys: u64,
    /// Lines that had to wait because their client sent too fast.
    pub lines_throttled: u64,
    /// Bytes received from clients.
    pub bytes_in: u64,
    /// Bytes sent to clients.
    pub bytes_out: u64,
    /// Lines that got an OK.
    pub commands: u64,
    /// Lines that got an ERR.
    pub errors: u64,
    /// The most sessions that there were at once.
    pub sessions_most: u64,
    /// Sessions created.
    pub sessions_total: u64,
    /// Sessions ended, by [`LeaveReason::index`].
    pub sessions_ended: [u64; LeaveReason::ALL.len()],
    /// Events appended to a room's log.
    pub events: u64,
    /// Bytes of the lines of those events.
    pub events_bytes: u64,
    /// Events that sessions were given.
    pub events_delivered: u64,
    /// Bytes of the lines of those events.
    pub events_delivered_bytes: u64,
    /// Events that sessions were told they lost.
    pub events_lost: u64,
    /// Lines of the log that nobody took.
    pub log_lines_dropped: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// The longest turn, without the time slept, in milliseconds.
    pub turn_longest_ms: u64,
    /// The most memory that the settings can ever need, in bytes.
    pub memory_ceiling: u64,
}

/// What is worked out when it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Connections open now.
    pub connections: u64,
    /// Sessions now.
    pub sessions: u64,
    /// Sessions that a connection holds now.
    pub sessions_attached: u64,
    /// Rooms now.
    pub rooms: u64,
    /// Bytes of events that all logs hold now.
    pub log_bytes: u64,
    /// Timers filed now.
    pub timers: u64,
}

impl Stats {
    /// What there was and what was refused, in one line for the log.
    pub fn summary(&self, uptime: Millis) -> String {
        let (hours, minutes) = (uptime.secs() / 3600, uptime.secs() / 60 % 60);
        let refused_connections = self.refused_connections + self.refused_connections_address;
        let refused_sessions = self.refused_sessions + self.refused_sessions_address;
        format!(
            "up {hours} h {minutes} min: {} connections, {} sessions, {} events; refused: {} \
             connections, {} sessions, {} rooms, {} wrong keys; closed: {} for abuse, {} without a \
             session; {} events lost, {} lines of the log dropped",
            self.connections_total,
            self.sessions_total,
            self.events,
            refused_connections,
            refused_sessions,
            self.refused_rooms,
            self.refused_keys,
            self.connections_abuse,
            self.connections_handshake,
            self.events_lost,
            self.log_lines_dropped,
        )
    }

    /// The lines of a STATS reply.
    pub fn listing(&self, now: &Gauges) -> Listing {
        let mut listing = Listing::default();
        listing.add(Output::Version);
        let mut add = |name, value| listing.add(Output::Stat { name, value });
        add("uptime", now.uptime_s);
        add("connections", now.connections);
        add("connections-most", self.connections_most);
        add("connections-total", self.connections_total);
        add("connections-abuse", self.connections_abuse);
        add("connections-handshake", self.connections_handshake);
        add("sessions", now.sessions);
        add("sessions-attached", now.sessions_attached);
        add("sessions-detached", now.sessions - now.sessions_attached);
        add("sessions-most", self.sessions_most);
        add("sessions-total", self.sessions_total);
        for reason in LeaveReason::ALL {
            let sessions = self.sessions_ended[reason.index()];
            listing.add(Output::StatEnded { reason, sessions });
        }
        let mut add = |name, value| listing.add(Output::Stat { name, value });
        add("refused-connections", self.refused_connections);
        add(
            "refused-connections-address",
            self.refused_connections_address,
        );
        add("refused-sessions", self.refused_sessions);
        add("refused-sessions-address", self.refused_sessions_address);
        add("refused-rooms", self.refused_rooms);
        add("refused-keys", self.refused_keys);
        add("rooms", now.rooms);
        add("events", self.events);
        add("events-bytes", self.events_bytes);
        add("events-delivered", self.events_delivered);
        add("events-delivered-bytes", self.events_delivered_bytes);
        add("events-lost", self.events_lost);
        add("log-bytes", now.log_bytes);
        add("commands", self.commands);
        add("errors", self.errors);
        add("lines-throttled", self.lines_throttled);
        add("bytes-in", self.bytes_in);
        add("bytes-out", self.bytes_out);
        add("timers", now.timers);
        add("log-lines-dropped", self.log_lines_dropped);
        add("turns", self.turns);
        add("turn-longest", self.turn_longest_ms);
        add("memory-ceiling", self.memory_ceiling);
        listing
    }
}
