//! The flare-operator binary.

fn main() {}
