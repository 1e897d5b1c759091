//! The numbers of connections, sessions and rooms.

/// Defines the number of one kind of thing: its index in a slab.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The index in the slab.
            pub const fn index(self) -> usize {
                self.0 as usize
            }

            /// The number of the thing at an index. A slab holds fewer than 2^32 things.
            pub const fn at(index: usize) -> $name {
                $name(index as u32)
            }
        }

        $crate::state::saved!(struct $name(number));

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
    /// The number of an open connection. Once that has closed, another connection may get the number.
    ConnId
}
id! {
    /// The number of a session. Once that has ended, another session may get the number.
    SessionKey
}
id! {
    /// The number of a room. Once that is empty, another room may get the number.
    RoomKey
}
