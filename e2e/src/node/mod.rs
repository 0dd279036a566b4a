//! The stand-in node: a `flared` 1.3.4 as far as an index, a client or another node can see,
//! written from flare-protocol.md and the transcripts of `e2e/wire`, over real TCP.
//!
//! A node runs on a thread of its own, with a single-threaded runtime that owns all its state: a
//! slow or stopped node disturbs no other, and killing it closes its sockets as the end of a
//! process would. Several nodes of one process differ by port, or by loopback address.
//!
//! Not imitated: the binary protocol, the Unix socket, `proxy-prior-netmask`, the time watcher and
//! storage compression. Their settings are accepted.

mod clock;
mod cluster;
mod command;
mod config;
mod control;
mod core;
mod counters;
mod dump;
mod faults;
mod handle;
mod hash;
mod index;
mod links;
mod map;
mod pid_file;
mod proxy;
mod reconstruction;
mod replication;
mod report_text;
mod requests;
mod resolver;
mod run;
mod server;
mod session;
mod settings;
mod storage;
mod threads;
mod throttle;
mod wire;
mod words;

pub use config::{DataStore, NodeConfig};
pub use control::{CONTROL_HELP, Control};
pub use faults::{AnswerFault, Fault, Report};
pub use handle::{NodeHandle, StandInNode, StartError};
pub use index::RegistrationError;
pub use run::Exit;
pub use settings::{SETTING_NAMES, Settings, SettingsError};
