//! The counters that plain `stats` shows.

use std::cell::Cell;

/// Counts since the process started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) total_items: Cell<u64>,
    pub(crate) curr_connections: Cell<u64>,
    pub(crate) total_connections: Cell<u64>,
    pub(crate) cmd_get: Cell<u64>,
    pub(crate) cmd_set: Cell<u64>,
    pub(crate) get_hits: Cell<u64>,
    pub(crate) get_misses: Cell<u64>,
    pub(crate) delete_hits: Cell<u64>,
    pub(crate) delete_misses: Cell<u64>,
    pub(crate) incr_hits: Cell<u64>,
    pub(crate) incr_misses: Cell<u64>,
    pub(crate) decr_hits: Cell<u64>,
    pub(crate) decr_misses: Cell<u64>,
    pub(crate) cas_hits: Cell<u64>,
    pub(crate) cas_misses: Cell<u64>,
    pub(crate) cas_badval: Cell<u64>,
    pub(crate) touch_hits: Cell<u64>,
    pub(crate) touch_misses: Cell<u64>,
    pub(crate) bytes_read: Cell<u64>,
    pub(crate) bytes_written: Cell<u64>,
}

/// Adds one.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

/// Adds a number of bytes.
pub(crate) fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get() + bytes as u64);
}
