//! The words of a script line: positional words and `name=value`.

use std::str::FromStr;

use flare_core::model::NodeKey;
use flare_core::zones::{Zone, Zones};

/// One line, cut into words.
pub(crate) struct Words<'a> {
    line: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    pub(crate) fn of(line: &'a str) -> Self {
        Self { line, words: line.split_whitespace().collect() }
    }

    pub(crate) fn word(&self, at: usize) -> &'a str {
        self.words.get(at).unwrap_or_else(|| panic!("`{}` lacks word {at}", self.line))
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    pub(crate) fn node(&self, at: usize) -> NodeKey {
        NodeKey::parse(self.word(at)).unwrap_or_else(|| panic!("`{}`: word {at}", self.line))
    }

    /// What `NODE=ZONE` and `HOST=ZONE` words say.
    pub(crate) fn zones(&self) -> Zones {
        let mut zones = Zones::default();
        for (name, zone) in self.words.iter().filter_map(|word| word.split_once('=')) {
            let zone = Zone::new(zone);
            let put = match NodeKey::parse(name) {
                Some(node) => zones.put_node(node, zone),
                None => zones.put_host(name, zone),
            };
            put.unwrap_or_else(|wrong| panic!("`{}`: {wrong}", self.line));
        }
        zones
    }

    /// The value of `name=value`.
    pub(crate) fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        self.values(name).next()
    }

    /// What all words `NAME=VALUE` say.
    pub(crate) fn values<T: FromStr>(&self, name: &str) -> impl Iterator<Item = T> {
        let all =
            self.words.iter().filter_map(move |word| word.strip_prefix(name)?.strip_prefix('='));
        all.map(move |value| value.parse().unwrap_or_else(|_| panic!("`{}`: {name}", self.line)))
    }
}
