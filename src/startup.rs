//! What is checked and prepared before the server runs.
//!
//! A start and `--check` go through the same sequence, so a check finds what a start would; a reload
//! repeats the last step. Nothing here has an effect outside of the process, and a check may run
//! while a server does: addresses are bound later. Errors are texts for people.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::allocator;
use crate::ceiling::{Ceiling, Mib};
use crate::chat::keys::Keys;
use crate::link::{self, Login};
use crate::net::address::Address;
use crate::net::file_lock;
use crate::net::passed::{self, PassedSocket};
use crate::net::service_manager::ServiceManager;
use crate::net::stream::client_bytes_max;
use crate::net::unix_socket::has_socket;
use crate::options::Options;
use crate::protocol::LifeId;
use crate::secret_file::SecretFile;
use crate::users;

/// Descriptors besides those of connections and listeners: three standard streams, one of the log,
/// one of the poll, six of the signals, the socket to the service manager, the lock on the state's file,
/// two ends of a stream from the process that saves the state, and those that are open for a moment. Of
/// these an upgrade has the most: the state, two programs, and two ends of a stream.
const OTHER_DESCRIPTORS: usize = 20;

/// How the name of the state's file goes on while a new one is written.
pub(crate) const STATE_NEW: &str = ".new";
/// How it goes on for a state that could not be used.
pub(crate) const STATE_REFUSED: &str = ".refused";

/// The longest login file, in bytes.
const LOGIN_BYTES_MAX: u64 = 1024;

/// All that a server needs before it binds addresses.
pub struct Prepared {
    pub(crate) settings: Settings,
    pub(crate) boot: LifeId,
    pub(crate) users: Users,
    pub(crate) passed: Vec<PassedSocket>,
    pub(crate) service_manager: Option<ServiceManager>,
}

/// What does not change while the server runs.
pub(crate) struct Settings {
    /// The options, with no more connections than the system has descriptors for.
    pub options: Options,
    /// What joins rooms with those of other boxes, if something does.
    pub link: Option<link::Settings>,
    /// Whether clients may connect to a Unix socket.
    is_unix: bool,
    /// The most bytes that a client can keep in its Unix socket; `None` without a Unix socket.
    unix_client_bytes: Option<u64>,
}

/// The names that may join, and the memory that the server can need with their keys.
pub(crate) struct Users {
    /// `None` lets anyone join.
    pub keys: Option<Keys>,
    pub ceiling: Ceiling,
}

impl Prepared {
    /// Checks all that can be checked without binding an address, and takes the sockets that the
    /// service manager passed.
    ///
    /// # Errors
    ///
    /// Why a server with these options cannot start.
    pub fn new(options: Options) -> Result<Prepared, String> {
        allocator::set_up();
        // Once the system has random numbers it has them for good, and no JOIN has to wait.
        let boot = LifeId::random()
            .map_err(|error| format!("cannot get random numbers from the system: {error}"))?;
        let passed = passed::take_all()?;
        let service_manager = ServiceManager::from_env()?;
        if let Some(path) = &options.state {
            check_state(path)?;
        }
        check_sockets(&options)?;
        let addresses: Vec<_> = passed.iter().map(|socket| socket.address.clone()).collect();
        let settings = Settings::new(options, &addresses)?;
        Ok(Prepared {
            users: settings.read_users()?,
            settings,
            boot,
            passed,
            service_manager,
        })
    }

    /// The most memory that the server can need.
    pub fn ceiling(&self) -> &Ceiling {
        &self.users.ceiling
    }
}

