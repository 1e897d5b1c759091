//! When the state goes to its file: at a stop, and with `--save` also while the server runs.
//!
//! A disk may take any time, and clients do not wait for it. So while the server runs, a child process
//! saves: it has all memory as it was when it was made. At most one does at a time.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net;
use std::time::Duration;

use mio::net::UnixStream;
use mio::{Interest, Registry};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Resource, getrlimit};

use super::event_source::EventSource;
use super::signals::CAUGHT;
use super::state_file::StateFile;
use super::{child, program};
use crate::chat::{Head, Kind};
use crate::hub::Hub;
use crate::net::stream::Stream;
use crate::plural::count;
use crate::protocol::LifeId;
use crate::time::{Millis, Now};

/// How long a save waits at least after one that has failed, even one that should not wait.
const RETRY_PAUSE: Millis = Millis(1000);
/// The longest time from a save that has failed to the next.
const RETRY_PAUSE_MAX: Millis = Millis(60_000);
/// A save that takes longer than this counts as failing, and goes on.
const SAVE_MAX: Millis = Millis(60_000);
/// How long a child may take until it begins to save, and a killed one until it is gone, in milliseconds.
/// Neither waits for a disk that works.
const CHILD_WAIT_MS: u64 = 1000;
/// What a child sends once it holds nothing of the server's, and once the state is on disk.
const READY: u8 = b'+';
const SAVED: &[u8] = b"saved";
/// The longest reason for a failure that is shown, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// The file, and when the state goes there.
pub struct Saves {
    file: StateFile,
    boot: LifeId,
    schedule: Option<Schedule>,
}

/// The saves while the server runs.
struct Schedule {
    pause: Millis,
    /// No save begins before this time.
    next_at: Millis,
    /// After a failure, not even one that should not wait begins before this time.
    retry_at: Millis,
    /// What [`Hub::changes`] was when the save began that is on disk now.
    saved: u64,
    /// What it was when the last one began.
    tried: u64,
    child: Option<Child>,
    /// The log has said that saving fails, and not yet that it works again.
    is_failing: bool,
}

/// A process that saves.
struct Child {
    pid: Pid,
    /// What it sends, and what has come of that.
    stream: UnixStream,
    answer: Vec<u8>,
    /// When it takes too long.
    late_at: Millis,
}

impl Saves {
    /// Saves to this file, in the life `boot` of the server: at a stop, and each `save_s` seconds if
    /// anything has changed. Whatever is in the file now must not be used again, so it is removed or
    /// replaced.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed or written.
    pub fn begin(
        file: StateFile,
        boot: LifeId,
        save_s: Option<u32>,
        hub: &mut Hub<Stream>,
        now: Now,
    ) -> Result<Saves, String> {
        let mut saves = Saves {
            file,
            boot,
            schedule: None,
        };
        let Some(save_s) = save_s else {
            saves.file.remove()?;
            return Ok(saves);
        };
        let changes = hub.changes();
        hub.begin_save();
        let head = head(Kind::Running, boot, now);
        let saved = save(&saves.file, &head, hub);
        hub.end_save(saved.is_ok());
        saved?;
        saves.schedule = Some(Schedule::new(save_s, changes, now));
        Ok(saves)
    }

    /// Goes on with the saves of the program that was in this process before, whose file this is.
    pub fn go_on(file: StateFile, boot: LifeId, save_s: Option<u32>, now: Now) -> Saves {
        // Nobody knows what the last save had, so there is one more.
        let schedule = save_s.map(|save_s| Schedule {
            next_at: now.at,
            ..Schedule::new(save_s, u64::MAX, now)
        });
        Saves {
            file,
            boot,
            schedule,
        }
    }

    /// The file.
    pub fn file(&self) -> &StateFile {
        &self.file
    }

    /// When the next save is due; `None` while nothing changes and in the middle of one.
    pub fn next_deadline(&self, hub: &Hub<Stream>) -> Option<Millis> {
        self.schedule.as_ref()?.next_deadline(hub)
    }

