//! `cargo xtask image`: assembles an image from a built program and the shared libraries that it
//! needs, without a container engine, the same bytes every time. The Dockerfile calls it too, so
//! both ways give the same files.

mod archive;
mod libraries;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::Value;

pub(crate) use archive::{Description, pack};
pub(crate) use tree::{Tree, USER};

use crate::repository;

/// Largest image of the operator, unpacked, in bytes. It is pulled by a machine that is short of
/// an index at that moment.
const OPERATOR_MAX_BYTES: u64 = 20_000_000;

/// `cargo xtask image …`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which image
    kind: Kind,
    /// Where to write the archive [default: target/image/KIND.tar]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write the files to this empty folder instead of an archive; a Dockerfile copies them
    #[arg(long, conflicts_with = "out")]
    rootfs: Option<PathBuf>,
    /// An already built program; without it the release build is made. With the shared libraries
    /// that it needs here, so it has to be one that runs on this machine
    #[arg(long)]
    program: Option<PathBuf>,
    /// Name and tag [default: localhost/flare-operator:dev, localhost/flare-node:dev,
    /// localhost/flared:dev]
    #[arg(long)]
    tag: Option<String>,
    /// The commit that the program was built from, for the image's labels
    #[arg(long)]
    revision: Option<String>,
}

/// The images of this repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// The operator, which is also the index.
    Operator,
    /// The stand-in data node, for tests.
    Node,
    /// A flared of your own, which `--program` names.
    Flared,
}

/// What goes into an image.
struct Recipe {
    /// The package that it is built from; none for what is not in this repository.
    package: Option<&'static str>,
    program: &'static str,
    title: &'static str,
    tag: &'static str,
}

impl Kind {
    /// The name of the image's program.
    pub(crate) fn name(self) -> &'static str {
        self.recipe().program
    }

    fn recipe(self) -> Recipe {
        match self {
            Kind::Operator => Recipe {
                package: Some("flare-operator"),
                program: "flare-operator",
                title: "The index of a GREE Flare cluster: a drop-in flarei, and a \
                        Kubernetes operator",
                tag: "localhost/flare-operator:dev",
            },
            Kind::Node => Recipe {
                package: Some("flare-e2e"),
                program: "flare-e2e",
                title: "A stand-in for flared, for tests",
                tag: "localhost/flare-node:dev",
            },
            Kind::Flared => Recipe {
                package: None,
                program: "flared",
                title: "A data node of GREE Flare",
                tag: "localhost/flared:dev",
            },
        }
    }
}

/// Does what the arguments say.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let recipe = args.kind.recipe();
    let program = match args.program {
        Some(program) => program,
        None => build(args.kind, true)?,
    };
    let tree = tree_of(&recipe, &program)?;
    let size = tree.bytes();
    if let Some(rootfs) = args.rootfs {
        tree.write_to(&rootfs)?;
        say!("{}: files of {}", rootfs.display(), megabytes(size));
    } else {
        let reference = args.tag.unwrap_or_else(|| recipe.tag.to_owned());
        let bytes = pack(&tree, &describe(&recipe, reference, args.revision))?;
        let out = args
            .out
            .unwrap_or_else(|| repository().join(format!("target/image/{}.tar", recipe.program)));
        write(&out, &bytes)?;
        say!("{}: files of {}", out.display(), megabytes(size));
    }
    ensure!(
        args.kind != Kind::Operator || size < OPERATOR_MAX_BYTES,
        "the operator's image has {}, the limit is {}",
        megabytes(size),
        megabytes(OPERATOR_MAX_BYTES)
    );
    Ok(ExitCode::SUCCESS)
}

/// An image of one static program, for the test cluster's own pods.
pub(crate) fn of_static_program(reference: &str, program: &Path) -> Result<Vec<u8>> {
    let name = program.file_name().context("a program has a name")?.to_string_lossy();
    let path = format!("/usr/bin/{name}");
    let mut tree = Tree::default();
    tree.accounts()?;
    tree.program(&path, program)?;
    let description = Description {
        reference: reference.to_owned(),
        entrypoint: vec![path],
        user: USER,
        labels: BTreeMap::new(),
    };
    pack(&tree, &description)
}

fn tree_of(recipe: &Recipe, program: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.accounts()?;
    tree.program(&format!("/usr/bin/{}", recipe.program), program)?;
    // A volume that is mounted here for the first time takes this owner over.
    tree.folder("/var/lib/flare", 0o750, USER)?;
    Ok(tree)
}

fn describe(recipe: &Recipe, reference: String, revision: Option<String>) -> Description {
    let mut labels = BTreeMap::new();
    let mut label = |name: &str, value: String| {
        labels.insert(format!("org.opencontainers.image.{name}"), value);
    };
    label("title", recipe.program.to_owned());
    label("description", recipe.title.to_owned());
    if recipe.package.is_some() {
        label("version", env!("CARGO_PKG_VERSION").to_owned());
    }
    if let Some(revision) = revision {
        label("revision", revision);
    }
    let entrypoint = vec![format!("/usr/bin/{}", recipe.program)];
    Description { reference, entrypoint, user: USER, labels }
}

/// An image of a built program, under its usual name.
pub(crate) fn of_program(kind: Kind, program: &Path) -> Result<Vec<u8>> {
    let recipe = kind.recipe();
    pack(&tree_of(&recipe, program)?, &describe(&recipe, recipe.tag.to_owned(), None))
}

/// Builds an image's program, for release or for development; the path that cargo says it has.
pub(crate) fn build(kind: Kind, release: bool) -> Result<PathBuf> {
    let recipe = kind.recipe();
    let package = recipe.package.context("it is not built here; name it with --program")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "--message-format=json-render-diagnostics"]);
    match release {
        true => command.args(["--release", "--package", package]),
        // With the features that it is built with for all other tests, so that it is built once.
        false => command.arg("--workspace"),
    };
    let output = command
        .args(["--bin", recipe.program])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the build of {} failed: {}", recipe.program, output.status);
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == recipe.program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not say where it put {}", recipe.program))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the Dockerfile that makes one image.
    fn stage(dockerfile: &str, name: &str) -> String {
        let begin = format!("FROM scratch AS {name}\n");
        let rest = dockerfile.split_once(&begin).expect("the stage").1;
        rest.split("\nFROM ").next().unwrap_or(rest).to_owned()
    }

    #[test]
    fn the_dockerfile_makes_the_same_images() {
        let dockerfile = fs::read_to_string(repository().join("Dockerfile")).expect("Dockerfile");
        for (kind, name) in [(Kind::Operator, "operator"), (Kind::Node, "node")] {
            let stage = stage(&dockerfile, name);
            let recipe = kind.recipe();
            let description = describe(&recipe, recipe.tag.to_owned(), None);
            for (label, value) in &description.labels {
                assert!(stage.contains(&format!("{label}=\"{value}\"")), "{name}: {label}");
            }
            assert!(stage.contains(&format!("USER {USER}:{USER}\n")), "{name}: user");
            let entrypoint = format!("ENTRYPOINT [\"{}\"]", description.entrypoint.join("\", \""));
            assert!(stage.contains(&entrypoint), "{name}: entrypoint");
            assert!(stage.contains(&format!("COPY --from=build /rootfs/{name} /\n")), "{name}");
            let command = format!("cargo xtask image {name} --rootfs /rootfs/{name}");
            assert!(dockerfile.contains(&command), "{command}");
        }
    }
}
