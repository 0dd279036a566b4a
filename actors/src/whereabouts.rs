//! Where nodes were last reached: learned by links, published whole by the topology, so that nobody
//! else has to ask a name server for a node that the index is connected to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use flare_core::model::NodeKey;

/// Where one node was last reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where it took the connection of its link.
    pub reached: SocketAddr,
    /// All addresses that its name had then.
    pub all: Vec<IpAddr>,
}

/// The whereabouts of the nodes of the map that were reached since the index began.
pub type Addresses = Arc<BTreeMap<NodeKey, Whereabouts>>;
