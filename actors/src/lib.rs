//! Waits, decides nothing: the actors around `flare_core`.
//!
//! * [`topology`]: owns the node map of a cluster; [`store`]: writes it; [`failover`]: owns the
//!   suspicion; [`link`]: the connection to one node; [`session`]: the index port.
//! * [`admin`], [`metrics`], [`logs`], [`manifest`]: what people see and ask for.
//! * [`cluster`]: starts the actors of one cluster and ties them together.
//! * [`clock`], [`net`]: what actors are handed, so that tests can hand in others.
//! * [`names`], [`whereabouts`]: looking names up, and where nodes were last reached.
//! * [`park`]: the relay that stands in for a master while it is swapped.
//! * [`ask`], [`obituary`]: how actors ask each other, and how none dies unheard.

mod accepting;
pub mod admin;
pub mod ask;
pub mod clock;
pub mod cluster;
pub mod failover;
pub mod kind;
pub mod link;
pub mod logs;
pub mod manifest;
pub mod metrics;
pub mod names;
pub mod net;
pub mod obituary;
pub mod overview;
pub mod park;
pub mod process;
pub mod reduction;
pub mod session;
pub mod store;
pub mod topology;
pub mod whereabouts;
