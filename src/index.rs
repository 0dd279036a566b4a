//! `flare-operator index`: starts everything, then listens to signals and obituaries.

mod carrier;

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr};
use anyhow::{Context, Result, bail};
use flare_actors::admin::{self, Running};
use flare_actors::ask::ask;
use flare_actors::clock::Clock;
use flare_actors::cluster::{Blueprint, Cluster};
use flare_actors::logs::{self, LogControl};
use flare_actors::manifest::{ManifestStatus, ManifestWatcher, ReadManifest, Start};
use flare_actors::metrics::{ClusterMetrics, Exporter, UPKEEP_INTERVAL};
use flare_actors::names::LOOKUPS_MAX;
use flare_actors::net::{self, SystemNetwork};
use flare_actors::obituary::{Death, Obituary};
use flare_actors::overview::Sources;
use flare_actors::session::{ChangeLimits, StopAccepting};
use flare_actors::store::file::FileStore;
use flare_actors::store::{Flush, StoreActor, StoreDoors};
use flare_actors::topology::FinishSteps;
use flare_core::model::HashSettings;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tracing::{error, info, warn};

use crate::cli::{IndexFlags, Place};
use crate::limits;
use crate::outcome::Misuse;
use crate::settings::Settings;
use carrier::Carrier;

/// Threads for what blocks: looking names up, which can take all that it may have, and reading
/// small files. The store has its own.
const BLOCKING_THREADS_MAX: usize = LOOKUPS_MAX + FILES_MAX;

/// See [`BLOCKING_THREADS_MAX`]: files that are read at a time.
const FILES_MAX: usize = 4;

/// Obituaries that may wait; one of them ends the process.
const DEATHS_WAITING: usize = 16;

