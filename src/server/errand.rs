//! What one program tells the next when it executes it: in a variable of the environment, so that the
//! command line stays as it is.

use std::env;
use std::fs::File;
use std::os::fd::{AsRawFd, RawFd};

use crate::net::inherited;

/// The name of the variable.
pub const VARIABLE: &str = "CHINWAG_UPGRADE";

/// Why a program was started, if not to start a server. Its descriptors are inherited, and stay
/// so until somebody changes that.
pub enum Errand {
    /// To say what it understands of a state, and nothing else.
    Trial {
        /// The state.
        state: File,
    },
    /// To take the place of the program that has saved the state.
    Resume {
        /// The state.
        state: File,
        /// The program that goes on if this one cannot.
        old: File,
    },
    /// To go on, because the other program could not.
    Back {
        /// The state.
        state: File,
        /// Why it could not.
        reason: String,
    },
}

impl Errand {
    /// That of this program, if it has one.
    ///
    /// # Errors
    ///
    /// A text for people, if no program has set the variable.
    pub fn of_this_program() -> Result<Option<Errand>, String> {
        let Some(value) = env::var_os(VARIABLE) else {
            return Ok(None);
        };
        let value = value.to_string_lossy();
        match Errand::parse(&value) {
            Some(errand) => Ok(Some(errand)),
            None => Err(format!(
                "{VARIABLE}={value} in the environment: only chinwag sets this, while it is upgraded; \
                 unset it"
            )),
        }
    }

    fn parse(value: &str) -> Option<Errand> {
        let (kind, rest) = value.split_once(' ')?;
        let (state, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let file = |number: &str| Some(File::from(inherited::take(number.parse::<RawFd>().ok()?)?));
        let state = file(state)?;
        match kind {
            "trial" => Some(Errand::Trial { state }),
            "resume" => Some(Errand::Resume {
                state,
                old: file(rest)?,
            }),
            "back" => Some(Errand::Back {
                state,
                reason: rest.to_owned(),
            }),
            _ => None,
        }
    }
}

/// The variable's value for a program that is to say what it understands of a state.
pub fn trial(state: &File) -> String {
    format!("trial {}", state.as_raw_fd())
}

/// The value for a program that takes the place of this one.
pub fn resume(state: &File, old: &File) -> String {
    format!("resume {} {}", state.as_raw_fd(), old.as_raw_fd())
}

/// The value for the program that goes on because this one cannot.
pub fn back(state: &File, reason: &str) -> String {
    format!("back {} {reason}", state.as_raw_fd())
}
