//! Replays the transcripts of `e2e/wire` against an index: clients and nodes are played from the
//! recording, and what the index sends must be what was recorded, byte for byte up to named
//! values (`places`).
//!
//! Not compared: when something is sent, how it is cut into segments, and the order between
//! connections, except that a new master takes its map in before the others are told.
//! `flarei` itself passes, which shows that the replay is sound; our index may differ where
//! `difference` says so.

mod difference;
mod fake_node;
mod places;
mod scenario;
mod script;
mod seats;
mod stage;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::suite::context::Context;
use crate::suite::eventually;
use crate::suite::index::{Assign, Index, IndexProgram};
use crate::suite::runner::{Case, skip};
use crate::transcript::Transcript;

use places::{PORTS, Places};
use scenario::{SCENARIOS, Scenario};
use script::{Act, NodePort};
use seats::Seats;
use stage::Stage;

/// One test per transcript that shows an index.
pub fn cases() -> Vec<Case> {
    let case = |scenario: &Scenario| Case {
        name: scenario.name,
        deadline: Duration::from_secs(120),
        run: |ctx| Box::pin(replay(ctx)),
    };
    SCENARIOS.iter().map(case).collect()
}

async fn replay(ctx: Context) -> Result<()> {
    let name = ctx.name();
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.ok_or_else(|| anyhow!("no scenario is named {name}"))?;
    let transcript = Transcript::named(name)?;
    let places = find_places(&ctx)?;
    let index = index(&ctx, scenario, places)?;
    let lenient = matches!(ctx.env().index, IndexProgram::Ours(_));
    let mut stage = Stage::new(index, Seats::new(places, scenario.name, lenient), places);
    if scenario.started {
        stage.start_index().await?;
    }
    prepare(&mut stage, scenario, places).await.context("before the transcript begins")?;
    stage.seats.begin();
    for instruction in script::script(&transcript) {
        if let Act::Connect { conn, .. } = instruction.act
            && let Some((ended, _)) = scenario.unseen_ends.iter().find(|(_, next)| *next == conn)
        {
            stage.close(*ended).await?;
        }
        stage.play(instruction).await?;
    }
    stage.seats.settle().await?;
    // some recordings leave out what the index says to nodes
    if !transcript.header.iter().any(|line| line.starts_with("Only ")) {
        stage.seats.calm().await?;
    }
    for (version, node) in scenario.prior {
        stage.seats.check_prior(*version, *node)?;
    }
    Ok(())
}

/// An address for this replay alone, and a block of ports below those the kernel gives out.
fn find_places(ctx: &Context) -> Result<Places> {
    let base = ctx.env().ports.take_block(PORTS)?;
    // the block is this replay's alone: so is an address made from its number
    let [high, low] = base.to_be_bytes();
    Ok(Places::new(Ipv4Addr::new(127, 44, high, low.clamp(1, 254)), base))
}

fn index(ctx: &Context, scenario: &Scenario, places: Places) -> Result<Index> {
    let hosts = if scenario.name == "long-host-names" { Some(hosts(ctx, places)?) } else { None };
    let conf = ctx.scratch().join("flarei.conf");
    let settings = format!(
        "monitor-interval = {}\nmonitor-threshold = 3\nmonitor-read-timeout = 1000\n\
         max-connection = 256\nthread-pool-size = 8\nserver-name = {}\n",
        scenario.interval,
        places.host()
    );
    fs::write(&conf, settings)?;
    let conf_flag = match ctx.env().index {
        IndexProgram::Ours(_) => "--flarei-conf",
        IndexProgram::Flarei(_) => "--config",
    };
    let conf = conf.to_string_lossy();
    let addr = places.addr(12_120);
    let index = Index::at(ctx.env().index.clone(), Assign::Conf, addr, ctx.scratch())?;
    let index = index.with_args(&[conf_flag, &conf]);
    Ok(match hosts {
        Some(file) => index.with_hosts(file),
        None => index,
    })
}

