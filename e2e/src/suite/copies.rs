//! Whether all copies of a partition hold the same.
//!
//! One thing may differ, and needs no fault for it: a key that several clients set and delete at
//! the same moment. A flared hands a change to the connection to its slave after it has carried it
//! out, and two threads may do so in the other order; a deletion takes away what is not newer, and
//! a set that is older than a deletion is taken (flare-protocol.md 4.5). Then one copy has the key
//! and the other has not, either way. What a node answers for such a key must be right all the
//! same: the load's ledger says so, not the comparison.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::client::Dump;
use super::cluster::Cluster;
use super::eventually::{PATIENCE, eventually};
use crate::load::contended;

/// How long copies may take to become equal in all keys; then those that may differ may.
const EQUAL_WITHIN: Duration = Duration::from_secs(3);

impl Cluster {
    /// Waits until all copies of a partition, of `partitions` in all, hold the same: keys, values,
    /// versions and expiry.
    pub async fn copies_are_equal(&self, partition: i32, partitions: i32) -> Result<()> {
        self.copies_have_equal(partition, partitions, "", PATIENCE).await.map(|_| ())
    }

    /// As [`Self::copies_are_equal`], of the keys that begin so. The keys that may differ, and do.
    pub async fn copies_have_equal(
        &self,
        partition: i32,
        partitions: i32,
        prefix: &str,
        patience: Duration,
    ) -> Result<Vec<String>> {
        let map = self.agree("one map", |_| Ok(())).await?;
        let copies: Vec<&str> = map.master(partition).into_iter().collect();
        let copies: Vec<&str> = copies.into_iter().chain(map.slaves(partition)).collect();
        let differing = || async {
            let mut dumps = Vec::new();
            for key in &copies {
                let mut client = self.node(key)?.client().await?.answer_within(PATIENCE);
                let mut dump = client.dump(partition, partitions).await?;
                dump.retain(|name, _| name.starts_with(prefix));
                dumps.push(dump);
            }
            let mut all = Vec::new();
            for (copy, key) in dumps.iter().zip(&copies).skip(1) {
                all.extend(differing_keys(&dumps[0], copy, (copies[0], key))?);
            }
            Ok(all)
        };
        let equal = eventually(EQUAL_WITHIN.min(patience), "equal copies", || async {
            let differing = differing().await?;
            ensure!(differing.is_empty(), "{differing:?}");
            Ok(differing)
        });
        match equal.await {
            Ok(none) => Ok(none),
            Err(_) => eventually(patience, "equal copies", differing).await,
        }
    }
}

/// The keys that only one of two copies has, if those may differ.
fn differing_keys(
    first: &Dump,
    other: &Dump,
    (first_name, other_name): (&str, &str),
) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (key, entry) in first.iter().filter(|(key, entry)| other.get(*key) != Some(*entry)) {
        let may = contended::is_deleted(key) && !other.contains_key(key);
        ensure!(may, "{other_name} has not {key} {entry:?} of {first_name}");
        found.push(format!("{key}, which {other_name} lacks"));
    }
    for key in other.keys().filter(|key| !first.contains_key(*key)) {
        ensure!(contended::is_deleted(key), "{other_name} has {key}, which {first_name} lacks");
        found.push(format!("{key}, which {first_name} lacks"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_several_clients_delete_may_be_in_one_copy_alone() {
        let dump = |entries: &[(&str, &str)]| {
            let owned = entries.iter().map(|(key, entry)| (key.to_string(), entry.to_string()));
            owned.collect::<Dump>()
        };
        let compare =
            |first: &[_], other: &[_]| differing_keys(&dump(first), &dump(other), ("a", "b"));
        let keys = [("s-v1", "x"), ("s-c2", "1"), ("s-n4", "2"), ("s-w3", "y")];
        assert!(compare(&keys, &keys).expect("equal").is_empty());
        for left_out in 0..3 {
            let mut fewer = keys.to_vec();
            fewer.remove(left_out);
            assert!(compare(&keys, &fewer).is_err(), "{}", keys[left_out].0);
            assert!(compare(&fewer, &keys).is_err(), "{}", keys[left_out].0);
        }
        assert_eq!(compare(&keys, &keys[..3]).expect("it may"), ["s-w3, which b lacks"]);
        assert_eq!(compare(&keys[..3], &keys).expect("it may"), ["s-w3, which a lacks"]);
        let other_value = [keys[0], keys[1], keys[2], ("s-w3", "z")];
        assert!(compare(&keys, &other_value).is_err(), "another value");
    }
}