    /// Begins a save if one is due.
    pub fn turn(&mut self, hub: &mut Hub<Stream>, registry: &Registry, now: Now) {
        let Some(schedule) = &mut self.schedule else {
            return;
        };
        if schedule.next_deadline(hub).is_none_or(|at| at > now.past) {
            return;
        }
        let file = &self.file;
        if let Some(child) = &mut schedule.child {
            child.late_at = Millis::NEVER;
            let file = file.path().display();
            schedule.note_failure(&format!(
                "saving the state to {file} has taken {} s so far",
                SAVE_MAX.secs()
            ));
            return;
        }
        schedule.next_at = now.at + schedule.pause;
        schedule.tried = hub.changes();
        hub.begin_save();
        let head = head(Kind::Running, self.boot, now);
        match Child::start(file, &head, hub, registry, now) {
            Ok(child) => schedule.child = Some(child),
            Err(error) => {
                hub.end_save(false);
                schedule.fail(
                    &format!("cannot start a process that saves the state: {error}"),
                    now,
                );
            }
        }
    }

    /// Takes what a child has sent, and notes its end.
    pub fn ready(&mut self, hub: &mut Hub<Stream>, now: Now) {
        let Some(schedule) = &mut self.schedule else {
            return;
        };
        let Some(child) = schedule.child.take_if(Child::has_ended) else {
            return;
        };
        let is_saved = child.answer == SAVED;
        hub.end_save(is_saved);
        if is_saved {
            schedule.saved = schedule.tried;
            if mem::take(&mut schedule.is_failing) {
                log::info!("the state is saved again");
            }
            return;
        }
        match String::from_utf8_lossy(&child.answer).as_ref() {
            "" => schedule.fail("the process that saved the state was killed", now),
            reason => schedule.fail(reason, now),
        }
    }

    /// Ends a save that is in progress. The file from before is there, unless the save had come to its
    /// end. Returns false if the save does not end because the disk does not answer.
    pub fn abandon(&mut self, hub: &mut Hub<Stream>) -> bool {
        self.end_child(hub, CHILD_WAIT_MS)
    }

    /// Saves the state of a server that stops, so that its sessions go on at the next start. Waits for
    /// the disk.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn stop(mut self, hub: &mut Hub<Stream>, now: Now) -> Result<(), String> {
        self.end_child(hub, u64::MAX);
        save(&self.file, &head(Kind::Stop, self.boot, now), hub)?;
        let kept = hub.summary();
        log::info!(
            "{} and {} kept in {}",
            count(kept.sessions, "session"),
            count(kept.rooms, "room"),
            self.file.path().display()
        );
        Ok(())
    }

    /// Kills a child, and waits for its end; false if that takes longer than that.
    fn end_child(&mut self, hub: &mut Hub<Stream>, wait_max_ms: u64) -> bool {
        let Some(schedule) = &mut self.schedule else {
            return true;
        };
        // One that does not end stays: it may be about to rename the file.
        let ended = (schedule.child).take_if(|child| child::kill(child.pid, wait_max_ms));
        if ended.is_some() {
            // What it would have saved is due again at once.
            schedule.next_at = Millis(0);
            hub.end_save(false);
            self.file.remove_unfinished();
        }
        schedule.child.is_none()
    }
}

/// The head of a state that goes to a file.
fn head(kind: Kind, boot: LifeId, now: Now) -> Head {
    // The monotonic clock says nothing to another boot of the system.
    Head::new(kind, boot, 0, now)
}

impl Schedule {
    /// Begins when [`Hub::changes`] was `saved` in what is on disk.
    fn new(save_s: u32, saved: u64, now: Now) -> Schedule {
        let pause = Millis::from_secs(save_s);
        Schedule {
            pause,
            next_at: now.at + pause,
            retry_at: Millis(0),
            saved,
            tried: saved,
            child: None,
            is_failing: false,
        }
    }

    fn next_deadline(&self, hub: &Hub<Stream>) -> Option<Millis> {
        match &self.child {
            Some(child) => Some(child.late_at).filter(|at| *at != Millis::NEVER),
            None if hub.is_save_urgent() => Some(self.retry_at),
            None => (hub.changes() != self.saved).then(|| self.next_at.max(self.retry_at)),
        }
    }

    fn fail(&mut self, reason: &str, now: Now) {
        self.retry_at = now.at + RETRY_PAUSE;
        self.next_at = self.next_at.min(now.at + RETRY_PAUSE_MAX);
        self.note_failure(reason);
    }

