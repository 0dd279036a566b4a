//! flarei's own settings, as flags and as its configuration file (flare-config.md).
//!
//! The file is `key = value`, one per line, `#` begins a comment, an unknown key is fatal. Flags
//! win over the file at the start; SIGHUP reads only the file, and only some keys take effect
//! then: [`FlareiConf::reloadable`].

use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::RangedI64ValueParser;
use flare_core::model::{HashAlgorithm, HashSettings};

/// The longest configuration file that is read, in bytes.
const CONF_BYTES_MAX: usize = 1024 * 1024;

/// The largest number that flare has in its settings: an `int` of C++.
pub(crate) const NUMBER_MAX: u32 = i32::MAX.cast_unsigned();

/// Reads a number of flare's settings as a flag.
pub(crate) fn from(least: u32) -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(i64::from(least)..=i64::from(NUMBER_MAX))
}

/// Settings that are flags of `index` and keys of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct FlareiSettings {
    /// The name that nodes know the index by; shown by `show variables`. [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub(crate) server_name: Option<String>,

    /// The port of the index on all addresses, when --listen is not given.
    #[arg(long, value_name = "PORT", conflicts_with = "listen")]
    pub(crate) server_port: Option<u16>,

    /// The most connections at a time; further ones are accepted and closed. [default: 8192]
    #[arg(long, value_name = "NUMBER", value_parser = from(1))]
    pub(crate) max_connection: Option<u32>,

    /// Failures in a row before a node is held dead; 0 never holds one dead. [default: 3]
    #[arg(long, value_name = "NUMBER", value_parser = from(0))]
    pub(crate) monitor_threshold: Option<u32>,

    /// Seconds between two pings of a node; 0 switches pings off. [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = from(0))]
    pub(crate) monitor_interval: Option<u32>,

    /// How long a node may take to answer a ping, in milliseconds. [default: 1000]
    #[arg(long, value_name = "MILLISECONDS", value_parser = from(1))]
    pub(crate) monitor_read_timeout: Option<u32>,

    /// Shown by `show variables`; means nothing here. [default: 5]
    #[arg(long, value_name = "NUMBER", value_parser = from(0))]
    pub(crate) thread_pool_size: Option<u32>,

    /// Shown by `show variables`; means nothing here. [default: 128]
    #[arg(long, value_name = "KIB", value_parser = from(0))]
    pub(crate) stack_size: Option<u32>,
}

/// How keys are placed, as far as it was said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct HashFlags {
    /// Rows of the resolver table: partitions stay below it. [default: 1024]
    #[arg(long, value_name = "NUMBER", value_parser = from(2))]
    pub(crate) partition_size: Option<u32>,

    /// The number of partitions that the cluster begins with. [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = from(1))]
    pub(crate) partition_modular_hint: Option<u32>,

    /// Slots per row. [default: 4096]
    #[arg(long, value_name = "NUMBER", value_parser = from(1))]
    pub(crate) partition_modular_virtual: Option<u32>,

    /// simple, crc32 or jenkins. [default: simple]
    #[arg(long, value_name = "WORD", value_parser = algorithm)]
    pub(crate) key_hash_algorithm: Option<HashAlgorithm>,

    /// modular: there is no other.
    #[arg(long, value_name = "WORD", value_parser = partition_type)]
    pub(crate) partition_type: Option<String>,
}

/// What a configuration file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FlareiConf {
    pub(crate) data_dir: Option<PathBuf>,
    /// The folder of `file://…`.
    pub(crate) index_db: Option<PathBuf>,
    pub(crate) flarei: FlareiSettings,
    pub(crate) hash: HashFlags,
    /// Keys that flarei knows and that mean nothing here.
    pub(crate) without_effect: Vec<&'static str>,
}

/// What is wrong with a configuration file: a sentence, with the line.
#[derive(Debug)]
pub(crate) struct ConfError {
    path: PathBuf,
    line: Option<usize>,
    sentence: String,
}

impl fmt::Display for ConfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flarei's configuration {}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.sentence)
    }
}

impl std::error::Error for ConfError {}

