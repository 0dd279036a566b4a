//! Free TCP ports that stay free while the process that used them is dead.
//!
//! A node must come back under its port, and so must the index. A port that the kernel hands out
//! (`bind` to port 0) is from the range it also takes for outgoing connections, so it can be gone
//! when its owner restarts. These ports come from below that range.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

/// First port that is given out.
const FIRST: u16 = 13_000;

/// How many ports there are; the end stays below 32768, where Linux begins with outgoing ones.
const COUNT: u16 = 18_000;

/// Gives out each port once in the life of this process.
#[derive(Debug)]
pub struct Ports {
    next: AtomicU32,
}

impl Ports {
    /// Begins at a place that differs from process to process, so that two runners on one machine
    /// rarely try the same ports.
    pub fn new() -> Self {
        Self { next: AtomicU32::new(rand::random_range(0..u32::from(COUNT))) }
    }

    /// The next port on which nobody listens at any address.
    pub fn take(&self) -> Result<u16> {
        self.take_block(1)
    }

    /// The first of the next `size` ports in a row on which nobody listens at any address.
    pub fn take_block(&self, size: u16) -> Result<u16> {
        for _ in 0..COUNT {
            let start = self.next.fetch_add(u32::from(size), Ordering::Relaxed) % u32::from(COUNT);
            let start = FIRST + u16::try_from(start).expect("it is below COUNT, a u16");
            // the block that would run over the end is left out
            let inside = start <= FIRST + (COUNT - size);
            let free = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
            if inside && (start..start + size).all(free) {
                return Ok(start);
            }
        }
        bail!("no {size} ports between {FIRST} and {} are free", FIRST + COUNT)
    }
}

impl Default for Ports {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_or_while_it_is_in_use() {
        let ports = Ports::new();
        let first = ports.take().unwrap();
        let held = TcpListener::bind((Ipv4Addr::UNSPECIFIED, first + 1));
        let mut seen = vec![first];
        for _ in 0..50 {
            let port = ports.take().unwrap();
            assert!(!seen.contains(&port));
            assert!(held.is_err() || port != first + 1);
            seen.push(port);
        }
    }

    #[test]
    fn a_block_is_not_given_out_again_port_by_port() {
        let ports = Ports::new();
        let block = ports.take_block(100).unwrap();
        assert!(block >= FIRST && block + 100 <= FIRST + COUNT);
        let next = ports.take().unwrap();
        assert!(!(block..block + 100).contains(&next));
    }
}
