//! Freeing writers that wait for their own writes, at a node that has just become a slave (why,
//! and which: `flare_core::topology`, `stuck`).
//!
//! `kill` ends one try of the four that a flared makes (flare-protocol.md 5.4), so it takes
//! several.

use std::collections::VecDeque;
use std::time::Duration;

use actix::{Context, Handler};
use bytes::Bytes;
use flare_core::protocol::node::SenderThread;
use flare_core::topology::stuck::{master_of_slave, stuck_requests};
use tokio::time::Instant;
use tracing::warn;

use super::exchange::Question;
use super::{FreeStuckWriters, NodeLink};

/// How long the node is looked after: writes of the moment in which it became a slave are stuck by
/// then, or are not.
const LOOKED_AFTER: Duration = Duration::from_secs(10);

/// How often it is looked at, and how soon again when something was stuck.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// See [`LOOK_PAUSE`].
const NEXT_TRY_PAUSE: Duration = Duration::from_millis(50);

/// A node that is looked after.
pub(super) struct StuckWatch {
    until: Instant,
    pub(super) next_at: Instant,
    to_end: VecDeque<u32>,
}

impl Handler<FreeStuckWriters> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: FreeStuckWriters, _: &mut Context<Self>) {
        let now = Instant::now();
        self.stuck_watch = Some(StuckWatch {
            until: now + LOOKED_AFTER,
            next_at: now + LOOK_PAUSE,
            to_end: VecDeque::new(),
        });
    }
}

impl NodeLink {
    /// What is to be asked next for it.
    pub(super) fn next_of_stuck(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        let newest = self.released.as_deref();
        if newest.and_then(|map| master_of_slave(map, &self.node)).is_none() {
            self.stuck_watch = None;
        }
        let watch = self.stuck_watch.as_mut()?;
        if let Some(thread) = watch.to_end.pop_front() {
            return Some(Question::end_sender(thread));
        }
        if now >= watch.until {
            self.stuck_watch = None;
            return None;
        }
        (now >= watch.next_at).then(Question::list_senders)
    }

    /// The connection to the node ended: it may be another process on the next one.
    pub(super) fn forget_stuck_threads(&mut self) {
        if let Some(watch) = &mut self.stuck_watch {
            watch.to_end.clear();
        }
    }

    /// The node showed on which of its connections somebody waits.
    pub(super) fn waiting_listed(&mut self, senders: &[SenderThread]) {
        let span = self.span.clone();
        let (Some(watch), Some(newest)) = (&mut self.stuck_watch, &self.released) else { return };
        watch.to_end = stuck_requests(newest, &self.node, senders).into();
        let now = Instant::now();
        if watch.to_end.is_empty() {
            watch.next_at = now + LOOK_PAUSE;
            return;
        }
        watch.next_at = now + NEXT_TRY_PAUSE;
        watch.until = watch.until.max(now + LOOK_PAUSE);
        warn!(
            parent: &span, threads = ?watch.to_end,
            "writes that clients sent through it wait for themselves; they are ended"
        );
    }
}
