//! The shipped actors of one cluster, on a network of pipes and paused time: every deadline and
//! pause is kept to the millisecond, and no test waits in earnest.

mod clients;
mod connecting;
mod failures;
mod hung_store;
mod limits;
mod links;
mod network;
mod node;
mod origins;
mod pushes;
mod rig;
mod sessions;
mod stuck;
