//! Descriptors that were there when the program started: the service manager's, and those of the
//! program in whose place it runs.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

/// Takes a descriptor that was there when the program started. The program opens all of its own with
/// the close-on-exec flag, so only an inherited one lacks it. Nobody may take a number twice.
#[expect(unsafe_code, reason = "what is inherited is known by its number alone")]
pub fn take(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: This asks for the flags of a number and touches no memory.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    let is_inherited = flags >= 0 && flags & libc::FD_CLOEXEC == 0;
    // SAFETY: It is open, and nothing in the program has opened or taken it.
    is_inherited.then(|| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Chooses whether a program that is executed inherits a descriptor.
pub fn pass_on(descriptor: impl AsFd, is_inherited: bool) {
    let flags = match is_inherited {
        true => FdFlags::empty(),
        false => FdFlags::CLOEXEC,
    };
    // This fails only for a descriptor that is not open.
    let _ = fcntl_setfd(descriptor, flags);
}
