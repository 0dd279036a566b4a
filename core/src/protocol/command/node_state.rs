//! `node state`: a node reports, or a person orders, how far a node is in its role.
//!
//! ```text
//! node SP state SP <server name> SP <server port> SP active|prepare|down|ready
//! -> OK
//! -> SERVER_ERROR failed to set state
//! ```

use crate::model::{NodeKey, State};
use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// `node state`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeState {
    /// The node whose state is to change.
    pub node: NodeKey,
    /// The wanted state.
    pub state: State,
}

impl NodeState {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        let state = match words.word(LONG_WORD_MAX) {
            b"" => return Err(Malformed::Missing("state").into()),
            word => str::from_utf8(word).ok().and_then(State::from_word),
        };
        let state = state.ok_or(Malformed::Word("state"))?;
        words.finish()?;
        Ok(Self { node: node.key(Self::REFUSED)?, state })
    }

    /// Done, or nothing was to do.
    pub const OK: &'static [u8] = reply::OK;

    /// Not done.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to set state\r\n";
}
