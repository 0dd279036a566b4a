//! `/healthz`, `/readyz`, `/leaderz`: for kubelets, load balancers and people with curl.
//!
//! 200 with a word, or 503 with the reason, one sentence a line. Anybody may ask, under any name.

use actix_web::http::header::{CACHE_CONTROL, ContentType};
use actix_web::{HttpResponse, web};

use super::Admin;
use super::answers::{Failure, ask};
use crate::overview::{GetOverview, Overview};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", web::get().to(healthz))
        .route("/readyz", web::get().to(readyz))
        .route("/leaderz", web::get().to(leaderz));
}

async fn overview(admin: &Admin) -> Result<Overview, Failure> {
    ask(&admin.sources.overview, "topology", GetOverview).await
}

/// Does the topology answer? If not, only a restart helps.
async fn healthz(admin: web::Data<Admin>) -> HttpResponse {
    match overview(&admin).await {
        Ok(_) => good("healthy"),
        Err(failure) => bad(&failure.to_string()),
    }
}

/// May one rely on this index? Dead nodes do not make it unready: it is what deals with them.
async fn readyz(admin: web::Data<Admin>) -> HttpResponse {
    match overview(&admin).await {
        Ok(overview) if overview.troubles.is_empty() => good("ready"),
        Ok(overview) => bad(&overview.troubles.join("\n")),
        Err(failure) => bad(&failure.to_string()),
    }
}

/// Does this index decide? On bare machines there is only one.
async fn leaderz() -> HttpResponse {
    good("leader: this index is the only one")
}

fn good(word: &str) -> HttpResponse {
    plain(HttpResponse::Ok(), word)
}

fn bad(reason: &str) -> HttpResponse {
    plain(HttpResponse::ServiceUnavailable(), reason)
}

fn plain(mut response: actix_web::HttpResponseBuilder, text: &str) -> HttpResponse {
    response
        .content_type(ContentType::plaintext())
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(format!("{text}\n"))
}
