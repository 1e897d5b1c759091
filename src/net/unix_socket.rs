//! Unix sockets that listen, and their files. The file of a live server stays, that of a dead one
//! is replaced.
//!
//! Between bind(2) and listen(2) a socket looks dead, and between a look at a file and its removal
//! another server may put its own there. So whoever makes or removes a file holds a lock.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use rustix::fs::Mode;
use rustix::process::umask;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::file_lock::{FileIdentity, FileLock, TRIES_AT_END, TRIES_AT_START};
use crate::state::{Fields, Part, Writer};

/// A Unix socket that listens.
#[derive(Debug)]
pub struct UnixSocket {
    /// The socket.
    pub listener: UnixListener,
    /// Its file; `None` if that belongs to somebody else.
    pub file: Option<SocketFile>,
}

/// The file of a socket. It is removed with the socket.
#[derive(Clone, Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

impl Part for SocketFile {
    fn save(&self, out: &mut Writer<'_>) {
        self.path.as_os_str().as_bytes().to_vec().save(out);
        self.identity.save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        SocketFile {
            path: OsString::from_vec(Part::load(from)).into(),
            identity: Part::load(from),
        }
    }
}

impl UnixSocket {
    /// Makes a socket with a file, and listens; a dead server's file is replaced. From the first
    /// moment the file has the permissions `mode`, or else those that the umask leaves.
    ///
    /// # Errors
    ///
    /// If a server is alive there, if the file is not a socket, or if the system refuses.
    pub fn bind(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<UnixSocket> {
        let address = SockAddr::unix(path)?;
        let _lock = FileLock::on(path, TRIES_AT_START)?;
        remove_stale(path, &address)?;
        let socket = create(&address, mode)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: FileIdentity::of(path)?,
        };
        if let Err(error) = socket.listen(backlog) {
            file.remove();
            return Err(error);
        }
        Ok(UnixSocket {
            listener: UnixListener::from_std(socket.into()),
            file: Some(file),
        })
    }

    /// Takes over a socket that listens already, and its file, unless that belongs to somebody else
    /// and stays.
    pub fn adopt(socket: Socket, file: Option<SocketFile>) -> UnixSocket {
        UnixSocket {
            listener: UnixListener::from_std(socket.into()),
            file,
        }
    }
}

/// Removes the file while the socket is still open: until then no server takes it for a dead one's,
/// and no other file can have got its inode number.
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        match FileLock::on(&file.path, TRIES_AT_END) {
            Ok(_lock) => file.remove(),
            // The next server replaces it.
            Err(error) => log::warn!("{} stays behind: {error}", file.path.display()),
        }
    }
}

impl SocketFile {
    /// Removes the file, unless another has taken its place.
    fn remove(&self) {
        if FileIdentity::of(&self.path).is_ok_and(|found| found == self.identity) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::warn!("cannot remove {}: {error}", self.path.display());
            }
        }
    }
}

/// Makes a socket and its file, to which no client can connect yet. The umask gives the file its
/// mode: a chmod afterwards might hit a file that somebody else has put in its place.
fn create(address: &SockAddr, mode: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let Some(mode) = mode else {
        socket.bind(address)?;
        return Ok(socket);
    };
    let umask_before = umask(Mode::from_raw_mode(!mode & 0o777));
    let result = socket.bind(address);
    umask(umask_before);
    result.map(|()| socket)
}

/// Whether there is a socket at `path`, of whatever server.
///
/// # Errors
///
/// If there is something else, or if the system does not tell.
pub fn has_socket(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Ok(file) if !file.file_type().is_socket() => Err(io::Error::other(
            "there is a file of that name that is not a socket; choose another path",
        )),
        result => result.map(|_| true),
    }
}

/// Removes the file at `path` if it is the socket of a dead server.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    if !has_socket(path)? {
        return Ok(());
    }
    // Without blocking, so that a server which is alive but busy keeps nobody waiting.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::other(
            "a server is listening there already; stop it or choose another path",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_has_its_mode_from_the_first_moment_on() {
        let folder = std::env::temp_dir().join(format!("chinwag-mode-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("chat");
        let mode_of = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let umask_before = umask(Mode::from_raw_mode(0o022));
        for mode in [0o600, 0o660, 0o000, 0o666] {
            // As bind(2) has made it.
            let socket = create(&SockAddr::unix(&path).unwrap(), Some(mode)).unwrap();
            assert_eq!(mode_of(&path), mode, "{mode:o}");
            drop(socket);
            fs::remove_file(&path).unwrap();
            let socket = UnixSocket::bind(&path, Some(mode), 1).unwrap();
            assert_eq!(mode_of(&path), mode, "{mode:o}");
            drop(socket);
            assert!(!path.exists());
        }
        assert_eq!(umask(umask_before), Mode::from_raw_mode(0o022));
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn a_server_that_accepts_nobody_is_alive_and_is_not_waited_for() {
        let folder = std::env::temp_dir().join(format!("chinwag-busy-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("chat");
        let address = SockAddr::unix(&path).unwrap();
        let server = UnixSocket::bind(&path, None, 1).unwrap();
        let connect = || {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            client.set_nonblocking(true)?;
            client.connect(&address).map(|()| client)
        };
        // As many as may wait.
        let waiting: Vec<_> = std::iter::repeat_with(connect)
            .map_while(Result::ok)
            .collect();
        assert!(!waiting.is_empty());
        let error = remove_stale(&path, &address).unwrap_err();
        assert!(error.to_string().contains("is listening there already"));
        drop(server);
        fs::remove_dir(&folder).unwrap();
    }
}
