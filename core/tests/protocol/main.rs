//! The text protocol against what upstream's flarei and flared say on a socket.

mod index_transcripts;
mod lines;
mod node_transcripts;
mod random;
mod requests;
mod transcripts;
