//! What the options say about the link.

use std::fmt;

use super::topic::Prefix;
use crate::protocol::Name;

/// How a box takes part in the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the broker is, as people write it. Only the log shows it.
    pub broker: String,
    /// The box's name, in small letters.
    pub name: Name,
    /// The rooms that span boxes.
    pub rooms: LinkedRooms,
    /// What all topics begin with.
    pub prefix: Prefix,
    /// What the broker wants to know.
    pub login: Option<Login>,
    /// The most members of other boxes that are listed, and the most pairs of a room and another box.
    pub members_max: usize,
    /// How long the members of a lost box are still listed, in seconds.
    pub hold_s: u32,
}

/// The rooms that span boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkedRooms {
    /// Each room that there is, for as long as there is.
    All,
    /// These, which are always there.
    Named(Vec<Name>),
}

impl LinkedRooms {
    /// Whether a room is one of them.
    pub fn include(&self, room: Name) -> bool {
        match self {
            LinkedRooms::All => true,
            LinkedRooms::Named(names) => names.iter().any(|name| name.folded() == room.folded()),
        }
    }

    /// The rooms that are always there.
    pub fn named(&self) -> &[Name] {
        match self {
            LinkedRooms::All => &[],
            LinkedRooms::Named(names) => names,
        }
    }
}

/// A user's name and password at the broker.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password, which never appears in a log.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