impl Settings {
    /// Checks options for a server that listens on the addresses of `passed` sockets too, and lowers the
    /// number of connections to what the system allows.
    ///
    /// # Errors
    ///
    /// Why there cannot be such a server.
    pub fn new(mut options: Options, passed: &[Address]) -> Result<Settings, String> {
        for address in passed {
            check_passed(address, &options)?;
        }
        let addresses = options.addresses(!passed.is_empty());
        // A stream to the broker stays open like a listener.
        let listeners = passed.len() + addresses.len() + usize::from(options.limits.is_linked);
        let for_operator = options.admin.iter().len() + operators_descriptors(&options);
        let connections_max =
            raise_descriptors(options.limits.connections_max, listeners + for_operator)?;
        let is_unix = addresses.iter().chain(passed).any(Address::is_unix);
        let unix_client_bytes = match is_unix || options.admin.is_some() {
            true => Some(client_bytes_max().map_err(|error| {
                format!("cannot find out the size of Unix sockets' buffers: {error}")
            })?),
            false => None,
        };
        options.limits.connections_max = connections_max;
        let login = options.link.login.as_deref().map(read_login).transpose()?;
        Ok(Settings {
            link: options.link.settings(login),
            options,
            is_unix,
            unix_client_bytes,
        })
    }

    /// Reads the users file, if there is one, and works out the memory ceiling with its names.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has a mistake, or if the ceiling is above `--memory`.
    pub fn read_users(&self) -> Result<Users, String> {
        let keys = self.options.users.as_deref().map(users::load).transpose()?;
        let ceiling = self.ceiling(keys.as_ref().map(Keys::len))?;
        Ok(Users { keys, ceiling })
    }

    /// Works out the memory ceiling with this many names that may join.
    ///
    /// # Errors
    ///
    /// If it is above `--memory`.
    pub fn ceiling(&self, names: Option<usize>) -> Result<Ceiling, String> {
        let options = &self.options;
        let mut ceiling = Ceiling::of(&options.limits, names, options.socket_buffer_bytes);
        if let Some(bytes) = self.unix_client_bytes {
            ceiling = ceiling.with_unix_clients(bytes, self.is_unix);
        }
        if self.link.is_some() {
            ceiling = ceiling.with_link(options.link.members_max);
        }
        if options.state.is_some() {
            ceiling = ceiling.with_state_file(names);
        }
        match options.memory_bytes_max {
            Some(max) if ceiling.bytes() > max as u64 => Err(format!(
                "--memory {max}: with these settings {} could be needed ({} bytes):\n{}lower \
                 --max-connections, --max-sessions, --max-rooms, --log-bytes{} or --max-message, or \
                 have fewer names in the users file",
                Mib(ceiling.bytes()),
                ceiling.bytes(),
                ceiling.breakdown(),
                if self.link.is_some() {
                    ", --link-members"
                } else {
                    ""
                }
            )),
            _ => Ok(ceiling),
        }
    }
}

/// Reads the file with a user's name and password at the broker.
fn read_login(path: &Path) -> Result<Login, String> {
    let kind = SecretFile {
        what: "login file",
        way_out: "write user:password into it, and run chmod 600",
        bytes_max: LOGIN_BYTES_MAX,
    };
    let text = kind.read(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let parts = line.split_once(':');
    match parts.filter(|(user, _)| !user.is_empty() && !line.contains(char::is_control)) {
        Some((user, password)) => Ok(Login {
            user: user.to_owned(),
            password: password.to_owned(),
        }),
        None => Err(format!(
            "--link-login {}: this is not one line user:password",
            path.display()
        )),
    }
}

/// Checks that the state's file, if there is one, can be read, and that its folder can be written to.
fn check_state(path: &Path) -> Result<(), String> {
    // Whoever replaces a file safely opens its folder too.
    check_folder(
        &format!("--state {}", path.display()),
        path,
        Access::READ_OK,
    )?;
    open_state(path).map(|_| ())
}

/// Checks that the server can make its Unix sockets, each at a place of its own.
fn check_sockets(options: &Options) -> Result<(), String> {
    let mut taken = Vec::new();
    if let Some(state) = &options.state {
        let others = [STATE_NEW, STATE_REFUSED].map(|ending| beside(state, ending));
        let files = [state.clone(), file_lock::path_of(state)].into_iter();
        taken.extend(files.chain(others).map(|file| (place_of(&file), "--state")));
    }
    for (option, address) in options.sockets_of_its_own() {
        let Address::Unix(path) = address else {
            continue;
        };
        let shown = format!("{option} {address}");
        check_folder(&shown, path, Access::empty())?;
        has_socket(path).map_err(|error| format!("{shown}: {error}"))?;
        let place = place_of(path);
        if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == place) {
            return Err(format!(
                "{shown}: {other} needs that file; choose another path"
            ));
        }
        taken.push((place, option));
    }
    Ok(())
}

