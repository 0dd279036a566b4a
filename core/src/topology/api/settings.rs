//! What a topology is started with.

use crate::wanted::Wanted;

/// Who decides about roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A person or flare-tools, as with flarei.
    Manual,
    /// The index, from the wanted shape.
    Automatic(Wanted),
}

/// What a topology is started with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Who decides about roles.
    pub mode: Mode,
    /// The most nodes that a cluster may have (R16).
    pub nodes_max: usize,
    /// Unix milliseconds at the zero of [`crate::model::Timestamp`]: dates what is stored, decides
    /// nothing.
    pub zero_unix_millis: u64,
}
