//! flarei's text protocol: one file per command, parse and encode, byte for byte.

pub mod encode;
