//! A fixed word for each variant: metric labels, JSON and log lines name things by it.
//!
//! The number of words is fixed by the types, so that no outsider can make up label values.

use flare_core::topology::{Blocked, DownReason, Event, Refusal, StoreFailure};

/// A value that has a word from a fixed set.
pub trait Kind {
    /// The word: lower case, parts joined by `_`; part of the interface, never renamed.
    fn kind(&self) -> &'static str;
}

/// Gives each variant its word, and lists the words of a type.
macro_rules! kinds {
    ($(#[$meta:meta])* $all:ident of $type:ident: $($variant:pat => $word:literal,)+) => {
        $(#[$meta])*
        pub const $all: &[&str] = &[$($word),+];

        impl Kind for $type {
            fn kind(&self) -> &'static str {
                match self {
                    $($variant => $word,)+
                }
            }
        }
    };
}

kinds! {
    /// Every word of [`Refusal`].
    REFUSAL_KINDS of Refusal:
    Refusal::UnknownNode => "unknown_node",
    Refusal::AlreadyRegistered => "already_registered",
    Refusal::NameTaken => "name_taken",
    Refusal::NodeDown => "node_down",
    Refusal::NotDown => "not_down",
    Refusal::Transition => "transition",
    Refusal::Partition => "partition",
    Refusal::Balance => "balance",
    Refusal::LastCopy => "last_copy",
    Refusal::MayBeLeft { .. } => "may_be_left",
    Refusal::NotAllowed => "not_allowed",
    Refusal::Stale => "stale",
    Refusal::Limit(_) => "limit",
    Refusal::Invariant(_) => "invariant",
    Refusal::Store(_) => "store",
    Refusal::StoodDown => "stood_down",
    Refusal::NoSuccessor => "no_successor",
    Refusal::OnlyAutomatic => "only_automatic",
    Refusal::Listed => "listed",
    Refusal::StillMaster => "still_master",
    Refusal::NotLost => "not_lost",
    Refusal::NoCopy(_) => "no_copy",
    Refusal::Busy => "busy",
    Refusal::BreakerOpen => "breaker_open",
    Refusal::TakenBack(_) => "taken_back",
}

kinds! {
    /// Every word of [`Blocked`]; a gauge for each is 0 while nothing of the kind is in the way.
    BLOCKED_KINDS of Blocked:
    Blocked::PartitionReduction { .. } => "partition_reduction",
    Blocked::GrowthWithinHint { .. } => "growth_within_hint",
    Blocked::PartitionSize { .. } => "partition_size",
    Blocked::MissingNodes { .. } => "missing_nodes",
    Blocked::MasterDown { .. } => "master_down",
    Blocked::OneZone { .. } => "one_zone",
    Blocked::MayHoldData { .. } => "may_hold_data",
    Blocked::VersionJump { .. } => "version_jump",
    Blocked::LeavingMaster { .. } => "leaving_master",
    Blocked::CameBackEmpty { .. } => "came_back_empty",
    Blocked::CopyStalled { .. } => "copy_stalled",
    Blocked::NeedsRestart { .. } => "needs_restart",
    Blocked::MapNotTaken { .. } => "map_not_taken",
    Blocked::Flapping { .. } => "flapping",
    Blocked::BreakerOpen => "breaker_open",
}

kinds! {
    /// Every word of [`DownReason`].
    DOWN_REASON_KINDS of DownReason:
    DownReason::Refused => "refused",
    DownReason::Silent => "silent",
    DownReason::Sick => "sick",
    DownReason::Restarted => "restarted",
    DownReason::Left => "left",
    DownReason::Ordered => "ordered",
}

kinds! {
    /// Every word of [`StoreFailure`].
    STORE_FAILURE_KINDS of StoreFailure:
    StoreFailure::Conflict => "conflict",
    StoreFailure::Unwritable(_) => "unwritable",
}

kinds! {
    /// Every word of [`Event`].
    EVENT_KINDS of Event:
    Event::NodeChanged { .. } => "node_changed",
    Event::VersionRaised { .. } => "version_raised",
    Event::Blocked(_) => "blocked",
    Event::Unblocked(_) => "unblocked",
    Event::InvariantBroken { .. } => "invariant_broken",
    Event::OrderRefused { .. } => "order_refused",
    Event::StoreFailed { .. } => "store_failed",
    Event::Leaving { .. } => "leaving",
    Event::Handover { .. } => "handover",
    Event::BreakerChanged { .. } => "breaker_changed",
    Event::CopyChosen { .. } => "copy_chosen",
    Event::Lapsed { .. } => "lapsed",
    Event::LapsedPromoted { .. } => "lapsed_promoted",
    Event::Warned { .. } => "warned",
    Event::NodeEmptied { .. } => "node_emptied",
    Event::ReportRecovered { .. } => "report_recovered",
}
