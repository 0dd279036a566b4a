//! The stand-in flared node, the suites and the load tools.

pub mod suite;
pub mod transcript;
