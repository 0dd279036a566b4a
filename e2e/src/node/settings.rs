//! flared's settings: the keys of its configuration file, which are also its long options, with
//! their kinds and defaults, and how `show variables` prints them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Why settings were refused. A flared that meets one exits with status 255.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// No such key, in the file or on the command line.
    #[error("unknown setting '{0}'")]
    Unknown(String),
    /// The value does not fit the key's kind.
    #[error("setting '{key}': '{value}' is not {wanted}")]
    Value {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What is accepted.
        wanted: &'static str,
    },
    /// A key that must be given is missing, or two exclude each other.
    #[error("{0}")]
    Missing(&'static str),
    /// The file cannot be read.
    #[error("configuration file {path}: {reason}")]
    File {
        /// As given.
        path: String,
        /// What the system said.
        reason: String,
    },
}

/// What a key's value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Boolean,
    /// On by being present, whatever its value (Q18).
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One key of flared's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
    /// Whether SIGHUP takes a new value from the file.
    reload: bool,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, reload: bool) -> Key {
    Key { name, kind, default, reload }
}

use Kind::{Boolean, Flag, Number, Text, Word};

/// Keys, kinds, defaults and what SIGHUP changes: flare-config.md, "Keys".
pub(crate) const KEYS: &[Key] = &[
    key("back-log", Number, "30", false),
    key("data-dir", Text, "", false),
    key("daemonize", Flag, "false", false),
    key("index-servers", Text, "", true),
    key("index-server-name", Text, "", true),
    key("index-server-port", Number, "12120", true),
    key("log-facility", Text, "", true),
    key("max-connection", Number, "128", true),
    key("mutex-slot", Number, "64", false),
    key("noreply-window-limit", Number, "0", true),
    key("net-read-timeout", Number, "600", true),
    key("proxy-concurrency", Number, "2", false),
    key("reconstruction-interval", Number, "0", true),
    key("reconstruction-bwlimit", Number, "0", true),
    key("replication-type", Word(&["async", "sync"]), "async", true),
    key("server-name", Text, "", false),
    key("server-port", Number, "12121", false),
    key("server-socket", Text, "", false),
    key("stack-size", Number, "128", false),
    key("storage-ap", Number, "4", false),
    key("storage-fp", Number, "10", false),
    key("storage-bucket-size", Number, "131071", false),
    key("storage-cache-size", Number, "65536", false),
    key("storage-compress", Word(&["", "deflate", "bz2", "tcbs"]), "", false),
    key("storage-large", Flag, "false", false),
    key("storage-lmemb", Number, "128", false),
    key("storage-nmemb", Number, "256", false),
    key("storage-dfunit", Number, "0", false),
    key("storage-type", Word(&["tch", "tcb", "kch"]), "tch", false),
    key("thread-pool-size", Number, "5", true),
    key("proxy-prior-netmask", Number, "0", false),
    key("max-total-thread-queue", Number, "0", true),
    key("time-watcher-enabled", Boolean, "false", true),
    key("time-watcher-polling-interval-msec", Number, "0", true),
    key("storage-access-watch-threshold-warn-msec", Number, "0", true),
    key("storage-access-watch-threshold-ping-ng-msec", Number, "0", true),
    key("cluster-replication", Boolean, "false", true),
    key("cluster-replication-server-name", Text, "", true),
    key("cluster-replication-server-port", Number, "12121", true),
    key("cluster-replication-concurrency", Number, "", false),
    key("cluster-replication-mode", Word(&["duplicate", "forward"]), "duplicate", true),
];

/// The values of all keys.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, String>,
}

/// All keys, and whether each is a flag, which takes no value.
pub const SETTING_NAMES: [(&str, bool); KEYS.len()] = {
    let mut names = [("", false); KEYS.len()];
    let mut index = 0;
    while index < KEYS.len() {
        names[index] = (KEYS[index].name, matches!(KEYS[index].kind, Kind::Flag));
        index += 1;
    }
    names
};

fn find(name: &str) -> Result<&'static Key, SettingsError> {
    let key = KEYS.iter().find(|key| key.name == name);
    key.ok_or_else(|| SettingsError::Unknown(name.to_owned()))
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// As a configuration file.
impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.given.iter().try_for_each(|(key, value)| writeln!(f, "{key} = {value}"))
    }
}

