//! The lock that whoever makes or removes a Unix socket's file holds.
//!
//! It is on a file of its own, which only the server's user can open: on the folder, everybody who
//! can read it could hold one, and keep the server from starting. It goes with its process, however
//! that ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// How often a lock that another process holds is tried, and the time between two tries. A server
/// that starts holds it for a few system calls.
pub const TRIES_AT_START: u32 = 150;
pub const TRIES_AT_END: u32 = 10;
const TRY_PAUSE: Duration = Duration::from_millis(20);

/// While it is held, no other server makes or removes the socket of a path.
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody is served before the server listens, or after it has stopped to"
    )]
    pub fn on(socket: &Path, tries: u32) -> io::Result<Lock> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".chinwag-lock");
        let path = PathBuf::from(path);
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
                // Whoever held it may have removed the file meanwhile, and another made a new one.
                Ok(()) => {
                    let opened = file.metadata().map(|file| (file.dev(), file.ino()))?;
                    if identity(&path).is_ok_and(|found| found == opened) {
                        return Ok(Lock { path, _file: file });
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
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If it stays, the next server takes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// What tells a file from another that takes its name.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
