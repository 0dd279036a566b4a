//! The actor that re-reads the manifest file when it changes.
//!
//! A file that is wrong is told of, and the last good one stays in force. A good one goes to
//! whoever carries it out ([`ManifestChanged`]). The watcher decides nothing: when the core then
//! says that the shape would drop partitions, each re-read says so again, loudly.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use flare_core::model::HashSettings;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::{MANIFEST_BYTES_MAX, Manifest, Problem, Problems};
use crate::metrics::ClusterMetrics;
use crate::obituary::Obituary;
use crate::overview::{ANSWER_DEADLINE, GetOverview};
use crate::reduction::Reduction;

/// From one look at the file to the next: as fast as a person expects after saving a file.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The manifest changed; what it says is to be carried out from now on. Answered when that has
/// been handed on.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ManifestChanged {
    /// The manifest that is in force from now on.
    pub manifest: Arc<Manifest>,
}

/// Orders to read the file now, changed or not (SIGHUP).
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ReadManifest;

/// What is known of the manifest file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestStatus {
    /// Where it lies.
    pub path: PathBuf,
    /// The manifest in force.
    pub manifest: Arc<Manifest>,
    /// When the file was last read, Unix milliseconds.
    pub read_at_unix_millis: u64,
    /// What is wrong with the file as it lies there; the one in force is older then.
    pub problem: Option<String>,
}

/// The content of a manifest file, and what changes when the file is replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    text: String,
    modified: Option<SystemTime>,
    inode: u64,
}

