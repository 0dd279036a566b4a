//! Writes that the store has not answered yet; one that hangs is told of.
//!
//! A disk that is full or broken answers with an error, and the core goes on from there. One that
//! hangs answers nothing: without a watch of our own nobody would learn why nothing changes.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context, SpawnHandle};
use flare_core::stored::StoredTopology;
use tokio::time::Instant;
use tracing::{error, warn};

use super::TopologyActor;
use crate::store::Write;

/// A write that has not been answered for so long hangs. Whoever asked for the change waits a
/// little longer, and is told after that.
pub const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// A write that the store has in hand.
pub(super) struct WriteInHand {
    began: Instant,
    /// Says that it hangs.
    alarm: SpawnHandle,
}

impl TopologyActor {
    /// Hands a map to the store.
    pub(super) fn write(&mut self, stored: Arc<StoredTopology>, ctx: &mut Context<Self>) {
        let generation = stored.generation;
        let alarm = ctx.run_later(STORE_PATIENCE, move |_, _| {
            error!(
                generation,
                patience = ?STORE_PATIENCE,
                "the store hangs: no change and no failover takes place until it answers; look at \
                 the disk"
            );
        });
        let write = WriteInHand { began: Instant::now(), alarm };
        if let Some(replaced) = self.writes_in_hand.insert(generation, write) {
            ctx.cancel_future(replaced.alarm);
        }
        // Bounded by construction: the core has one write under way.
        self.store.do_send(Write { stored });
    }

    /// The store answered, whatever it says.
    pub(super) fn write_ended(&mut self, generation: u64, ctx: &mut Context<Self>) {
        let Some(write) = self.writes_in_hand.remove(&generation) else { return };
        ctx.cancel_future(write.alarm);
        let took = write.began.elapsed();
        if took >= STORE_PATIENCE {
            warn!(generation, ?took, "the store answers again");
        }
    }

    /// How long the oldest write has been waited for.
    pub(super) fn store_waits(&self) -> Duration {
        let waits = self.writes_in_hand.values().map(|write| write.began.elapsed());
        waits.max().unwrap_or_default()
    }
}

/// What is to be said of a store that has kept a write for so long.
pub(super) fn hang(waits: Duration) -> Option<String> {
    (waits >= STORE_PATIENCE).then(|| {
        format!(
            "the store hangs: a write has not ended for {} s, and no change and no failover takes \
             place until it does",
            waits.as_secs()
        )
    })
}
