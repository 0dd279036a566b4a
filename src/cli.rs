//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use flare_actors::admin::{DEFAULT_LISTEN, DEFAULT_METRICS_LISTEN};
use flare_actors::logs::{DEFAULT_FILTER, LogFormat};
use flare_core::stored_check::STORED_NODES_MAX;

use crate::ask::{BreakerOrder, LeaveFlags, RecoverFlags, StatusFlags, SwitchoverFlags};
use crate::flarei_conf::{FlareiSettings, HashFlags};
use crate::simulate::Simulate;

/// What `--help` says of exit codes.
const EXIT_CODES: &str = "\
Exit codes:
  0  it did what it was told; `index`: it was told to end (SIGTERM, SIGINT)
  1  it could not start or go on, the index refused, or it is not known whether it did what it
     was told; a sentence on stderr says why
  2  the command line makes no sense, or no index answers";

/// The index of a GREE Flare cluster: a drop-in flarei.
#[derive(Debug, Parser)]
#[command(name = "flare-operator", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the index.
    Index(Box<IndexFlags>),
    /// What a running index has: its map, its circuit breaker, and what is in the way.
    Status(StatusFlags),
    /// Swap the master of a partition with an active slave, without copying.
    Switchover(SwitchoverFlags),
    /// A node is going to be stopped: hand its partition over in time, and say when it may be.
    Leave(LeaveFlags),
    /// Choose the copy that a partition goes on with, whose master is lost or came back empty.
    Recover(RecoverFlags),
    /// Look at the circuit breaker of a running index, or close it.
    #[command(subcommand)]
    Breaker(BreakerOrder),
    /// Take over flarei's map: read its flare.xml into a data folder.
    Import(ImportFlags),
    /// Write the map as a flare.xml, for the way back to flarei. The index must not run.
    Export(ExportFlags),
    /// Try out in virtual time what losses of nodes and zones do; nothing is contacted.
    #[command(subcommand)]
    Simulate(Simulate),
}

/// `flare-operator index`
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct IndexFlags {
    /// The folder that keeps the map over a restart; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,

    /// A FlareCluster manifest (YAML): the index assigns roles by it, and re-reads it when it
    /// changes.
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,

    /// Who gives roles to nodes: the index, from the manifest (auto), or a person with
    /// flare-tools, as with flarei (manual). [default: auto with --cluster, else manual]
    #[arg(long, value_enum)]
    pub(crate) assign: Option<Assign>,

    /// Where nodes and tools reach the index; port 0 picks a free port and prints it.
    /// [default: 0.0.0.0:12120]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The port that nodes reach besides, for some milliseconds, when a master is swapped with its
    /// slave: the relay that holds its writes. Where no node reaches it writes are refused instead.
    /// 0 is a free port each time.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) relay_port: u16,

    /// Where the page, the API and the probes are served.
    #[arg(long, value_name = "ADDRESS:PORT|off", default_value = DEFAULT_LISTEN)]
    pub(crate) admin: Place,

    /// Where /metrics is served.
    #[arg(long, value_name = "ADDRESS:PORT|off", default_value = DEFAULT_METRICS_LISTEN)]
    pub(crate) metrics: Place,

    /// flarei's configuration file, as it is. Flags win at the start; SIGHUP re-reads the file
    /// and takes over max-connection, monitor-threshold, monitor-interval,
    /// monitor-read-timeout and thread-pool-size.
    #[arg(long, value_name = "FILE")]
    pub(crate) flarei_conf: Option<PathBuf>,

    /// flarei's own settings.
    #[command(flatten)]
    pub(crate) flarei: FlareiSettings,

    /// flarei's settings of how keys are placed; fixed for a cluster's life.
    #[command(flatten)]
    pub(crate) hash: HashFlags,

    /// The most connections from one address; addresses of this host are not counted.
    #[arg(long, value_name = "NUMBER", default_value_t = 2048,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connection_per_peer: u32,

    /// A connection on which nothing arrives for so long is closed.
    #[arg(long, value_name = "SECONDS", default_value_t = 600,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) idle_timeout: u32,

    /// The most nodes that a cluster may have.
    #[arg(long, value_name = "NUMBER", default_value_t = 4096,
          value_parser = clap::value_parser!(u32).range(1..=STORED_NODES_MAX as i64))]
    pub(crate) max_nodes: u32,

    /// Which log lines are written: a level, or module=level parts with commas between.
    #[arg(long, value_name = "FILTER", default_value = DEFAULT_FILTER)]
    pub(crate) log: String,

    /// How log lines look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// The control port of the sandbox that started this index.
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    pub(crate) sandbox_control: Option<SocketAddr>,
}

/// `flare-operator import`
#[derive(Debug, Args)]
pub(crate) struct ImportFlags {
    /// flarei's file.
    #[arg(long, value_name = "FLARE.XML")]
    pub(crate) from: PathBuf,

    /// The folder that is to hold the map; it must not hold one yet.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,

    /// flarei's configuration file: how keys are placed stands there, not in flare.xml.
    #[arg(long, value_name = "FILE")]
    pub(crate) flarei_conf: Option<PathBuf>,

    /// The same as flags.
    #[command(flatten)]
    pub(crate) hash: HashFlags,
}

/// `flare-operator export`
#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// The folder that holds the map.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data_dir: PathBuf,

    /// Where to write it; left out: to stdout.
    #[arg(long, value_name = "FLARE.XML")]
    pub(crate) to: Option<PathBuf>,
}

/// Who gives roles to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Assign {
    /// The index, from the manifest.
    Auto,
    /// A person with flare-tools.
    Manual,
}

/// Where something is served, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not at all.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Place {
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().map_err(|_| {
            format!("`{text}` is neither an address with a port, such as 127.0.0.1:8080, nor off")
        })?;
        Ok(Self::At(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
