//! Unix sockets that listen, and their files: a live server's file is its own, and a dead one's is
//! replaced.
//!
//! A socket looks dead from bind(2) to listen(2), and a file may become another's between a look at
//! it and its removal. So whoever makes or removes one holds a lock.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use rustix::fs::Mode;
use rustix::process::umask;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::socket_lock::{Lock, TRIES_AT_END, TRIES_AT_START, identity};

/// A Unix socket that listens.
#[derive(Debug)]
pub struct UnixSocket {
    /// The socket.
    pub listener: UnixListener,
    file: Option<SocketFile>,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl UnixSocket {
    /// Makes a file for a socket, and listens; a dead server's file is replaced. Who may connect
    /// is what `mode` says at any moment, or else what the umask leaves.
    ///
    /// # Errors
    ///
    /// If a server is alive there, if the file is no socket, or if the system refuses.
    pub fn bind(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<UnixSocket> {
        let address = SockAddr::unix(path)?;
        let _lock = Lock::on(path, TRIES_AT_START)?;
        remove_stale(path, &address)?;
        let socket = create(&address, mode)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(path)?,
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

    /// Takes a socket that listens already. If it has a file, that is another's, and stays.
    pub fn adopt(socket: Socket) -> UnixSocket {
        UnixSocket {
            listener: UnixListener::from_std(socket.into()),
            file: None,
        }
    }
}

/// Removes the file while the socket is still open: nobody takes it for a dead server's until then,
/// and its number cannot have become another file's.
impl Drop for UnixSocket {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        match Lock::on(&file.path, TRIES_AT_END) {
            Ok(_lock) => file.remove(),
            // Whoever starts next replaces it.
            Err(error) => log::warn!("{} stays behind: {error}", file.path.display()),
        }
    }
}

impl SocketFile {
    /// Removes the file, unless it is another's by now.
    fn remove(&self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            if let Err(error) = fs::remove_file(&self.path) {
                log::warn!("cannot remove {}: {error}", self.path.display());
            }
        }
    }
}

/// Makes a socket and its file, which nobody can connect to yet. The file has its mode from the
/// first moment on: by then its name may lead to another's file, whose mode is not to be changed.
fn create(address: &SockAddr, mode: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let Some(mode) = mode else {
        socket.bind(address)?;
        return Ok(socket);
    };
    let others = umask(Mode::from_raw_mode(!mode & 0o777));
    let result = socket.bind(address);
    umask(others);
    result.map(|()| socket)
}

/// Removes the socket file of a server that is dead.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        result => result?,
    };
    let in_use = |text| Err(io::Error::other(text));
    if !file.file_type().is_socket() {
        return in_use("there is a file of that name that is not a socket; choose another path");
    }
    // Without blocking, so that a server that is alive but busy cannot keep us waiting.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => in_use("a server is listening there already; stop it or choose another path"),
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
        // As many as the system lets wait.
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
