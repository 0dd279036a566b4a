//! The manifest's watcher: a changed file is carried out, a bad one is told of and not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, MessageResult};
use flare_actors::logs::{self, LogFormat};
use flare_actors::manifest::{self, ManifestChanged, ManifestStatus, ManifestWatcher, Start};
use flare_actors::metrics::ClusterMetrics;
use flare_actors::obituary::{Death, End, Obituary};
use flare_actors::overview::{GetOverview, Overview};
use flare_core::model::{HashSettings, NodeEntry, NodeKey, Role};
use flare_core::stored::{StoredNode, StoredTopology};
use flare_core::topology::{Blocked, Mode, Snapshot};
use flare_core::wanted::Wanted;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Plays the topology of three partitions: passes on what is to be carried out, and refuses to
/// shrink.
struct Carrier {
    carried: mpsc::UnboundedSender<Wanted>,
    blocked: BTreeSet<Blocked>,
}

impl Actor for Carrier {
    type Context = Context<Self>;
}

impl Handler<ManifestChanged> for Carrier {
    type Result = ();

    fn handle(&mut self, ManifestChanged { manifest }: ManifestChanged, _: &mut Context<Self>) {
        self.blocked.clear();
        let wanted = manifest.wanted.partitions;
        if wanted < 2 {
            self.blocked.insert(Blocked::PartitionReduction { have: 3, wanted });
        }
        self.carried.send(manifest.wanted).expect("the test listens");
    }
}

impl Handler<GetOverview> for Carrier {
    type Result = MessageResult<GetOverview>;

    fn handle(&mut self, _: GetOverview, _: &mut Context<Self>) -> Self::Result {
        let mut stored = StoredTopology::empty(HashSettings::default());
        let entry = NodeEntry { role: Role::Master, partition: 2, ..NodeEntry::new_proxy(16) };
        stored.nodes.insert(NodeKey::new("c", 12121), StoredNode::new(entry));
        MessageResult(Overview {
            cluster: "default".into(),
            mode: Mode::Manual,
            snapshot: Arc::new(Snapshot::new(Arc::new(stored))),
            facts: BTreeMap::new(),
            blocked: self.blocked.clone(),
            troubles: Vec::new(),
            store_waits: Duration::ZERO,
        })
    }
}

struct Watched {
    path: PathBuf,
    _folder: tempfile::TempDir,
    _watcher: Option<Addr<ManifestWatcher>>,
    status: watch::Receiver<ManifestStatus>,
    carried: mpsc::UnboundedReceiver<Wanted>,
    deaths: mpsc::Receiver<Death>,
}

fn text(partitions: u32, more: &str) -> String {
    format!(
        "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\nspec:\n  partitions: \
         {partitions}\n  replicas: 2\n{more}"
    )
}

impl Watched {
    async fn start() -> Self {
        let (watcher, unstarted) = Self::prepare().await;
        let _watcher = Some(watcher.start());
        Self { _watcher, ..unstarted }
    }

    /// A watcher that is not started yet.
    async fn prepare() -> (ManifestWatcher, Self) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("cluster.yaml");
        std::fs::write(&path, text(2, "")).expect("the scratch folder can be written");
        let (manifest, content) = manifest::read(&path).await.expect("the manifest is good");
        let (sender, carried) = mpsc::unbounded_channel();
        let (obituaries, deaths) = mpsc::channel(1);
        let carrier = Carrier { carried: sender, blocked: BTreeSet::new() }.start();
        let (watcher, status) = ManifestWatcher::new(Start {
            path: path.clone(),
            manifest,
            content,
            hash: HashSettings::default(),
            changes: carrier.clone().recipient(),
            overview: carrier.recipient(),
            metrics: ClusterMetrics::new("default".into()),
            obituary: Some(Obituary::to_process(&obituaries, "manifest")),
        });
        (watcher, Self { path, _folder: folder, _watcher: None, status, carried, deaths })
    }

    /// Replaces the file as editors and configuration tools do.
    fn replace(&self, text: &str) {
        let new = self.path.with_extension("new");
        std::fs::write(&new, text).expect("the scratch folder can be written");
        std::fs::rename(&new, &self.path).expect("the scratch folder can be written");
    }

    /// Waits until the status is as it should be.
    async fn until(&mut self, holds: impl FnMut(&ManifestStatus) -> bool) -> ManifestStatus {
        let wait = timeout(Duration::from_secs(60), self.status.wait_for(holds));
        wait.await.expect("the status comes").expect("the watcher lives").clone()
    }

    async fn carried(&mut self) -> Wanted {
        let wait = timeout(Duration::from_secs(60), self.carried.recv());
        wait.await.expect("it is carried out").expect("the watcher lives")
    }
}

