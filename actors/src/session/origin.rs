//! Who asks: the node that a command is about, or anybody else (R15).
//!
//! Where a node was last reached is asked first, so that no name server is needed for a node that
//! the index is connected to. A name that the map does not know is looked up only for `node add`.

use std::net::IpAddr;
use std::time::Duration;

use flare_core::model::NodeKey;
use flare_core::topology::Origin;
use tracing::debug;

use super::SessionHome;
use crate::names::{Asker, look_up};
use crate::net::is_same_host;

/// Does `peer` have an address of `node`'s server name? A name that cannot be resolved in time
/// makes it an outsider; so does an unknown one, unless the command is what makes it known.
pub(super) async fn of(
    home: &SessionHome,
    (node, registers): (&NodeKey, bool),
    peer: IpAddr,
    deadline: Duration,
) -> Origin {
    let is_peer = |address: &IpAddr| is_same_host(&*home.network, *address, peer);
    let last = home.addresses.borrow().get(node).cloned();
    if last.is_some_and(|last| last.all.iter().any(is_peer)) {
        return Origin::Node;
    }
    if !registers && home.published.borrow().snapshot.node(node).is_none() {
        return Origin::Outsider;
    }
    let asked = look_up(&home.names, node.name().to_owned(), Asker::Peer(peer));
    let found = match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            debug!(%node, %error, "the node's name cannot be resolved");
            return Origin::Outsider;
        }
        Err(_) => {
            debug!(%node, ?deadline, "the node's name was not resolved in time");
            return Origin::Outsider;
        }
    };
    if found.iter().any(is_peer) { Origin::Node } else { Origin::Outsider }
}
