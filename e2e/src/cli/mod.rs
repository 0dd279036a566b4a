//! The subcommands of the `flare-e2e` binary: their arguments and what they run.

pub mod node;