/// How long each part of the end may take: sessions, steps, store.
const END_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the index until it is told to end.
pub(crate) fn run(flags: IndexFlags) -> Result<()> {
    let colour = io::stderr().is_terminal();
    let (log, _guard) = logs::install(flags.log_format, &flags.log, colour)
        .map_err(|error| Misuse(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("the runtime cannot be started")?;
    let outcome = LocalSet::new().block_on(&runtime, serve(flags, log));
    // A name server that does not answer must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// All that runs.
struct Index {
    settings: Settings,
    bound: SocketAddr,
    hash: HashSettings,
    cluster: Cluster,
    watcher: Option<Addr<ManifestWatcher>>,
    /// What an actor's obituary is written with.
    obituaries: mpsc::Sender<Death>,
    deaths: mpsc::Receiver<Death>,
}

async fn serve(flags: IndexFlags, log: LogControl) -> Result<()> {
    let mut signals = Signals::listen()?;
    let settings = Settings::gather(flags).await?;
    limits::raise_open_files(settings.limits().connections, settings.flags.max_nodes as usize);
    // Samples that nobody can ask for are not kept.
    let exporter = match settings.flags.metrics {
        Place::Off => None,
        Place::At(_) => Some(Exporter::install().context("metrics cannot be recorded")?),
    };
    let metrics = ClusterMetrics::new(settings.cluster());
    let mut index = Index::start(settings, metrics.clone())?;
    let manifest = index.watch_manifest(&metrics);
    let mut admin = index.start_admin(log, manifest.clone())?;
    let mut scrapes = index.start_metrics(exporter.clone(), manifest)?;
    let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
    index.announce(admin.as_ref(), scrapes.as_ref());
    loop {
        tokio::select! {
            () = end_signal(&mut signals.terminate, &mut signals.interrupt) => break,
            _ = signals.hangup.recv() => index.reload(),
            _ = upkeep.tick() => {
                if let Some(exporter) = &exporter {
                    exporter.upkeep();
                }
            }
            death = index.deaths.recv() => bail!(
                "{}; the index cannot go on without it. Nothing that was acknowledged is lost: \
                 start it again",
                death.map_or_else(|| "an actor ended".to_owned(), |death| death.to_string())
            ),
            ended = ended(&mut admin) => bail!("the admin interface ended: {ended}"),
            ended = ended(&mut scrapes) => bail!("the metrics server ended: {ended}"),
        }
    }
    index.end().await
}

/// How a server ended; never, without one.
async fn ended(server: &mut Option<Running>) -> String {
    match server {
        Some(running) => match (&mut running.server).await {
            Ok(()) => "nobody told it to".to_owned(),
            Err(error) => error.to_string(),
        },
        None => pending().await,
    }
}

impl Index {
    fn start(settings: Settings, metrics: ClusterMetrics) -> Result<Self> {
        let store = FileStore::open(&settings.data_dir)?;
        let stored = settings.stored_or_new(store.load()?)?;
        let hash = stored.hash.clone();
        let socket = net::listen(settings.listen)
            .with_context(|| format!("cannot listen on {}", settings.listen))?;
        let bound = socket.local_addr().context("the bound address is not known")?;
        let (obituaries, deaths) = mpsc::channel(DEATHS_WAITING);
        let (store_metrics, store_deaths) = (metrics.clone(), obituaries.clone());
        let start_store = move |answers| {
            let obituary = Obituary::to_process(&store_deaths, "store");
            let actor = StoreActor::new(store, answers, store_metrics, Some(obituary))?;
            Ok(StoreDoors::from(actor.start()))
        };
        let clock = Clock::system();
        let cluster = Cluster::start(Blueprint {
            name: settings.cluster(),
            stored,
            settings: settings.topology(clock.unix_millis()),
            monitoring: settings.monitoring(),
            breaking: settings.breaking(),
            limits: settings.limits(),
            variables: settings.variables(bound, &hash),
            clock,
            network: Rc::new(SystemNetwork),
            socket,
            relay_port: settings.flags.relay_port,
            store: Box::new(start_store),
            metrics,
            deaths: obituaries.clone(),
        })
        .context("the store's thread cannot be started")?;
        Ok(Self { settings, bound, hash, cluster, watcher: None, obituaries, deaths })
    }

    /// Follows the manifest, if there is one.
    fn watch_manifest(
        &mut self,
        metrics: &ClusterMetrics,
    ) -> Option<watch::Receiver<ManifestStatus>> {
        let (path, manifest, content) = self.settings.manifest.clone()?;
        let carrier = Carrier::new(self.cluster.clone(), &self.obituaries);
        carrier.tell_of_nodes(&manifest);
        let carrier = carrier.start();
        let (watcher, status) = ManifestWatcher::new(Start {
            path,
            manifest,
            content,
            hash: self.hash.clone(),
            changes: carrier.recipient(),
            overview: self.cluster.topology.clone().recipient(),
            metrics: metrics.clone(),
            obituary: Some(Obituary::to_process(&self.obituaries, "manifest")),
        });
        self.watcher = Some(watcher.start());
        Some(status)
    }

    fn sources(&self) -> Sources {
        let topology = &self.cluster.topology;
        Sources {
            overview: topology.clone().recipient(),
            sessions: self.cluster.listener.clone().recipient(),
            forget: topology.clone().recipient(),
            switch: topology.clone().recipient(),
            recover: topology.clone().recipient(),
            leave: topology.clone().recipient(),
            breaker: self.cluster.failover.clone().recipient(),
            reset_breaker: self.cluster.failover.clone().recipient(),
            events: topology.clone().recipient(),
        }
    }

    fn start_admin(
        &self,
        log: LogControl,
        manifest: Option<watch::Receiver<ManifestStatus>>,
    ) -> Result<Option<Running>> {
        let Some(listen) = self.settings.flags.admin.address() else { return Ok(None) };
        let options = admin::Options {
            listen,
            sources: self.sources(),
            log: Some(log),
            manifest,
            sandbox: self.settings.flags.sandbox_control,
        };
        let running = admin::start(options).with_context(|| {
            format!("cannot serve the admin interface on {listen} (--admin ADDRESS:PORT or off)")
        })?;
        Ok(Some(running))
    }

    fn start_metrics(
        &self,
        exporter: Option<Exporter>,
        manifest: Option<watch::Receiver<ManifestStatus>>,
    ) -> Result<Option<Running>> {
        let (Some(listen), Some(exporter)) = (self.settings.flags.metrics.address(), exporter)
        else {
            return Ok(None);
        };
        let running = admin::start_metrics(listen, exporter, self.sources(), manifest)
            .with_context(|| {
                format!("cannot serve metrics on {listen} (--metrics ADDRESS:PORT or off)")
            })?;
        Ok(Some(running))
    }

    /// Prints the bound addresses, one line each: whoever started the index with port 0 reads
    /// them from stdout.
    fn announce(&self, admin: Option<&Running>, scrapes: Option<&Running>) {
        let mut lines = format!("index listening on {}\n", self.bound);
        for (name, running) in [("admin", admin), ("metrics", scrapes)] {
            if let Some(running) = running {
                lines += &format!("{name} listening on {}\n", running.address);
            }
        }
        // Nobody may be reading; the log has them too.
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(lines.as_bytes()).and_then(|()| stdout.flush());
        for line in lines.lines() {
            info!("{line}");
        }
    }

    /// SIGHUP: the files are read again.
    fn reload(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.do_send(ReadManifest);
        }
        if let Err(error) = self.settings.reload() {
            error!("nothing was taken over: {error:#}");
            return;
        }
        let limits = self.settings.limits();
        let variables = self.settings.variables(self.bound, &self.hash);
        self.cluster.listener.do_send(ChangeLimits { limits, variables });
        if self.settings.manifest.is_none() {
            self.cluster.change_monitoring(self.settings.monitoring(), self.settings.breaking());
        }
        info!(?limits, "settings were read again");
    }

    /// SIGTERM: stop accepting, finish what is in hand, flush the store.
    async fn end(self) -> Result<()> {
        info!("told to end");
        let Cluster { topology, store, listener, .. } = self.cluster;
        if let Err(error) = ask(&listener.recipient(), StopAccepting, END_DEADLINE).await {
            warn!(%error, "some connections are cut off");
        }
        if let Err(error) = ask(&topology.recipient(), FinishSteps, END_DEADLINE).await {
            warn!(%error, "some changes were not answered");
        }
        ask(&store.flush, Flush, END_DEADLINE)
            .await
            .context("the store did not finish its last write in time")?;
        info!("ended");
        Ok(())
    }
}

/// The signals that mean something to the index.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }
}

/// The next signal that ends the index.
async fn end_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
