//! What an index runs with: flags, flarei's file and the manifest, brought together and checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use flare_actors::manifest::{self, Content, Manifest};
use flare_actors::net;
use flare_actors::session::Limits;
use flare_core::model::HashSettings;
use flare_core::policy::breaker::BreakerSettings;
use flare_core::policy::suspicion::MonitorSettings;
use flare_core::protocol::command::Variables;
use flare_core::stored::StoredTopology;
use flare_core::topology::{self, Mode};
use tracing::warn;

use crate::cli::{Assign, IndexFlags};
use crate::flarei_conf::{FlareiConf, FlareiSettings, HashFlags};
use crate::outcome::Misuse;

/// flarei's port (flare-protocol.md 2).
const DEFAULT_PORT: u16 = 12120;

/// flarei's own default of `net_read_timeout`, which its `show variables` tells though it is no
/// setting of it.
const NET_READ_TIMEOUT: u64 = 600_000;

/// What an index runs with.
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    /// The manifest, with where it lies and what it was read from.
    pub(crate) manifest: Option<(PathBuf, Manifest, Content)>,
    pub(crate) flags: IndexFlags,
    /// flarei's settings in force: flags before file; a reload changes them.
    pub(crate) flarei: FlareiSettings,
    hash: HashFlags,
    /// The file as it was at the start.
    conf: FlareiConf,
}

impl Settings {
    /// Reads the files that the flags name.
    ///
    /// # Errors
    /// When one cannot be read, or they contradict each other.
    pub(crate) async fn gather(flags: IndexFlags) -> Result<Self> {
        let conf = match &flags.flarei_conf {
            Some(path) => FlareiConf::read(path)?,
            None => FlareiConf::default(),
        };
        for key in &conf.without_effect {
            warn!(key, "flarei's setting has no effect here");
        }
        let manifest = match (&flags.cluster, flags.assign) {
            (None, Some(Assign::Auto)) => {
                return Err(
                    Misuse::of("--assign auto needs a manifest: --cluster FILE.yaml").into()
                );
            }
            (None, _) => None,
            (Some(_), Some(Assign::Manual)) => {
                return Err(Misuse::of(
                    "with --assign manual a person gives the roles, so that a manifest \
                     (--cluster) means nothing: leave one of them out",
                )
                .into());
            }
            (Some(path), _) => {
                let (manifest, content) = manifest::read(path).await?;
                Some((path.clone(), manifest, content))
            }
        };
        let folder = flags.data_dir.clone().or(conf.index_db.clone()).or(conf.data_dir.clone());
        let nowhere = || {
            Misuse::of(
                "where is the map to be kept? Name a folder: --data-dir FOLDER (or data-dir in \
                 flarei's configuration)",
            )
        };
        let data_dir = folder.ok_or_else(nowhere)?;
        let flarei = flags.flarei.clone().or(conf.flarei.clone());
        let hash = flags.hash.clone().or(conf.hash.clone());
        if manifest.is_some() && (flarei.says_monitoring() || !hash.is_empty()) {
            return Err(Misuse::of(
                "monitor and hash settings stand in the manifest (spec.monitor, spec.hash): leave \
                 flarei's own (monitor-*, partition-*, key-hash-algorithm) out",
            )
            .into());
        }
        let port = flarei.server_port.unwrap_or(DEFAULT_PORT);
        let listen = flags.listen.unwrap_or(SocketAddr::new(net::ANY, port));
        Ok(Self { data_dir, listen, manifest, flags, flarei, hash, conf })
    }

    /// The cluster's name.
    pub(crate) fn cluster(&self) -> Arc<str> {
        let name = self.manifest.as_ref().map(|(_, manifest, _)| manifest.name.as_str());
        name.unwrap_or(manifest::DEFAULT_NAME).into()
    }

    /// What is stored, or an empty map where nothing ever was.
    ///
    /// # Errors
    /// When the settings place keys in another way than the stored map.
    pub(crate) fn stored_or_new(&self, stored: Option<StoredTopology>) -> Result<StoredTopology> {
        let manifest = self.manifest.as_ref().map(|(_, manifest, _)| manifest);
        match (stored, manifest) {
            (Some(stored), Some(manifest)) => {
                manifest.hash.check_against(&stored.hash)?;
                Ok(stored)
            }
            (Some(stored), None) => {
                self.hash.check_against(&stored.hash).map_err(anyhow::Error::msg)?;
                Ok(stored)
            }
            (None, Some(manifest)) => Ok(StoredTopology::empty(manifest.hash.for_new_cluster())),
            (None, None) => {
                let hash = self.hash.for_new_cluster().map_err(Misuse)?;
                Ok(StoredTopology::empty(hash))
            }
        }
    }

