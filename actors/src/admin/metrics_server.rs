//! `/metrics`, on an address of its own: scrapers need not reach the page and the API.

use std::io;
use std::net::SocketAddr;

use actix_web::{App, HttpResponse, HttpServer, web};
use tokio::sync::watch;

use super::answers::ask;
use super::{Running, SHUTDOWN_SECONDS, first_address, gauges};
use crate::manifest::ManifestStatus;
use crate::metrics::Exporter;
use crate::overview::{GetOverview, GetSessions, Sources};

/// The most scrapers at a time.
const SCRAPERS_MAX: usize = 16;
/// The format that `/metrics` is in.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Scraped {
    exporter: Exporter,
    sources: Sources,
    manifest: Option<watch::Receiver<ManifestStatus>>,
}

/// Serves `/metrics`. Returns once it listens; must be called inside a tokio runtime, and what it
/// returns be awaited there.
///
/// # Errors
/// When the address cannot be listened on.
pub fn start_metrics(
    listen: SocketAddr,
    exporter: Exporter,
    sources: Sources,
    manifest: Option<watch::Receiver<ManifestStatus>>,
) -> io::Result<Running> {
    let scraped = web::Data::new(Scraped { exporter, sources, manifest });
    let server = HttpServer::new(move || {
        App::new().app_data(scraped.clone()).route("/metrics", web::get().to(scrape))
    })
    .workers(1)
    .worker_max_blocking_threads(1)
    .max_connections(SCRAPERS_MAX)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .disable_signals()
    .bind(listen)?;
    let address = first_address(&server.addrs())?;
    Ok(Running { address, server: server.run() })
}

/// A scrape is answered even when no actor answers: that is when one looks.
async fn scrape(scraped: web::Data<Scraped>) -> HttpResponse {
    let overview = ask(&scraped.sources.overview, "topology", GetOverview).await;
    gauges::set_own(overview.as_ref().is_ok_and(|overview| overview.troubles.is_empty()));
    if let Ok(overview) = &overview {
        gauges::set_overview(overview);
    }
    if let Ok(sessions) = ask(&scraped.sources.sessions, "listener", GetSessions { most: 0 }).await
    {
        gauges::set_sessions(&sessions);
    }
    if let Some(manifest) = &scraped.manifest {
        gauges::set_manifest(&manifest.borrow());
    }
    HttpResponse::Ok().content_type(TEXT_FORMAT).body(scraped.exporter.render())
}
