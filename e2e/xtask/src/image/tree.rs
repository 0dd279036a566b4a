//! The files of an image, before they are a layer: what is at which path, with which mode, owned
//! by whom. Kept sorted, with nothing of the machine it was made on (times, names, inode order),
//! so that equal files always give equal bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::libraries;

/// The numeric user and group that images run as. A number, since `runAsNonRoot` cannot check a
/// name; this one is what distroless images use.
pub(crate) const USER: u32 = 65532;

/// The super-user, who owns what nobody may change.
pub(super) const ROOT: u32 = 0;

/// What is at one path.
pub(super) struct Entry {
    pub(super) mode: u32,
    pub(super) owner: u32,
    /// `None` for a folder.
    pub(super) content: Option<Vec<u8>>,
}

/// A file tree, by paths relative to its root.
#[derive(Default)]
pub(crate) struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    /// Adds a folder, and root's folders above it.
    pub(crate) fn folder(&mut self, path: &str, mode: u32, owner: u32) -> Result<()> {
        self.insert(Path::new(path), Entry { mode, owner, content: None })
    }

    /// Adds a file that anyone may read and nobody may change.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let content = Some(content.to_vec());
        self.insert(Path::new(path), Entry { mode: 0o644, owner: ROOT, content })
    }

    /// Adds a program of this machine, and the shared libraries that it needs where its loader
    /// looks for them.
    pub(crate) fn program(&mut self, path: &str, source: &Path) -> Result<()> {
        self.copy(Path::new(path), source)?;
        for library in libraries::of(source)? {
            self.copy(&library, &library)?;
        }
        Ok(())
    }

    /// Adds the accounts that tools look up, and the order in which names are resolved.
    pub(crate) fn accounts(&mut self) -> Result<()> {
        let passwd = format!("root:x:0:0::/:/none\nflare:x:{USER}:{USER}::/:/none\n");
        self.file("/etc/passwd", passwd.as_bytes())?;
        self.file("/etc/group", format!("root:x:0:\nflare:x:{USER}:\n").as_bytes())?;
        self.file("/etc/nsswitch.conf", b"hosts: files dns\n")?;
        self.folder("/tmp", 0o1777, ROOT)
    }

    /// The entries, parents before what is in them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// The bytes of all files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.values().filter_map(|e| e.content.as_ref()).map(|c| c.len() as u64).sum()
    }

    /// Writes the tree below a folder of this machine, which must be empty or missing. Owners are
    /// left as they come, for whoever copies the folder sets them.
    pub(crate) fn write_to(&self, root: &Path) -> Result<()> {
        fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
        let mut found = fs::read_dir(root).with_context(|| format!("read {}", root.display()))?;
        ensure!(found.next().is_none(), "{} is not empty", root.display());
        for (path, entry) in &self.entries {
            let target = root.join(path);
            let written = match &entry.content {
                None => fs::create_dir(&target),
                Some(content) => fs::write(&target, content),
            };
            written
                .and_then(|()| fs::set_permissions(&target, PermissionsExt::from_mode(entry.mode)))
                .with_context(|| format!("write {}", target.display()))?;
        }
        Ok(())
    }

    fn copy(&mut self, path: &Path, source: &Path) -> Result<()> {
        let content = fs::read(source).with_context(|| format!("read {}", source.display()))?;
        self.insert(path, Entry { mode: 0o755, owner: ROOT, content: Some(content) })
    }

    fn insert(&mut self, path: &Path, entry: Entry) -> Result<()> {
        let plain = path.strip_prefix("/").ok().filter(|relative| {
            relative.components().all(|part| matches!(part, Component::Normal(_)))
        });
        let relative = plain
            .with_context(|| format!("{} is not an absolute, plain path", path.display()))?
            .to_path_buf();
        let mut above: Vec<&Path> = relative.ancestors().skip(1).collect();
        above.retain(|folder| !folder.as_os_str().is_empty());
        for folder in above {
            let parent = Entry { mode: 0o755, owner: ROOT, content: None };
            self.entries.entry(folder.to_path_buf()).or_insert(parent);
        }
        self.entries.insert(relative, entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_a_file_come_before_it() {
        let mut tree = Tree::default();
        tree.file("/b/c/file", b"x").expect("file");
        tree.folder("/a", 0o700, USER).expect("folder");
        let paths: Vec<_> = tree.entries().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(paths, ["a", "b", "b/c", "b/c/file"]);
    }

    #[test]
    fn a_path_cannot_leave_the_image() {
        let mut tree = Tree::default();
        for path in ["relative", "/a/../../etc/passwd"] {
            assert!(tree.file(path, b"").is_err(), "{path}");
        }
    }

    #[test]
    fn a_tree_is_written_with_its_modes() {
        let scratch = tempfile::tempdir().expect("scratch");
        let root = scratch.path().join("root");
        let mut tree = Tree::default();
        tree.accounts().expect("accounts");
        tree.write_to(&root).expect("written");
        let mode = |path: &str| root.join(path).metadata().expect(path).permissions().mode();
        assert_eq!(mode("tmp") & 0o7777, 0o1777);
        assert_eq!(mode("etc/passwd") & 0o7777, 0o644);
        assert!(tree.write_to(&root).is_err(), "a second image over the first");
    }
}
