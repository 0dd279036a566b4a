//! The JSON of the connections on the index port.

use flare_core::model::NodeKey;
use serde::Serialize;

use crate::overview::{SessionFacts, Sessions};

/// `GET /api/v1/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsView {
    /// How many connections are open.
    pub open: usize,
    /// How many may be (`max-connection`).
    pub limit: usize,
    /// Some of them, the oldest: at most as many as `?limit=` asks for.
    pub sessions: Vec<SessionView>,
}

/// One connection on the index port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its number.
    pub id: u64,
    /// The other end.
    pub peer: String,
    /// The node that it speaks for.
    pub node: Option<NodeKey>,
    /// For how long it has been open.
    pub open_millis: u64,
    /// For how long nothing arrived.
    pub idle_millis: u64,
    /// Requests so far.
    pub requests: u64,
    /// Is it on wire level?
    pub wire: bool,
}

/// Converts what the listener told; `wire` says which connections are on wire level.
pub fn sessions(sessions: &Sessions, wire: impl Fn(u64) -> bool) -> SessionsView {
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let session = |facts: &SessionFacts| SessionView {
        id: facts.id,
        peer: facts.peer.to_string(),
        node: facts.node.clone(),
        open_millis: millis(facts.open_for),
        idle_millis: millis(facts.idle_for),
        requests: facts.requests,
        wire: wire(facts.id),
    };
    SessionsView {
        open: sessions.open,
        limit: sessions.limit,
        sessions: sessions.shown.iter().map(session).collect(),
    }
}
