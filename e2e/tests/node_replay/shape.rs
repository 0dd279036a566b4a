//! What differs between two recordings of the same behaviour, by name; everything else is compared
//! byte for byte.

/// `STAT <name> <number>` lines whose number depends on the process, the clock or the storage
/// library, not on what was asked.
const VARIABLE_STATS: &[&str] = &[
    "pid",
    "uptime",
    "time",
    "rusage_user",
    "rusage_system",
    // size of a Tokyo Cabinet file
    "bytes",
    // how many connections the recorder held, and how it polled
    "curr_connections",
    "total_connections",
    "bytes_read",
    "bytes_written",
    // upstream keeps parked threads
    "threads",
    "pool_threads",
];

/// Fields of `stats threads` that depend on the clock or on a port that the system chose.
const VARIABLE_THREAD_FIELDS: &[&str] = &["uptime", "peer"];

/// Settings that name a place of the recording machine.
const VARIABLE_SETTINGS: &[&str] = &["config_path:", "data_dir:", "pid_path:"];

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// `STAT <id>:<field> <value>`: the number of a thread depends on how many came before it.
fn thread_line(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix("STAT ")?.split_once(' ')?;
    let (id, field) = name.split_once(':')?;
    is_number(id).then_some((field, value))
}

/// Whether a line is what was recorded, as far as it can be the same.
pub(crate) fn matches(recorded: &[u8], seen: &[u8]) -> bool {
    if recorded == seen {
        return true;
    }
    let (Ok(recorded), Ok(seen)) = (std::str::from_utf8(recorded), std::str::from_utf8(seen))
    else {
        return false;
    };
    let (recorded, seen) = (recorded.trim_end_matches("\r\n"), seen.trim_end_matches("\r\n"));
    if let (Some((field, value)), Some((other, seen))) = (thread_line(recorded), thread_line(seen))
    {
        return field == other && (VARIABLE_THREAD_FIELDS.contains(&field) || value == seen);
    }
    let stat = |name: &str| {
        let number = |line: &str| {
            let rest = line.strip_prefix("STAT ")?.strip_prefix(name)?.strip_prefix(' ')?;
            Some(is_number(rest))
        };
        number(recorded) == Some(true) && number(seen) == Some(true)
    };
    let setting = |name: &str| recorded.starts_with(name) && seen.starts_with(name);
    VARIABLE_STATS.iter().any(|name| stat(name))
        || VARIABLE_SETTINGS.iter().any(|name| setting(name))
}

#[test]
fn only_what_is_named_may_differ() {
    assert!(matches(b"STAT pid 12\r\n", b"STAT pid 9\r\n"));
    assert!(!matches(b"STAT pid 12\r\n", b"STAT pid x\r\n"));
    assert!(!matches(b"STAT curr_items 1\r\n", b"STAT curr_items 2\r\n"));
    assert!(matches(b"STAT 2:peer a:1\r\n", b"STAT 7:peer b:2\r\n"));
    assert!(!matches(b"STAT 2:state wait\r\n", b"STAT 2:state execute\r\n"));
    assert!(!matches(b"STORED\r\n", b"NOT_STORED\r\n"));
    assert!(matches(b"data_dir:    /a\r\n", b"data_dir:    /b\r\n"));
}
