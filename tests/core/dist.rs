//! The files that are installed with the program agree with it.

use std::fs;
use std::path::{Path, PathBuf};

use chinwag::options::{self, Action, DEFAULT_ADDRESS, SOCKET_BUFFER_BYTES};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The values of a setting in a unit.
fn settings(unit: &str, name: &str) -> Vec<String> {
    let text = text(unit);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

fn size(text: &str) -> u64 {
    let (digits, factor) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1024 * 1024),
        None => (text.strip_suffix('K').unwrap(), 1024),
    };
    digits.parse::<u64>().unwrap() * factor
}

/// What things take depends on the width of addresses.
#[cfg(target_pointer_width = "64")]
#[test]
fn the_service_gets_the_memory_that_the_default_options_can_need() {
    use chinwag::ceiling::{Ceiling, Mib};
    use chinwag::protocol::{Limits, OPERATORS_MAX};

    let unit = "dist/chinwag.service";
    let limits = Limits {
        operators_max: OPERATORS_MAX,
        ..Limits::default()
    };
    let ceiling = Ceiling::of(&limits, None, SOCKET_BUFFER_BYTES);
    let (own, system) = (ceiling.bytes(), ceiling.kernel_bytes);
    let all = own + system + ceiling.upgrade_bytes;
    let max = settings(unit, "MemoryMax");
    assert_eq!(max.len(), 1);
    let max = size(&max[0]);
    assert!(
        all < max && max < all * 9 / 8,
        "{} of {}",
        Mib(all),
        Mib(max)
    );
    let text = text(unit).replace("\n# ", " ");
    let rest = Mib(max - all).to_string();
    let rest = rest.split('.').next().unwrap();
    let summands = format!(
        "{}, {} for sockets, {} for an upgrade, and {rest} MiB",
        Mib(own),
        Mib(system),
        Mib(ceiling.upgrade_bytes)
    );
    assert!(text.contains(&summands), "{summands}");
}

#[test]
fn the_service_listens_where_the_program_does_if_it_is_not_told() {
    let unit = "dist/chinwag.socket";
    assert_eq!(
        settings(unit, "ListenStream"),
        [DEFAULT_ADDRESS.to_string()]
    );
    for name in ["ReceiveBuffer", "SendBuffer"] {
        let sizes = settings(unit, name);
        let sizes: Vec<_> = sizes.iter().map(|text| size(text) as usize).collect();
        assert_eq!(sizes, [SOCKET_BUFFER_BYTES], "{name}");
    }
}

#[test]
fn the_service_waits_for_what_comes_late() {
    assert_eq!(settings("dist/chinwag.socket", "FreeBind"), ["yes"]);
    let unit = "dist/chinwag.service";
    assert_eq!(settings(unit, "Restart"), ["on-failure"]);
    // systemd's defaults: it gives up after 5 starts in 10 s.
    for name in ["StartLimitBurst", "StartLimitIntervalSec"] {
        assert_eq!(settings(unit, name), [""; 0], "{name}");
    }
    let pause = settings(unit, "RestartSec");
    let seconds: u32 = pause[0].strip_suffix('s').unwrap().parse().unwrap();
    assert!(4 * seconds > 10, "{seconds}");
}

/// What a line of /etc/default/chinwag sets, commented out or not, in its order.
fn values_of(variable: &str) -> Vec<String> {
    let defaults = text("dist/default");
    let values = defaults.lines().filter_map(|line| {
        let line = line.strip_prefix('#').unwrap_or(line);
        let value = line.strip_prefix(variable)?.strip_prefix("=\"")?;
        value.strip_suffix('"').map(str::to_owned)
    });
    values.collect()
}

#[test]
fn the_options_of_the_service_are_understood() {
    let unit = "dist/chinwag.service";
    let command = settings(unit, "ExecStart");
    assert_eq!(
        command,
        ["/usr/bin/chinwag $CHINWAG_STATE $CHINWAG_ADMIN $CHINWAG_OPTIONS"]
    );
    let (options, states) = (values_of("CHINWAG_OPTIONS"), values_of("CHINWAG_STATE"));
    assert_eq!([options.len(), states.len()], [2, 3]);
    // The unit has the same state as the first of them, and a socket in a folder of its own.
    let own = settings(unit, "Environment");
    let state = own[0].replace("%S", "/var/lib");
    assert_eq!(state, format!("\"CHINWAG_STATE={}\"", states[0]));
    let admin = own[1].replace("%t", "/run");
    assert_eq!(admin, "\"CHINWAG_ADMIN=--admin unix:/run/chinwag/admin\"");
    assert_eq!(settings(unit, "RuntimeDirectory"), ["chinwag"]);
    let admins = values_of("CHINWAG_ADMIN");
    assert_eq!(admins, ["--admin unix:/run/chinwag/admin", ""]);
    let admin = &admins[0];
    for state in &states {
        for options in &options {
            let words = [state.as_str(), admin, options].join(" ");
            let words: Vec<_> = words.split_whitespace().map(str::to_owned).collect();
            let action = options::parse(&words);
            assert!(matches!(action, Ok(Action::Run(_))), "{action:?}");
        }
    }
}

/// The server has to write where the unit lets it.
#[test]
fn the_state_is_in_the_folder_of_the_service() {
    let folder = settings("dist/chinwag.service", "StateDirectory");
    assert_eq!(folder, ["chinwag"]);
    for state in values_of("CHINWAG_STATE") {
        let file = state.split_whitespace().nth(1);
        let is_there = |file: &str| file.starts_with("/var/lib/chinwag/");
        assert!(file.is_none_or(is_there), "{state}");
    }
}

#[test]
fn the_package_has_the_programs_version() {
    let version = format!("chinwag ({}-1) ", env!("CARGO_PKG_VERSION"));
    let log = text("dist/debian/changelog");
    assert!(log.starts_with(&version), "{log}");
}
