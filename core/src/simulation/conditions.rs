//! Under which conditions losses are looked at: the breaker, how nodes are lost, where data lies.

use crate::policy::breaker::BreakerSettings;

/// How nodes are lost, and how they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manner {
    /// Machines lose their power: they are silent, and their processes are new ones when they
    /// come back.
    Machine,
    /// Processes end: their ports refuse at once. Other processes come back.
    Process,
    /// The network is cut: they are silent, and the same processes when it is mended.
    Network,
}

/// Where nodes keep their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Storage {
    /// On a disk that outlives process and machine.
    Disk,
    /// In memory: another process begins empty.
    Memory,
}

/// Under which conditions losses are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conditions {
    /// When the breaker trips and resets.
    pub breaker: BreakerSettings,
    /// How nodes are lost.
    pub manner: Manner,
    /// Where they keep their data.
    pub storage: Storage,
    /// How long a copy takes, in milliseconds.
    pub copy_millis: u64,
    /// From one loss to the next, in milliseconds.
    pub apart_millis: u64,
    /// How long the lost nodes stay away after that, in milliseconds.
    pub away_millis: u64,
}

/// In which order nodes are found dead that died at one moment. All pings fall due together when
/// the index has just been started, and in any order later: with a breaker it matters, since the
/// dead that were found before it trips are failed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundDead {
    InKeyOrder,
    InReverse,
}
