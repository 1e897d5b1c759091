//! What the server counts, and the names under which STATS shows it.
//!
//! Counters start at 0 and only go up. Gauges are computed from the server's state when a client asks, with
//! two exceptions: the most that there has been of something is kept like a counter, and the server's loop
//! sets its longest turn and the ceiling.
//! A new one is a row here and its explanation in PROTOCOL.md.

use super::Chat;
use crate::protocol::{Abuse, LeaveReason, Listing, Output};
use crate::state::{Fields, Part, Writer, save_text};
use crate::time::{Millis, Now};

/// Defines [`Stats`] and lists what STATS shows, in its order, from one table. A counter is
/// `field as "name"`, which defines its field, too; a gauge is `"name" = value`.
macro_rules! stats {
    ($($($(#[$doc:meta])+ $field:ident as)? $name:literal $(= $value:expr)?;)+) => {
        /// The server's counters.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($($(#[$doc])+ pub $field: u64,)?)+
            /// Sessions ended, by [`LeaveReason::index`].
            pub sessions_ended: [u64; LeaveReason::ALL.len()],
        }

        impl Stats {
            /// Gives the name of each counter, and the counter.
            fn each_counter(&mut self, give: &mut dyn FnMut(&str, &mut u64)) {
                for (name, counter) in [$($(($name, &mut self.$field),)?)+] {
                    give(name, counter);
                }
                for reason in LeaveReason::ALL {
                    let name = format!("sessions-{reason}");
                    give(&name, &mut self.sessions_ended[reason.index()]);
                }
            }
        }

        impl Chat {
            /// Gives the name and the value of each row.
            fn each_stat(&self, now: Now, give: &mut dyn FnMut(&'static str, u64)) {
                $({
                    let value: fn(&Chat, Now) -> u64 =
                        $(|chat, _| chat.stats.$field)? $($value)?;
                    give($name, value(self, now));
                })+
            }
        }
    };
}

stats! {
    "uptime" = |chat, now| now.at.since(chat.started_at).secs();
    "connections" = |chat, _| chat.connections as u64;
    /// The most connections that were open at once.
    connections_most as "connections-most";
    /// Connections accepted.
    connections_total as "connections-total";
    /// Connections closed because of what their clients did.
    connections_abuse as "connections-abuse";
    /// Those of them whose clients spoke HTTP.
    connections_http as "connections-http";
    /// Those of them whose clients spoke TLS.
    connections_tls as "connections-tls";
    /// Connections closed because they got no session in time.
    connections_handshake as "connections-handshake";
    "sessions" = |chat, _| chat.sessions.len() as u64;
    "sessions-attached" = |chat, _| chat.attached;
    "sessions-detached" = |chat, _| chat.sessions.len() as u64 - chat.attached;
    /// The most sessions that there were at once.
    sessions_most as "sessions-most";
    /// Sessions created.
    sessions_total as "sessions-total";
    "sessions-left" = |chat, _| chat.stats.ended(LeaveReason::Left);
    "sessions-expired" = |chat, _| chat.stats.ended(LeaveReason::Expired);
    "sessions-quit" = |chat, _| chat.stats.ended(LeaveReason::Quit);
    "sessions-slow" = |chat, _| chat.stats.ended(LeaveReason::Slow);
    "sessions-replaced" = |chat, _| chat.stats.ended(LeaveReason::Replaced);
    "sessions-ended" = |chat, _| chat.stats.ended(LeaveReason::Ended);
    "sessions-crashed" = |chat, _| chat.stats.ended(LeaveReason::Crashed);
    /// Connections refused because there were too many.
    refused_connections as "refused-connections";
    /// Connections refused because there were too many from their address.
    refused_connections_address as "refused-connections-address";
    /// JOINs refused because there were too many sessions.
    refused_sessions as "refused-sessions";
    /// JOINs refused because there were too many sessions from the client's address.
    refused_sessions_address as "refused-sessions-address";
    /// JOINs refused because there were too many rooms.
    refused_rooms as "refused-rooms";
    /// JOINs refused because the key was missing or wrong.
    refused_keys as "refused-keys";
    /// RESUMEs refused because no session has or had such a token.
    refused_tokens as "refused-tokens";
    "rooms" = |chat, _| chat.rooms.len() as u64;
    "rooms-kept" = |chat, _| chat.kept.len() as u64;
    /// Rooms that nobody was in and that were freed early, because another needed the place.
    rooms_evicted as "rooms-evicted";
    /// Messages that members of this server have said.
    messages as "messages";
    /// Events appended to a room's log.
    events as "events";
    /// Bytes of those events' lines.
    events_bytes as "events-bytes";
    /// Events that sessions got.
    events_delivered as "events-delivered";
    /// Bytes of those events' lines.
    events_delivered_bytes as "events-delivered-bytes";
    /// Events that sessions have lost, as LOST lines say.
    events_lost as "events-lost";
    /// NOTICEs that members got.
    notices as "notices";
    /// NOTICEs that members missed because their connections took nothing.
    notices_missed as "notices-missed";
    "log-bytes" = |chat, _| chat.log_bytes;
    /// Lines that got an OK.
    commands as "commands";
    /// Lines that got an ERR.
    errors as "errors";
    /// Lines that had to wait because their client sent too fast.
    lines_throttled as "lines-throttled";
    /// Bytes received from clients.
    bytes_in as "bytes-in";
    /// Bytes sent to clients.
    bytes_out as "bytes-out";
    "timers" = |chat, _| chat.wheels().iter().map(|wheel| wheel.len() as u64).sum();
    /// Lines dropped from the server's log because nobody read them.
    log_lines_dropped as "log-lines-dropped";
    "link-up" = |chat, _| u64::from(chat.is_linked());
    "link-boxes" = |chat, _| chat.link_boxes();
    "link-members" = |chat, _| chat.link_members();
    /// Connections to the broker that carried events.
    link_connects as "link-connects";
    /// Events of other boxes that were appended to rooms' logs.
    link_events_in as "link-events-in";
    /// Own events that were published for other boxes.
    link_events_out as "link-events-out";
    /// Events of other boxes that this one never got, as MISSED lines say.
    link_missed as "link-missed";
    /// Publications of others that made no sense or came too fast.
    link_refused as "link-refused";
    /// Programs that have taken another one's place while the server ran.
    upgrades as "upgrades";
    /// Upgrades that were refused.
    upgrades_failed as "upgrades-failed";
    /// Turns of the loop.
    turns as "turns";
    /// The longest turn of the last minute, not counting sleep.
    turn_longest_ms as "turn-longest";
    /// The longest turn of all.
    turn_longest_ever_ms as "turn-longest-ever";
    "connections-max" = |chat, _| chat.limits.connections_max as u64;
    "sessions-max" = |chat, _| chat.limits.sessions_max as u64;
    "rooms-max" = |chat, _| chat.limits.rooms_max as u64;
    /// The most memory that the settings can ever need, in bytes.
    memory_ceiling as "memory-ceiling";
}

impl Stats {
    /// One line for the log: what the server has done and what it has refused.
    pub fn summary(&self, uptime: Millis) -> String {
        let (hours, minutes) = (uptime.secs() / 3600, uptime.secs() / 60 % 60);
        let refused_connections = self.refused_connections + self.refused_connections_address;
        let refused_sessions = self.refused_sessions + self.refused_sessions_address;
        format!(
            "up {hours} h {minutes} min: {} connections, {} sessions, {} events; refused: {} \
             connections, {} sessions, {} rooms, {} wrong keys; closed: {} for abuse, {} without a \
             session; {} events lost, {} log lines dropped",
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

    /// Counts a connection that is closed because of what its client did.
    pub(super) fn count_abuse(&mut self, abuse: Abuse) {
        self.connections_abuse += 1;
        match abuse {
            Abuse::Http => self.connections_http += 1,
            Abuse::Tls => self.connections_tls += 1,
            Abuse::Errors | Abuse::Denials | Abuse::TooLong => {}
        }
    }

    fn ended(&self, reason: LeaveReason) -> u64 {
        self.sessions_ended[reason.index()]
    }
}

impl Chat {
    /// What STATS shows as lines for the log, of several counters each.
    pub fn stats_for_log(&self, now: Now) -> Vec<String> {
        const IN_A_LINE: usize = 10;
        let mut rows = Vec::new();
        self.each_stat(now, &mut |name, value| rows.push(format!("{name} {value}")));
        let lines = rows.chunks(IN_A_LINE);
        lines
            .map(|rows| format!("stats: {}", rows.join(", ")))
            .collect()
    }

    /// The lines of a STATS reply.
    pub(super) fn list_stats(&self, now: Now) -> Listing {
        let mut listing = Listing::default();
        listing.add(Output::Version);
        self.each_stat(now, &mut |name, value| {
            listing.add(Output::Stat { name, value });
        });
        listing
    }
}

/// The largest count that is loaded: no server comes near it, and adding to it never overflows.
const COUNT_MAX: u64 = 1 << 56;

/// They are saved by their names, so that versions may have different counters.
impl Part for Stats {
    fn save(&self, out: &mut Writer<'_>) {
        let mut stats = *self;
        let mut counters: u32 = 0;
        stats.each_counter(&mut |_, _| counters += 1);
        counters.save(out);
        stats.each_counter(&mut |name, count| {
            save_text(name, out);
            count.save(out);
        });
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let named: Vec<(String, u64)> = Part::load(from);
        let mut stats = Stats::default();
        stats.each_counter(&mut |name, count| {
            let saved = named.iter().find(|(saved, _)| saved == name);
            *count = saved.map_or(0, |(_, saved)| *saved.min(&COUNT_MAX));
        });
        stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{LifeId, Limits};
    use crate::time::Zone;

    fn rows(chat: &Chat) -> Vec<(&'static str, u64)> {
        let mut rows = Vec::new();
        chat.each_stat(Now::exactly(Millis(0), 0), &mut |name, value| {
            rows.push((name, value))
        });
        rows
    }

    #[test]
    fn every_row_is_listed_and_fits_with_the_largest_value() {
        let chat = Chat::new(Limits::default(), LifeId::new(0), Zone::UTC);
        let listing = chat.list_stats(Now::exactly(Millis(0), 0));
        let rows = rows(&chat).len();
        assert_eq!(listing.lines(), 1 + rows as u64);
        let digits = u64::MAX.to_string().len();
        assert!(listing.space_bytes() > rows * (digits - 1));
    }

    #[test]
    fn every_reason_to_leave_has_its_row() {
        let mut chat = Chat::new(Limits::default(), LifeId::new(0), Zone::UTC);
        for (count, reason) in (1..).zip(LeaveReason::ALL) {
            chat.stats.sessions_ended[reason.index()] = count;
            let name = format!("sessions-{reason}");
            assert!(rows(&chat).contains(&(&name, count)), "{name}");
        }
    }
}
