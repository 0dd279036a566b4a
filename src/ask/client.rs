//! Asks a running index over its admin interface, by HTTP on the loopback interface.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use flare_actors::admin::WRITE_HEADER;
use flare_actors::overview::{ANSWER_DEADLINE, SWITCH_DEADLINE};
use flare_core::model::NodeKey;
use serde_json::Value;
use ureq::http::{self, StatusCode};
use ureq::{Agent, Body, Timeout};

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
        let response = request.call().map_err(|error| self.nobody(&error))?;
        let status = response.status();
        let text = read(response)
            .with_context(|| format!("the answer of {} ended in the middle", self.admin))?;
        self.answer(status, &text)
    }

    /// Orders something.
    ///
    /// # Errors
    /// [`Misuse`] when no index answers there; the index's own sentence when it refuses. An order
    /// that was sent and not answered may have been done, and the error says so.
    pub(super) fn order(&self, path: &str, body: &Value) -> Result<Value> {
        let request = agent(SWITCH_DEADLINE)
            .post(self.url(path))
            .header(WRITE_HEADER, "1")
            .header("content-type", "application/json");
        let response = request.send(body.to_string()).map_err(|error| match is_unsent(&error) {
            true => self.nobody(&error).into(),
            false => self.unanswered(&error),
        })?;
        let status = response.status();
        let text = read(response).map_err(|error| self.unanswered(&error))?;
        self.answer(status, &text)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.admin)
    }

    fn nobody(&self, error: &ureq::Error) -> Misuse {
        let admin = self.admin;
        Misuse(format!(
            "no index answers at {admin}: {error}. Is it running, and is its --admin address this \
             one? It is reached from its own machine only"
        ))
    }

    fn unanswered(&self, error: &ureq::Error) -> anyhow::Error {
        let admin = self.admin;
        anyhow!(
            "the index at {admin} was sent the order, and its answer did not come ({error}): it is \
             not known whether the order was done. Look at flare-operator status"
        )
    }

    /// What the index answered, in its own words.
    fn answer(&self, status: StatusCode, text: &str) -> Result<Value> {
        let no_index = || Misuse(format!("what answers at {} is no index: {status}", self.admin));
        let body: Value = serde_json::from_str(text).map_err(|_| no_index())?;
        if status.is_success() {
            return Ok(body);
        }
        match body.get("error").and_then(Value::as_str) {
            // Nobody refused it: who should have done it did not answer the admin interface.
            Some(sentence) if status == StatusCode::GATEWAY_TIMEOUT => Err(anyhow!("{sentence}")),
            Some(sentence) => Err(anyhow!("refused: {sentence}")),
            None => Err(no_index().into()),
        }
    }
}

/// Did it go wrong before anything was sent?
fn is_unsent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
        ),
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve)
        | ureq::Error::ConnectionFailed
        | ureq::Error::HostNotFound
        | ureq::Error::BadUri(_) => true,
        _ => false,
    }
}

fn read(mut response: http::Response<Body>) -> Result<String, ureq::Error> {
    response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()
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
