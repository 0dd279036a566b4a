//! Nobody dies unheard: a field of every actor that tells its parent when the actor is dropped.
//!
//! actix does not restart an actor that panicked and tells nobody (its mailbox closes, that is
//! all), but it drops the actor, and a message sent from there is delivered.

use std::fmt;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use tokio::sync::mpsc;

/// How an actor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// It stopped by itself or was told to.
    Stopped,
    /// It panicked; the panic's text is on stderr.
    Panicked,
}

impl End {
    /// How an actor ends that is being dropped now.
    pub fn of_this_drop() -> Self {
        if std::thread::panicking() { Self::Panicked } else { Self::Stopped }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Panicked => "panicked",
        })
    }
}

/// The end of an actor that the process cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Death {
    /// The actor.
    pub who: &'static str,
    /// How it ended.
    pub end: End,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} actor {}", self.who, self.end)
    }
}

/// Tells one end when it is dropped.
pub struct Obituary {
    tell: Option<Box<dyn FnOnce(End)>>,
}

impl Obituary {
    /// Tells the actor at `parent`, by the message that `notice` makes of the end.
    pub fn to_actor<A, M>(parent: &Addr<A>, notice: impl FnOnce(End) -> M + 'static) -> Self
    where
        A: Actor + Handler<M>,
        A::Context: ToEnvelope<A, M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let parent = parent.clone();
        // Bounded by construction: one message per actor.
        Self { tell: Some(Box::new(move |end| parent.do_send(notice(end)))) }
    }

    /// Tells the process, by the name of the actor.
    pub fn to_process(process: &mpsc::Sender<Death>, who: &'static str) -> Self {
        let process = process.clone();
        let tell = move |end| {
            // A process that does not listen any more is ending anyway.
            let _ = process.try_send(Death { who, end });
        };
        Self { tell: Some(Box::new(tell)) }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(End::of_this_drop());
        }
    }
}

impl fmt::Debug for Obituary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Obituary")
    }
}
