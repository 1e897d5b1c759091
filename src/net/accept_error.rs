//! What an error of accept(2) means for the connections that wait.

use std::io;

/// Why accept(2) returned no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// No connection waits.
    NoneWaits,
    /// One connection failed, or the call was interrupted; the next may succeed.
    OneFailed,
    /// The system has no descriptors or no memory for more.
    Shortage,
    /// Anything else, which may last.
    Unknown,
}

impl NotAccepted {
    /// Sorts an error as the manual page accept(2) does.
    pub fn of(error: &io::Error) -> NotAccepted {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => NotAccepted::NoneWaits,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                NotAccepted::Shortage
            }
            // Linux passes on network errors of the new connection, and a firewall's refusal.
            Some(
                libc::ECONNABORTED
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::EINTR
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EPERM
                | libc::EPROTO
                | libc::ETIMEDOUT,
            ) => NotAccepted::OneFailed,
            _ => NotAccepted::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_and_what_is_unknown_are_more_than_one_connections_errors() {
        use NotAccepted::{NoneWaits, OneFailed, Shortage, Unknown};
        for (errors, meaning) in [
            (&[libc::EAGAIN, libc::EWOULDBLOCK][..], NoneWaits),
            (
                &[
                    libc::ENETDOWN,
                    libc::EPROTO,
                    libc::ENOPROTOOPT,
                    libc::EHOSTDOWN,
                ],
                OneFailed,
            ),
            (
                &[
                    libc::ENONET,
                    libc::EHOSTUNREACH,
                    libc::EOPNOTSUPP,
                    libc::ENETUNREACH,
                ],
                OneFailed,
            ),
            (
                &[
                    libc::ECONNABORTED,
                    libc::EINTR,
                    libc::EPERM,
                    libc::ETIMEDOUT,
                ],
                OneFailed,
            ),
            (
                &[libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM],
                Shortage,
            ),
            (
                &[
                    libc::EINVAL,
                    libc::EBADF,
                    libc::ENOTSOCK,
                    libc::ENOSYS,
                    libc::EACCES,
                ],
                Unknown,
            ),
        ] {
            for &error in errors {
                let error = io::Error::from_raw_os_error(error);
                assert_eq!(NotAccepted::of(&error), meaning, "{error}");
            }
        }
        assert_eq!(NotAccepted::of(&io::Error::other("?")), Unknown);
    }
}
