//! `GET /api/v1/events`: what happens, as server-sent events.
//!
//! First the latest events that the topology keeps, then each new one. An event's id is
//! `<run>.<number>`, where `run` tells apart the lives of the index: a reader that comes back with
//! `Last-Event-ID` gets what it missed, or, after a restart of the index, all there is. A reader
//! that is too slow is cut off, and comes back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::stream::{self, Stream, StreamExt};
use metrics::counter;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use tokio::time::timeout;

use super::answers::{Failure, ask};
use super::{Admin, guard, view};
use crate::metrics::EVENT_READERS_DROPPED;
use crate::overview::{EventRecord, EventStream, SubscribeEvents};

/// The most readers at a time. Each keeps a connection for as long as it likes, and what is left
/// is for probes and orders.
pub const EVENT_READERS_MAX: usize = 100;
/// A comment line is sent when nothing happened for this long, so that a connection
/// that is gone is noticed.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a reader waits before it comes back.
pub const RETRY_MILLIS: u32 = 1_000;

pub(super) async fn get(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    let place = Arc::clone(&admin.readers)
        .try_acquire_owned()
        .map_err(|_| Failure::Readers(EVENT_READERS_MAX))?;
    let events = ask(&admin.sources.events, "topology", SubscribeEvents).await?;
    let seen = last_seen(&request, admin.run);
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(lines(events, admin.run, seen, place)))
}

/// The number that the reader saw last, if it saw one of this run.
fn last_seen(request: &HttpRequest, run: u64) -> Option<u64> {
    let header = request.headers().get(HeaderName::from_static("last-event-id"))?;
    let (of_run, number) = header.to_str().ok()?.split_once('.')?;
    if of_run.parse() == Ok(run) { number.parse().ok() } else { None }
}

fn lines(
    EventStream { recent, next }: EventStream,
    run: u64,
    seen: Option<u64>,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let missed: Vec<_> =
        recent.into_iter().filter(|record| seen.is_none_or(|seen| record.number > seen)).collect();
    let opening = Bytes::from(format!("retry: {RETRY_MILLIS}\n\n"));
    stream::once(async move { opening })
        .chain(stream::iter(missed).map(move |record| encode(&record, run)))
        .chain(stream::unfold(next, move |next| follow(next, run)))
        // The place is free again when the stream is dropped.
        .map(move |piece| {
            let _taken = &place;
            Ok(piece)
        })
}

/// The next piece of the stream; `None` ends it.
async fn follow(
    mut next: broadcast::Receiver<EventRecord>,
    run: u64,
) -> Option<(Bytes, broadcast::Receiver<EventRecord>)> {
    match timeout(KEEP_ALIVE_INTERVAL, next.recv()).await {
        Err(_) => Some((Bytes::from_static(b": nothing happened\n\n"), next)),
        Ok(Ok(record)) => Some((encode(&record, run), next)),
        Ok(Err(RecvError::Closed)) => None,
        Ok(Err(RecvError::Lagged(_))) => {
            counter!(EVENT_READERS_DROPPED).increment(1);
            None
        }
    }
}

fn encode(record: &EventRecord, run: u64) -> Bytes {
    // Our own types, with string keys only: they always become JSON, on one line.
    let data = serde_json::to_string(&view::event(record)).expect("an event becomes JSON");
    Bytes::from(format!("id: {run}.{}\nevent: happened\ndata: {data}\n\n", record.number))
}
