//! When to end: Ctrl-C, a closed terminal, SIGTERM, or a shell that has died.

use std::os::unix::process::parent_id;
use std::time::Duration;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often it is looked whether the parent still lives: nothing announces its death.
const PARENT_LOOK: Duration = Duration::from_millis(500);

/// Waits for a reason to end.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    parent: u32,
}

impl Stop {
    /// Begins to listen; from now on these signals do not end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            parent: parent_id(),
        })
    }

    /// Returns when it is time.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
            () = orphaned(self.parent) => {}
        }
    }
}

async fn orphaned(parent: u32) {
    let mut looks = tokio::time::interval(PARENT_LOOK);
    while parent_id() == parent {
        looks.tick().await;
    }
}
