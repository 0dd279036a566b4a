//! The measurements, each the same for every server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::fleet::Fleet;
use crate::server::{Program, Server};
use crate::table::{Figure, Table};
use crate::wire::{Client, PATIENCE};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Fake nodes.
    pub(crate) nodes: usize,
    /// Idle connections.
    pub(crate) idle: usize,
}

/// The number of nodes with which deaths and idle connections are measured.
const DEATHS_AT: usize = 40;
const IDLE_AT: usize = 200;

/// Everything, with one server and one number of nodes.
pub(crate) async fn one_round(
    program: &Program,
    sizes: Sizes,
    data: Option<&Path>,
    table: &mut Table,
) -> Result<()> {
    let Sizes { nodes, idle } = sizes;
    let idle = if nodes == IDLE_AT { idle } else { 0 };
    table.idle(sizes.idle);
    let server = program.start(nodes, idle, data).await?;
    let mut fleet = Fleet::new(nodes).await?;
    let mut set = |figure, value| table.set(figure, nodes, program.name(), value);

    set(Figure::Registered, registration(&server, &mut fleet).await?.as_secs_f64());
    let changes = changes(&server, &mut fleet, program).await?;
    set(Figure::ChangeP50, millis(changes.value_at_quantile(0.5)));
    set(Figure::ChangeP99, millis(changes.value_at_quantile(0.99)));
    set(Figure::StatsNodes, stats_nodes(&server).await?);
    let (memory, threads) = server.memory_and_threads()?;
    set(Figure::Threads, threads);
    set(Figure::Memory, memory);
    if idle > 0 {
        let (memory, ping) = idle_connections(&server, idle).await?;
        set(Figure::IdleMemory, memory);
        set(Figure::IdlePing, ping);
    }
    if nodes == DEATHS_AT {
        let deaths = deaths(&server, &mut fleet, program).await?;
        set(Figure::DeathP50, millis(deaths.value_at_quantile(0.5)));
        set(Figure::DeathMax, millis(deaths.max()));
        // The floor does not think, and flarei is left with a monitor that hangs, too
        // (flare-protocol.md 7.1).
        if matches!(program, Program::Ours(_)) {
            let hangs = hangs(&server, &mut fleet).await?;
            set(Figure::HangP50, millis(hangs.value_at_quantile(0.5)));
            set(Figure::HangMax, millis(hangs.max()));
        }
    }
    server.end().await
}

/// Microseconds, to three digits, up to the longest patience.
fn histogram() -> Result<Histogram<u64>> {
    Histogram::new(3).context("a histogram of three digits")
}

fn millis(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1000.0
}

fn record(into: &mut Histogram<u64>, time: Duration) -> Result<()> {
    into.record(u64::try_from(time.as_micros())?).context("a time beyond the histogram")
}

/// All at once. flarei forgets the first push to some new nodes (flare-protocol.md 3.2), and they
/// wait for the next change for ever: where nothing moves any more, a change is made for them.
async fn registration(server: &Server, fleet: &mut Fleet) -> Result<Duration> {
    const STALL: Duration = Duration::from_secs(3);
    let started = Instant::now();
    fleet.register_all(server.address).await?;
    let mut client = Client::connect(server.address).await?;
    loop {
        let version = client.version().await?;
        if let Some(last) = fleet.hold_or_stall(version, STALL).await? {
            return Ok(last.duration_since(started));
        }
        ensure!(started.elapsed() < PATIENCE, "the nodes do not come to hold the newest map");
        client.ok(&format!("node role {} proxy 0 -1", fleet.name(0))).await?;
    }
}

/// A change that changes nothing but the version: a proxy is told to be a proxy. flarei stores and
/// pushes it like any other (flare-protocol.md 3.3).
async fn changes(server: &Server, fleet: &mut Fleet, program: &Program) -> Result<Histogram<u64>> {
    let rounds = if matches!(program, Program::Flarei(_)) { 20 } else { 300 };
    let mut times = histogram()?;
    let mut client = Client::connect(server.address).await?;
    let mut version = client.version().await?;
    let change = format!("node role {} proxy 0 -1", fleet.name(0));
    for _ in 0..rounds {
        version += 1;
        let started = Instant::now();
        // The last acknowledgement may come before the answer to the command, or after it.
        let (answered, held) = tokio::join!(client.ok(&change), fleet.all_hold(version));
        answered?;
        record(&mut times, held?.duration_since(started))?;
    }
    Ok(times)
}

