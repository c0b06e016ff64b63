//! The corpus of the fuzz targets, every file of it through the same function that is fuzzed: what
//! was found once stays found, on a stable compiler, without a fuzzer.

#![allow(unreachable_pub, reason = "the fuzz targets see them as a library")]

#[path = "../fuzz/src/commands.rs"]
mod commands;
#[path = "../fuzz/src/protocol.rs"]
mod protocol;
#[path = "../fuzz/src/tokens.rs"]
mod tokens;

use std::fs;
use std::path::Path;

/// Runs every file of a target's corpus; there must be some.
fn run(target: &str, function: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("it can be listed").path();
        let data = fs::read(&path).expect("it can be read");
        eprintln!("{}", path.display());
        function(&data);
        // Cut anywhere it must do as well.
        (0..data.len().min(512)).for_each(|len| function(&data[..len]));
        count += 1;
    }
    assert!(count >= 3, "only {count} files for {target}");
}

#[test]
fn heads() {
    run("handshake", protocol::handshake);
}

#[test]
fn streams_of_frames() {
    run("frames", protocol::frames);
}

#[test]
fn compressed_messages() {
    run("deflate", protocol::deflate);
}

#[test]
fn what_proxies_say() {
    run("proxies", protocol::proxies);
}

#[test]
fn commands_as_json() {
    run("commands_json", commands::commands_json);
}

#[test]
fn commands_in_binary() {
    run("commands_bin", commands::commands_bin);
}

#[test]
fn topics_and_filters() {
    run("topics", commands::topics);
}

#[test]
fn tokens_and_what_is_none() {
    run("tokens", tokens::tokens);
}
