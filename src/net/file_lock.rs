//! The lock that a server holds while it makes or removes a file that several servers may want: that
//! of a Unix socket for a moment, that of its state for its whole life.
//!
//! It is on a file of its own, which only the server's user can open. On the folder, anyone who can
//! read that could hold the lock, and keep the server from starting. The system releases the lock
//! when the process ends, however it ends.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::state::saved;

/// How many times the server tries at its start to take a lock that another process holds. Another
/// server that starts holds it for a few system calls.
pub const TRIES_AT_START: u32 = 150;
/// The same at the end.
pub const TRIES_AT_END: u32 = 10;
/// The time between two tries.
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// While it is held, no other server makes or removes the file at a path.
pub struct FileLock {
    path: PathBuf,
    file: File,
}

impl FileLock {
    /// Takes the lock for a file, in at most `tries` tries.
    ///
    /// # Errors
    ///
    /// If another server holds it all the time, or if the system refuses.
    #[expect(
        clippy::disallowed_methods,
        reason = "no client is kept waiting: the server does not listen yet, or not any more"
    )]
    pub fn on(guarded: &Path, tries: u32) -> io::Result<FileLock> {
        let path = path_of(guarded);
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        for _ in 0..tries {
            let file = options
                .open(&path)
                .map_err(|error| match error.raw_os_error() {
                    Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => io::Error::other(format!(
                        "{} is in the way: {error}; remove it",
                        path.display()
                    )),
                    _ => error,
                })?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Its last holder may have removed the file since, and another server made a new
                // one.
                Ok(()) => {
                    let opened = FileIdentity::from(&file.metadata()?);
                    if FileIdentity::of(&path).is_ok_and(|found| found == opened) {
                        return Ok(FileLock { path, file });
                    }
                }
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {
                    thread::sleep(TRY_PAUSE);
                }
                Err(error) => {
                    return Err(io::Error::other(format!(
                        "{} cannot be locked against other servers: {error}; choose a path in \
                         another folder",
                        path.display()
                    )));
                }
            }
        }
        Err(io::Error::other(format!(
            "another server holds the lock {}; end it (lslocks shows which it is) or choose \
             another path",
            path.display()
        )))
    }

    /// Takes over a lock that this process holds already, by its descriptor.
    pub fn adopt(guarded: &Path, lock: OwnedFd) -> FileLock {
        FileLock {
            path: path_of(guarded),
            file: lock.into(),
        }
    }
}

/// The lock's own file.
pub fn path_of(guarded: &Path) -> PathBuf {
    let mut path = guarded.as_os_str().to_owned();
    path.push(".chinwag-lock");
    PathBuf::from(path)
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // If the file stays, the next server uses it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Tells a file from another that has taken its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
}

saved!(struct FileIdentity { device, inode });

impl FileIdentity {
    /// That of the file, or link, which has this name now.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn of(path: &Path) -> io::Result<FileIdentity> {
        fs::symlink_metadata(path).map(|file| FileIdentity::from(&file))
    }
}

impl From<&Metadata> for FileIdentity {
    fn from(file: &Metadata) -> FileIdentity {
        FileIdentity {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}
