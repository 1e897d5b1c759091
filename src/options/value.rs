//! Options whose value is a number: how it is written, what is allowed, and where it is stored.

use std::ops::RangeInclusive;

use super::Options;

/// What a number counts, which decides how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Things.
    Count,
    /// Bytes, which may be written with K or M.
    Bytes,
    /// Permissions, in octal.
    Mode,
}

impl Unit {
    /// The word for the number in `--help`.
    pub fn placeholder(self) -> &'static str {
        match self {
            Unit::Seconds => "SECONDS",
            Unit::Count => "N",
            Unit::Bytes => "SIZE",
            Unit::Mode => "MODE",
        }
    }

    /// Writes a number in the shortest form that can be read back.
    pub fn show(self, number: u64) -> String {
        match self {
            Unit::Mode => format!("{number:04o}"),
            Unit::Bytes if number > 0 && number % MEBI == 0 => format!("{}M", number / MEBI),
            Unit::Bytes if number > 0 && number % KIBI == 0 => format!("{}K", number / KIBI),
            _ => number.to_string(),
        }
    }

    fn read(self, text: &str) -> Option<u64> {
        match self {
            Unit::Seconds | Unit::Count => decimal(text),
            Unit::Bytes => match text.char_indices().last()? {
                (at, 'K' | 'k') => decimal(&text[..at])?.checked_mul(KIBI),
                (at, 'M' | 'm') => decimal(&text[..at])?.checked_mul(MEBI),
                _ => decimal(text),
            },
            Unit::Mode => {
                let is_octal = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
                let is_mode = is_octal && (3..=4).contains(&text.len());
                u64::from_str_radix(text, 8).ok().filter(|_| is_mode)
            }
        }
    }
}

const KIBI: u64 = 1024;
const MEBI: u64 = 1024 * 1024;