/// Where a file is, or would be, however its folder is written.
fn place_of(path: &Path) -> PathBuf {
    let folder = folder_of(path);
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.join(path.file_name().unwrap_or_default())
}

/// Checks that this user can make and remove files in the folder of `path`, which `option` names, and has
/// `more` access to it.
fn check_folder(option: &str, path: &Path, more: Access) -> Result<(), String> {
    let folder = folder_of(path);
    // The dot makes it an error if this is no folder.
    let needed = more | Access::WRITE_OK | Access::EXEC_OK;
    access(folder.join("."), needed).map_err(|error| {
        format!(
            "{option}: cannot write to the folder {}: {error}; make the folder and let this user \
             write to it, or choose another path",
            folder.display()
        )
    })
}

/// A file in the same folder, whose name has this ending more.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Opens the state's file, if there is one, whatever it is.
///
/// # Errors
///
/// If it cannot be opened, or if it is not an ordinary file.
pub(crate) fn open_state(path: &Path) -> Result<Option<File>, String> {
    let refusal = |reason: &dyn Display| {
        let file = path.display();
        format!("--state {file}: {reason}; move it away or choose another path")
    };
    let mut options = OpenOptions::new();
    // Without these, a link might lead anywhere, and opening a pipe might take forever.
    options
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(refusal(&"this is a link"));
        }
        result => result.map_err(|error| refusal(&format_args!("cannot open this: {error}")))?,
    };
    match file.metadata() {
        Ok(found) if found.is_file() => Ok(Some(file)),
        Ok(_) => Err(refusal(&"this is not an ordinary file")),
        Err(error) => Err(refusal(&error)),
    }
}

/// Checks that a passed socket is no more open to a network than the options allow, and warns that
/// `--socket-mode` does not change it.
fn check_passed(address: &Address, options: &Options) -> Result<(), String> {
    options
        .check_open(address)
        .map_err(|error| format!("the service manager passed {address}: {error}"))?;
    if let Some(mode) = options.socket_mode.filter(|_| address.is_unix()) {
        log::warn!(
            "--socket-mode {mode:04o} does not change {address}, which the service manager \
             passed; set SocketMode= in the socket unit"
        );
    }
    Ok(())
}

/// How many descriptors are reserved for the operator: those of their connections, and that of a further
/// connection, to say goodbye on.
pub(crate) fn operators_descriptors(options: &Options) -> usize {
    match options.limits.operators_max {
        0 => 0,
        most => most + 1,
    }
}

/// Raises the soft limit on open files to what `connections` need. Returns how many of them the
/// system allows, and warns if that is fewer.
///
/// # Errors
///
/// If the system allows none.
fn raise_descriptors(connections: usize, listeners: usize) -> Result<usize, String> {
    let others = (listeners + OTHER_DESCRIPTORS) as u64;
    let needed = connections as u64 + others;
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    let possible = needed.min(limit.maximum.unwrap_or(u64::MAX));
    let raised = Rlimit {
        current: Some(possible),
        maximum: limit.maximum,
    };
    let granted = match soft < possible && setrlimit(Resource::Nofile, raised).is_ok() {
        true => possible,
        false => soft,
    };
    if granted >= needed {
        return Ok(connections);
    }
    let possible = granted.saturating_sub(others);
    if possible == 0 {
        return Err(format!(
            "the limit on open files is {granted}, and the server needs {} for a single \
             connection: raise it, with ulimit -n or LimitNOFILE=",
            others + 1
        ));
    }
    log::warn!(
        "the limit on open files is {granted}, and {connections} connections would need {needed}: \
         only {possible} will be accepted"
    );
    Ok(possible as usize)
}
