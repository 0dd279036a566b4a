//! `flare-operator simulate breaker`: what losses of nodes and zones do to a cluster, tried out on
//! the shipped core in virtual time. Nothing is contacted.

mod report;
mod table;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use flare_core::policy::breaker::BreakerSettings;
use flare_core::simulation::{Conditions, Deployment, DeploymentError, Manner, Storage, study};

use crate::outcome::{Misuse, Output, print};

/// The pairs of trip and reset that are shown when none is given, in percent (design.md 5).
const PAIRS: [(u32, u32); 2] = [(50, 80), (30, 75)];

/// `flare-operator simulate`
#[derive(Debug, Subcommand)]
pub(crate) enum Simulate {
    /// Try every loss of a node or a zone, alone and in pairs, and show what the circuit breaker
    /// makes of it.
    Breaker(BreakerFlags),
}

/// `flare-operator simulate breaker`
#[derive(Debug, Args)]
#[command(after_help = "docs/circuit-breaker.md explains the columns.")]
pub(crate) struct BreakerFlags {
    /// Partitions. [default: each of 1 to 3]
    #[arg(long, value_name = "NUMBER")]
    partitions: Option<u32>,

    /// Copies of each partition, the master included. [default: each of 1 to 3]
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u32>,

    /// Zones that nodes are laid out over. [default: 2 and 3]
    #[arg(long, value_name = "NUMBER")]
    zones: Option<u32>,

    /// Nodes; those beyond partitions x replicas are spares. [default: no spares]
    #[arg(long, value_name = "NUMBER")]
    nodes: Option<u32>,

    /// tripThresholdPercent. [default: 50 with 80, and 30 with 75]
    #[arg(long, value_name = "PERCENT")]
    trip: Option<u32>,

    /// resetThresholdPercent.
    #[arg(long, value_name = "PERCENT")]
    reset: Option<u32>,

    /// minDeadNodes.
    #[arg(long, value_name = "NUMBER", default_value_t = BreakerSettings::default().min_dead)]
    min_dead_nodes: u32,

    /// autoResetEnabled.
    #[arg(long, value_name = "true|false", default_value_t = true,
          action = clap::ArgAction::Set)]
    auto_reset: bool,

    /// How nodes are lost: machines that fall silent, processes whose port refuses, or a network
    /// that is cut.
    #[arg(long, value_enum, default_value_t = LossOf::Machine)]
    loss: LossOf,

    /// Where nodes keep their data: what lies in memory is gone with the process.
    #[arg(long, value_enum, default_value_t = StorageOf::Disk)]
    storage: StorageOf,

    /// Seconds from one loss to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    apart: u64,

    /// Seconds for which the lost nodes stay away after that.
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    away: u64,

    /// Seconds that a copy takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(0..=3600))]
    copy: u64,

    /// Show every single loss, not only a line for each kind.
    #[arg(long)]
    cases: bool,

    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LossOf {
    Machine,
    Process,
    Network,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StorageOf {
    Disk,
    Memory,
}

/// Runs `flare-operator simulate`.
pub(crate) fn run(simulate: &Simulate) -> Result<()> {
    let Simulate::Breaker(flags) = simulate;
    let deployments = flags.deployments().map_err(|error| Misuse(error.to_string()))?;
    let conditions = flags.conditions()?;
    let studies: Vec<report::Study> = conditions
        .into_iter()
        .map(|conditions| report::Study {
            conditions,
            deployments: deployments.iter().map(|of| (*of, study(of, conditions))).collect(),
        })
        .collect();
    let text = match flags.output {
        Output::Json => report::json(&studies)?,
        Output::Text => table::of(&studies, flags.cases),
    };
    print(&text)
}

impl BreakerFlags {
    /// Every shape that is asked for and can be; what is not given varies.
    fn deployments(&self) -> Result<Vec<Deployment>, DeploymentError> {
        let some =
            |given: Option<u32>, usual: &[u32]| given.map_or(usual.to_vec(), |one| vec![one]);
        let mut possible = Vec::new();
        let mut impossible = None;
        for partitions in some(self.partitions, &[1, 2, 3]) {
            for replicas in some(self.replicas, &[1, 2, 3]) {
                for zones in some(self.zones, &[2, 3]) {
                    let nodes = self.nodes.unwrap_or(partitions.saturating_mul(replicas));
                    let deployment = Deployment { partitions, replicas, zones, nodes };
                    match deployment.check() {
                        Ok(()) => possible.push(deployment),
                        Err(error) => impossible = impossible.or(Some(error)),
                    }
                }
            }
        }
        impossible.filter(|_| possible.is_empty()).map_or(Ok(possible), Err)
    }

    fn conditions(&self) -> Result<Vec<Conditions>> {
        let usual = BreakerSettings::default();
        let pairs = match (self.trip, self.reset) {
            (None, None) => PAIRS.to_vec(),
            (trip, reset) => {
                vec![(trip.unwrap_or(usual.trip_percent), reset.unwrap_or(usual.reset_percent))]
            }
        };
        let of_pair = |(trip_percent, reset_percent)| {
            let breaker = BreakerSettings {
                enabled: true,
                trip_percent,
                reset_percent,
                auto_reset: self.auto_reset,
                min_dead: self.min_dead_nodes,
            };
            breaker.check().map_err(|error| Misuse(error.to_string()))?;
            Ok(Conditions {
                breaker,
                manner: match self.loss {
                    LossOf::Machine => Manner::Machine,
                    LossOf::Process => Manner::Process,
                    LossOf::Network => Manner::Network,
                },
                storage: match self.storage {
                    StorageOf::Disk => Storage::Disk,
                    StorageOf::Memory => Storage::Memory,
                },
                copy_millis: self.copy * 1_000,
                apart_millis: self.apart * 1_000,
                away_millis: self.away * 1_000,
            })
        };
        pairs.into_iter().map(of_pair).collect()
    }
}
