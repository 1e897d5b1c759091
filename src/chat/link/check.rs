//! What must hold of the link whenever no call is in progress. For tests.

use super::{ENDED_ROOMS_MAX, packet_bytes_max};
use crate::chat::Chat;
use crate::chat::ids::RoomKey;
use crate::link::broker::buffers_bytes_max;
use crate::link::remotes::Remotes;
use crate::link::roster::RosterHash;
use crate::time::{Millis, Now};

impl Chat {
    /// Checks that the link agrees with rooms and sessions, that everything stays within its bounds, and
    /// that no deadline was missed.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub(in crate::chat) fn assert_link(&self, now: Now) {
        let Some(link) = &self.link else {
            assert!(self.rooms.iter().all(|(_, room)| room.link.is_none()));
            return;
        };
        link.remotes.assert_consistent();
        let packet_max = packet_bytes_max(&self.limits);
        assert!(link.broker.is_sound(packet_max));
        // While a buffer grows, there are two.
        let buffers_max = 2 * 2 * buffers_bytes_max(packet_max);
        assert!(link.broker.heap_bytes() <= buffers_max);
        let remotes_max = Remotes::memory_bytes_max(link.settings.members_max);
        let remotes = link.remotes.heap_bytes() as u64;
        assert!(remotes <= remotes_max, "{remotes} of {remotes_max} bytes");
        assert!(link.ended.len() <= ENDED_ROOMS_MAX);
        assert!(link.former.len() <= ENDED_ROOMS_MAX);
        assert!(link.unfinished.is_empty());

        let mut queued = 0;
        for (key, room) in &self.rooms {
            let is_linked = link.settings.rooms.include(room.name);
            assert_eq!(room.link.is_some(), is_linked, "{}", room.name);
            let Some(linked) = &room.link else { continue };
            assert!(linked.is_sound(&room.log), "{linked:?}");
            let is_queued = link.to_publish.contains(&RoomKey::at(key));
            assert_eq!(linked.is_queued, is_queued, "{}", room.name);
            queued += usize::from(is_queued);
            let mut hash = RosterHash::default();
            for member in room.members.keys_after(None).0 {
                let member = &self.sessions[member as usize];
                hash.add(member.name, member.mode);
            }
            assert_eq!(linked.roster_hash, hash, "{}", room.name);
            let is_due = link.broker.is_linked() && !linked.is_queued;
            assert!(!is_due || link.wake_at <= linked.digest_at, "{linked:?}");
        }
        assert_eq!(queued, link.to_publish.len());

        let hold = Millis::from_secs(link.settings.hold_s);
        let deadlines = link.remotes.iter().map(|remote| remote.deadline(hold));
        for deadline in deadlines.chain([link.broker.deadline(now.past)]) {
            assert!(link.wake_at <= deadline, "{:?} {deadline:?}", link.wake_at);
        }
        for remote in link.remotes.iter() {
            assert!(self.rooms[remote.room as usize].link.is_some());
        }
    }
}
