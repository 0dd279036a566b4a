//! `/api/v1/…`: the topology, the connections, the log, and the orders of a person.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use flare_core::model::NodeKey;
use flare_core::topology::{HandoverHow, HandoverWay, Origin};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answers::{Failure, ask, order};
use super::sandbox::{self, Answer, Order};
use super::{Admin, BODY_BYTES_MAX, events, guard, view};
use crate::failover::{GetBreaker, ResetBreaker};
use crate::logs::LogStatus;
use crate::overview::{
    ANSWER_DEADLINE, ForgetNode, GetOverview, GetSessions, RecoverPartition, SWITCH_DEADLINE,
    SwitchMaster,
};
use crate::topology::PrepareToLeave;

/// Connections that `GET /api/v1/sessions` tells about when it is not asked for more.
pub(super) const SESSIONS_SHOWN: usize = 200;
/// The most that it tells about.
pub(super) const SESSIONS_SHOWN_MAX: usize = 10_000;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(
        web::scope("/api/v1")
            .route("/topology", web::get().to(get_topology))
            .route("/sessions", web::get().to(get_sessions))
            .route("/events", web::get().to(events::get))
            .route("/log", web::get().to(get_log))
            .route("/log", web::put().to(put_log))
            .route("/nodes/{key}", web::delete().to(delete_node))
            .route("/nodes/{key}/leave", web::post().to(post_leave))
            .route("/partitions/{partition}/switchover", web::post().to(switch_master))
            .route("/partitions/{partition}/recover", web::post().to(recover_partition))
            .route("/breaker", web::get().to(get_breaker))
            .route("/breaker/reset", web::post().to(reset_breaker))
            .route("/sandbox", web::get().to(get_sandbox))
            .route("/sandbox/{order}", web::post().to(post_sandbox)),
    );
}

/// Bodies are small, and what is wrong with one is a sentence.
pub(super) fn json_limits() -> web::JsonConfig {
    web::JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| {
        Failure::Bad(format!("the body of the request cannot be used: {error}")).into()
    })
}

pub(super) async fn not_found(request: HttpRequest) -> HttpResponse {
    let error = format!("there is no {} {} here", request.method(), request.path());
    HttpResponse::NotFound().json(json!({ "error": error }))
}

fn answer(body: impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(body)
}

async fn get_topology(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    let overview = ask(&admin.sources.overview, "topology", GetOverview).await?;
    Ok(answer(view::topology(&overview, admin.manifest().as_ref(), admin.sandbox.is_some())))
}

#[derive(Deserialize)]
struct Most {
    limit: Option<usize>,
}

async fn get_sessions(
    request: HttpRequest,
    admin: web::Data<Admin>,
    most: Result<web::Query<Most>, actix_web::Error>,
) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    let most = most.map_err(|_| {
        Failure::Bad(format!("limit must be a number; at most {SESSIONS_SHOWN_MAX} are shown"))
    })?;
    let most = most.limit.unwrap_or(SESSIONS_SHOWN).min(SESSIONS_SHOWN_MAX);
    let sessions = ask(&admin.sources.sessions, "listener", GetSessions { most }).await?;
    let wire = admin.log.as_ref().map(|log| log.status().wire).unwrap_or_default();
    Ok(answer(view::sessions(&sessions, |id| wire.contains(&id))))
}

fn log_status(status: &LogStatus) -> HttpResponse {
    answer(json!({
        "filter": status.filter,
        "wire": status.wire,
        "linesLost": status.lines_lost,
    }))
}

async fn get_log(request: HttpRequest, admin: web::Data<Admin>) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    let log = admin.log.as_ref().ok_or(Failure::Absent("log that can be changed"))?;
    Ok(log_status(&log.status()))
}

/// The body of an order; `example` is for whoever sent another.
fn wished<T>(wish: Result<web::Json<T>, actix_web::Error>, example: &str) -> Result<T, Failure> {
    let wish = wish.map_err(|_| {
        Failure::Bad(format!("the body must be application/json, such as {example}"))
    })?;
    Ok(wish.into_inner())
}

/// What is to change about the log: `{"filter": "debug"}` or `{"connection": 7, "wire": true}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum LogWish {
    Filter { filter: String },
    Wire { connection: u64, wire: bool },
}

async fn put_log(
    request: HttpRequest,
    admin: web::Data<Admin>,
    wish: Result<web::Json<LogWish>, actix_web::Error>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let log = admin.log.as_ref().ok_or(Failure::Absent("log that can be changed"))?;
    let wish = wished(wish, r#"{"filter": "debug"} or {"connection": 7, "wire": true}"#)?;
    match wish {
        LogWish::Filter { filter } => log.set_filter(&filter),
        LogWish::Wire { connection, wire } => log.set_wire(connection, wire),
    }
    .map_err(Failure::Log)?;
    Ok(log_status(&log.status()))
}

fn node_key(text: &str) -> Result<NodeKey, Failure> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    NodeKey::parse(text)
        .filter(|_| plain)
        .ok_or_else(|| Failure::Bad("a node is named name:port, such as 10.0.0.7:12121".to_owned()))
}

async fn delete_node(
    request: HttpRequest,
    admin: web::Data<Admin>,
    key: web::Path<String>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let node = node_key(&key)?;
    let forget = ForgetNode { node: node.clone() };
    order(ANSWER_DEADLINE, &admin.sources.forget, "topology", forget)
        .await?
        .map_err(Failure::Refused)?;
    tracing::info!(%node, peer = ?request.peer_addr(), "a person ordered to forget a node");
    Ok(answer(json!({ "forgotten": node })))
}

