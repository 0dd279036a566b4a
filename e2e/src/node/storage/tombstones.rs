//! Versions of deleted keys, remembered in memory only (flare-protocol.md 1.9, 4.5).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// What is remembered of a deleted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tombstone {
    /// Unix seconds; in the future only for a delete with an expire.
    pub(super) expire: u64,
    pub(super) version: u64,
}

/// At most `limit` (`storage-cache-size`) of them, the oldest insertion dropped first.
#[derive(Debug)]
pub(super) struct Tombstones {
    limit: usize,
    of: HashMap<Bytes, Tombstone>,
    order: VecDeque<Bytes>,
}

impl Tombstones {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, of: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Tombstone> {
        self.of.get(key).copied()
    }

    pub(super) fn set(&mut self, key: &Bytes, tombstone: Tombstone) {
        if self.of.insert(key.clone(), tombstone).is_none() {
            self.order.push_back(key.clone());
        }
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.of.remove(&oldest);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.order.clear();
    }
}
