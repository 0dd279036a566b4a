//! Waits, decides nothing.
