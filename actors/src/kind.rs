//! A fixed word for each variant: metric labels, JSON and log lines name things by it.
//!
//! The number of words is fixed by the types, so that no outsider can make up label values.

use flare_core::topology::{Blocked, DownReason, Event, Refusal, StoreFailure};

/// A value that has a word from a fixed set.
pub trait Kind {
    /// The word: lower case, parts joined by `_`; part of the interface, never renamed.
    fn kind(&self) -> &'static str;
}

impl Kind for Refusal {
    fn kind(&self) -> &'static str {
        match self {
            Self::UnknownNode => "unknown_node",
            Self::AlreadyRegistered => "already_registered",
            Self::NameTaken => "name_taken",
            Self::NodeDown => "node_down",
            Self::NotDown => "not_down",
            Self::Transition => "transition",
            Self::Partition => "partition",
            Self::Balance => "balance",
            Self::LastCopy => "last_copy",
            Self::NotAllowed => "not_allowed",
            Self::Stale => "stale",
            Self::Limit(_) => "limit",
            Self::Invariant(_) => "invariant",
            Self::Store(_) => "store",
            Self::StoodDown => "stood_down",
            Self::NoSuccessor => "no_successor",
            Self::Busy => "busy",
            Self::BreakerOpen => "breaker_open",
            Self::TakenBack(_) => "taken_back",
        }
    }
}

/// Every word of [`Blocked`]; a gauge for each is 0 while nothing of the kind is in the way.
pub const BLOCKED_KINDS: [&str; 9] = [
    "partition_reduction",
    "growth_within_hint",
    "partition_size",
    "missing_nodes",
    "master_down",
    "came_back_empty",
    "breaker_open",
    "may_hold_data",
    "version_jump",
];

impl Kind for Blocked {
    fn kind(&self) -> &'static str {
        match self {
            Self::PartitionReduction { .. } => "partition_reduction",
            Self::GrowthWithinHint { .. } => "growth_within_hint",
            Self::PartitionSize { .. } => "partition_size",
            Self::MissingNodes { .. } => "missing_nodes",
            Self::MasterDown { .. } => "master_down",
            Self::MayHoldData { .. } => "may_hold_data",
            Self::VersionJump { .. } => "version_jump",
            Self::CameBackEmpty { .. } => "came_back_empty",
            Self::BreakerOpen => "breaker_open",
        }
    }
}

impl Kind for DownReason {
    fn kind(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Sick => "sick",
            Self::Restarted => "restarted",
            Self::Left => "left",
            Self::Ordered => "ordered",
        }
    }
}

impl Kind for StoreFailure {
    fn kind(&self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Unwritable(_) => "unwritable",
        }
    }
}

impl Kind for Event {
    fn kind(&self) -> &'static str {
        match self {
            Self::NodeChanged { .. } => "node_changed",
            Self::VersionRaised { .. } => "version_raised",
            Self::Blocked(_) => "blocked",
            Self::Unblocked(_) => "unblocked",
            Self::InvariantBroken { .. } => "invariant_broken",
            Self::OrderRefused { .. } => "order_refused",
            Self::StoreFailed { .. } => "store_failed",
            Self::Handover { .. } => "handover",
            Self::BreakerChanged { .. } => "breaker_changed",
            Self::Warned { .. } => "warned",
            Self::NodeEmptied { .. } => "node_emptied",
            Self::ReportRecovered { .. } => "report_recovered",
        }
    }
}