/// Paused time: a poll costs nothing, and nothing depends on how fast the machine is.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_changed_manifest_is_carried_out_and_an_unchanged_one_is_not() {
    run(async {
        let mut watched = Watched::start().await;
        // Touched, and a comment added: read again, and nothing to carry out.
        watched.replace(&text(2, "# a comment\n"));
        watched.replace(&text(3, ""));
        assert_eq!(watched.carried().await.partitions, 3);
        let status = watched.until(|status| status.manifest.wanted.partitions == 3).await;
        assert_eq!(status.problem, None);
        std::fs::write(&watched.path, text(4, "")).unwrap();
        assert_eq!(watched.carried().await.partitions, 4);
        assert!(watched.carried.try_recv().is_err());
    });
}

#[test]
fn a_bad_file_is_told_of_and_the_last_good_one_stays() {
    run(async {
        let mut watched = Watched::start().await;
        let cases = [
            ("nonsense", "`name: value` is needed"),
            (&text(0, ""), "line 4: spec.partitions is 0"),
            (&text(3, "  hash: {modularHint: 2}\n"), "this cluster was made with 1"),
            (&text(3, "metadata: {name: other}\n"), "names do not change"),
        ];
        for (text, problem) in cases {
            watched.replace(text);
            let told = |status: &ManifestStatus| {
                status.problem.as_ref().is_some_and(|told| told.contains(problem))
            };
            let status = watched.until(told).await;
            assert_eq!(status.manifest.wanted.partitions, 2);
        }
        std::fs::remove_file(&watched.path).unwrap();
        let told = |status: &ManifestStatus| {
            status.problem.as_ref().is_some_and(|told| told.contains("cannot be read"))
        };
        watched.until(told).await;
        assert!(watched.carried.try_recv().is_err());
        // The old content again: good again, and nothing to carry out.
        watched.replace(&text(2, ""));
        watched.until(|status| status.problem.is_none()).await;
        assert!(watched.carried.try_recv().is_err());
        watched.replace(&text(5, ""));
        assert_eq!(watched.carried().await.partitions, 5);
    });
}

#[test]
fn the_end_of_the_watcher_is_told() {
    run(async {
        let (watcher, mut watched) = Watched::prepare().await;
        assert!(watched.deaths.try_recv().is_err());
        // As actix does with an actor that stopped or panicked.
        drop(watcher);
        let death = Death { who: "manifest", end: End::Stopped };
        assert_eq!(watched.deaths.recv().await, Some(death));
    });
}

/// A writer that hands each log line to the test.
#[derive(Clone)]
struct Lines(std::sync::mpsc::Sender<String>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(line).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_reading_of_a_manifest_that_shrinks_says_what_would_be_lost() {
    let (sender, lines) = std::sync::mpsc::channel();
    let sender = Lines(sender);
    let (subscriber, _control) =
        logs::subscriber(LogFormat::Text, "error", false, move || sender.clone()).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    run(async {
        let mut watched = Watched::start().await;
        let wait_for_line = async || {
            let wait = async {
                loop {
                    match lines.try_recv() {
                        Ok(line) => return line,
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            };
            timeout(Duration::from_secs(60), wait).await.expect("the log says so")
        };
        watched.replace(&text(1, ""));
        assert_eq!(watched.carried().await.partitions, 1);
        let first = wait_for_line().await;
        for part in [
            "UNSAFE PARTITION REDUCTION DETECTED: the manifest reduces the partitions from 3 to \
             1; nothing was changed.",
            "partition 1 with an unknown number of items",
            "partition 2 with an unknown number of items on c:12121",
            "(1) Put spec.partitions back",
            "(5) Set cluster-replication-mode = forward",
            "FlareMigration",
        ] {
            assert!(first.contains(part), "{part} in {first}");
        }
        // Nothing new in it, and said again all the same.
        watched.replace(&text(1, "# still\n"));
        assert!(wait_for_line().await.contains("UNSAFE PARTITION REDUCTION DETECTED"));
        watched.replace(&text(3, ""));
        assert_eq!(watched.carried().await.partitions, 3);
        assert!(lines.try_recv().is_err());
    });
}

#[test]
fn a_file_that_is_too_long_is_not_read_to_its_end() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path: &Path = &folder.path().join("cluster.yaml");
        std::fs::write(path, "#".repeat(2_000_000)).unwrap();
        let error = manifest::read(path).await.unwrap_err().to_string();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
        let error = manifest::read(&folder.path().join("none")).await.unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
    });
}
