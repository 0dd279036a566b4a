//! `stats threads request`: who is connected to the node?
//!
//! ```text
//! stats threads request
//! -> STAT <id>:type 1
//!    STAT <id>:peer <address>:<port>
//!    … (eight lines per connection)
//!    END
//! ```
//!
//! Clients, other nodes and the index are all of type 1 (flare-protocol.md 4.9); only their
//! addresses tell them apart.

use std::net::IpAddr;

use crate::protocol::node::stats_threads::thread_line;
use crate::protocol::node::{Reply, ReplyError, number};

/// The request.
pub const REQUEST: &[u8] = b"stats threads request\r\n";

/// The type of a thread that serves a connection.
const REQUESTS: u32 = 1;

/// A connection that the node serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientThread {
    /// What `kill` takes.
    pub thread: u32,
    /// The address of the other end.
    pub peer: IpAddr,
}

/// The reply to [`REQUEST`]; a peer that is no address is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientThreads {
    lines: usize,
    /// The connection that the lines are about.
    thread: Option<u32>,
    seen: Vec<ClientThread>,
}

impl Reply for ClientThreads {
    type Value = Vec<ClientThread>;

    fn line(&mut self, line: &[u8]) -> Result<Option<Vec<ClientThread>>, ReplyError> {
        if line == b"END" {
            return Ok(Some(std::mem::take(&mut self.seen)));
        }
        let (id, field): (u32, _) = thread_line(line, &mut self.lines)?;
        if let Some(kind) = field.strip_prefix(b"type ") {
            let kind: u32 = number(kind, line)?;
            self.thread = (kind == REQUESTS).then_some(id);
        } else if let Some(peer) = field.strip_prefix(b"peer ")
            && self.thread == Some(id)
            && let Some(peer) = address(peer)
        {
            self.seen.push(ClientThread { thread: id, peer });
        }
        Ok(None)
    }
}

/// The address in `address:port`.
fn address(peer: &[u8]) -> Option<IpAddr> {
    str::from_utf8(peer).ok()?.rsplit_once(':')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::line::LineBuffer;
    use crate::protocol::node::take;

    #[test]
    fn connections_and_who_is_at_their_other_end() {
        let mut lines = LineBuffer::for_replies();
        lines.extend(
            b"STAT 12:type 1\r\nSTAT 12:peer 10.0.0.9:59534\r\nSTAT 12:op get\r\n\
              STAT 2:type 2\r\nSTAT 2:peer 10.0.0.3:1\r\nSTAT 13:type 1\r\nSTAT 13:peer :0\r\n\
              STAT 14:type 1\r\nSTAT 14:peer 10.0.0.1:4\r\nEND\r\n",
        );
        let peer = |text: &str| text.parse().expect("an address");
        let expected = vec![
            ClientThread { thread: 12, peer: peer("10.0.0.9") },
            ClientThread { thread: 14, peer: peer("10.0.0.1") },
        ];
        assert_eq!(take(&mut ClientThreads::default(), &mut lines), Ok(Some(expected)));
    }
}
