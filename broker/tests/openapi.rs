//! The description of the HTTP API held against the API by schemathesis, a program that makes
//! requests out of a description, good ones and bad ones, and looks whether the answers are as
//! described.

#[path = "support/support.rs"]
mod support;

use std::time::Duration;

use support::broker::Broker;
use support::process::run;
use support::tools;

const LIMIT: Duration = Duration::from_secs(120);

/// As many requests per operation and phase as take a few seconds.
const EXAMPLES: &str = "25";

#[test]
fn schemathesis_finds_nothing_that_the_description_does_not_say() {
    let Some(mut command) = tools::schemathesis() else { return };
    let broker = Broker::start(&["--presence", "members"]);
    let url = format!("http://{}", broker.address());
    let scratch = tempfile::tempdir().expect("a folder");
    command.current_dir(scratch.path());
    command.args(["run", "--url", &url, "--checks", "all", "--max-examples", EXAMPLES]);
    command.args(["--seed", "7", "--no-color", "--suppress-health-check", "all"]);
    // A key is asked for only where one is in the settings, which is tested elsewhere. And a
    // schema can't say all that a topic must be (bytes, levels), nor that a key was used before.
    command.args(["--exclude-checks", "ignored_auth,positive_data_acceptance"]);
    command.arg(format!("{url}/api/openapi.json"));
    if let Err(error) = run(&mut command, LIMIT) {
        panic!("{error}");
    }
}
