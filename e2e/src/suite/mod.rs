//! The end-to-end suites: real processes on real sockets, and a TAP runner around them.
//!
//! A test starts an index and nodes, does something to them, and asserts on two things: the maps
//! by which the *nodes* work, and the keys that clients read. `cases/` holds the tests; the other
//! modules are what they are written with.

mod args;
pub mod blow;
pub mod cases;
pub mod client;
pub mod cluster;
pub mod context;
mod copies;
pub mod damage;
mod eventually;
pub mod http;
pub mod index;
pub mod keys;
mod manifest;
pub mod map;
pub mod network;
pub mod node;
pub mod ports;
pub mod process;
pub mod runner;
pub mod tap;
pub mod trial;
pub mod wiretap;
pub mod witness;

pub use args::{ReplayArgs, SuiteArgs};
pub use eventually::{PATIENCE, eventually, throughout};
