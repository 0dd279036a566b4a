//! The admin interface: what a person, a probe or a script asks of the index over HTTP.
//!
//! Two servers on two addresses. [`start`] serves the page, the API and the probes; by default on
//! the loopback interface, see `guard` for who may ask what. [`start_metrics`] serves `/metrics`.
//! Both run on threads of their own and know the actors only as [`Sources`]: nobody waits for
//! them, and they decide nothing.

mod answers;
mod api;
mod events;
mod gauges;
mod guard;
mod metrics_server;
mod page;
mod probes;
pub mod sandbox;
mod sentence;
pub mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::DefaultHeaders;
use actix_web::{App, HttpServer, web};
use tokio::sync::{Semaphore, watch};

pub use events::{EVENT_READERS_MAX, KEEP_ALIVE_INTERVAL, RETRY_MILLIS};
pub use guard::WRITE_HEADER;
pub use metrics_server::start_metrics;

use crate::logs::LogControl;
use crate::manifest::ManifestStatus;
use crate::overview::Sources;

/// Where `flare-operator index` serves the admin interface when it is told nothing else.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Where it serves `/metrics`.
pub const DEFAULT_METRICS_LISTEN: &str = "127.0.0.1:9090";
/// The most connections at a time; each open page holds two, one of them for as long as it is open
/// ([`EVENT_READERS_MAX`]).
pub const CONNECTIONS_MAX: usize = 256;
// Probes and orders always find a connection, however many pages are open.
const _: () = assert!(2 * EVENT_READERS_MAX < CONNECTIONS_MAX);
/// The longest body of a request.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long open requests may take to end when the index stops; event streams never end by
/// themselves.
pub const SHUTDOWN_SECONDS: u64 = 1;

/// What the admin interface is started with.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Who answers.
    pub sources: Sources,
    /// The log, if it can be changed.
    pub log: Option<LogControl>,
    /// The manifest file, if there is one.
    pub manifest: Option<watch::Receiver<ManifestStatus>>,
    /// The sandbox's control port, if this index runs in one; see [`sandbox`].
    pub sandbox: Option<SocketAddr>,
}

/// A server that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends when the server has stopped, with the reason if it was not told to; the caller awaits
    /// it and lets the process end with it.
    pub server: Server,
}

impl Running {
    /// Stops the server from anywhere.
    pub fn handle(&self) -> ServerHandle {
        self.server.handle()
    }
}

/// What each request may use.
struct Admin {
    sources: Sources,
    log: Option<LogControl>,
    manifest: Option<watch::Receiver<ManifestStatus>>,
    sandbox: Option<SocketAddr>,
    /// Tells this life of the index from earlier and later ones.
    run: u64,
    /// How many more may read events.
    readers: Arc<Semaphore>,
}

impl Admin {
    fn manifest(&self) -> Option<ManifestStatus> {
        self.manifest.as_ref().map(|status| status.borrow().clone())
    }
}

/// Serves the page, the API and the probes. Returns once it listens; must be called inside a
/// tokio runtime, and what it returns be awaited there.
///
/// # Errors
/// When the address cannot be listened on.
pub fn start(options: Options) -> io::Result<Running> {
    let Options { listen, sources, log, manifest, sandbox } = options;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let readers = Arc::new(Semaphore::new(EVENT_READERS_MAX));
    let admin = web::Data::new(Admin { sources, log, manifest, sandbox, run, readers });
    let server = HttpServer::new(move || {
        let headers = DefaultHeaders::new()
            .add(("x-content-type-options", "nosniff"))
            .add(("referrer-policy", "no-referrer"))
            .add(("cross-origin-resource-policy", "same-origin"))
            .add(("content-security-policy", page::CONTENT_SECURITY_POLICY));
        App::new()
            .app_data(admin.clone())
            .app_data(api::json_limits())
            .wrap(headers)
            .configure(probes::configure)
            .configure(api::configure)
            .configure(page::configure)
            .default_service(web::to(api::not_found))
    })
    .workers(1)
    .worker_max_blocking_threads(1)
    .max_connections(CONNECTIONS_MAX)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .disable_signals()
    .bind(listen)?;
    let address = first_address(&server.addrs())?;
    Ok(Running { address, server: server.run() })
}

fn first_address(addresses: &[SocketAddr]) -> io::Result<SocketAddr> {
    addresses.first().copied().ok_or_else(|| io::Error::other("no address was bound"))
}
