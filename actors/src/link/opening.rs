//! Opening the connection to a node.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::RESOLVE_DEADLINE;
use crate::net::{Network, Stream};
use crate::whereabouts::Whereabouts;

/// Resolves the node's name and connects to the first of its addresses that takes us. A name that
/// cannot be resolved in time leads where it last led: a name server that is away must not look
/// like dead nodes.
pub(super) async fn open(
    network: Rc<dyn Network>,
    name: String,
    port: i32,
    last: Option<Whereabouts>,
) -> io::Result<(Box<dyn Stream>, Whereabouts)> {
    let port = u16::try_from(port)
        .map_err(|_| io::Error::other(format!("{port} is not a port that can be connected to")))?;
    let resolved = match tokio::time::timeout(RESOLVE_DEADLINE, network.resolve(&name)).await {
        Ok(resolved) => resolved,
        Err(_) => Err(io::Error::other("the name was not resolved in time")),
    };
    let (addresses, all) = match (resolved, last) {
        (Ok(found), _) => (found.clone(), found),
        (Err(_), Some(last)) => (vec![last.reached.ip()], last.all),
        (Err(error), None) => return Err(io::Error::other(error)),
    };
    let mut failure = io::Error::other("the name has no address");
    for address in addresses {
        let reached = SocketAddr::new(address, port);
        match network.connect_to_order(reached).await {
            Ok(stream) => return Ok((stream, Whereabouts { reached, all })),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
