//! What a delivery takes does not depend on how many workers share its topic: counted in instructions
//! by callgrind, on hubs without sockets.

use bench::peers::tools::Tools;
use bench::workers::cost;

/// So few that a build without optimisation is counted in a few seconds.
const SUBSCRIBERS: u32 = 60;

/// How much more a delivery may take with more workers. A worker's lists and maps differ a little in
/// how full they are.
const GROWTH_MAX: f64 = 0.02;

#[test]
fn a_delivery_takes_as_many_instructions_with_four_workers_as_with_one() {
    let tools = Tools::at_hand().expect("our own programs build");
    if let Err(why) = tools.valgrind() {
        let is_strict = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!is_strict, "valgrind cannot be had: {why:#}");
        eprintln!("nothing is counted, there is no valgrind: {why:#}");
        return;
    }
    let [one, four] = [1, 4].map(|workers| cost(&tools, workers, SUBSCRIBERS).expect("it counts"));
    println!("one worker: {one:?}, four: {four:?}");
    assert!(one.delivery > 10.0, "a delivery is counted at all: {one:?}");
    assert!(four.delivery <= one.delivery * (1.0 + GROWTH_MAX), "{one:?} with one, {four:?}");
}
