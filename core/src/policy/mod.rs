//! What to do next, as pure functions of what there is: nothing here changes anything.

pub mod action;
mod apart;
pub mod assignment;
pub mod breaker;
mod choice;
pub mod emptying;
pub mod evidence;
pub mod failover;
pub mod pacing;
pub mod promotion;
pub mod recovery;
pub mod shape;
mod silence;
pub mod suspicion;
mod upkeep;
pub mod watchdog;

pub use apart::ZONE_WAIT_MILLIS;
