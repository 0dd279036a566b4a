//! What losses of nodes and zones do to a cluster: the shipped topology and failover policy among
//! simulated nodes, in virtual time. Pure like everything here: no clock, no chance, no I/O.
//!
//! `flare-operator simulate breaker` shows it. [`Deployment`] says what there is, [`Conditions`]
//! how nodes are lost, [`study()`] tries every loss and tells what becomes of the partitions.
//! `layout` is where the shipped policy puts everything, `cluster` the index in virtual time,
//! `life` what goes on at the nodes and on the links to them, `node` a flared as the index sees it.

mod cluster;
mod conditions;
mod deployment;
mod layout;
mod life;
mod node;
mod study;

pub use conditions::{Conditions, Manner, Storage};
pub use deployment::{Deployment, DeploymentError, SIMULATED_NODES_MAX};
pub use study::{Case, Kind, Outcome, study};