impl FlareiConf {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or flarei would not take it.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfError> {
        let fail = |line, sentence| ConfError { path: path.to_owned(), line, sentence };
        let text = std::fs::read_to_string(path)
            .map_err(|error| fail(None, format!("it cannot be read: {error}")))?;
        if text.len() > CONF_BYTES_MAX {
            return Err(fail(None, format!("it is longer than {CONF_BYTES_MAX} bytes")));
        }
        Self::parse(&text).map_err(|(line, sentence)| fail(Some(line), sentence))
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut conf = Self::default();
        let mut seen = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let key = key.trim();
            conf.set(key, value.trim()).map_err(|sentence| (at + 1, sentence))?;
            if seen.contains(&key) {
                return Err((at + 1, format!("`{key}` stands there twice")));
            }
            seen.push(key);
        }
        Ok(conf)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let (flarei, hash) = (&mut self.flarei, &mut self.hash);
        match key {
            "data-dir" => self.data_dir = Some(text(key, value)?.into()),
            "index-db" => self.index_db = index_db(value)?,
            "server-name" => flarei.server_name = Some(text(key, value)?),
            "server-port" => flarei.server_port = Some(port(key, value)?),
            "max-connection" => flarei.max_connection = Some(number(key, value, 1)?),
            "monitor-threshold" => flarei.monitor_threshold = Some(number(key, value, 0)?),
            "monitor-interval" => flarei.monitor_interval = Some(number(key, value, 0)?),
            "monitor-read-timeout" => flarei.monitor_read_timeout = Some(number(key, value, 1)?),
            "thread-pool-size" => flarei.thread_pool_size = Some(number(key, value, 0)?),
            "stack-size" => flarei.stack_size = Some(number(key, value, 0)?),
            "partition-size" => hash.partition_size = Some(number(key, value, 2)?),
            "partition-modular-hint" => hash.partition_modular_hint = Some(number(key, value, 1)?),
            "partition-modular-virtual" => {
                hash.partition_modular_virtual = Some(number(key, value, 1)?);
            }
            "partition-type" => hash.partition_type = Some(partition_type(value)?),
            "key-hash-algorithm" => hash.key_hash_algorithm = Some(algorithm(value)?),
            // Flag-type keys are on by mere presence, whatever their value.
            "daemonize" => self.without_effect.push("daemonize"),
            "log-facility" => self.without_effect.push("log-facility"),
            "server-socket" => self.without_effect.push("server-socket"),
            _ => return Err(format!("`{key}` is not a key of flarei")),
        }
        Ok(())
    }

    /// The settings that SIGHUP takes over from the file, where they stand in it.
    pub(crate) fn reloadable(&self) -> FlareiSettings {
        FlareiSettings {
            server_name: None,
            server_port: None,
            stack_size: None,
            ..self.flarei.clone()
        }
    }

    /// What of the file needs a restart.
    pub(crate) fn fixed(&self) -> Self {
        let fixed = FlareiSettings {
            server_name: self.flarei.server_name.clone(),
            server_port: self.flarei.server_port,
            stack_size: self.flarei.stack_size,
            ..FlareiSettings::default()
        };
        Self { flarei: fixed, ..self.clone() }
    }
}

impl FlareiSettings {
    /// These, and where nothing is said those of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            server_name: self.server_name.or(other.server_name),
            server_port: self.server_port.or(other.server_port),
            max_connection: self.max_connection.or(other.max_connection),
            monitor_threshold: self.monitor_threshold.or(other.monitor_threshold),
            monitor_interval: self.monitor_interval.or(other.monitor_interval),
            monitor_read_timeout: self.monitor_read_timeout.or(other.monitor_read_timeout),
            thread_pool_size: self.thread_pool_size.or(other.thread_pool_size),
            stack_size: self.stack_size.or(other.stack_size),
        }
    }

    /// Does it say anything about how nodes are watched?
    pub(crate) fn says_monitoring(&self) -> bool {
        self.monitor_threshold.is_some()
            || self.monitor_interval.is_some()
            || self.monitor_read_timeout.is_some()
    }
}

impl HashFlags {
    /// These, and where nothing is said those of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            partition_size: self.partition_size.or(other.partition_size),
            partition_modular_hint: self.partition_modular_hint.or(other.partition_modular_hint),
            partition_modular_virtual: self
                .partition_modular_virtual
                .or(other.partition_modular_virtual),
            key_hash_algorithm: self.key_hash_algorithm.or(other.key_hash_algorithm),
            partition_type: self.partition_type.or(other.partition_type),
        }
    }

    /// Is nothing said?
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The settings of a new cluster: flarei's defaults where nothing is said.
    ///
    /// # Errors
    /// A sentence about a value that would make flarei crash or lose partitions
    /// (flare-protocol.md 1.8).
    pub(crate) fn for_new_cluster(&self) -> Result<HashSettings, String> {
        let default = HashSettings::default();
        let settings = HashSettings {
            partition_size: self.partition_size.unwrap_or(default.partition_size),
            algorithm: self.key_hash_algorithm.unwrap_or(default.algorithm),
            modular_hint: self.partition_modular_hint.unwrap_or(default.modular_hint),
            modular_virtual: self.partition_modular_virtual.unwrap_or(default.modular_virtual),
        };
        if settings.partition_size < 2 {
            return Err("partition-size must be at least 2: partitions stay below it".into());
        }
        if settings.modular_hint == 0 || settings.modular_hint >= settings.partition_size {
            return Err(format!(
                "partition-modular-hint must be at least 1 and below partition-size, {}",
                settings.partition_size
            ));
        }
        if settings.modular_virtual == 0 {
            return Err("partition-modular-virtual must be at least 1".into());
        }
        Ok(settings)
    }

    /// Holds what is said against what the cluster was made with (R14).
    ///
    /// # Errors
    /// A sentence about the first setting that differs.
    pub(crate) fn check_against(&self, stored: &HashSettings) -> Result<(), String> {
        let text = |said: Option<u32>| said.map(|said| said.to_string());
        let algorithm = self.key_hash_algorithm.map(|said| said.word().to_owned());
        let settings = [
            ("partition-size", text(self.partition_size), stored.partition_size.to_string()),
            (
                "partition-modular-hint",
                text(self.partition_modular_hint),
                stored.modular_hint.to_string(),
            ),
            (
                "partition-modular-virtual",
                text(self.partition_modular_virtual),
                stored.modular_virtual.to_string(),
            ),
            ("key-hash-algorithm", algorithm, stored.algorithm.word().to_owned()),
        ];
        for (name, said, stored) in settings {
            if let Some(said) = said.filter(|said| *said != stored) {
                return Err(format!(
                    "{name} is to be {said}, but the cluster was made with {stored}, and it \
                     decides where keys lie: leave it as it was"
                ));
            }
        }
        Ok(())
    }
}

