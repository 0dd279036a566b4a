//! The limit of open files: each connection and each node takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Files beside connections: the store, logs, the admin interface with its own connections, the
/// runtime.
const OTHER_FILES: u64 = 1024;

/// Raises the limit as far as the system lets us, and says so if that is not enough.
pub(crate) fn raise_open_files(connections: usize, nodes: usize) {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    let raised = Rlimit { current: most, maximum: most };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(error) => {
            debug!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    let needed = connections as u64 + nodes as u64 + OTHER_FILES;
    // No limit at all is `None`.
    if let Some(now) = now.filter(|now| *now < needed) {
        warn!(
            open_files = now,
            needed,
            "the limit of open files (ulimit -Hn) is below what max-connection and max-nodes may \
             need; beyond it connections wait to be accepted"
        );
    }
}
