//! What is looked at before the server starts: files, memory, descriptors.
//!
//! Errors are texts for people.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::ceiling::{Ceiling, Mib};
use crate::chat::keys::Keys;
use crate::net::address::Address;
use crate::net::stream::client_bytes_max;
use crate::options::Options;
use crate::protocol::Limits;
use crate::users;

/// Descriptors beside those of connections and listeners: the standard streams, the poll, the
/// signals, a connection that is told there is no room, the users file, the socket to the service
/// manager, and some to spare.
const DESCRIPTORS_BESIDE: usize = 12;

/// Checks what the options say: reads the users file, and works out the memory.
///
/// # Errors
///
/// What the server would not start for.
pub fn check(options: &Options) -> Result<Ceiling, String> {
    let keys = load_keys(options)?;
    let mut limits = options.limits;
    limits.connections_max =
        raise_descriptors(limits.connections_max, options.addresses(false).len())?;
    let ceiling = check_memory(options, &limits, keys.as_ref())?;
    let mut addresses = options.addresses(false).iter();
    add_unix_clients(ceiling, addresses.any(Address::is_unix))
}

/// Adds to the ceiling what clients of Unix sockets can keep, if there may be such clients.
///
/// # Errors
///
/// When the system does not say how much that is.
pub fn add_unix_clients(ceiling: Ceiling, may_come: bool) -> Result<Ceiling, String> {
    if !may_come {
        return Ok(ceiling);
    }
    match client_bytes_max() {
        Ok(bytes) => Ok(ceiling.with_unix_clients(bytes)),
        Err(error) => Err(format!(
            "cannot find out the size of Unix sockets' buffers: {error}"
        )),
    }
}

/// Reads the users file, if there is one.
///
/// # Errors
///
/// If it cannot be read, or is not a users file.
pub fn load_keys(options: &Options) -> Result<Option<Keys>, String> {
    options.users.as_deref().map(users::load).transpose()
}

/// Works out the memory ceiling, and whether it is low enough.
///
/// # Errors
///
/// If it is above `--memory`.
pub fn check_memory(
    options: &Options,
    limits: &Limits,
    keys: Option<&Keys>,
) -> Result<Ceiling, String> {
    let ceiling = Ceiling::of(limits, keys.map(Keys::len), options.socket_buffer);
    match options.memory_max {
        Some(max) if ceiling.bytes() > max as u64 => Err(format!(
            "--memory {max}: with these settings {} could be needed ({} bytes):\n{}lower \
             --max-connections, --max-sessions, --max-rooms, --log-bytes or --max-message, or have \
             fewer names in the users file",
            Mib(ceiling.bytes()),
            ceiling.bytes(),
            ceiling.table()
        )),
        _ => Ok(ceiling),
    }
}

/// Raises the soft limit on open files as far as `connections` need it; gives how many of them
/// the limits allow, and warns if that is not all.
///
/// # Errors
///
/// If the limits allow none.
pub fn raise_descriptors(connections: usize, listeners: usize) -> Result<usize, String> {
    let others = (listeners + DESCRIPTORS_BESIDE) as u64;
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
            "the limit on open files is {granted}, and the server takes {} with a single \
             connection: raise it, with ulimit -n or LimitNOFILE=",
            others + 1
        ));
    }
    log::warn!(
        "the limit on open files is {granted}, and {connections} connections would take {needed}: \
         only {possible} will be accepted"
    );
    Ok(possible as usize)
}
