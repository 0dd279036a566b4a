//! The commands that README names.

fn main() {}
