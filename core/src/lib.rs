//! Decides, never waits.
