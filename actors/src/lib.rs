//! Waits, decides nothing.

pub mod kind;
pub mod manifest;
pub mod metrics;
pub mod overview;
