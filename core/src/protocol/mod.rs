//! flarei's text protocol: lines in, requests out, replies byte for byte (flare-protocol.md 2-4).
//!
//! * [`mod@line`]: cuts a stream into lines, with limits; [`words`]: cuts a line into words.
//! * [`request`]: a line becomes a [`Request`] or a [`Rejected`] with the answer upstream gives.
//! * [`command`]: what the index is asked, one file per command.
//! * [`node`]: what the index asks nodes, one file per command.
//! * [`relayed`]: how the requests begin that nodes send each other.
//! * [`node_line`] and [`encode`]: the node map as text.
//!
//! Nothing here waits or decides: sessions and links read and write, `topology` decides.

pub mod command;
pub mod encode;
pub mod line;
pub mod node;
pub mod node_line;
pub mod relayed;
pub mod reply;
pub mod request;
pub mod words;

pub use line::{Frame, LineBuffer, LineError};
pub use request::{Rejected, Request};
pub use words::Malformed;
