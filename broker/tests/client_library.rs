//! The client library for browsers and Node: its own tests against the broker, and that the files
//! which are compiled into the broker are built from the sources beside them, and small.

#[path = "support/support.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use support::process::run;
use support::tools;

const TESTS_LIMIT: Duration = Duration::from_secs(300);
const BUILD_LIMIT: Duration = Duration::from_secs(120);
/// What a page may have to load for it, compressed.
const GZIPPED_BYTES_MAX: u64 = 8 * 1024;

/// The sizes of the built files, compressed, in bytes.
#[derive(Debug, Deserialize)]
struct Sizes {
    altavoz: u64,
    react: u64,
}

#[test]
fn the_library_keeps_its_promises_against_the_broker() {
    let Some(tools) = tools::client_tools() else { return };
    // Beside the tools, for Node looks for packages in the folders above a file.
    let copy = tools.join(format!("library-{}", std::process::id()));
    copy_folder(&library(), &copy);
    let ran = run(
        Command::new("node")
            .arg(tools.join("node_modules/vitest/vitest.mjs"))
            .args(["run", "--reporter=dot"])
            .current_dir(&copy)
            .env("BROKER", env!("CARGO_BIN_EXE_broker"))
            .env("NO_COLOR", "1"),
        TESTS_LIMIT,
    );
    fs::remove_dir_all(&copy).expect("the copy can be removed");
    let output = ran.expect("the library's tests succeed");
    assert!(output.contains("Tests"), "{output}");
}

#[test]
fn the_built_files_are_those_of_the_sources_and_small() {
    let Some(tools) = tools::client_tools() else { return };
    let built = tempfile::tempdir().expect("a folder can be made");
    let build = library().join("build.mjs");
    let output = run(
        Command::new("node").arg(&build).arg(built.path()).env("NODE_TOOLS", &tools),
        BUILD_LIMIT,
    )
    .expect("it builds");
    let sizes: Sizes = serde_json::from_str(output.trim()).expect("one line of JSON");
    assert!(sizes.altavoz <= GZIPPED_BYTES_MAX && sizes.react <= GZIPPED_BYTES_MAX, "{sizes:?}");
    let stated = format!("{:.1} KiB gzipped", sizes.altavoz as f64 / 1024.0);
    for document in ["README.md", "../../../README.md"] {
        let text = fs::read_to_string(library().join(document)).expect("a document");
        assert!(text.contains(&stated), "{document} does not say: {stated}");
    }
    let kept = library().join("dist");
    let files = files_below(built.path());
    assert_eq!(files, files_below(&kept), "dist/ holds other files than a build makes");
    for file in files {
        let [fresh, kept] = [built.path(), kept.as_path()]
            .map(|folder| fs::read(folder.join(&file)).expect("it can be read"));
        assert!(
            fresh == kept,
            "dist/{} is not what the sources give; build it anew:\n  NODE_TOOLS={} node {}",
            file.display(),
            tools.display(),
            build.display(),
        );
    }
}

fn library() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("web/client")
}

/// All files in a folder and its folders, by their paths in it, in order.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    fn collect(folder: &Path, root: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("its entries can be read").path();
            if path.is_dir() {
                collect(&path, root, files);
            } else {
                files.push(path.strip_prefix(root).expect("it is below").to_path_buf());
            }
        }
    }
    let mut files = Vec::new();
    collect(folder, folder, &mut files);
    files.sort();
    files
}

fn copy_folder(from: &Path, to: &Path) {
    for file in files_below(from) {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().expect("it is in a folder")).expect("it can be made");
        fs::copy(from.join(file), target).expect("a file can be copied");
    }
}
