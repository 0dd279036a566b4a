//! Who asks: the node that a command is about, or anybody else (R15).

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use flare_core::model::NodeKey;
use flare_core::topology::Origin;
use tracing::debug;

use crate::net::{Network, is_same_host};

/// Does `peer` have an address of `node`'s server name? A name that cannot be resolved in time
/// makes it an outsider.
pub(super) async fn of(
    network: Rc<dyn Network>,
    node: &NodeKey,
    peer: IpAddr,
    deadline: Duration,
) -> Origin {
    let found = match tokio::time::timeout(deadline, network.resolve(node.name())).await {
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
    if found.iter().any(|address| is_same_host(&*network, *address, peer)) {
        Origin::Node
    } else {
        Origin::Outsider
    }
}