    fn note_failure(&mut self, reason: &str) {
        if !mem::replace(&mut self.is_failing, true) {
            log::error!("{reason}; until a save succeeds, a crash loses what has changed since");
        }
    }
}

impl Child {
    fn start(
        file: &StateFile,
        head: &Head,
        hub: &Hub<Stream>,
        registry: &Registry,
        now: Now,
    ) -> io::Result<Child> {
        let (ours, theirs) = net::UnixStream::pair()?;
        ours.set_read_timeout(Some(Duration::from_millis(CHILD_WAIT_MS)))?;
        let mut stream = UnixStream::from_std(ours);
        registry.register(&mut stream, EventSource::Save.into(), Interest::READABLE)?;
        let pid = child::start(0, || work(&theirs, || save(file, head, hub)))?;
        drop(theirs);
        let mut child = Child {
            pid,
            stream,
            answer: Vec::new(),
            late_at: now.at + SAVE_MAX,
        };
        // Until then the child's copies would keep sockets open that this process closes.
        let ready = child.stream.read_exact(&mut [0]);
        match ready.and_then(|()| Ok(ioctl_fionbio(&child.stream, true)?)) {
            Ok(()) => Ok(child),
            Err(error) if child::kill(child.pid, CHILD_WAIT_MS) => Err(error),
            // It stays for as long as the system waits for a disk on its behalf; its stream ends with it.
            Err(_) => {
                ioctl_fionbio(&child.stream, true)?;
                Ok(child)
            }
        }
    }

    /// Reads what it has sent; whether it has ended.
    fn has_ended(&mut self) -> bool {
        let mut buffer = [0; 256];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) if self.answer.len() < REASON_BYTES_MAX => {
                    self.answer.extend_from_slice(&buffer[..len]);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => break,
            }
        }
        // Only the end of the process closes its stream, so this does not wait.
        child::wait(self.pid);
        true
    }
}

/// Saves in this process.
fn save(file: &StateFile, head: &Head, hub: &Hub<Stream>) -> Result<(), String> {
    file.write(|out| {
        head.write(out);
        hub.save(head.kind, out);
    })
}

/// What the child does: it saves, and says how that went.
fn work(mut parent: &net::UnixStream, save: impl FnOnce() -> Result<(), String>) {
    reset_signals();
    close_all_but(parent.as_raw_fd());
    program::be_dispensable();
    let _ = parent.write_all(&[READY]);
    let _ = match save() {
        Ok(()) => parent.write_all(SAVED),
        Err(error) => parent.write_all(error.as_bytes()),
    };
}

/// Undoes the parent's handling of signals, in a child: what ends the parent ends the child, and the
/// rest does not concern it.
#[expect(unsafe_code, reason = "no crate has this call without it")]
fn reset_signals() {
    for signal in CAUGHT {
        let handler = match signal {
            libc::SIGTERM | libc::SIGINT => libc::SIG_DFL,
            _ => libc::SIG_IGN,
        };
        // SAFETY: Neither handler is a function.
        unsafe { libc::signal(signal, handler) };
    }
}

/// Closes all descriptors but the standard streams and one other.
#[expect(unsafe_code, reason = "nobody uses the descriptors again")]
fn close_all_but(kept: RawFd) {
    let first = libc::STDERR_FILENO + 1;
    for (from, to) in [(first, kept - 1), (kept + 1, RawFd::MAX)] {
        if from > to {
            continue;
        }
        // SAFETY: This is the copy of a process that goes on elsewhere; nothing here uses them, and none
        // of their owners is dropped before the end.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        if closed == 0 {
            continue;
        }
        // Linux before 5.9.
        let limit = getrlimit(Resource::Nofile).current;
        let limit = limit.map_or(RawFd::MAX, |limit| limit.min(RawFd::MAX as u64) as RawFd);
        for number in from..=to.min(limit) {
            // SAFETY: As above.
            unsafe { libc::close(number) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_that_has_failed_is_tried_again_within_a_minute() {
        let now = Now::exactly(Millis(5000), 0);
        for (save_s, next_s) in [(3600, 65), (60, 65), (10, 15)] {
            let mut schedule = Schedule::new(save_s, 0, now);
            schedule.fail("no space", now);
            assert_eq!(schedule.next_at, Millis::from_secs(next_s), "{save_s}");
            assert_eq!(schedule.retry_at, Millis(6000));
        }
    }
}