/// Reads a number that consists of digits alone.
fn decimal(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A field of [`Options`] that holds a number, or nothing until an option gives one.
pub trait Field {
    /// Sets the field to a number that its option allows.
    fn set(&mut self, number: u64);

    /// The number that it holds.
    fn get(&self) -> Option<u64>;
}

const FITS: &str = "an option's range fits its field";

impl Field for u32 {
    fn set(&mut self, number: u64) {
        *self = number.try_into().expect(FITS);
    }

    fn get(&self) -> Option<u64> {
        Some((*self).into())
    }
}

impl Field for usize {
    fn set(&mut self, number: u64) {
        *self = number.try_into().expect(FITS);
    }

    fn get(&self) -> Option<u64> {
        Some(*self as u64)
    }
}

impl<T: Field + Default> Field for Option<T> {
    fn set(&mut self, number: u64) {
        self.get_or_insert_default().set(number);
    }

    fn get(&self) -> Option<u64> {
        self.as_ref()?.get()
    }
}

/// A number that an option sets.
#[derive(Debug)]
pub struct Number {
    /// What it counts.
    pub unit: Unit,
    /// Which numbers are allowed.
    pub range: RangeInclusive<u64>,
    /// The field that stores it. What the field holds at first is the default.
    pub field: fn(&mut Options) -> &mut dyn Field,
}

impl Number {
    /// Its default, if there is one.
    pub fn default(&self) -> Option<String> {
        let number = (self.field)(&mut Options::default()).get()?;
        Some(self.unit.show(number))
    }

    /// Reads a number and sets the field to it.
    ///
    /// # Errors
    ///
    /// A text for people that says which numbers are allowed.
    pub fn store(&self, options: &mut Options, text: &str) -> Result<(), String> {
        let number = self.unit.read(text);
        match number.filter(|number| self.range.contains(number)) {
            Some(number) => {
                (self.field)(options).set(number);
                Ok(())
            }
            None => Err(self.allowed()),
        }
    }

    fn allowed(&self) -> String {
        let (min, max) = (self.range.start(), self.range.end());
        match self.unit {
            Unit::Seconds => format!("give whole seconds from {min} to {max}"),
            Unit::Count => format!("give a number from {min} to {max}"),
            Unit::Bytes => format!("give bytes from {min} to {max}; K or M may follow"),
            Unit::Mode => {
                format!("give permissions in octal from {min:04o} to {max:04o}, like 0660")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_shown() {
        for (unit, number, shown) in [
            (Unit::Seconds, 3600, "3600"),
            (Unit::Count, 0, "0"),
            (Unit::Count, 1024, "1024"),
            (Unit::Bytes, 0, "0"),
            (Unit::Bytes, 1023, "1023"),
            (Unit::Bytes, 1024, "1K"),
            (Unit::Bytes, 1025, "1025"),
            (Unit::Bytes, 65_536, "64K"),
            (Unit::Bytes, 1 << 20, "1M"),
            (Unit::Bytes, (1 << 20) + 1024, "1025K"),
            (Unit::Bytes, 1 << 30, "1024M"),
            (Unit::Mode, 0, "0000"),
            (Unit::Mode, 0o660, "0660"),
        ] {
            assert_eq!(unit.show(number), shown);
            assert_eq!(unit.read(shown), Some(number), "{shown}");
        }
    }

    #[test]
    fn a_number_may_be_written_in_several_ways() {
        for (unit, text, number) in [
            (Unit::Seconds, "007", 7),
            (Unit::Bytes, "5k", 5 << 10),
            (Unit::Bytes, "3m", 3 << 20),
            (Unit::Bytes, "1024K", 1 << 20),
            (Unit::Mode, "660", 0o660),
            (Unit::Mode, "000", 0),
        ] {
            assert_eq!(unit.read(text), Some(number), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        let bad = ["", "-1", "+5", "1.5", "soon", "9é", "99999999999999999999"];
        for unit in [Unit::Seconds, Unit::Count, Unit::Bytes, Unit::Mode] {
            for text in bad {
                assert_eq!(unit.read(text), None, "{unit:?} {text}");
            }
        }
        for (unit, text) in [
            (Unit::Seconds, "1m"),
            (Unit::Count, "1K"),
            (Unit::Bytes, "K"),
            (Unit::Bytes, "64KB"),
            (Unit::Bytes, "1G"),
            (Unit::Bytes, "+64K"),
            (Unit::Bytes, "17592186044417M"),
            (Unit::Mode, "0668"),
            (Unit::Mode, "00660"),
            (Unit::Mode, "66"),
            (Unit::Mode, "+660"),
            (Unit::Mode, "ug=rw"),
        ] {
            assert_eq!(unit.read(text), None, "{unit:?} {text}");
        }
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_and_changes_nothing() {
        let number = Number {
            unit: Unit::Bytes,
            range: 4096..=1 << 20,
            field: |options| &mut options.memory_bytes_max,
        };
        let mut options = Options::default();
        let allowed = "give bytes from 4096 to 1048576; K or M may follow";
        for text in ["4095", "3K", "1048577", "1025K"] {
            assert_eq!(number.store(&mut options, text), Err(allowed.into()));
            assert_eq!(options, Options::default());
        }
        for (text, bytes) in [("4096", 4096), ("1M", 1 << 20)] {
            assert_eq!(number.store(&mut options, text), Ok(()));
            assert_eq!(options.memory_bytes_max, Some(bytes));
        }
    }

    #[test]
    fn the_default_is_what_the_field_holds_at_first() {
        let number = |field| Number {
            unit: Unit::Bytes,
            range: 0..=1,
            field,
        };
        let socket_buffer = number(|options: &mut Options| &mut options.socket_buffer_bytes);
        assert_eq!(socket_buffer.default().as_deref(), Some("32K"));
        assert_eq!(
            number(|options| &mut options.memory_bytes_max).default(),
            None
        );
    }
}
