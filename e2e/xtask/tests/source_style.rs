//! Walks the source folders and fails on what the compiler and clippy let pass: a file that no
//! module names, a long line, a long file, a file that does not open by saying what it owns.
//! (Clippy holds the length of functions, rustfmt most of the layout.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The longest line, in characters.
const LINE_MAX: usize = 100;

/// The longest file, in lines, unless `long-files.txt` names it.
const FILE_MAX: usize = 400;

/// Folders that hold no source of ours.
const NOT_OURS: [&str; 5] = ["target", "node_modules", ".git", "corpus", "artifacts"];

#[test]
fn the_repository_keeps_its_style() {
    let root = repository();
    let allowed =
        long_files(&fs::read_to_string(root.join(LIST)).expect("the list is in the repository"));
    let complaints = complaints(&root, &allowed);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

const LIST: &str = "e2e/xtask/long-files.txt";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("a package two folders down")
        .to_path_buf()
}

fn complaints(root: &Path, allowed: &BTreeMap<String, usize>) -> Vec<String> {
    let mut found = Vec::new();
    let files = rust_files(root);
    let named = named_files(&files);
    for file in &files {
        let name =
            file.strip_prefix(root).expect("a file below the root").to_string_lossy().into_owned();
        let text = fs::read_to_string(file).expect("a readable file");
        if !named.contains(file) {
            found.push(format!("{name}: no module names this file, so nothing compiles it"));
        }
        if !text.starts_with("//!") {
            found.push(format!("{name}: does not open with a `//!` paragraph"));
        }
        for (number, line) in text.lines().enumerate() {
            let length = line.chars().count();
            if length > LINE_MAX {
                found.push(format!("{name}:{}: {length} characters", number + 1));
            }
        }
        let lines = text.lines().count();
        let most = allowed.get(&name).copied().unwrap_or(FILE_MAX);
        if lines > most {
            found.push(format!("{name}: {lines} lines, at most {most}"));
        }
        if lines <= FILE_MAX && allowed.contains_key(&name) {
            found.push(format!("{name}: is short now, take it off {LIST}"));
        }
    }
    let names: BTreeSet<String> = files
        .iter()
        .map(|file| {
            file.strip_prefix(root).expect("a file below the root").to_string_lossy().into_owned()
        })
        .collect();
    for name in allowed.keys().filter(|name| !names.contains(*name)) {
        found.push(format!("{name}: is gone, take it off {LIST}"));
    }
    found
}

/// `<path> <lines>` per line, `#` for comments. A number may be lowered, never raised.
fn long_files(list: &str) -> BTreeMap<String, usize> {
    list.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let (path, lines) = line.split_once(' ').expect("a path and a number of lines");
            (path.to_owned(), lines.trim().parse().expect("a number of lines"))
        })
        .collect()
}

fn rust_files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().expect("a path with a name").to_string_lossy().into_owned();
        if path.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && path.is_file() {
            files.insert(path);
        }
    }
    files
}

/// The crate roots that cargo finds by itself, and every file that a `mod` leads to from one.
fn named_files(files: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let mut named = BTreeSet::new();
    let mut to_read: Vec<PathBuf> =
        files.iter().filter(|file| is_crate_root(file)).cloned().collect();
    while let Some(file) = to_read.pop() {
        if !files.contains(&file) || !named.insert(file.clone()) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a readable file");
        to_read.extend(path_attributes(&text).map(|path| file.with_file_name(path)));
        for module in modules(&text) {
            let folder = module_folder(&file);
            to_read.push(folder.join(format!("{module}.rs")));
            to_read.push(folder.join(module).join("mod.rs"));
            // The modules of a test program lie beside it.
            to_read.push(file.with_file_name(format!("{module}.rs")));
            to_read.push(file.with_file_name(module).join("mod.rs"));
        }
    }
    named
}

