//! The commands that are for an index that runs: they ask it over its admin interface, and say
//! what it answered.

mod client;
mod words;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Args, Subcommand};
use flare_actors::admin::DEFAULT_LISTEN;
use flare_core::model::NodeKey;
use serde_json::{Value, json};

use crate::flarei_conf::from;
use crate::outcome::{Output, print};
use client::{Client, in_path};

/// How long the copy that a person chose may take to serve until they are told to look themselves:
/// a node that had no role is told of two, one after the other.
const TAKE_OVER_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Which index is asked.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Where the index serves its admin interface.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = DEFAULT_LISTEN)]
    admin: SocketAddr,
}

/// `flare-operator status`
#[derive(Debug, Args)]
pub(crate) struct StatusFlags {
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    whom: Whom,
}

/// `flare-operator breaker`
#[derive(Debug, Subcommand)]
pub(crate) enum BreakerOrder {
    /// What the circuit breaker is doing, and why.
    Status(StatusFlags),
    /// Close it: the index acts again, though so many nodes are dead.
    Reset(Whom),
}

/// `flare-operator switchover`
#[derive(Debug, Args)]
pub(crate) struct SwitchoverFlags {
    /// The partition whose master moves.
    #[arg(value_name = "PARTITION", value_parser = from(0))]
    partition: u32,

    /// The active slave that takes over. [default: the index chooses]
    #[arg(long, value_name = "NAME:PORT", value_parser = node_key)]
    to: Option<NodeKey>,

    /// Have writes refused for some milliseconds, instead of held.
    #[arg(long)]
    pause: bool,

    /// End the connections of clients to the old master first: what it takes from them in that
    /// moment could be lost.
    #[arg(long)]
    end_clients: bool,

    #[command(flatten)]
    whom: Whom,
}

/// `flare-operator leave`
#[derive(Debug, Args)]
pub(crate) struct LeaveFlags {
    /// The node that is going to be stopped.
    #[arg(value_name = "NAME:PORT", value_parser = node_key)]
    node: NodeKey,

    /// It stays after all.
    #[arg(long)]
    cancel: bool,

    #[command(flatten)]
    whom: Whom,
}

/// `flare-operator recover`
#[derive(Debug, Args)]
pub(crate) struct RecoverFlags {
    /// The partition whose master is lost, or came back without its data.
    #[arg(value_name = "PARTITION", value_parser = from(0))]
    partition: u32,

    /// The node whose copy it goes on with, as `status` lists them; the master itself, if it is
    /// to go on with nothing.
    #[arg(long, value_name = "NAME:PORT", value_parser = node_key)]
    from: NodeKey,

    #[command(flatten)]
    whom: Whom,
}

fn node_key(text: &str) -> Result<NodeKey, String> {
    NodeKey::parse(text)
        .ok_or_else(|| "a node is named name:port, such as 10.0.0.7:12121".to_owned())
}

/// Runs `flare-operator status`.
pub(crate) fn status(flags: &StatusFlags) -> Result<()> {
    let client = Client::new(flags.whom.admin);
    let topology = client.get("topology")?;
    let breaker = client.get("breaker")?;
    match flags.output {
        Output::Json => print_json(&json!({ "topology": topology, "breaker": breaker })),
        Output::Text => print(&words::status(&topology, &breaker)),
    }
}

/// Runs `flare-operator breaker`.
pub(crate) fn breaker(order: &BreakerOrder) -> Result<()> {
    match order {
        BreakerOrder::Status(StatusFlags { output: Output::Json, whom }) => {
            print_json(&Client::new(whom.admin).get("breaker")?)
        }
        BreakerOrder::Status(StatusFlags { whom, .. }) => {
            print(&words::breaker(&Client::new(whom.admin).get("breaker")?))
        }
        BreakerOrder::Reset(whom) => {
            let client = Client::new(whom.admin);
            client.order("breaker/reset", &json!({}))?;
            // It is done, whatever comes of this question.
            print(&match client.get("breaker") {
                Ok(breaker) => words::breaker(&breaker),
                Err(_) => "the circuit breaker was closed.\n".to_owned(),
            })
        }
    }
}

/// Runs `flare-operator switchover`.
pub(crate) fn switchover(flags: &SwitchoverFlags) -> Result<()> {
    let SwitchoverFlags { partition, to, pause, end_clients, whom } = flags;
    let client = Client::new(whom.admin);
    let wish = json!({ "to": to, "pause": pause, "endClients": end_clients });
    client.order(&format!("partitions/{partition}/switchover"), &wish)?;
    // It is done, whatever comes of this question.
    let topology = client.get("topology").unwrap_or_default();
    print(&words::switched(*partition, &topology))
}

/// Runs `flare-operator leave`.
pub(crate) fn leave(flags: &LeaveFlags) -> Result<()> {
    let LeaveFlags { node, cancel, whom } = flags;
    let client = Client::new(whom.admin);
    client.order(&format!("nodes/{}/leave", in_path(node)), &json!({ "cancel": cancel }))?;
    print(&match cancel {
        true => format!("{node} stays.\n"),
        false => format!("{node} may be stopped now: it is no partition's master.\n"),
    })
}

/// Runs `flare-operator recover`.
pub(crate) fn recover(flags: &RecoverFlags) -> Result<()> {
    let RecoverFlags { partition, from, whom } = flags;
    let client = Client::new(whom.admin);
    client.order(&format!("partitions/{partition}/recover"), &json!({ "from": from }))?;
    let started = Instant::now();
    loop {
        // The copy is chosen, whatever comes of this question.
        let Ok(topology) = client.get("topology") else {
            return print(&words::recovered(*partition, from, false));
        };
        let serves = words::serves(&topology, *partition, from);
        if serves || started.elapsed() >= TAKE_OVER_PATIENCE {
            return print(&words::recovered(*partition, from, serves));
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

fn print_json(value: &Value) -> Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
