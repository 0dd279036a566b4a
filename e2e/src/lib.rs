//! The stand-in flared node, the suites and the load tools.

pub mod cli;
pub mod load;
pub mod node;
pub mod replay_index;
pub mod suite;
pub mod transcript;
