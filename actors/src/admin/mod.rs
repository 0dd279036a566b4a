//! The admin interface: what a person, a probe or a script asks of the index over HTTP.

pub mod sandbox;
