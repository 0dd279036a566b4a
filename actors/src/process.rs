//! What the operating system tells about this process; Linux's `/proc`, zeros elsewhere.

use std::fs;

/// Processor time that the process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CpuTimes {
    /// In user mode, in microseconds.
    pub user_micros: u64,
    /// In the kernel, in microseconds.
    pub system_micros: u64,
}

/// Microseconds per tick of `/proc/<pid>/stat`: 100 a second on every Linux that flared runs on.
const TICK_MICROS: u64 = 10_000;

/// Reads the times of this process.
pub fn cpu_times() -> CpuTimes {
    fs::read_to_string("/proc/self/stat").ok().and_then(|stat| parse(&stat)).unwrap_or_default()
}

/// Fields 14 and 15 of proc(5)'s stat. The second field is the program's name in parentheses,
/// which may itself hold spaces and parentheses.
fn parse(stat: &str) -> Option<CpuTimes> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut micros = || Some(fields.next()?.parse::<u64>().ok()?.saturating_mul(TICK_MICROS));
    Some(CpuTimes { user_micros: micros()?, system_micros: micros()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_times_behind_any_program_name() {
        let stat = "42 (flare) x (y) S 1 42 42 0 -1 4194560 97 0 0 0 12 34 0 0 20 0 1 0 1 1 1";
        let expected = CpuTimes { user_micros: 120_000, system_micros: 340_000 };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("nonsense"), None);
    }
}
