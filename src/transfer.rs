//! `import` and `export`: flarei's map in, and out again for the way back.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flare_actors::store::file::FileStore;
use flare_core::flare_xml;

use crate::cli::{ExportFlags, ImportFlags};
use crate::flarei_conf::FlareiConf;
use crate::outcome::{Misuse, print, print_bytes};

/// Reads a flare.xml into a data folder that holds no map yet. Versions and thread types go on
/// from there (R3).
pub(crate) fn import(flags: &ImportFlags) -> Result<()> {
    let conf = match &flags.flarei_conf {
        Some(path) => FlareiConf::read(path)?,
        None => FlareiConf::default(),
    };
    let hash = flags.hash.clone().or(conf.hash);
    let hash = hash.for_new_cluster().map_err(Misuse)?;
    let from = &flags.from;
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let stored = flare_xml::decode(&bytes, hash)
        .with_context(|| format!("{} is not a map of flarei", from.display()))?;
    let mut store = FileStore::open(&flags.data_dir)?;
    store.create(&stored)?;
    print(&format!(
        "imported {} nodes, version {}, next thread type {}, into {}; keys are placed by \
         partition-size {}, {}, modular-hint {}, modular-virtual {}\n",
        stored.nodes.len(),
        stored.version,
        stored.next_thread_type,
        flags.data_dir.display(),
        stored.hash.partition_size,
        stored.hash.algorithm.word(),
        stored.hash.modular_hint,
        stored.hash.modular_virtual,
    ))
}

/// Writes the map as a flare.xml.
pub(crate) fn export(flags: &ExportFlags) -> Result<()> {
    let folder = &flags.data_dir;
    anyhow::ensure!(folder.is_dir(), "there is no data folder {}", folder.display());
    let stored = FileStore::open(folder)?
        .load()?
        .with_context(|| format!("{} holds no map", folder.display()))?;
    let xml = flare_xml::encode_settled(&stored)?;
    match &flags.to {
        Some(to) => write_new(to, &xml),
        None => print_bytes(&xml),
    }
}

/// Never over a file that is there: it may be the only copy of another map.
fn write_new(to: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::File::create_new(to)
        .with_context(|| format!("cannot make the file {}", to.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", to.display()))
}
