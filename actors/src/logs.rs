//! Logs: where lines go, which are written, and how that is changed while the index runs.
//!
//! Lines go to stderr, through a thread of their own with a bounded queue: whoever reads them may
//! hang, and a failover must not wait for that; lines that do not fit are counted. A filter says
//! which lines are written. Beside it single connections can be put on *wire level*: every byte
//! of them is written, whatever the filter says, and nobody else's. [`LogControl`] changes both
//! (`PUT /api/v1/log`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The target of lines that show what goes over the wire.
pub const WIRE_TARGET: &str = "wire";
/// The most connections on wire level at one time.
pub const WIRE_CONNECTIONS_MAX: usize = 64;
/// The most bytes of one message that a wire line shows.
pub const WIRE_BYTES_MAX: usize = 4096;
/// Lines that may wait for stderr: some 2 MB at usual lengths.
pub const LINES_WAITING_MAX: usize = 8192;
/// The longest filter that is read.
pub const FILTER_LENGTH_MAX: usize = 1024;
/// The filter of an index that was told nothing else.
pub const DEFAULT_FILTER: &str = "info";

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format: it must be text or json")),
        }
    }
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the other end to us.
    In,
    /// From us to the other end.
    Out,
}

/// Shows bytes of a connection, if it is on wire level; costs next to nothing while none is.
pub fn wire(conn: u64, direction: Direction, bytes: &[u8]) {
    if !tracing::enabled!(target: WIRE_TARGET, Level::TRACE) {
        return;
    }
    let shown = &bytes[..bytes.len().min(WIRE_BYTES_MAX)];
    let length = bytes.len();
    let bytes = shown.escape_ascii();
    match direction {
        Direction::In => {
            tracing::trace!(target: WIRE_TARGET, conn, length, %bytes, "in");
        }
        Direction::Out => {
            tracing::trace!(target: WIRE_TARGET, conn, length, %bytes, "out");
        }
    }
}

/// Why a wish about the log was not followed.
#[derive(Debug)]
pub enum LogError {
    /// The filter cannot be read.
    Filter(ParseError),
    /// The filter is longer than [`FILTER_LENGTH_MAX`].
    FilterTooLong,
    /// [`WIRE_CONNECTIONS_MAX`] connections are on wire level already.
    TooManyConnections,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => write!(
                f,
                "the filter cannot be read ({error}): write a level (error, warn, info, debug, \
                 trace, off), or module=level parts with commas between, such as \
                 info,flare_actors::link=debug"
            ),
            Self::FilterTooLong => {
                write!(f, "the filter is too long: at most {FILTER_LENGTH_MAX} characters")
            }
            Self::TooManyConnections => write!(
                f,
                "{WIRE_CONNECTIONS_MAX} connections are on wire level already: take one off first"
            ),
        }
    }
}

impl std::error::Error for LogError {}

/// What is written: published whole, so that no thread that logs waits for another.
#[derive(Debug, Clone)]
struct Levels {
    filter: Targets,
    filter_text: String,
    wire: BTreeSet<u64>,
}

/// Reads a filter.
///
/// # Errors
/// When it is too long or not a filter.
fn read_filter(text: &str) -> Result<Targets, LogError> {
    if text.len() > FILTER_LENGTH_MAX {
        return Err(LogError::FilterTooLong);
    }
    text.parse().map_err(LogError::Filter)
}

/// Changes what is written, while the index runs. Clones change the same log.
#[derive(Debug, Clone)]
pub struct LogControl {
    levels: watch::Sender<Levels>,
    lost: Option<ErrorCounter>,
}

/// What is written at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The filter, as it was given.
    pub filter: String,
    /// The connections on wire level.
    pub wire: BTreeSet<u64>,
    /// Lines that were lost because stderr was not read fast enough.
    pub lines_lost: usize,
}