fn is_crate_root(file: &Path) -> bool {
    let name = file.file_name().expect("a path with a name").to_string_lossy().into_owned();
    let folder = file.parent().expect("a file in a folder");
    let folder_name =
        folder.file_name().expect("a path with a name").to_string_lossy().into_owned();
    let beside_manifest = |folder: &Path| folder.join("Cargo.toml").exists();
    match folder_name.as_str() {
        "src" => name == "main.rs" || name == "lib.rs",
        "bin" | "tests" | "benches" | "examples" | "fuzz_targets" => {
            beside_manifest(folder.parent().expect("a file in a folder")) || folder_name == "bin"
        }
        // A folder with a `main.rs` is a test program or a binary of its own.
        _ => name == "main.rs" || name == "build.rs",
    }
}

/// Where a file's modules lie: beside `mod.rs` and crate roots, else in a folder of its name.
fn module_folder(file: &Path) -> PathBuf {
    let name = file.file_name().expect("a path with a name").to_string_lossy().into_owned();
    if ["mod.rs", "lib.rs", "main.rs"].contains(&name.as_str()) {
        file.parent().expect("a file in a folder").to_path_buf()
    } else {
        file.with_extension("")
    }
}

/// The files in `#[path = "file.rs"]`.
fn path_attributes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"))
}

/// The names in `mod name;`, whatever their visibility.
fn modules(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| {
            let declaration = line.trim().strip_suffix(';')?;
            let (before, name) = declaration.rsplit_once(' ')?;
            let is_module =
                before == "mod" || before.ends_with(" mod") && before.starts_with("pub");
            is_module.then_some(name)
        })
        .collect()
}

/// A folder with one package whose `lib.rs` names `named`.
fn small_package() -> tempdir::Folder {
    let folder = tempdir::Folder::new();
    folder.write("Cargo.toml", "");
    folder.write("src/lib.rs", "//! The library.\nmod named;\n");
    let text = "//! Named.\npub(crate) mod inner;\n#[path = \"named_tests.rs\"]\nmod tests;\n";
    folder.write("src/named.rs", text);
    folder.write("src/named_tests.rs", "//! Its tests.\n");
    folder.write("src/named/inner.rs", "//! Named within.\n");
    folder
}

#[test]
fn a_good_folder_has_no_complaint() {
    assert_eq!(complaints(small_package().path(), &BTreeMap::new()), Vec::<String>::new());
}

#[test]
fn each_breach_is_found() {
    for (file, text, expected) in [
        ("src/lost.rs", "//! Lost.\n".to_owned(), "no module names"),
        ("src/named/inner.rs", "fn inner() {}\n".to_owned(), "does not open"),
        ("tests/wide.rs", format!("//! {}\n", "x".repeat(LINE_MAX)), "104 characters"),
        ("tests/long.rs", "//! Long.\n".repeat(FILE_MAX + 1), "401 lines, at most 400"),
    ] {
        let folder = small_package();
        folder.write(file, &text);
        let found = complaints(folder.path(), &BTreeMap::new());
        assert_eq!(found.len(), 1, "{file}: {found:?}");
        assert!(found[0].contains(expected), "{file}: {found:?}");
    }
}

#[test]
fn the_list_of_long_files_only_shrinks() {
    let folder = small_package();
    folder.write("tests/long.rs", &"//! Long.\n".repeat(500));
    let with = |list: &str| complaints(folder.path(), &long_files(list));
    assert_eq!(with("# why\ntests/long.rs 500\n"), Vec::<String>::new());
    assert!(with("tests/long.rs 499\n")[0].contains("at most 499"));
    assert!(with("tests/long.rs 500\nsrc/lib.rs 9\n")[0].contains("take it off"));
    assert!(with("tests/long.rs 500\nsrc/gone.rs 9\n")[0].contains("is gone"));
}

mod tempdir {
    //! A scratch folder that goes away by itself.

    use std::fs;
    use std::path::Path;

    pub(crate) struct Folder(tempfile::TempDir);

    impl Folder {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().expect("a scratch folder"))
        }

        pub(crate) fn path(&self) -> &Path {
            self.0.path()
        }

        pub(crate) fn write(&self, file: &str, text: &str) {
            let path = self.path().join(file);
            fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a new folder");
            fs::write(path, text).expect("a new file");
        }
    }
}