impl Settings {
    /// Gives a key a value; unknown keys and values of the wrong kind are errors.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingsError> {
        let key = find(name)?;
        let wanted = match key.kind {
            Kind::Text | Kind::Flag => None,
            Kind::Number => value.parse::<u64>().is_err().then_some("a number of 0 or more"),
            Kind::Boolean => boolean(value).is_none().then_some("true or false"),
            Kind::Word(words) => {
                (!words.contains(&value)).then_some("one of the words that the key takes")
            }
        };
        if let Some(wanted) = wanted {
            let (key, value) = (name.to_owned(), value.to_owned());
            return Err(SettingsError::Value { key, value, wanted });
        }
        let value = match key.kind {
            Kind::Flag => "true".to_owned(),
            Kind::Boolean => boolean(value).unwrap_or_default().to_string(),
            _ => value.to_owned(),
        };
        self.given.insert(key.name, value);
        Ok(())
    }

    /// Takes `key = value` lines; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            settings.set(name.trim(), value.trim())?;
        }
        Ok(settings)
    }

    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path).map_err(|e| SettingsError::File {
            path: path.display().to_string(),
            reason: e.to_string(),
        })?;
        Self::parse(&text)
    }

    /// Takes over every value that the other one gives.
    pub fn overlay(&mut self, other: &Self) {
        self.given.extend(other.given.iter().map(|(key, value)| (*key, value.clone())));
    }

    /// What SIGHUP does with the file's settings: only keys that it may change, and only those
    /// that the file gives.
    pub(crate) fn reload(&mut self, file: &Self) {
        let may = |name: &str| find(name).is_ok_and(|key| key.reload);
        let taken = file.given.iter().filter(|(name, _)| may(name));
        self.given.extend(taken.map(|(key, value)| (*key, value.clone())));
    }

    /// Whether a value was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A key's value, or its default. Asking for a key that is not in the table is a slip in this
    /// crate and panics.
    pub(crate) fn text(&self, name: &str) -> &str {
        let key = find(name).expect("every key asked for is in the table");
        self.given.get(key.name).map_or(key.default, String::as_str)
    }

    /// A key's value or default, for those outside; empty for a name that is no key.
    pub fn value(&self, name: &str) -> &str {
        if find(name).is_ok() { self.text(name) } else { "" }
    }

    /// A number; values were checked when they were set.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// How long a peer or a client may be silent.
    pub(crate) fn net_read_timeout(&self) -> Duration {
        Duration::from_secs(self.number("net-read-timeout"))
    }

    /// Connections to each other node, at least one.
    pub(crate) fn proxy_concurrency(&self) -> usize {
        usize::try_from(self.number("proxy-concurrency")).unwrap_or(1).max(1)
    }

    /// Connections to another cluster: the default is `proxy-concurrency`.
    pub(crate) fn cluster_replication_concurrency(&self) -> usize {
        match usize::try_from(self.number("cluster-replication-concurrency")) {
            Ok(count) if count > 0 => count,
            _ => self.proxy_concurrency(),
        }
    }

    /// The index servers as `host:port`, in the order given.
    pub(crate) fn index_servers(&self) -> Vec<String> {
        if self.has("index-servers") {
            let servers = self.text("index-servers").split(',').map(str::trim);
            return servers.filter(|s| !s.is_empty()).map(with_index_port).collect();
        }
        let (host, port) = (self.text("index-server-name"), self.text("index-server-port"));
        if host.is_empty() { Vec::new() } else { vec![format!("{host}:{port}")] }
    }

    /// What flared checks once all sources are read.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let exclusive = self.has("index-server-name") || self.has("index-server-port");
        if self.has("index-servers") && exclusive {
            return Err(SettingsError::Missing(
                "index-servers and index-server-name/-port exclude each other",
            ));
        }
        if self.index_servers().is_empty() {
            return Err(SettingsError::Missing("no index server: give index-servers = host:port"));
        }
        if self.text("data-dir").is_empty() {
            return Err(SettingsError::Missing("no data directory: give data-dir"));
        }
        Ok(())
    }
}

fn with_index_port(server: &str) -> String {
    if server.contains(':') { server.to_owned() } else { format!("{server}:12120") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_flared() {
        let text = "# node\nindex-servers = i.example:12120, j.example\ndata-dir = /d # here\n\
                    replication-type = sync\nnet-read-timeout=2\n\n";
        let settings = Settings::parse(text).unwrap();
        settings.check().unwrap();
        assert_eq!(settings.index_servers(), ["i.example:12120", "j.example:12120"]);
        assert_eq!(settings.text("data-dir"), "/d");
        assert_eq!(settings.text("replication-type"), "sync");
        assert_eq!(settings.net_read_timeout(), Duration::from_secs(2));
        assert_eq!(settings.number("max-connection"), 128, "default");
    }

    #[test]
    fn what_flared_refuses() {
        let unknown = Settings::parse("monitor-interval = 1").unwrap_err();
        assert_eq!(unknown, SettingsError::Unknown("monitor-interval".into()));
        for text in ["server-port = x", "cluster-replication = maybe", "storage-type = lmdb"] {
            assert!(matches!(Settings::parse(text), Err(SettingsError::Value { .. })), "{text}");
        }
        let both = "data-dir = /d\nindex-servers = a:1\nindex-server-name = b";
        assert!(Settings::parse(both).unwrap().check().is_err());
        assert!(Settings::parse("data-dir = /d").unwrap().check().is_err(), "no index");
        assert!(Settings::parse("index-servers = a:1").unwrap().check().is_err(), "no directory");
    }

    #[test]
    fn a_flag_is_on_by_being_there_and_booleans_take_many_words() {
        let settings = Settings::parse("storage-large = false\ncluster-replication = on").unwrap();
        assert!(settings.flag("storage-large"));
        assert!(settings.flag("cluster-replication"));
    }

    #[test]
    fn a_reload_changes_only_what_it_may_and_keeps_what_the_file_leaves_out() {
        let mut settings = Settings::parse("max-connection = 256\nserver-port = 1").unwrap();
        settings.set("replication-type", "sync").unwrap();
        settings.reload(&Settings::parse("max-connection = 300\nserver-port = 2").unwrap());
        assert_eq!(settings.number("max-connection"), 300);
        assert_eq!(settings.number("server-port"), 1);
        assert_eq!(settings.text("replication-type"), "sync");
    }
}
