//! Parts of a state: values that are saved one after the other.

use std::num::{NonZeroU16, NonZeroU32};

use super::{Damage, Fields, Writer};

/// A value that is saved, and loaded as it was.
pub trait Part: Sized {
    /// Appends it to the record that is being written.
    fn save(&self, out: &mut Writer<'_>);

    /// Takes it off the front of what is left of a record. If no such value stands there, notes that the
    /// record is [damaged](Fields::damage), and returns any other.
    fn load(from: &mut Fields<'_>) -> Self;

    /// Appends several values.
    fn save_all(values: &[Self], out: &mut Writer<'_>) {
        values.iter().for_each(|value| value.save(out));
    }

    /// Takes `count` values off the front of what is left of a record, or fewer if it is damaged.
    fn load_all(count: usize, from: &mut Fields<'_>) -> Vec<Self> {
        let mut values = Vec::new();
        while values.len() < count && !from.is_damaged() {
            values.push(Self::load(from));
        }
        values
    }
}

/// What is said of values that no version could have written.
pub(crate) const IMPOSSIBLE: Damage = Damage("it is damaged: a value makes no sense");

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

            fn load(from: &mut $crate::state::Fields<'_>) -> Self {
                $type { $($field: $crate::state::Part::load(from)),* }
            }
        }
    };
    (struct $type:ident ($field:ident)) => {
        impl $crate::state::Part for $type {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                let $type($field) = self;
                $crate::state::Part::save($field, out);
            }

            fn load(from: &mut $crate::state::Fields<'_>) -> Self {
                $type($crate::state::Part::load(from))
            }
        }
    };
    (enum $type:ident {
        0 = $first:ident $({ $($first_field:ident),* $(,)? })? $(( $($first_item:ident),* ))?
        $(, $number:literal = $variant:ident
            $({ $($field:ident),* $(,)? })? $(( $($item:ident),* ))?)* $(,)?
    }) => {
        impl $crate::state::Part for $type {
            fn save(&self, out: &mut $crate::state::Writer<'_>) {
                match self {
                    $type::$first $({ $($first_field),* })? $(( $($first_item),* ))? => {
                        out.put(&[0]);
                        $($($crate::state::Part::save($first_field, out);)*)?
                        $($($crate::state::Part::save($first_item, out);)*)?
                    }
                    $($type::$variant $({ $($field),* })? $(( $($item),* ))? => {
                        out.put(&[$number]);
                        $($($crate::state::Part::save($field, out);)*)?
                        $($($crate::state::Part::save($item, out);)*)?
                    })*
                }
            }

            fn load(from: &mut $crate::state::Fields<'_>) -> Self {
                let number: u8 = $crate::state::Part::load(from);
                match number {
                    $($number => {
                        $($(let $field = $crate::state::Part::load(from);)*)?
                        $($(let $item = $crate::state::Part::load(from);)*)?
                        $type::$variant $({ $($field),* })? $(( $($item),* ))?
                    })*
                    number => {
                        from.damage(number != 0);
                        $($(let $first_field = $crate::state::Part::load(from);)*)?
                        $($(let $first_item = $crate::state::Part::load(from);)*)?
                        $type::$first $({ $($first_field),* })? $(( $($first_item),* ))?
                    }
                }
            }
        }
    };
}
pub(crate) use saved;

/// Implements [`Part`] for a number: its bytes, the least significant first.
macro_rules! number {
    ($($type:ident)*) => {
        $(impl Part for $type {
            #[inline(never)]
            fn save(&self, out: &mut Writer<'_>) {
                out.put(&self.to_le_bytes());
            }

            #[inline(never)]
            fn load(from: &mut Fields<'_>) -> Self {
                let mut bytes = [0; size_of::<$type>()];
                from.fill(&mut bytes);
                $type::from_le_bytes(bytes)
            }
        })*
    };
}

number!(u16 u32 u64);

impl Part for u8 {
    fn save(&self, out: &mut Writer<'_>) {
        out.put(&[*self]);
    }

    #[inline(never)]
    fn load(from: &mut Fields<'_>) -> Self {
        let mut byte = [0];
        from.fill(&mut byte);
        byte[0]
    }

    fn save_all(values: &[u8], out: &mut Writer<'_>) {
        out.put(values);
    }

    fn load_all(count: usize, from: &mut Fields<'_>) -> Vec<u8> {
        from.take(count).to_vec()
    }
}

impl Part for NonZeroU16 {
    fn save(&self, out: &mut Writer<'_>) {
        self.get().save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let number = NonZeroU16::new(u16::load(from));
        from.damage(number.is_none());
        number.unwrap_or(NonZeroU16::MIN)
    }
}

impl Part for NonZeroU32 {
    fn save(&self, out: &mut Writer<'_>) {
        self.get().save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let number = NonZeroU32::new(u32::load(from));
        from.damage(number.is_none());
        number.unwrap_or(NonZeroU32::MIN)
    }
}

impl Part for usize {
    fn save(&self, out: &mut Writer<'_>) {
        (*self as u64).save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let number = usize::try_from(u64::load(from));
        from.damage(number.is_err());
        number.unwrap_or(0)
    }
}

impl Part for bool {
    fn save(&self, out: &mut Writer<'_>) {
        out.put(&[u8::from(*self)]);
    }

    #[inline(never)]
    fn load(from: &mut Fields<'_>) -> Self {
        let byte = u8::load(from);
        from.damage(byte > 1);
        byte == 1
    }
}

/// How many values there are, and then these.
impl<T: Part> Part for Vec<T> {
    fn save(&self, out: &mut Writer<'_>) {
        (self.len() as u32).save(out);
        T::save_all(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let count = u32::load(from) as usize;
        T::load_all(count, from)
    }
}

impl Part for String {
    fn save(&self, out: &mut Writer<'_>) {
        save_text(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        load_text(from).to_owned()
    }
}

/// Saves a text as a [`String`] is saved.
#[inline(never)]
pub(crate) fn save_text(text: &str, out: &mut Writer<'_>) {
    (text.len() as u32).save(out);
    out.put(text.as_bytes());
}

/// Takes a text off the front of what is left of a record.
#[inline(never)]
pub(crate) fn load_text<'a>(from: &mut Fields<'a>) -> &'a str {
    let count = u32::load(from) as usize;
    let text = std::str::from_utf8(from.take(count));
    from.damage(text.is_err());
    text.unwrap_or_default()
}

impl<T: Part> Part for Option<T> {
    fn save(&self, out: &mut Writer<'_>) {
        self.is_some().save(out);
        if let Some(value) = self {
            value.save(out);
        }
    }

    fn load(from: &mut Fields<'_>) -> Self {
        bool::load(from).then(|| T::load(from))
    }
}

impl<T: Part> Part for Box<T> {
    fn save(&self, out: &mut Writer<'_>) {
        T::save(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        Box::new(T::load(from))
    }
}

/// As many values as both sides know that there are.
impl<T: Part, const N: usize> Part for [T; N] {
    fn save(&self, out: &mut Writer<'_>) {
        T::save_all(self, out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        std::array::from_fn(|_| T::load(from))
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn save(&self, out: &mut Writer<'_>) {
        self.0.save(out);
        self.1.save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        (A::load(from), B::load(from))
    }
}
