//! The wall clock, in the unit in which flared measures expiry and ages.

use std::time::{SystemTime, UNIX_EPOCH};

/// Largest number of seconds that an expire means as "from now" (30 days).
const RELATIVE_LIMIT: u64 = 2_592_000;

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// An expire as a client gives it, as absolute seconds (flare-protocol.md 4.2).
pub(crate) fn absolute_expire(given: u64) -> u64 {
    match given {
        1..=RELATIVE_LIMIT => unix_seconds() + given,
        _ => given,
    }
}