fn text(key: &str, value: &str) -> Result<String, String> {
    if value.is_empty() { Err(format!("`{key}` has no value")) } else { Ok(value.to_owned()) }
}

fn number(key: &str, value: &str, least: u32) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if (least..=NUMBER_MAX).contains(&number) => Ok(number),
        _ => Err(format!("`{key}` must be a number from {least} to {NUMBER_MAX}, not `{value}`")),
    }
}

fn port(key: &str, value: &str) -> Result<u16, String> {
    let port = value.parse().map(NonZeroU16::get);
    port.map_err(|_| format!("`{key}` must be a port from 1 to 65535, not `{value}`"))
}

fn algorithm(word: &str) -> Result<HashAlgorithm, String> {
    HashAlgorithm::from_word(word)
        .ok_or_else(|| format!("`{word}` is not simple, crc32 or jenkins"))
}

fn partition_type(word: &str) -> Result<String, String> {
    if word == "modular" {
        Ok(word.to_owned())
    } else {
        Err(format!("`{word}` is not a partition type; the only one is modular"))
    }
}

fn index_db(value: &str) -> Result<Option<PathBuf>, String> {
    match value.strip_prefix("file://") {
        Some(folder) => Ok(Some(folder.into())),
        None if value.is_empty() => Ok(None),
        None => Err(format!(
            "index-db `{value}` cannot be read: only file:// is; export the map from ZooKeeper as \
             a flare.xml and import that"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_flarei_is_read_as_it_is() {
        let conf = FlareiConf::parse(
            "# flarei\n\
             data-dir = /var/lib/flare\n\
             server-name=index.example   # the name\n\
             \n\
             max-connection = 256\n\
             monitor-interval = 5\n\
             key-hash-algorithm = crc32\n\
             log-facility = local0\n\
             daemonize\n",
        )
        .unwrap();
        assert_eq!(conf.data_dir, Some("/var/lib/flare".into()));
        assert_eq!(conf.flarei.server_name.as_deref(), Some("index.example"));
        assert_eq!(conf.flarei.max_connection, Some(256));
        assert_eq!(conf.hash.key_hash_algorithm, Some(HashAlgorithm::Crc32));
        assert_eq!(conf.without_effect, ["log-facility", "daemonize"]);
        let reloaded = conf.reloadable();
        assert_eq!(reloaded.max_connection, Some(256));
        assert_eq!(reloaded.server_name, None, "a name does not change while the index runs");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let (line, sentence) = FlareiConf::parse("\nnet-read-timeout = 5\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(sentence.contains("`net-read-timeout` is not a key"), "{sentence}");
        let (_, sentence) = FlareiConf::parse("max-connection = many").unwrap_err();
        assert!(sentence.contains("`many`"), "{sentence}");
        assert!(FlareiConf::parse("server-port = 1\nserver-port = 2").is_err());
        assert!(FlareiConf::parse("partition-modular-hint = 0").is_err(), "flarei crashes");
    }

    #[test]
    fn hash_settings_cannot_be_changed() {
        let stored = HashSettings::default();
        let flags = HashFlags { partition_size: Some(1024), ..HashFlags::default() };
        flags.check_against(&stored).unwrap();
        let flags =
            HashFlags { key_hash_algorithm: Some(HashAlgorithm::Jenkins), ..HashFlags::default() };
        let sentence = flags.check_against(&stored).unwrap_err();
        assert!(sentence.contains("made with simple"), "{sentence}");
        let flags = HashFlags { partition_modular_hint: Some(0), ..HashFlags::default() };
        assert!(flags.for_new_cluster().is_err());
    }
}
