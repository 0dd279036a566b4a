//! Asks a running index over its admin interface, by HTTP on the loopback interface.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use flare_actors::admin::WRITE_HEADER;
use flare_actors::overview::{ANSWER_DEADLINE, SWITCH_DEADLINE};
use flare_core::model::NodeKey;
use serde_json::Value;
use ureq::{Agent, Body, http};

use crate::outcome::Misuse;

/// How long the index may take to accept the connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// How much longer than the index itself waits for its actors an answer is waited for.
const SLACK: Duration = Duration::from_secs(5);

/// The longest answer: the topology of ten thousand nodes is a tenth of it.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// An index that can be asked.
pub(super) struct Client {
    admin: SocketAddr,
}

impl Client {
    pub(super) fn new(admin: SocketAddr) -> Self {
        Self { admin }
    }

    /// Asks for something; `path` comes after `/api/v1/`.
    ///
    /// # Errors
    /// As [`Client::order`].
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        let request = agent(ANSWER_DEADLINE).get(self.url(path));
        self.answer(request.call())
    }

    /// Orders something.
    ///
    /// # Errors
    /// [`Misuse`] when no index answers there; the index's own sentence when it refuses.
    pub(super) fn order(&self, path: &str, body: &Value) -> Result<Value> {
        let request = agent(SWITCH_DEADLINE)
            .post(self.url(path))
            .header(WRITE_HEADER, "1")
            .header("content-type", "application/json");
        self.answer(request.send(body.to_string()))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.admin)
    }

    fn answer(&self, answer: Result<http::Response<Body>, ureq::Error>) -> Result<Value> {
        let admin = self.admin;
        let mut response = answer.map_err(|error| {
            Misuse(format!(
                "no index answers at {admin}: {error}. Is it running, and is its --admin address \
                 this one? It is reached from its own machine only"
            ))
        })?;
        let status = response.status();
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.with_context(|| format!("the answer of {admin} ended in the middle"))?;
        let no_index = || Misuse(format!("what answers at {admin} is no index: {status}"));
        let body: Value = serde_json::from_str(&text).map_err(|_| no_index())?;
        if status.is_success() {
            return Ok(body);
        }
        match body.get("error").and_then(Value::as_str) {
            Some(sentence) => Err(anyhow!("refused: {sentence}")),
            None => Err(no_index().into()),
        }
    }
}

/// Proxies of the environment are for the network, and this is the own machine.
fn agent(patience: Duration) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT_DEADLINE))
        .timeout_global(Some(patience + SLACK))
        .build()
        .into()
}

/// A node's name as a part of a path.
pub(super) fn in_path(node: &NodeKey) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let byte =
        |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    node.as_str().bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_leave_its_part_of_the_path() {
        assert_eq!(in_path(&NodeKey::new("10.0.0.7", 12121)), "10.0.0.7:12121");
        assert_eq!(in_path(&NodeKey::new("a/../b?c", 1)), "a%2F..%2Fb%3Fc:1");
    }
}