impl LogControl {
    /// Writes from now on what `text` says: `info`, or `info,flare_actors::link=debug`.
    ///
    /// # Errors
    /// When it is too long or not a filter; the old one stays.
    pub fn set_filter(&self, text: &str) -> Result<(), LogError> {
        let filter = read_filter(text)?;
        self.levels.send_modify(|levels| {
            levels.filter = filter;
            text.clone_into(&mut levels.filter_text);
        });
        tracing_core::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Puts the connection with this number on wire level, or takes it off.
    ///
    /// # Errors
    /// When too many are on it already.
    pub fn set_wire(&self, conn: u64, on: bool) -> Result<(), LogError> {
        let mut fits = true;
        self.levels.send_modify(|levels| {
            if !on {
                levels.wire.remove(&conn);
            } else if levels.wire.contains(&conn) || levels.wire.len() < WIRE_CONNECTIONS_MAX {
                levels.wire.insert(conn);
            } else {
                fits = false;
            }
        });
        tracing_core::callsite::rebuild_interest_cache();
        if fits { Ok(()) } else { Err(LogError::TooManyConnections) }
    }

    /// What is written at the moment.
    pub fn status(&self) -> LogStatus {
        let levels = self.levels.borrow();
        LogStatus {
            filter: levels.filter_text.clone(),
            wire: levels.wire.clone(),
            lines_lost: self.lost.as_ref().map_or(0, ErrorCounter::dropped_lines),
        }
    }
}

/// Keeps the thread that writes lines; dropped at the end of `main`, it writes what still waits.
#[must_use = "lines are lost when it is dropped before the end"]
pub struct LogGuard {
    _worker: WorkerGuard,
}

/// Starts logging to stderr; once per process.
///
/// # Errors
/// When the filter cannot be read, or the process already logs.
pub fn install(
    format: LogFormat,
    filter: &str,
    colour: bool,
) -> Result<(LogControl, LogGuard), InstallError> {
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = writer.error_counter();
    let (subscriber, mut control) =
        subscriber(format, filter, colour, writer).map_err(InstallError::Filter)?;
    subscriber.try_init().map_err(InstallError::AlreadyInstalled)?;
    control.lost = Some(lost);
    Ok((control, LogGuard { _worker: worker }))
}

/// Why logging did not start.
#[derive(Debug)]
pub enum InstallError {
    /// The filter cannot be read.
    Filter(LogError),
    /// The process already logs.
    AlreadyInstalled(TryInitError),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => error.fmt(f),
            Self::AlreadyInstalled(error) => write!(f, "logging cannot be started: {error}"),
        }
    }
}

impl std::error::Error for InstallError {}

/// The subscriber that [`install`] installs, with any writer; for tests.
///
/// # Errors
/// When the filter cannot be read.
pub fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + use<W>, LogControl), LogError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let levels = Levels {
        filter: read_filter(filter)?,
        filter_text: filter.to_owned(),
        wire: BTreeSet::new(),
    };
    let (levels, levels_receiver) = watch::channel(levels);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(colour).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(lines.with_filter(ByLevels { levels: levels_receiver }));
    Ok((subscriber, LogControl { levels, lost: None }))
}

/// Lets through what the [`Levels`] in force say.
struct ByLevels {
    levels: watch::Receiver<Levels>,
}

fn is_wire(metadata: &Metadata<'_>) -> bool {
    metadata.target() == WIRE_TARGET
}

impl Levels {
    /// May something from there be written? Wire events are looked at one by one later.
    fn may_write(&self, metadata: &Metadata<'_>) -> bool {
        if is_wire(metadata) {
            return !self.wire.is_empty();
        }
        // Our spans are kept whatever the filter: after it changes, or on wire level, a
        // connection's lines must still name the connection.
        (metadata.is_span() && metadata.target().starts_with("flare"))
            || self.filter.would_enable(metadata.target(), metadata.level())
    }
}

impl<S: Subscriber> Filter<S> for ByLevels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.levels.borrow().may_write(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.levels.borrow().may_write(metadata) {
            true if is_wire(metadata) => Interest::sometimes(),
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        if !is_wire(event.metadata()) {
            return true;
        }
        let mut conn = ConnField(None);
        event.record(&mut conn);
        conn.0.is_some_and(|conn| self.levels.borrow().wire.contains(&conn))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // What is not wanted is found out once per line of code, by `callsite_enabled`.
        Some(LevelFilter::TRACE)
    }
}

/// Finds the number of the connection that a wire event is about.
struct ConnField(Option<u64>);

impl Visit for ConnField {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "conn" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}