/// Why a manifest file gave no manifest.
#[derive(Debug)]
pub enum ReadError {
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// What stands in it is not a manifest that can be carried out.
    Wrong(PathBuf, Problems),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, error) => {
                write!(f, "the manifest {} cannot be read: {error}", path.display())
            }
            Self::Wrong(path, problems) => {
                write!(f, "the manifest {} is wrong: {problems}", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads and checks the manifest file at `path`; for the start of the index.
///
/// # Errors
/// When there is no readable file of at most [`MANIFEST_BYTES_MAX`] bytes, or it is wrong.
pub async fn read(path: &Path) -> Result<(Manifest, Content), ReadError> {
    let content =
        read_content(path).await.map_err(|error| ReadError::Unreadable(path.to_owned(), error))?;
    let manifest = Manifest::parse(&content.text)
        .map_err(|problems| ReadError::Wrong(path.to_owned(), problems))?;
    Ok((manifest, content))
}

async fn read_content(path: &Path) -> io::Result<Content> {
    let file = tokio::fs::File::open(path).await?;
    let metadata = file.metadata().await?;
    let mut text = String::new();
    file.take(MANIFEST_BYTES_MAX + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > MANIFEST_BYTES_MAX {
        let limit = format!("it is longer than {MANIFEST_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(Content { text, modified: metadata.modified().ok(), inode: metadata.ino() })
}

/// Watches one manifest file.
pub struct ManifestWatcher {
    /// Where the hash settings are fixed: what the cluster was made with (R14).
    hash: HashSettings,
    /// What was seen at the last look; `None` when the file could not be read.
    seen: Option<Content>,
    /// Published whole at every reading.
    status: watch::Sender<ManifestStatus>,
    /// Who carries a manifest out.
    changes: Recipient<ManifestChanged>,
    /// Who knows what came of it.
    overview: Recipient<GetOverview>,
    metrics: ClusterMetrics,
    _obituary: Option<Obituary>,
}

/// What a [`ManifestWatcher`] starts from.
pub struct Start {
    /// Where the file lies.
    pub path: PathBuf,
    /// What [`read`] found there, and what is in force.
    pub manifest: Manifest,
    /// The content that it was read from.
    pub content: Content,
    /// What the cluster was made with.
    pub hash: HashSettings,
    /// Who carries a manifest out.
    pub changes: Recipient<ManifestChanged>,
    /// Who knows what came of it.
    pub overview: Recipient<GetOverview>,
    /// Where readings are counted.
    pub metrics: ClusterMetrics,
    /// Tells the parent of this actor's end.
    pub obituary: Option<Obituary>,
}

impl ManifestWatcher {
    /// A watcher, and where it publishes what it knows.
    pub fn new(start: Start) -> (Self, watch::Receiver<ManifestStatus>) {
        let (status, receiver) = watch::channel(ManifestStatus {
            path: start.path,
            manifest: Arc::new(start.manifest),
            read_at_unix_millis: unix_millis(),
            problem: None,
        });
        let watcher = Self {
            hash: start.hash,
            seen: Some(start.content),
            status,
            changes: start.changes,
            overview: start.overview,
            metrics: start.metrics,
            _obituary: start.obituary,
        };
        (watcher, receiver)
    }

    /// The manifest in `content`, if it can be carried out on this cluster.
    fn check(&self, content: &Content) -> Result<Manifest, Problems> {
        let manifest = Manifest::parse(&content.text)?;
        manifest.hash.check_against(&self.hash)?;
        let name = self.status.borrow().manifest.name.clone();
        if manifest.name != name {
            let sentence = format!(
                "metadata.name is {}, but this cluster's name is {name}, and names do not change",
                manifest.name
            );
            return Err(Problems(vec![Problem { line: None, sentence }]));
        }
        Ok(manifest)
    }

    /// The file was read and is good: hands it on if it says something new, and says what came
    /// of it.
    fn accept(&self, manifest: Manifest, ctx: &mut Context<Self>) {
        self.metrics.manifest_read(true);
        let manifest = Arc::new(manifest);
        let is_new = self.status.borrow().manifest != manifest;
        self.status.send_modify(|status| {
            status.manifest = Arc::clone(&manifest);
            status.read_at_unix_millis = unix_millis();
            status.problem = None;
        });
        let wanted = manifest.wanted;
        info!(
            partitions = wanted.partitions,
            replicas = wanted.replicas,
            paused = wanted.paused,
            is_new,
            "the manifest was read"
        );
        let changes = self.changes.clone();
        let overview = self.overview.clone();
        ctx.spawn(
            async move {
                if is_new && changes.send(ManifestChanged { manifest }).await.is_err() {
                    warn!("nobody carries the manifest out: the topology has ended");
                }
                say_what_came_of_it(&overview).await;
            }
            .into_actor(self),
        );
    }

    fn reject(&self, problem: &str) {
        self.metrics.manifest_read(false);
        let path = self.status.borrow().path.clone();
        error!(
            path = %path.display(),
            problem,
            "the manifest cannot be carried out; the last good one stays in force"
        );
        self.status.send_modify(|status| {
            status.read_at_unix_millis = unix_millis();
            status.problem = Some(problem.to_owned());
        });
    }
}

/// Says it when the shape that was asked for is one that would lose keys.
async fn say_what_came_of_it(overview: &Recipient<GetOverview>) {
    let Ok(Ok(overview)) = tokio::time::timeout(ANSWER_DEADLINE, overview.send(GetOverview)).await
    else {
        return;
    };
    if let Some(reduction) = Reduction::of(&overview) {
        error!(have = reduction.have, wanted = reduction.wanted, "{reduction}");
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Actor for ManifestWatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let overview = self.overview.clone();
        ctx.spawn(async move { say_what_came_of_it(&overview).await }.into_actor(self));
        self.poll_later(ctx);
    }
}

impl Handler<ReadManifest> for ManifestWatcher {
    type Result = ();

    fn handle(&mut self, _: ReadManifest, ctx: &mut Context<Self>) {
        self.look(true, ctx);
    }
}

/// The next look at the file.
#[derive(Message)]
#[rtype(result = "()")]
struct PollDue;

impl Handler<PollDue> for ManifestWatcher {
    type Result = ();

    fn handle(&mut self, _: PollDue, ctx: &mut Context<Self>) {
        self.look(false, ctx);
    }
}

/// The file was looked at.
#[derive(Message)]
#[rtype(result = "()")]
struct Looked {
    content: io::Result<Content>,
    /// Count it as a re-read even if nothing changed.
    anyway: bool,
}

impl Handler<Looked> for ManifestWatcher {
    type Result = ();

    fn handle(&mut self, Looked { content, anyway }: Looked, ctx: &mut Context<Self>) {
        if !anyway {
            self.poll_later(ctx);
        }
        match content {
            Ok(content) if !anyway && self.seen.as_ref() == Some(&content) => {}
            Ok(content) => {
                let checked = self.check(&content);
                self.seen = Some(content);
                match checked {
                    Ok(manifest) => self.accept(manifest, ctx),
                    Err(problems) => self.reject(&problems.to_string()),
                }
            }
            // Told once, not every second.
            Err(_) if !anyway && self.seen.is_none() => {}
            Err(error) => {
                self.seen = None;
                self.reject(&format!("it cannot be read: {error}"));
            }
        }
    }
}

impl ManifestWatcher {
    fn look(&self, anyway: bool, ctx: &mut Context<Self>) {
        let path = self.status.borrow().path.clone();
        ctx.spawn(async move { read_content(&path).await }.into_actor(self).map(
            move |content, _, ctx: &mut Context<Self>| ctx.notify(Looked { content, anyway }),
        ));
    }

    fn poll_later(&self, ctx: &mut Context<Self>) {
        ctx.spawn(
            sleep(POLL_INTERVAL)
                .into_actor(self)
                .map(|(), _, ctx: &mut Context<Self>| ctx.notify(PollDue)),
        );
    }
}
