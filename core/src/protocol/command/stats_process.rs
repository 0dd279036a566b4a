//! The body of plain `stats`: the index as a process (flare-protocol.md 4.9).
//!
//! ```text
//! STAT pid <n>
//! … (35 lines, in upstream's order)
//! END
//! ```
//!
//! An index stores nothing, so the counters of a store are there and stay 0.

use std::fmt::{self, Display};

use crate::protocol::command::version::FLARE_VERSION;
use crate::protocol::encode::put;

/// The body takes about this much.
const ENCODED_BYTES: usize = 1024;

/// The counters between `connection_structures` and `bytes_read`, which belong to a store.
const STORE_COUNTERS: [&str; 16] = [
    "cmd_get",
    "cmd_set",
    "get_hits",
    "get_misses",
    "delete_hits",
    "delete_misses",
    "incr_hits",
    "incr_misses",
    "decr_hits",
    "decr_misses",
    "cas_hits",
    "cas_misses",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "evictions",
];

/// What changes in `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct StatsProcess {
    /// The process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime: u64,
    /// Now, in Unix seconds.
    pub time: u64,
    /// Processor time in user mode, in microseconds.
    pub user_micros: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_micros: u64,
    /// Client connections that are open.
    pub curr_connections: u64,
    /// Connections accepted since the start.
    pub total_connections: u64,
    /// Bytes read from clients since the start.
    pub bytes_read: u64,
    /// Bytes written to clients since the start.
    pub bytes_written: u64,
    /// Threads; upstream counts one per connection.
    pub threads: u64,
    /// The version of the map.
    pub node_map_version: u64,
}

impl StatsProcess {
    /// All lines and `END`.
    pub fn encode(&self) -> Vec<u8> {
        let mut lines = String::with_capacity(ENCODED_BYTES);
        let mut stat = |name: &str, value: &dyn Display| {
            put(&mut lines, format_args!("STAT {name} {value}\r\n"));
        };
        stat("pid", &self.pid);
        stat("uptime", &self.uptime);
        stat("time", &self.time);
        stat("version", &FLARE_VERSION);
        stat("pointer_size", &usize::BITS);
        stat("rusage_user", &Seconds { micros: self.user_micros });
        stat("rusage_system", &Seconds { micros: self.system_micros });
        stat("curr_items", &0);
        stat("total_items", &0);
        stat("bytes", &0);
        stat("curr_connections", &self.curr_connections);
        stat("total_connections", &self.total_connections);
        stat("connection_structures", &0);
        for counter in STORE_COUNTERS {
            stat(counter, &0);
        }
        stat("bytes_read", &self.bytes_read);
        stat("bytes_written", &self.bytes_written);
        stat("limit_maxbytes", &0);
        stat("threads", &self.threads);
        // Parked threads, of which upstream keeps some; we park none.
        stat("pool_threads", &0);
        stat("node_map_version", &self.node_map_version);
        lines.push_str("END\r\n");
        lines.into_bytes()
    }
}

/// Seconds with six decimals.
struct Seconds {
    micros: u64,
}

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.micros / 1_000_000, self.micros % 1_000_000)
    }
}