    /// Who decides, and how many nodes there may be; the clock's zero is then.
    pub(crate) fn topology(&self, zero_unix_millis: u64) -> topology::Settings {
        let mode = match &self.manifest {
            Some((_, manifest, _)) => Mode::Automatic(manifest.wanted),
            None => Mode::Manual,
        };
        topology::Settings { mode, nodes_max: self.flags.max_nodes as usize, zero_unix_millis }
    }

    /// How nodes are watched.
    pub(crate) fn monitoring(&self) -> MonitorSettings {
        match &self.manifest {
            Some((_, manifest, _)) => monitoring_of(manifest),
            None => MonitorSettings {
                interval_millis: u64::from(self.flarei.monitor_interval.unwrap_or(1)) * 1000,
                read_timeout_millis: self.flarei.monitor_read_timeout.unwrap_or(1000).into(),
                threshold: self.flarei.monitor_threshold.unwrap_or(3),
                startup_grace_millis: 0,
                restart_is_death: false,
                silence_of_all_is_death: true,
                lapse_millis: 0,
            },
        }
    }

    /// When so many are dead that nothing is done by itself; never in manual mode.
    pub(crate) fn breaking(&self) -> BreakerSettings {
        match &self.manifest {
            Some((_, manifest, _)) => breaking_of(manifest),
            None => BreakerSettings { enabled: false, ..BreakerSettings::default() },
        }
    }

    /// What peers may use up.
    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            connections: self.flarei.max_connection.map_or(default.connections, |n| n as usize),
            connections_per_peer: self.flags.max_connection_per_peer as usize,
            idle: Duration::from_secs(self.flags.idle_timeout.into()),
            ..default
        }
    }

    /// What `show variables` tells.
    pub(crate) fn variables(&self, bound: SocketAddr, hash: &HashSettings) -> Variables {
        let monitoring = self.monitoring();
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
        };
        Variables {
            config_path: path(&self.flags.flarei_conf),
            pid_path: String::new(),
            daemonize: false,
            data_dir: self.data_dir.display().to_string(),
            max_connection: self.limits().connections as u64,
            monitor_threshold: monitoring.threshold.into(),
            // Whole seconds, as flarei has them.
            monitor_interval: monitoring.interval_millis.div_ceil(1000),
            monitor_read_timeout: monitoring.read_timeout_millis,
            net_read_timeout: NET_READ_TIMEOUT,
            hash: hash.clone(),
            server_name: self.flarei.server_name.clone().unwrap_or_else(host_name),
            server_port: bound.port(),
            server_socket: String::new(),
            stack_size: self.flarei.stack_size.unwrap_or(128).into(),
            thread_pool_size: self.flarei.thread_pool_size.unwrap_or(5).into(),
        }
    }

    /// Reads flarei's file again: what stands in it and may change takes effect, what is no
    /// longer in it stays as it was (flare-config.md).
    ///
    /// # Errors
    /// When the file cannot be read or is wrong; nothing has changed then.
    pub(crate) fn reload(&mut self) -> Result<()> {
        let Some(path) = &self.flags.flarei_conf else { return Ok(()) };
        let conf = FlareiConf::read(path)?;
        if conf.fixed() != self.conf.fixed() {
            warn!("some settings of flarei's file have changed that need a restart of the index");
        }
        let mut reloaded = conf.reloadable();
        if self.manifest.is_some() {
            reloaded.monitor_interval = None;
            reloaded.monitor_read_timeout = None;
            reloaded.monitor_threshold = None;
        }
        self.flarei = reloaded.or(self.flarei.clone());
        Ok(())
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// How the manifest wants nodes to be watched.
pub(crate) fn monitoring_of(manifest: &Manifest) -> MonitorSettings {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    MonitorSettings {
        interval_millis: millis(manifest.monitor.interval),
        read_timeout_millis: millis(manifest.monitor.read_timeout),
        threshold: manifest.monitor.threshold,
        startup_grace_millis: millis(manifest.startup_grace),
        restart_is_death: true,
        silence_of_all_is_death: false,
        lapse_millis: millis(manifest.monitor.lapse),
    }
}

/// When the manifest wants the index to stop acting by itself.
pub(crate) fn breaking_of(manifest: &Manifest) -> BreakerSettings {
    let breaker = &manifest.circuit_breaker;
    BreakerSettings {
        enabled: breaker.enabled,
        trip_percent: breaker.trip_threshold_percent,
        reset_percent: breaker.reset_threshold_percent,
        auto_reset: breaker.auto_reset_enabled,
        min_dead: breaker.min_dead_nodes,
    }
}
