//! Enums whose values are words on the wire.

/// Declares such an enum. Each value takes one row, from which `ALL`, `as_str` and `Display` are
/// made.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident {
            $($(#[$of_value:meta])* $value:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of_value])* $value,)+
        }

        impl $name {
            /// Every value, in the order of their discriminants.
            pub const ALL: [$name; [$($word),+].len()] = [$($name::$value),+];

            /// The value as it goes over the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $word),+
                }
            }
        }

        /// It is saved as its word.
        impl $crate::state::Part for $name {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                $crate::state::save_text(self.as_str(), out);
            }

            fn load(from: &mut $crate::state::Fields<'_>) -> Self {
                let word = $crate::state::load_text(from);
                let value = Self::ALL.into_iter().find(|value| value.as_str() == word);
                from.damage(value.is_none());
                value.unwrap_or(Self::ALL[0])
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use words;
