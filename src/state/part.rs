//! Parts of a state: values that are saved one after the other.

use std::num::{NonZeroU16, NonZeroU32};

use super::{Damage, Fields, Writer};

/// A value that is saved, and loaded as it was.
pub trait Part: Sized {
    /// Appends it to the record that is being written.
    fn save(&self, out: &mut Writer<'_>);

    /// Takes it off the front of what is left of a record.
    ///
    /// # Errors
    ///
    /// If no such value stands there.
    fn load(from: &mut Fields<'_>) -> Result<Self, Damage>;

    /// Appends several values.
    fn save_all(values: &[Self], out: &mut Writer<'_>) {
        values.iter().for_each(|value| value.save(out));
    }

    /// Takes `count` values off the front of what is left of a record.
    ///
    /// # Errors
    ///
    /// If there are fewer.
    fn load_all(count: usize, from: &mut Fields<'_>) -> Result<Vec<Self>, Damage> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(Self::load(from)?);
        }
        Ok(values)
    }
}

/// What is said of a value that no version could have written.
pub(crate) const IMPOSSIBLE: Damage = Damage("a value makes no sense");

/// Implements [`Part`] for a type by its fields, in the order in which they are saved. It does not
/// compile if a field is missing.
///
/// - `saved!(struct Type { field, other });`
/// - `saved!(struct Type(number));`
/// - `saved!(enum Type { 0 = One, 1 = Other { field }, 2 = Third(value) });`, with the byte that stands
///   for each variant
macro_rules! saved {
    (struct $type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::state::Part for $type {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                let $type { $($field),* } = self;
                $($crate::state::Part::save($field, out);)*
            }

            fn load(
                from: &mut $crate::state::Fields<'_>,
            ) -> Result<Self, $crate::state::Damage> {
                Ok($type { $($field: $crate::state::Part::load(from)?),* })
            }
        }
    };
    (struct $type:ident ($($field:ident),*)) => {
        impl $crate::state::Part for $type {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                let $type($($field),*) = self;
                $($crate::state::Part::save($field, out);)*
            }

            fn load(
                from: &mut $crate::state::Fields<'_>,
            ) -> Result<Self, $crate::state::Damage> {
                $(let $field = $crate::state::Part::load(from)?;)*
                Ok($type($($field),*))
            }
        }
    };
    (enum $type:ident {
        $($number:literal = $variant:ident
            $({ $($field:ident),* $(,)? })? $(( $($item:ident),* ))?),* $(,)?
    }) => {
        impl $crate::state::Part for $type {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                match self {
                    $($type::$variant $({ $($field),* })? $(( $($item),* ))? => {
                        let number: u8 = $number;
                        $crate::state::Part::save(&number, out);
                        $($($crate::state::Part::save($field, out);)*)?
                        $($($crate::state::Part::save($item, out);)*)?
                    })*
                }
            }

            fn load(
                from: &mut $crate::state::Fields<'_>,
            ) -> Result<Self, $crate::state::Damage> {
                let number: u8 = $crate::state::Part::load(from)?;
                Ok(match number {
                    $($number => {
                        $($(let $field = $crate::state::Part::load(from)?;)*)?
                        $($(let $item = $crate::state::Part::load(from)?;)*)?
                        $type::$variant $({ $($field),* })? $(( $($item),* ))?
                    })*
                    _ => return Err($crate::state::IMPOSSIBLE),
                })
            }
        }
    };
}
pub(crate) use saved;

/// Implements [`Part`] for a number: its bytes, the least significant first.
macro_rules! number {
    ($($type:ident)*) => {
        $(impl Part for $type {
            fn save(&self, out: &mut Writer<'_>) {
                out.put(&self.to_le_bytes());
            }

            fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
                let bytes = from.take(size_of::<$type>())?;
                let bytes = bytes.try_into().map_err(|_| IMPOSSIBLE)?;
                Ok($type::from_le_bytes(bytes))
            }
        })*
    };
}

number!(u16 u32 u64);

impl Part for u8 {
    fn save(&self, out: &mut Writer<'_>) {
        out.put(&[*self]);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        from.take(1).map(|bytes| bytes[0])
    }

    fn save_all(values: &[u8], out: &mut Writer<'_>) {
        out.put(values);
    }

    fn load_all(count: usize, from: &mut Fields<'_>) -> Result<Vec<u8>, Damage> {
        from.take(count).map(<[u8]>::to_vec)
    }
}

/// Implements [`Part`] for a type that is saved as another one is.
macro_rules! saved_as {
    ($($type:ty as $other:ty;)*) => {
        $(impl Part for $type {
            fn save(&self, out: &mut Writer<'_>) {
                <$other>::from(*self).save(out);
            }

            fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
                let other = <$other>::load(from)?;
                <$type>::try_from(other).map_err(|_| IMPOSSIBLE)
            }
        })*
    };
}

saved_as! {
    NonZeroU16 as u16;
    NonZeroU32 as u32;
}

impl Part for usize {
    fn save(&self, out: &mut Writer<'_>) {
        (*self as u64).save(out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        usize::try_from(u64::load(from)?).map_err(|_| IMPOSSIBLE)
    }
}

impl Part for bool {
    fn save(&self, out: &mut Writer<'_>) {
        u8::from(*self).save(out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        match u8::load(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(IMPOSSIBLE),
        }
    }
}

/// How many values there are, and then these.
impl<T: Part> Part for Vec<T> {
    fn save(&self, out: &mut Writer<'_>) {
        (self.len() as u32).save(out);
        T::save_all(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        let count = u32::load(from)? as usize;
        T::load_all(count, from)
    }
}

impl Part for String {
    fn save(&self, out: &mut Writer<'_>) {
        (self.len() as u32).save(out);
        out.put(self.as_bytes());
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        String::from_utf8(Vec::load(from)?).map_err(|_| IMPOSSIBLE)
    }
}

impl<T: Part> Part for Option<T> {
    fn save(&self, out: &mut Writer<'_>) {
        self.is_some().save(out);
        if let Some(value) = self {
            value.save(out);
        }
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        match bool::load(from)? {
            true => T::load(from).map(Some),
            false => Ok(None),
        }
    }
}

impl<T: Part> Part for Box<T> {
    fn save(&self, out: &mut Writer<'_>) {
        T::save(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        T::load(from).map(Box::new)
    }
}

/// As many values as both sides know that there are.
impl<T: Part, const N: usize> Part for [T; N] {
    fn save(&self, out: &mut Writer<'_>) {
        T::save_all(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        T::load_all(N, from)?.try_into().map_err(|_| IMPOSSIBLE)
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn save(&self, out: &mut Writer<'_>) {
        self.0.save(out);
        self.1.save(out);
    }

    fn load(from: &mut Fields<'_>) -> Result<Self, Damage> {
        Ok((A::load(from)?, B::load(from)?))
    }
}
