//! What goes into the topology and what comes out: inputs, steps, effects, refusals.
//!
//! Everything is plain data. The actor carries out effects in order, after the store has
//! confirmed the generation they wait for; it adds nothing.

mod blocked;
mod effect;
mod event;
mod input;
mod refusal;
mod settings;

pub use blocked::Blocked;
pub use effect::{Answer, Effect, Step, Targets};
pub use event::Event;
pub use input::{
    DownReason, HandoverHow, HandoverWay, Input, Observation, Origin, RequestId, Seen, StoreFailure,
};
pub use refusal::Refusal;
pub use settings::{Mode, Settings};
