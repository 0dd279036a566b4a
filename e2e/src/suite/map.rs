//! The node map as a server shows it in `stats nodes`: read from the index and, what counts more,
//! from every node. Independent of how flare-core thinks of it.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, anyhow, bail};

/// A node's role, as the words of `stats nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Owns a partition.
    Master,
    /// Holds a copy of one.
    Slave,
    /// Holds none.
    Proxy,
}

/// A node's state, as the words of `stats nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// In service.
    Active,
    /// Copying.
    Prepare,
    /// Dead, for the index.
    Down,
    /// Copied; waits to be activated.
    Ready,
}

/// One node's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its role.
    pub role: Role,
    /// Its state.
    pub state: State,
    /// Its partition, -1 for none.
    pub partition: i32,
    /// Its weight for reads.
    pub balance: i32,
    /// The number under which other nodes keep their connections to it.
    pub thread_type: u32,
}

/// A whole map: node key to entry, in the order of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMap(pub BTreeMap<String, Entry>);

impl NodeMap {
    /// Reads the pairs of `stats nodes`.
    pub fn from_stats(pairs: &BTreeMap<String, String>) -> Result<Self> {
        let mut fields: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for (name, value) in pairs {
            let (key, field) =
                name.rsplit_once(':').ok_or_else(|| anyhow!("no field in `{name}`"))?;
            fields.entry(key).or_default().insert(field, value);
        }
        let entries = fields.into_iter().map(|(key, fields)| {
            let entry = entry(&fields).with_context(|| format!("node {key}"))?;
            Ok((key.to_owned(), entry))
        });
        entries.collect::<Result<_>>().map(Self)
    }

    /// The entry of a node; an error if it is not there.
    pub fn node(&self, key: &str) -> Result<&Entry> {
        self.0.get(key).ok_or_else(|| anyhow!("{key} is not in the map: {self}"))
    }

    /// The key of the partition's master in state active, if there is one.
    pub fn master(&self, partition: i32) -> Option<&str> {
        self.having(Role::Master, State::Active, Some(partition)).next()
    }

    /// The keys of the partition's slaves in state active.
    pub fn slaves(&self, partition: i32) -> Vec<&str> {
        self.having(Role::Slave, State::Active, Some(partition)).collect()
    }

    /// How many nodes have this role and state.
    pub fn count(&self, role: Role, state: State) -> usize {
        self.having(role, state, None).count()
    }

    fn having(
        &self,
        role: Role,
        state: State,
        partition: Option<i32>,
    ) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(_, e)| {
                e.role == role && e.state == state && partition.is_none_or(|p| e.partition == p)
            })
            .map(|(key, _)| key.as_str())
    }

    /// An error unless partitions `0..partitions` each have one active master and
    /// `copies - 1` active slaves, and nothing is preparing.
    pub fn require_shape(&self, partitions: i32, copies: usize) -> Result<()> {
        for partition in 0..partitions {
            let masters = self.having(Role::Master, State::Active, Some(partition)).count();
            let slaves = self.slaves(partition).len();
            if masters != 1 || slaves + 1 != copies {
                bail!("partition {partition} has {masters} masters and {slaves} slaves:\n{self}");
            }
        }
        let settled = |e: &Entry| matches!(e.state, State::Active | State::Down);
        if let Some((key, _)) = self.0.iter().find(|(_, e)| !settled(e)) {
            bail!("{key} is not settled:\n{self}");
        }
        let masters = self.0.values().filter(|e| e.role == Role::Master).count();
        if i32::try_from(masters)? != partitions {
            bail!("{masters} masters for {partitions} partitions:\n{self}");
        }
        Ok(())
    }
}

fn entry(fields: &BTreeMap<&str, &str>) -> Result<Entry> {
    let field = |name: &str| fields.get(name).copied().ok_or_else(|| anyhow!("no {name}"));
    let role = match field("role")? {
        "master" => Role::Master,
        "slave" => Role::Slave,
        "proxy" => Role::Proxy,
        other => bail!("role {other}"),
    };
    let state = match field("state")? {
        "active" => State::Active,
        "prepare" => State::Prepare,
        "down" => State::Down,
        "ready" => State::Ready,
        other => bail!("state {other}"),
    };
    Ok(Entry {
        role,
        state,
        partition: field("partition")?.parse()?,
        balance: field("balance")?.parse()?,
        thread_type: field("thread_type")?.parse()?,
    })
}

impl fmt::Display for NodeMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "(no nodes)");
        }
        for (key, e) in &self.0 {
            let (role, state) = (e.role, e.state);
            writeln!(
                f,
                "{key} {role:?} {state:?} partition {} balance {}",
                e.partition, e.balance
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str, &str, &str)]) -> NodeMap {
        let mut pairs = BTreeMap::new();
        for (key, role, state, partition) in lines {
            for (field, value) in [
                ("role", *role),
                ("state", *state),
                ("partition", *partition),
                ("balance", "1"),
                ("thread_type", "16"),
            ] {
                pairs.insert(format!("{key}:{field}"), value.to_owned());
            }
        }
        NodeMap::from_stats(&pairs).unwrap()
    }

    #[test]
    fn a_complete_shape_is_accepted_and_each_lack_is_named() {
        let whole = map(&[
            ("h:1", "master", "active", "0"),
            ("h:2", "slave", "active", "0"),
            ("h:3", "proxy", "active", "-1"),
        ]);
        whole.require_shape(1, 2).unwrap();
        assert_eq!(whole.master(0), Some("h:1"));
        assert!(whole.require_shape(1, 3).is_err(), "a slave is missing");
        assert!(whole.require_shape(2, 2).is_err(), "a partition is missing");
        let two = map(&[("h:1", "master", "active", "0"), ("h:2", "master", "down", "0")]);
        assert!(two.require_shape(1, 1).is_err(), "a master too many, though it is down");
        let busy = map(&[("h:1", "master", "active", "0"), ("h:2", "master", "ready", "1")]);
        assert!(busy.require_shape(1, 1).is_err(), "a partition is in preparation");
    }
}
