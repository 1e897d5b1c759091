//! Numbers in variables of the environment, as a service manager sets them.

use std::ffi::OsString;

/// Looks up a variable of the environment: the process's own, or a test's.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The number that a variable is set to, if it is set.
///
/// # Errors
///
/// If it is not a number from 1 to `max`.
pub fn number(lookup: Lookup<'_>, name: &str, max: u64) -> Result<Option<u64>, String> {
    let Some(value) = lookup(name) else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    let is_number = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse().ok().filter(|_| is_number);
    match number.filter(|number| (1..=max).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(format!(
            "{name}={value} in the environment: this is not a number from 1 to {max}; leave the \
             variable to the service manager, or unset it"
        )),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The process that asks.
    pub const PID: u32 = 4711;

    /// Looks things up in a list as if that were the environment.
    pub fn within<T>(environment: &str, ask: impl Fn(Lookup<'_>, u32) -> T) -> T {
        let lookup = |name: &str| {
            let mut variables = environment.split_whitespace();
            let value = variables.find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
            value.map(OsString::from)
        };
        ask(&lookup, PID)
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        for value in [
            "",
            "0",
            "x",
            "-1",
            "+1",
            "1.5",
            "0x1",
            "1001",
            "18446744073709551616",
        ] {
            let environment = format!("OTHER=1 NAME={value}");
            let error = within(&environment, |lookup, _| number(lookup, "NAME", 1000));
            let error = error.unwrap_err();
            assert!(error.starts_with(&format!("NAME={value} ")), "{error}");
            assert!(error.contains("from 1 to 1000"), "{error}");
        }
        for (environment, expected) in [("", None), ("NAME=1", Some(1)), ("NAME=1000", Some(1000))]
        {
            let found = within(environment, |lookup, _| number(lookup, "NAME", 1000));
            assert_eq!(found, Ok(expected));
        }
    }
}
