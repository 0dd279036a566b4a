//! The text protocol against what upstream's flarei and flared say on a socket.

mod lines;
mod requests;