/// Eight clients, each asks again as soon as it is answered.
async fn stats_nodes(server: &Server) -> Result<f64> {
    const CLIENTS: usize = 8;
    const TIME: Duration = Duration::from_secs(3);
    let answer_len = Client::connect(server.address).await?.listing("stats nodes").await?.len();
    let mut clients = JoinSet::new();
    let started = Instant::now();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(server.address).await?;
        clients.spawn_local(async move {
            let mut answers = 0_u32;
            while started.elapsed() < TIME {
                client.repeat(b"stats nodes\r\n", answer_len).await?;
                answers += 1;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = 0.0;
    while let Some(done) = clients.join_next().await {
        answers += f64::from(done.context("a client panicked")??);
    }
    Ok(answers / started.elapsed().as_secs_f64())
}

async fn idle_connections(server: &Server, idle: usize) -> Result<(f64, f64)> {
    let mut held = Vec::with_capacity(idle);
    for _ in 0..idle {
        held.push(TcpStream::connect(server.address).await.context("an idle connection")?);
    }
    let mut client = Client::connect(server.address).await?;
    let mut times = histogram()?;
    for _ in 0..1000 {
        let started = Instant::now();
        client.ok("ping").await?;
        record(&mut times, started.elapsed())?;
    }
    let (memory, _) = server.memory_and_threads()?;
    // Connections over a limit are closed without a word; the figure would be a lie.
    for stream in &held {
        let nothing = stream.try_read(&mut [0]).map_err(|error| error.kind());
        let open = nothing == Err(std::io::ErrorKind::WouldBlock);
        ensure!(open, "the server closed an idle connection");
    }
    Ok((memory, millis(times.value_at_quantile(0.99))))
}

/// Master and slave of partition 0 take turns to die.
async fn deaths(server: &Server, fleet: &mut Fleet, program: &Program) -> Result<Histogram<u64>> {
    let rounds = if matches!(program, Program::Flarei(_)) { 5 } else { 20 };
    let thinks = !matches!(program, Program::Floor(_));
    let mut times = histogram()?;
    let mut client = Client::connect(server.address).await?;
    let (mut master, mut slave) = (0, 1);
    client.ok(&format!("node role {} master 1 0", fleet.name(master))).await?;
    for _ in 0..rounds {
        if thinks {
            make_slave(&mut client, &fleet.name(slave)).await?;
        }
        let version = client.version().await?;
        fleet.all_hold(version).await?;
        let died = fleet.kill(master).await;
        times_of_death(fleet, version, died, &mut times).await?;
        std::mem::swap(&mut master, &mut slave);
        if thinks {
            let listing = client.listing("stats nodes").await?;
            let expected = format!("STAT {}:role master", fleet.name(master).replace(' ', ":"));
            ensure!(listing.contains(&expected), "the slave did not become master");
        }
        fleet.revive(slave, server.address).await?;
    }
    Ok(times)
}

/// Master and slave of partition 0 take turns to hang; each that hung is killed and comes back.
async fn hangs(server: &Server, fleet: &mut Fleet) -> Result<Histogram<u64>> {
    const ROUNDS: usize = 6;
    let mut times = histogram()?;
    let mut client = Client::connect(server.address).await?;
    let (mut master, mut slave) = (0, 1);
    for _ in 0..ROUNDS {
        make_slave(&mut client, &fleet.name(slave)).await?;
        let version = client.version().await?;
        fleet.all_hold(version).await?;
        let hung = fleet.hang(master);
        times_of_death(fleet, version, hung, &mut times).await?;
        fleet.kill(master).await;
        std::mem::swap(&mut master, &mut slave);
        fleet.revive(slave, server.address).await?;
    }
    Ok(times)
}

async fn times_of_death(
    fleet: &mut Fleet,
    version: u64,
    died: Instant,
    times: &mut Histogram<u64>,
) -> Result<()> {
    let held = fleet.all_hold(version + 1).await?;
    record(times, held.duration_since(died))
}

/// Waits until the index holds the node alive, then makes it a slave that has copied.
async fn make_slave(client: &mut Client, node: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.line(&format!("node role {node} slave 0 0")).await? != "OK\r\n" {
        ensure!(Instant::now() < deadline, "{node} is not taken as a slave");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.ok(&format!("node state {node} active")).await
}
