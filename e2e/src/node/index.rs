//! What a node says to the index: `node add` and `meta` at its start (flare-protocol.md 6.1), and
//! its reports, each once on a connection of its own (6.3, 6.5).

use std::io;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::core::Node;
use super::faults::Report;
use super::hash::KeyHash;
use super::map::{NodeInfo, NodeMap};
use super::resolver::Meta;
use super::wire::{CONNECT_ATTEMPTS, Outgoing};
use super::words::{Words, plain_u64};

/// Why a node could not register. Upstream exits with status 255.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No index server could be reached.
    #[error("no index server reachable ({servers}): {source}")]
    Unreachable {
        /// Those that were tried.
        servers: String,
        /// The last failure.
        source: io::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the index did not answer '{command}': {source}")]
    Broken {
        /// What was asked.
        command: &'static str,
        /// What happened.
        source: io::Error,
    },
    /// The answer is not what the command is answered with.
    #[error("the index answered '{command}' with '{answer}'")]
    Refused {
        /// What was asked.
        command: &'static str,
        /// The line that was not expected.
        answer: String,
    },
    /// `META` lacks something or says something that no node can work with.
    #[error("meta: {0}")]
    Meta(&'static str),
}

/// Connects to one of the index servers: a single one is tried nine times, of several each once,
/// in random order.
async fn connect(servers: &[String], limit: Duration) -> Result<Outgoing, RegistrationError> {
    let mut order: Vec<&String> = servers.iter().collect();
    order.shuffle(&mut rand::rng());
    let attempts = if order.len() == 1 { CONNECT_ATTEMPTS } else { 1 };
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for server in order {
        let Some((host, port)) = server.split_once(':') else { continue };
        match Outgoing::open(host, port.parse().unwrap_or(-1), attempts, limit).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(RegistrationError::Unreachable { servers: servers.join(", "), source: last })
}

/// Registers: the map of the reply, and the settings of the cluster.
pub(crate) async fn register(
    servers: &[String],
    limit: Duration,
    host: &str,
    port: u16,
) -> Result<(NodeMap, Meta), RegistrationError> {
    let mut index = connect(servers, limit).await?;
    let mut nodes = NodeMap::new();
    let add = format!("node add {host} {port}\r\n");
    for line in ask(&mut index, "node add", &add).await? {
        let node = NodeInfo::parse(&line).ok_or_else(|| refused("node add", &line))?;
        nodes.insert(node.key(), node);
    }
    let meta = parse_meta(&ask(&mut index, "meta", "meta\r\n").await?)?;
    Ok((nodes, meta))
}

fn refused(command: &'static str, line: &[u8]) -> RegistrationError {
    let answer = String::from_utf8_lossy(line).into_owned();
    RegistrationError::Refused { command, answer }
}

/// The lines before `END`, each of which must begin with the command's word.
async fn ask(
    index: &mut Outgoing,
    command: &'static str,
    request: &str,
) -> Result<Vec<Vec<u8>>, RegistrationError> {
    let broken = |source| RegistrationError::Broken { command, source };
    index.send(request.as_bytes()).await.map_err(broken)?;
    let mut lines = Vec::new();
    loop {
        let line = index.line().await.map_err(broken)?;
        match Words::new(&line).word(usize::MAX) {
            b"END" => return Ok(lines),
            b"NODE" | b"META" => lines.push(line),
            _ => return Err(refused(command, &line)),
        }
    }
}

/// Unknown keys are skipped; `partition-type` must be there (flare-protocol.md 3.1), and so must
/// the hint, without which upstream was seen to crash.
fn parse_meta(lines: &[Vec<u8>]) -> Result<Meta, RegistrationError> {
    let mut meta = Meta { partition_size: 1024, hash: KeyHash::Simple, hint: 0, virtuals: 4096 };
    let mut typed = false;
    for line in lines {
        let mut words = Words::new(line);
        if words.word(usize::MAX) != b"META" {
            return Err(refused("meta", line));
        }
        let name = words.word(usize::MAX);
        let value = words.word(usize::MAX);
        let number = || plain_u64(value).and_then(|value| usize::try_from(value).ok());
        match name {
            b"partition-size" => meta.partition_size = number().ok_or(bad("partition-size"))?,
            b"partition-modular-hint" => meta.hint = number().ok_or(bad("hint"))?,
            b"partition-modular-virtual" => meta.virtuals = number().ok_or(bad("virtual"))?,
            b"partition-type" if value == b"modular" => typed = true,
            b"partition-type" => return Err(bad("partition-type is not modular")),
            b"key-hash-algorithm" => {
                meta.hash = KeyHash::named(value).ok_or(bad("unknown key-hash-algorithm"))?;
            }
            _ => {}
        }
    }
    if !typed {
        return Err(bad("no partition-type"));
    }
    if meta.hint == 0 || meta.virtuals == 0 || meta.partition_size > usize::from(u16::MAX) {
        // upstream crashes on these
        return Err(bad("hint, virtual and partition-size must be at least 1, 1 and below 65536"));
    }
    Ok(meta)
}

fn bad(what: &'static str) -> RegistrationError {
    RegistrationError::Meta(what)
}

/// Sends one report; whether the index answered `OK`.
pub(crate) async fn report(node: &Node, report: Report) -> bool {
    if node.faults.loses(report) {
        tracing::info!(node = node.key, ?report, "report lost on demand");
        return true;
    }
    node.faults.while_silent().await;
    let (host, port) = (&node.host, node.port);
    let request = match report {
        Report::Active => format!("node state {host} {port} active\r\n"),
        Report::Ready => format!("node state {host} {port} ready\r\n"),
        Report::Proxy => format!("node role {host} {port} proxy 0 -1\r\n"),
        Report::Shutdown => format!("shutdown {host} {port}\r\n"),
    };
    let servers = node.settings.borrow().index_servers();
    let answer = async {
        let mut index = connect(&servers, node.read_timeout()).await.map_err(io::Error::other)?;
        index.send(request.as_bytes()).await?;
        index.line().await
    };
    match answer.await {
        Ok(line) if line == b"OK" => true,
        Ok(line) => {
            let answer = String::from_utf8_lossy(&line);
            tracing::warn!(node = node.key, ?report, %answer, "report refused");
            false
        }
        Err(error) => {
            tracing::warn!(node = node.key, ?report, %error, "report failed");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> Result<Meta, RegistrationError> {
        let lines: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        parse_meta(&lines)
    }

    #[test]
    fn what_a_node_needs_of_meta() {
        let (kind, hint) = ("META partition-type modular", "META partition-modular-hint 1");
        let meta = parsed(&["META some-new-key 5", kind, hint]).unwrap();
        assert_eq!((meta.partition_size, meta.virtuals, meta.hint), (1024, 4096, 1));
        assert!(parsed(&[hint]).is_err(), "no type");
        assert!(parsed(&[kind]).is_err(), "no hint");
        assert!(parsed(&[kind, "META partition-modular-hint 0"]).is_err());
        assert!(parsed(&[kind, hint, "META partition-size x"]).is_err());
        assert!(parsed(&[kind, hint, "META key-hash-algorithm nonsense"]).is_err());
    }
}
