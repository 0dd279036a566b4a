//! The index's own life: it ends in an orderly way, is killed, finds its disk full or its store
//! damaged. Nodes and clients must not suffer.

use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::geteuid;

use super::case;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::{Index, Manifest};
use crate::suite::runner::{Case, skip};

pub(super) const CASES: &[Case] = &[
    case!("index/SIGTERM ends it with status 0 and keeps what it knew", sigterm),
    case!("index/kill -9 costs nothing that was acknowledged", killed),
    case!("index/clients are served while it is dead", dead),
    case!("index/a full disk refuses changes and nothing else", full_disk),
    case!("index/a damaged store is an error that names file and good generation", damaged),
];

async fn sigterm(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(2, 2), 4).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (map, version) = (cluster.agreed().await?, cluster.index.version().await?);
    let status = cluster.index.terminate().await?;
    ensure!(status.code() == Some(0), "it ended with {status}");
    cluster.index.start().await?;
    let after = cluster.agree("the same map", |now| {
        ensure!(*now == map, "the map became\n{now}");
        Ok(())
    });
    after.await?;
    ensure!(cluster.index.version().await? >= version, "the version went back");
    cluster.readable(&ledger).await
}

async fn killed(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(2, 2), 4).await?;
    let ledger = cluster.fill("k", 40).await?;
    let (map, version) = (cluster.agreed().await?, cluster.index.version().await?);
    for _ in 0..3 {
        cluster.index.kill().await?;
        cluster.index.start().await?;
        ensure!(cluster.index.map().await? == map, "the map is another after a kill");
        ensure!(cluster.index.version().await? >= version, "the version went back");
    }
    // and it still does its work
    let master = cluster.master(1).await?;
    cluster.node_mut(&master)?.kill().await?;
    cluster
        .agree("another master", |map| {
            ensure!(map.master(1).is_some_and(|now| now != master), "{map}");
            Ok(())
        })
        .await?;
    cluster.node_mut(&master)?.start().await?;
    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await
}

async fn dead(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(2, 2), 4).await?;
    let mut ledger = cluster.fill("k", 40).await?;
    cluster.index.kill().await?;
    ledger.merge(cluster.fill("while-dead", 40).await?);
    cluster.index.start().await?;
    cluster.takes_shape(2, 2).await?;
    cluster.readable(&ledger).await
}

/// The disk of the data folder, small enough to be filled, large enough for the store.
const DISK_KIB: u32 = 1024;

async fn full_disk(ctx: Context) -> Result<()> {
    // flarei answers OK on a full disk, and has lost the change when it restarts
    ctx.require_ours()?;
    if !geteuid().is_root() {
        return skip("needs root, to give the index a small disk");
    }
    let mut index = ctx.manual_index()?.with_small_disk(DISK_KIB);
    index.start().await?;
    let nodes = ctx.nodes(2, &index)?;
    let mut cluster = Cluster { index, nodes };
    for node in &mut cluster.nodes {
        node.start().await?;
    }
    let first = cluster.nodes[0].args();
    cluster.index.accepts(&format!("node role {first} master 1 0")).await?;
    let before = cluster.agree("one map", |map| {
        ensure!(map.master(0).is_some(), "{map}");
        Ok(())
    });
    let before = before.await?;
    let version = cluster.index.version().await?;

    let filler = cluster.index.disk()?.join("filler");
    fill(&filler)?;
    let second = cluster.nodes[1].args();
    let change = format!("node role {second} slave 0 0");
    let answer = cluster.index.command(&change).await?;
    ensure!(answer.starts_with("SERVER_ERROR"), "on a full disk a change is answered {answer}");
    let after = cluster.agree("the old map", |_| Ok(())).await?;
    ensure!(after == before, "the map became\n{after}");
    ensure!(cluster.index.version().await? == version, "the version rose");
    cluster.fill("while-full", 20).await?;

    fs::remove_file(&filler).context("cannot free the disk")?;
    eventually(PATIENCE, "the change to be taken", || cluster.index.accepts(&change)).await?;
    cluster.takes_shape(1, 2).await.map(drop)
}

/// Fills a disk to the last byte.
fn fill(file: &Path) -> Result<()> {
    use std::io::Write;
    let mut file = fs::File::create(file).context("cannot reach the index's disk")?;
    let block = vec![0_u8; 4096];
    for _ in 0..=DISK_KIB {
        if file.write_all(&block).is_err() {
            return Ok(());
        }
    }
    Err(anyhow!("the disk takes more than its size"))
}

async fn damaged(ctx: Context) -> Result<()> {
    let mut cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    cluster.fill("k", 10).await?;
    cluster.index.terminate().await?;
    let newest = newest_file(cluster.index.data())?;
    let mut bytes = fs::read(&newest)?;
    let middle = bytes.len() / 2;
    let byte = bytes.get_mut(middle).ok_or_else(|| anyhow!("{} is empty", newest.display()))?;
    *byte ^= 0x55;
    fs::write(&newest, bytes)?;

    cluster.index.spawn()?;
    let status = cluster.index.wait().await?;
    ensure!(!status.success(), "it started on a damaged store");
    require_named(&cluster.index, &newest)
}

/// The end of the log names the damaged file, and another one that is good.
fn require_named(index: &Index, damaged: &Path) -> Result<()> {
    let log = index.log_text()?;
    let last = log.lines().last().unwrap_or_default();
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let bad = name(damaged).ok_or_else(|| anyhow!("a file without name"))?;
    ensure!(last.contains(&bad), "the last line does not name {bad}: {last}");
    let others = files(index.data())?;
    let others: Vec<String> = others.iter().filter_map(|p| name(p)).filter(|n| *n != bad).collect();
    let without_bad = last.replace(&bad, "");
    ensure!(
        others.iter().any(|good| without_bad.contains(good)) || last.contains("generation"),
        "the last line names no good generation (there are {others:?}): {last}"
    );
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_file()).collect())
}

fn newest_file(folder: &Path) -> Result<PathBuf> {
    let newest = files(folder)?
        .into_iter()
        .filter(|path| fs::metadata(path).is_ok_and(|data| data.len() > 0))
        // two generations may be of the same tick of the clock: the kept one has the longer name
        .max_by_key(|path| {
            let written = fs::metadata(path).and_then(|data| data.modified()).ok();
            (written, Reverse(path.as_os_str().len()))
        });
    newest.ok_or_else(|| anyhow!("{} holds no store", folder.display()))
}
