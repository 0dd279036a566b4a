//! An image as one file, in both of the forms that tools read: an OCI layout (`oci-layout`,
//! `index.json`, `blobs/`) and a docker-archive (`manifest.json`), which share their blobs. What
//! `docker load`, `podman load`, `ctr images import` and `skopeo copy` want is all in it; unpacked
//! with `tar -x` it is an OCI layout folder.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use super::tree::{ROOT, Tree};

/// All times in an image, in seconds since 1970. A real time would make each build differ.
const TIME_S: u64 = 0;

const OCI: &str = "application/vnd.oci.image";

/// What an image says about itself and how it is started.
pub(crate) struct Description {
    /// Name and tag, for example `localhost/flare-operator:dev`.
    pub(crate) reference: String,
    /// The program and its first arguments.
    pub(crate) entrypoint: Vec<String>,
    /// The numeric user that it runs as.
    pub(crate) user: u32,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Packs a tree into an image. Equal trees and descriptions give equal bytes.
pub(crate) fn pack(tree: &Tree, description: &Description) -> Result<Vec<u8>> {
    let mut blobs = Blobs::default();
    let layer = blobs.add(layer(tree)?);
    let config = blobs.add(text(&config(description, &layer)));
    let manifest = blobs.add(text(&json!({
        "schemaVersion": 2,
        "mediaType": format!("{OCI}.manifest.v1+json"),
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    })));
    let mut listed = descriptor("manifest.v1+json", &manifest);
    listed["annotations"] = json!({
        "io.containerd.image.name": description.reference,
        "org.opencontainers.image.ref.name": description.reference,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": format!("{OCI}.index.v1+json"),
        "manifests": [listed],
    });
    let docker = json!([{
        "Config": config.path(),
        "RepoTags": [description.reference],
        "Layers": [layer.path()],
    }]);

    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", &text(&index))?;
    append(&mut archive, "manifest.json", &text(&docker))?;
    for folder in ["blobs/", "blobs/sha256/"] {
        let mut header = header(EntryType::Directory, 0o755, ROOT, 0);
        archive.append_data(&mut header, folder, std::io::empty()).context("pack the image")?;
    }
    for (digest, bytes) in &blobs.bytes {
        append(&mut archive, &format!("blobs/sha256/{digest}"), bytes)?;
    }
    archive.into_inner().context("pack the image")
}

/// A blob's digest (hexadecimal SHA-256) and size in bytes.
struct Blob {
    digest: String,
    size: usize,
}

impl Blob {
    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

#[derive(Default)]
struct Blobs {
    bytes: BTreeMap<String, Vec<u8>>,
}

impl Blobs {
    fn add(&mut self, bytes: Vec<u8>) -> Blob {
        let digest: String =
            Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let blob = Blob { digest: digest.clone(), size: bytes.len() };
        self.bytes.insert(digest, bytes);
        blob
    }
}

/// The tree as a tar: sorted, numeric owners, one time for all.
fn layer(tree: &Tree) -> Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, entry) in tree.entries() {
        let content = entry.content.as_deref().unwrap_or_default();
        let (kind, path) = match entry.content {
            Some(_) => (EntryType::Regular, path.to_path_buf()),
            // The empty last part gives the slash that ends a folder's name.
            None => (EntryType::Directory, path.join("")),
        };
        let mut header = header(kind, entry.mode, entry.owner, content.len());
        layer
            .append_data(&mut header, &path, content)
            .with_context(|| format!("pack {}", path.display()))?;
    }
    layer.into_inner().context("pack the layer")
}

fn config(description: &Description, layer: &Blob) -> Value {
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{0}:{0}", description.user),
            "Entrypoint": description.entrypoint,
            "Env": ["PATH=/usr/bin"],
            "Labels": description.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image"}],
    })
}

/// The machine's architecture by the name that images use for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn descriptor(kind: &str, blob: &Blob) -> Value {
    json!({
        "mediaType": format!("{OCI}.{kind}"),
        "digest": format!("sha256:{}", blob.digest),
        "size": blob.size,
    })
}

fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, ROOT, bytes.len());
    archive.append_data(&mut header, path, bytes).with_context(|| format!("pack {path}"))
}

fn header(kind: EntryType, mode: u32, owner: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_mtime(TIME_S);
    header.set_size(size as u64);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::image::tree::USER;

    fn sample() -> (Tree, Description) {
        let mut tree = Tree::default();
        tree.accounts().expect("accounts");
        tree.program("/usr/bin/program", &std::env::current_exe().expect("this test"))
            .expect("program");
        tree.folder("/var/lib/flare", 0o750, USER).expect("folder");
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let entrypoint = vec!["/usr/bin/program".to_owned()];
        let reference = "localhost/sample:1".to_owned();
        (tree, Description { reference, entrypoint, user: USER, labels })
    }

    fn contents(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(archive).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            assert_eq!(entry.header().mtime().expect("a time"), 0, "{path}");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("bytes");
            files.insert(path, bytes);
        }
        files
    }

    #[test]
    fn two_builds_are_the_same_bytes() {
        let (first, second) = (sample(), sample());
        let first = pack(&first.0, &first.1).expect("first");
        assert!(first == pack(&second.0, &second.1).expect("second"));
    }

    #[test]
    fn both_forms_lead_to_the_same_layer_and_every_digest_is_right() {
        let (tree, description) = sample();
        let files = contents(&pack(&tree, &description).expect("packs"));
        for (path, bytes) in &files {
            if let Some(digest) = path.strip_prefix("blobs/sha256/").filter(|d| !d.is_empty()) {
                let wanted: String =
                    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(digest, wanted);
            }
        }
        let read = |path: &str| -> Value {
            serde_json::from_slice(files.get(path).expect(path)).expect(path)
        };
        let blob = |digest: &Value| {
            format!("blobs/{}", digest.as_str().expect("a digest").replace(':', "/"))
        };
        let index = read("index.json");
        let manifest = read(&blob(&index["manifests"][0]["digest"]));
        let config = read(&blob(&manifest["config"]["digest"]));
        let docker = read("manifest.json");
        assert_eq!(docker[0]["Layers"][0], blob(&manifest["layers"][0]["digest"]));
        assert_eq!(docker[0]["Config"], blob(&manifest["config"]["digest"]));
        assert_eq!(docker[0]["RepoTags"][0], "localhost/sample:1");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Labels"]["a"], "b");
    }

    #[test]
    fn the_layer_holds_the_program_its_libraries_and_numeric_owners() {
        let (tree, _) = sample();
        let layer = layer(&tree).expect("layer");
        let mut owners = BTreeMap::new();
        for entry in tar::Archive::new(&layer[..]).entries().expect("a tar") {
            let entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            owners.insert(path, entry.header().uid().expect("an owner"));
        }
        assert_eq!(owners.get("usr/bin/program"), Some(&0));
        assert_eq!(owners.get("var/lib/flare/"), Some(&u64::from(USER)));
        assert!(owners.keys().any(|path| path.contains("libc.so")), "{owners:?}");
    }
}
