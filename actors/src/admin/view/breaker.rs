//! The JSON of `GET /api/v1/breaker`.

use flare_core::policy::breaker::Breaker;
use serde::Serialize;

use crate::failover::BreakerStatus;

/// `GET /api/v1/breaker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    /// `closed`, `open`, `recovering` (open still), or `overridden` (closed by a person).
    pub state: &'static str,
    /// Nodes with a role, and dead ones that had one.
    pub assigned: u32,
    /// Those of them that are dead now.
    pub dead: u32,
    /// Those of which nothing was heard since the index started.
    pub unheard: u32,
    /// When it trips and resets.
    pub settings: BreakerSettingsView,
}

/// `spec.circuitBreaker`, as it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerSettingsView {
    /// `enabled`; never in manual mode.
    pub enabled: bool,
    /// `tripThresholdPercent`.
    pub trip_threshold_percent: u32,
    /// `resetThresholdPercent`.
    pub reset_threshold_percent: u32,
    /// `autoResetEnabled`.
    pub auto_reset_enabled: bool,
    /// `minDeadNodes`.
    pub min_dead_nodes: u32,
}

/// Converts what the failover actor told.
pub fn breaker(status: &BreakerStatus) -> BreakerView {
    let BreakerStatus { breaker, census, settings } = status;
    BreakerView {
        state: match breaker {
            Breaker::Closed => "closed",
            Breaker::Open => "open",
            Breaker::Recovering(_) => "recovering",
            Breaker::Overridden { .. } => "overridden",
        },
        assigned: census.assigned,
        dead: census.dead,
        unheard: census.unheard,
        settings: BreakerSettingsView {
            enabled: settings.enabled,
            trip_threshold_percent: settings.trip_percent,
            reset_threshold_percent: settings.reset_percent,
            auto_reset_enabled: settings.auto_reset,
            min_dead_nodes: settings.min_dead,
        },
    }
}
