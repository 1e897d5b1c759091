//! How a server goes on with the state that another run of it has left in a file.

use super::clock::{LOCAL_ZONE, SystemClock};
use super::state_file::StateFile;
use crate::chat::{Head, Kind};
use crate::hub::{Hub, Loaded};
use crate::link::Settings;
use crate::net::stream::Stream;
use crate::plural::count;
use crate::protocol::{LifeId, Limits};
use crate::state::{Damage, Reader};
use crate::time::{Clock, Now};

/// What a server begins with.
pub struct Beginning {
    /// Sessions and rooms.
    pub hub: Hub<Stream>,
    /// It goes on where the other run's has stopped.
    pub clock: SystemClock,
    /// Which life of the server this is: the other run's, if its sessions are back.
    pub boot: LifeId,
}

impl Beginning {
    /// Nothing, in a new life of the server.
    pub fn new(limits: Limits, link: Option<&Settings>, boot: LifeId) -> Beginning {
        let clock = SystemClock::start();
        let mut hub = Hub::new(limits, boot, LOCAL_ZONE);
        if let Some(link) = link {
            hub.set_link(link.clone(), clock.now());
        }
        Beginning { hub, clock, boot }
    }

    /// What a file has, if there is one. A life in which no session is from the file is `boot`.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened, or is damaged and cannot be put aside.
    pub fn from_file(
        file: &StateFile,
        limits: Limits,
        link: Option<&Settings>,
        boot: LifeId,
    ) -> Result<Beginning, String> {
        let Some((head, loaded)) = file.load(|reader| load(reader, limits, link))? else {
            return Ok(Beginning::new(limits, link, boot));
        };
        let mut hub = loaded.hub;
        let clock = SystemClock::starting_at(head.at);
        let now = clock.now();
        let boot = match head.kind == Kind::Running {
            true => {
                hub.recover(boot);
                boot
            }
            false => {
                hub.go_on(now);
                head.boot
            }
        };
        report(&head, &hub, loaded.sessions, now);
        Ok(Beginning { hub, clock, boot })
    }
}

fn load(
    reader: &mut Reader<'_>,
    limits: Limits,
    link: Option<&Settings>,
) -> Result<(Head, Loaded<Stream>), Damage> {
    let head = Head::read(reader)?;
    if head.kind == Kind::Upgrade {
        return Err(Damage("it is not meant for a file"));
    }
    let loaded = Hub::load(reader, &head, limits, LOCAL_ZONE, link.cloned(), |_, _| {
        unreachable!("only a state for an upgrade names streams")
    })?;
    Ok((head, loaded))
}

/// Logs what is back of a state with this many sessions.
fn report(head: &Head, hub: &Hub<Stream>, sessions_saved: usize, now: Now) {
    let found = hub.summary();
    let sessions = count(found.sessions, "session");
    let rooms = count(found.rooms, "room");
    let ended = sessions_saved as u64 - found.sessions;
    // The clock on the wall may have been set back since.
    let ago = match now.unix_ms.checked_sub(head.unix_ms) {
        Some(ms) => format!("saved {} s ago", ms / 1000),
        None => "saved at a time that is still to come".to_owned(),
    };
    if head.kind == Kind::Running {
        log::warn!(
            "the server did not stop properly: {rooms} back, {ago}; numbers of events go on behind \
             a gap, and {} ended",
            count(ended, "session")
        );
        return;
    }
    log::info!("{sessions} and {rooms} back, {ago}");
    if ended > 0 {
        log::warn!(
            "{} ended: the limits are lower than before the stop, or no client came for them in many \
             restarts",
            count(ended, "session")
        );
    }
}
