//! The node-side transcripts of `e2e/wire`, recorded from upstream's flared, replayed against the
//! stand-in: it must send what flared sent, on every connection, in the same order.

mod engine;
mod reload;
mod scenes;
mod shape;
mod wires;
