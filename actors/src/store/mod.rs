//! Where the map survives a restart: one actor per cluster that writes it, and nothing else.
//!
//! [`StoreActor`] takes one map at a time and answers [`crate::topology::StoreAnswered`] once it
//! is safe. The writing itself happens on a thread of its own: neither a slow disk nor a slow
//! name server (which has tokio's blocking threads) delays the other. [`mod@file`] is the medium
//! of bare machines.

pub mod file;

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, Context, ContextFutureSpawner, Handler, Message,
};
use actix::{Recipient, ResponseFuture, WrapFuture};
use flare_core::stored::StoredTopology;
use flare_core::topology::StoreFailure;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::metrics::ClusterMetrics;
use crate::obituary::Obituary;
use crate::topology::StoreAnswered;

/// Writes that may wait for the medium: the core has one under way, the rest is for a caller that
/// goes mad.
pub const QUEUED_WRITES_MAX: usize = 16;

/// A write that takes so long is told: whoever asked for the change is still waiting.
pub const SLOW_WRITE: Duration = Duration::from_secs(1);

/// Something that keeps the map over a restart. Lives on the store's own thread; may block.
pub trait Medium: Send + 'static {
    /// Makes `stored` what a restart reads, or says why not. When it returns `Ok` the bytes are
    /// on stable storage.
    ///
    /// # Errors
    /// When the medium does not hold it, or it is not known whether it does.
    fn write(&mut self, stored: &StoredTopology) -> Result<(), StoreFailure>;
}

/// Asks for `stored` to be made safe; comes back as [`StoreAnswered`].
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Write {
    /// The map.
    pub stored: Arc<StoredTopology>,
}

/// Answers when everything that was asked for before has been written or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Flush;

/// The messages that a store takes.
#[derive(Clone)]
pub struct StoreDoors {
    /// Asks for a write.
    pub write: Recipient<Write>,
    /// Asks whether all writes are done.
    pub flush: Recipient<Flush>,
}

impl From<Addr<StoreActor>> for StoreDoors {
    fn from(addr: Addr<StoreActor>) -> Self {
        Self { write: addr.clone().recipient(), flush: addr.recipient() }
    }
}

/// Writes the map of one cluster, in the order that it is told.
pub struct StoreActor {
    /// To the writing thread; when it is dropped the thread ends, after its last write.
    jobs: mpsc::Sender<Job>,
    /// Who is told how a write ended.
    answers: Recipient<StoreAnswered>,
    metrics: ClusterMetrics,
    _obituary: Option<Obituary>,
}

enum Job {
    Write { stored: Arc<StoredTopology>, done: oneshot::Sender<Result<(), StoreFailure>> },
    Flush { done: oneshot::Sender<()> },
}

impl StoreActor {
    /// Hands `medium` to a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn new(
        medium: impl Medium,
        answers: Recipient<StoreAnswered>,
        metrics: ClusterMetrics,
        obituary: Option<Obituary>,
    ) -> io::Result<Self> {
        let (jobs, todo) = mpsc::channel(QUEUED_WRITES_MAX);
        thread::Builder::new().name("store".into()).spawn(move || write_all(medium, todo))?;
        Ok(Self { jobs, answers, metrics, _obituary: obituary })
    }
}

/// The writing thread: one job after the other, until nobody can give it one.
fn write_all(mut medium: impl Medium, mut todo: mpsc::Receiver<Job>) {
    while let Some(job) = todo.blocking_recv() {
        // Whoever asked may be gone; the write was asked for all the same.
        match job {
            Job::Write { stored, done } => {
                let _ = done.send(medium.write(&stored));
            }
            Job::Flush { done } => {
                let _ = done.send(());
            }
        }
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;
}

impl Handler<Write> for StoreActor {
    type Result = ();

    fn handle(&mut self, Write { stored }: Write, ctx: &mut Context<Self>) {
        let generation = stored.generation;
        let (done, written) = oneshot::channel();
        let handed_over = self.jobs.try_send(Job::Write { stored, done });
        let began = Instant::now();
        async move {
            match handed_over {
                // A sender that is dropped unanswered means that the writing thread panicked.
                Ok(()) => written.await.unwrap_or_else(|_| Err(gone())),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(StoreFailure::Unwritable("too many writes are waiting".into()))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
            }
        }
        .into_actor(self)
        .map(move |outcome, store, ctx: &mut Context<Self>| {
            store.answer(generation, outcome, began);
            if store.jobs.is_closed() {
                // Nothing can be stored any more: the parent has to know.
                ctx.stop();
            }
        })
        .spawn(ctx);
    }
}

impl StoreActor {
    fn answer(&self, generation: u64, outcome: Result<(), StoreFailure>, began: Instant) {
        match &outcome {
            Ok(()) => {
                let took = began.elapsed();
                self.metrics.stored(took);
                if took < SLOW_WRITE {
                    debug!(generation, ?took, "stored");
                } else {
                    warn!(
                        generation,
                        ?took,
                        "stored, but slowly: changes and failovers wait for it"
                    );
                }
            }
            Err(failure) => {
                self.metrics.store_failed(failure);
                error!(generation, %failure, "not stored");
            }
        }
        self.answers.do_send(StoreAnswered { generation, outcome });
    }
}

fn gone() -> StoreFailure {
    StoreFailure::Unwritable("the thread that writes it ended".into())
}

impl Handler<Flush> for StoreActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Flush, _: &mut Context<Self>) -> ResponseFuture<()> {
        let jobs = self.jobs.clone();
        Box::pin(async move {
            let (done, flushed) = oneshot::channel();
            // A thread that is gone has nothing left to write.
            if jobs.send(Job::Flush { done }).await.is_ok() {
                let _ = flushed.await;
            }
        })
    }
}