/// Does the node leave (`{}`), or stay after all?
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LeaveWish {
    cancel: bool,
}

async fn post_leave(
    request: HttpRequest,
    admin: web::Data<Admin>,
    key: web::Path<String>,
    wish: Result<web::Json<LeaveWish>, actix_web::Error>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let node = node_key(&key)?;
    let wish = wished(wish, r#"{} or {"cancel": true}"#)?;
    let leaves = !wish.cancel;
    tracing::info!(%node, leaves, peer = ?request.peer_addr(), "a person has a node leave or stay");
    let prepare = PrepareToLeave { node: node.clone(), leaves, origin: Origin::Admin };
    match order(SWITCH_DEADLINE, &admin.sources.leave, "topology", prepare).await? {
        flare_core::topology::Answer::Refused(refusal) => Err(Failure::Refused(refusal)),
        _ if leaves => Ok(answer(json!({ "mayStop": node }))),
        _ => Ok(answer(json!({ "stays": node }))),
    }
}

fn partition_number(text: &str) -> Result<i32, Failure> {
    text.parse().map_err(|_| Failure::Bad(format!("`{text}` is not the number of a partition")))
}

/// Which node is to take over, and how: `{}` lets the index choose and parks the writes.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct SwitchWish {
    to: Option<String>,
    pause: bool,
    end_clients: bool,
}

async fn switch_master(
    request: HttpRequest,
    admin: web::Data<Admin>,
    partition: web::Path<String>,
    wish: Result<web::Json<SwitchWish>, actix_web::Error>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let partition = partition_number(&partition)?;
    let wish =
        wished(wish, r#"{} or {"to": "10.0.0.7:12121", "pause": true, "endClients": true}"#)?;
    let to = wish.to.as_deref().map(node_key).transpose()?;
    let way = if wish.pause { HandoverWay::Pause } else { HandoverWay::Park };
    let how = HandoverHow { way, end_clients: wish.end_clients };
    tracing::info!(partition, ?to, ?how, peer = ?request.peer_addr(), "a person swaps a master");
    let switch = SwitchMaster { partition, to, how };
    order(SWITCH_DEADLINE, &admin.sources.switch, "topology", switch)
        .await?
        .map_err(Failure::Refused)?;
    Ok(answer(json!({ "switched": partition })))
}

/// The node that holds the copy to go on with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecoverWish {
    from: String,
}

async fn recover_partition(
    request: HttpRequest,
    admin: web::Data<Admin>,
    partition: web::Path<String>,
    wish: Result<web::Json<RecoverWish>, actix_web::Error>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let partition = partition_number(&partition)?;
    let wish = wished(wish, r#"{"from": "10.0.0.7:12121"}"#)?;
    let from = node_key(&wish.from)?;
    tracing::info!(partition, %from, peer = ?request.peer_addr(), "a person recovers a partition");
    let recover = RecoverPartition { partition, from: from.clone() };
    order(ANSWER_DEADLINE, &admin.sources.recover, "topology", recover)
        .await?
        .map_err(Failure::Refused)?;
    Ok(answer(json!({ "recovering": partition, "from": from })))
}

async fn get_breaker(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    let status = ask(&admin.sources.breaker, "failover", GetBreaker).await?;
    Ok(answer(view::breaker(&status)))
}

async fn reset_breaker(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    tracing::info!(peer = ?request.peer_addr(), "a person closes the circuit breaker");
    order(ANSWER_DEADLINE, &admin.sources.reset_breaker, "failover", ResetBreaker).await?;
    Ok(answer(json!({ "reset": true })))
}

async fn get_sandbox(
    request: HttpRequest,
    admin: web::Data<Admin>,
) -> Result<HttpResponse, Failure> {
    guard::check_read(&request)?;
    ask_sandbox(&admin, &Order::Nodes).await
}

/// The node that an order is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    node: String,
}

async fn post_sandbox(
    request: HttpRequest,
    admin: web::Data<Admin>,
    order: web::Path<String>,
    body: Option<web::Json<OrderBody>>,
) -> Result<HttpResponse, Failure> {
    guard::check_write(&request)?;
    let node = || {
        let body = body.as_ref();
        let example = r#"{"node": "127.0.0.1:12121"}"#;
        let missing =
            || Failure::Bad(format!("the body must be application/json, such as {example}"));
        node_key(&body.ok_or_else(missing)?.node)
    };
    let order = match order.as_str() {
        "kill" => Order::Kill(node()?),
        "freeze" => Order::Freeze(node()?),
        "revive" => Order::Revive(node()?),
        "add" => Order::Add,
        _ => return Err(Failure::Absent("such order to the sandbox")),
    };
    ask_sandbox(&admin, &order).await
}

async fn ask_sandbox(admin: &Admin, order: &Order) -> Result<HttpResponse, Failure> {
    let control = admin.sandbox.ok_or(Failure::Absent("sandbox"))?;
    match sandbox::ask(control, order).await {
        Ok(Answer::Failed { error }) => Err(Failure::Sandbox(error)),
        Ok(nodes) => Ok(answer(nodes)),
        Err(error) => Err(Failure::Sandbox(format!("the sandbox cannot be asked: {error}"))),
    }
}