/// The hosts file by which the index finds the nodes with long names. Only root can show a
/// process another one than the machine's.
fn hosts(ctx: &Context, places: Places) -> Result<std::path::PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root, to give the index host names of its own");
    }
    let label = |letter: &str, times| letter.repeat(times);
    let long = [label("a", 63), label("b", 63), label("c", 63), label("d", 61)].join(".");
    let file = ctx.scratch().join("hosts");
    let names = "flare-node-0.flare-nodes.production-namespace-with-a-long-name.svc.cluster.local";
    fs::write(&file, format!("127.0.0.1 localhost\n{} {names} {long}\n", places.host()))?;
    Ok(file)
}

/// Brings the index to where the transcript begins.
async fn prepare(stage: &mut Stage, scenario: &Scenario, places: Places) -> Result<()> {
    let mut nodes = Vec::new();
    for action in scenario.before.concat() {
        let done = act(stage, places, action, &mut nodes).await;
        done.with_context(|| format!("`{action}`"))?;
    }
    if nodes.is_empty() {
        return Ok(());
    }
    let version = stage.index.version().await?;
    eventually(Duration::from_secs(20), "all nodes to be told", || {
        let behind = nodes.iter().find(|node| {
            let told = stage.seats.last_told(**node);
            // a new node may have missed its first map; it then holds the reply to `node add`.
            // A ping after the push means that the index has its answer
            (told != version && told != 0) || !stage.seats.idle(**node)
        });
        let behind = behind.map(|node| anyhow!("{node} is behind"));
        async move { behind.map_or(Ok(()), Err) }
    })
    .await
}

async fn act(
    stage: &mut Stage,
    places: Places,
    action: &str,
    nodes: &mut Vec<NodePort>,
) -> Result<()> {
    let mut words = action.splitn(3, ' ');
    let verb = words.next().unwrap_or_default();
    let number = words.next().and_then(|word| word.parse::<u16>().ok());
    let number = number.ok_or_else(|| anyhow!("no number"))?;
    let (host, rest) = (places.host(), words.next().unwrap_or_default());
    let port = |node| SocketAddr::port(&places.addr(node));
    match verb {
        "add" => {
            stage.seats.start(number).await?;
            let mut client = stage.index.client().await?;
            client.listing(&format!("node add {host} {}", port(number))).await?;
            client.listing("meta").await?;
            stage.seats.serve(number);
            nodes.push(number);
            Ok(())
        }
        "end" => {
            stage.seats.leave(number);
            stage.index.accepts(&format!("shutdown {host} {}", port(number))).await?;
            stage.seats.kill(number);
            nodes.retain(|node| *node != number);
            Ok(())
        }
        "role" | "state" | "remove" => {
            let command = format!("node {verb} {host} {} {rest}", port(number));
            stage.index.accepts(command.trim_end()).await
        }
        "back" => {
            let key = places.addr(number).to_string();
            eventually(Duration::from_secs(20), "its return", || async {
                let map = stage.index.map().await?;
                let state = map.node(&key)?.state;
                anyhow::ensure!(state == crate::suite::map::State::Active, "it is {state:?}");
                Ok(())
            })
            .await
        }
        "version" => pad(stage, places, u64::from(number)).await,
        _ => bail!("unknown action"),
    }
}

/// Raises the version by changes that change nothing: a master gets the balance it has.
async fn pad(stage: &Stage, places: Places, goal: u64) -> Result<()> {
    for _ in 0..=goal {
        let version = stage.index.version().await?;
        if version == goal {
            return Ok(());
        }
        if version > goal {
            bail!("the map has version {version} already");
        }
        let master = places.addr(12_121);
        let command = format!("node role {} {} master 1 0", master.ip(), master.port());
        stage.index.accepts(&command).await?;
    }
    bail!("the version does not rise by one per change")
}
