//! The wiring of the binary.
