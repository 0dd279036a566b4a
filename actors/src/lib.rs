//! Waits, decides nothing.

pub mod admin;
pub mod kind;
pub mod logs;
pub mod manifest;
pub mod metrics;
pub mod overview;
pub mod reduction;
