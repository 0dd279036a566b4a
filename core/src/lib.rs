//! Decides, never waits: the Flare index protocol, the node map, its policies and invariants.
//!
//! No I/O, clock, randomness or shared state: inputs come in as values, with the time; what is to
//! be done goes out as values. `flare-actors` waits and carries out.
//!
//! * [`model`]: node keys, roles, states, entries.
//! * [`protocol`]: flarei's text protocol, parsed and encoded.
//! * [`topology`]: the node map; one entrance, `Topology::handle`.
//! * [`policy`]: what to do next, from the wanted shape, the map and what nodes told.
//! * [`invariant`]: what must hold after every step.
//! * [`stored`]: what survives a restart; [`store_format`]: its bytes; [`flare_xml`]: upstream's.
//! * [`wanted`]: what is asked for; [`zones`]: which nodes fail together.
//! * [`simulation`]: what losses of nodes do, tried out in virtual time.

pub mod flare_xml;
pub mod invariant;
pub mod model;
mod placement;
pub mod policy;
pub mod protocol;
pub mod simulation;
pub mod store_format;
pub mod stored;
pub mod stored_check;
pub mod topology;
pub mod wanted;
pub mod zones;
