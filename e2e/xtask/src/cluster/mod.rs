//! A real Kubernetes on this machine, without a container engine: etcd, apiserver, controllers,
//! scheduler, kubelets with containers, kube-proxy, DNS and volumes, each built from its Go module
//! and none of them imitated. Everything runs in namespaces of its own that have no way out.
//!
//! `up` starts a keeper (keep.rs), which starts a supervisor in new namespaces (supervise.rs),
//! which starts the parts. e2e/cluster holds the pinned modules and each part's configuration.

mod able;
mod cgroups;
mod children;
mod clean;
mod command;
mod config;
mod control;
mod enter;
mod events;
mod go;
mod keep;
mod lock;
mod logs;
mod needs;
mod network;
mod parts;
mod paths;
mod plan;
mod record;
mod suite;
mod supervise;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use control::{Api, NodePart, Order};
use parts::Built;
use paths::Paths;
use plan::Plan;

/// `cargo xtask cluster …`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which cluster; several can stand side by side
    #[arg(long, global = true, default_value = "lab")]
    name: String,
    /// Where the parts are built [default: $XDG_CACHE_HOME/flare-operator/cluster]
    #[arg(long, global = true)]
    cache: Option<PathBuf>,
    /// Where clusters keep their files [default: $XDG_STATE_HOME/flare-operator/cluster]
    #[arg(long, global = true)]
    state: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

/// What a cluster is to be.
#[derive(clap::Args)]
struct Shape {
    /// How many nodes, up to 9
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// How many zones the nodes are in
    #[arg(long, default_value_t = 3)]
    zones: u8,
    /// How many seconds the cluster's DNS keeps an answer; most clusters have 30
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    dns_cache: u32,
}

#[derive(Subcommand)]
enum Verb {
    /// Say whether a cluster can be made on this machine, and what is in the way
    Check,
    /// Build the parts that are not built yet (`up` does it too)
    Build,
    /// Start a cluster and wait until its nodes are Ready
    Up {
        #[command(flatten)]
        shape: Shape,
        /// Stay, tell of every part that dies, and end the cluster on Ctrl-C
        #[arg(long)]
        foreground: bool,
    },
    /// End a cluster and remove everything of it
    Down,
    /// Say which parts run, how the nodes are, and what died
    Status,
    /// Run kubectl on the cluster
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run any program in the cluster's network, with KUBECONFIG set and kubectl on PATH
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        line: Vec<String>,
    },
    /// Give every node the images of these archives
    Load {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Cut a node off: pull its cable
    Cut { node: String },
    /// Connect a node again and start what was killed on it
    Heal { node: String },
    /// Kill a part of a node; it stays dead until the node is healed
    Kill { node: String, part: NodePart },
    /// Kill the apiserver, freeze it, or let it run
    Api { what: Api },
    /// Show the last lines of a part's log, or which logs there are
    Logs {
        part: Option<String>,
        /// How many lines
        #[arg(long, default_value_t = 100)]
        lines: usize,
        /// Go on as the log grows
        #[arg(long)]
        follow: bool,
    },
    /// Start a cluster of its own, use everything once, and count what stays behind
    Suite(suite::Options),
    #[command(hide = true)]
    Keep {
        #[command(flatten)]
        shape: Shape,
    },
    #[command(hide = true)]
    Guard,
    #[command(hide = true)]
    Supervise,
}

/// Installs the programs that a cluster needs, where that may be done without a question.
pub(crate) fn install_needs() -> Result<()> {
    let paths = Paths::new("check", None, None)?;
    needs::install(Built::look_up(&paths)?.is_complete())
}

/// Does what the arguments say.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let Args { name, cache, state, verb } = args;
    let paths = Paths::new(&name, cache, state)?;
    let order = match verb {
        Verb::Check => return up::check(&paths),
        Verb::Build => {
            let built = Built::complete(&paths)?;
            say!("all parts are in {}", built.folder().display());
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Up { shape, foreground } => return up::up(&paths, &shape.plan(), foreground),
        Verb::Down => return up::down(&paths),
        Verb::Status => return up::status(&paths),
        Verb::Kubectl { arguments } => return enter::kubectl(&paths, &arguments),
        Verb::Run { line } => return enter::program(&paths, &line),
        Verb::Load { archives } => {
            return enter::load(&paths, &archives).map(|()| ExitCode::SUCCESS);
        }
        Verb::Logs { part, lines, follow } => {
            return logs::show(&paths, part.as_deref(), lines, follow);
        }
        Verb::Suite(options) => return suite::run(&paths, &options),
        Verb::Keep { shape } => {
            return keep::keep(&paths, &shape.plan()).map(|()| ExitCode::SUCCESS);
        }
        Verb::Guard => return keep::guard(&paths).map(|()| ExitCode::SUCCESS),
        Verb::Supervise => return supervise::run(&paths).map(|()| ExitCode::SUCCESS),
        Verb::Cut { node } => Order::Cut { node },
        Verb::Heal { node } => Order::Heal { node },
        Verb::Kill { node, part } => Order::Kill { node, part },
        Verb::Api { what } => Order::Api { state: what },
    };
    say!("{}", control::give(&paths, &order)?);
    Ok(ExitCode::SUCCESS)
}

impl Shape {
    fn plan(&self) -> Plan {
        Plan { nodes: self.nodes, zones: self.zones, dns_cache_s: self.dns_cache }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn every_verb_can_be_given_with_the_global_options_around_it() {
        for line in [
            "cluster check",
            "cluster build",
            "cluster up --nodes 3 --zones 3 --name ci --state /tmp --cache /tmp",
            "cluster --name ci down",
            "cluster status --name ci",
            "cluster kubectl get pods --all-namespaces -o wide --help",
            "cluster run -- curl -s http://10.99.0.1",
            "cluster load a.tar b.tar",
            "cluster cut node1",
            "cluster heal node1",
            "cluster kill node1 kubelet",
            "cluster kill node1 kube-proxy",
            "cluster api down --state /tmp",
            "cluster api freeze",
            "cluster logs",
            "cluster suite",
            "cluster suite index --dns-cache 0 --filter pod --name ci",
            "cluster logs node1/kubelet --lines 5 --follow",
        ] {
            let parsed = Line::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|error| error.to_string()));
        }
        let parsed = Line::try_parse_from("cluster kubectl logs web-0 --name x".split(' '));
        let args = parsed.map(|line| line.args).expect("parses");
        assert_eq!(args.name, "lab", "what comes after kubectl is kubectl's");
    }
}
