//! The numbers by which connections, sessions and rooms are known.

/// Defines a number that names one kind of thing, and a place in its slab.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The place in the slab.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The number of a place in the slab, which holds fewer than 2^32 things.
            pub const fn at(index: usize) -> $name {
                $name(index as u32)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u32> for $name {
            fn from(number: u32) -> $name {
                $name(number)
            }
        }

        impl From<$name> for u32 {
            fn from(id: $name) -> u32 {
                id.0
            }
        }
    };
}

id! {
    /// A connection, among those that are open.
    ConnId
}
id! {
    /// A session, among those that there are. A number is used again once its session has ended.
    SessionKey
}
id! {
    /// A room, among those that have members. A number is used again once its room is empty.
    RoomKey
}
