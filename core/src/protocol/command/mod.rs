//! What the index is asked, one file per command, each in the same order: grammar and answers,
//! the type, parse, encode (flare-protocol.md 3).
//!
//! In the grammars, SP is one or more spaces, `<…>` a word, `[…]` may be left out. Any line may
//! begin with spaces, end in spaces, and start with a proxy prefix `<key,key>`.

mod kill;
mod meta;
mod node_add;
mod node_leave;
mod node_remove;
mod node_role;
mod node_state;
mod ping;
mod quit;
mod show;
mod shutdown;
mod stats;
mod stats_nodes;
mod stats_process;
mod stats_threads;
mod verbosity;
mod version;

pub use kill::Kill;
pub use meta::Meta;
pub use node_add::NodeAdd;
pub use node_leave::NodeLeave;
pub use node_remove::NodeRemove;
pub use node_role::NodeRole;
pub use node_state::NodeState;
pub use ping::Ping;
pub use quit::Quit;
pub use show::{ShowVariables, Variables};
pub use shutdown::Shutdown;
pub use stats::Stats;
pub use stats_nodes::StatsNodes;
pub use stats_process::StatsProcess;
pub use stats_threads::{StatsThreads, Thread, ThreadKind, ThreadState};
pub use verbosity::Verbosity;
pub use version::{FLARE_VERSION, Version};
