//! Instructions that a message and a delivery take, by how many workers share the topic, counted by
//! callgrind: the same on every run. This program runs itself under valgrind with `bench turns`, for
//! a few turns and for more, and with fewer and more subscribers: differences are what a turn takes,
//! and what a subscriber adds to it. No sockets, no threads; called by `workers`.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::audience::Audience;
use crate::inputs::{PUBLISH, TOPIC};
use crate::peers::tools::Tools;

/// The numbers of workers that are compared.
pub(super) const WORKERS: [u32; 3] = [1, 2, 4];

/// Subscribers of a worker.
pub(super) const SUBSCRIBERS: u32 = 1_000;

/// Turns after which buffers have grown, and turns that are counted.
const WARM: u32 = 30;
const COUNTED: u32 = 100;

/// The flags of `bench turns`.
#[derive(Clone, Copy, Debug, Args)]
pub struct TurnsFlags {
    /// Hubs that share the topic.
    #[arg(long)]
    pub workers: u32,
    /// Subscribers of each.
    #[arg(long)]
    pub subscribers: u32,
    /// Messages, each published by the first and delivered by all before the next.
    #[arg(long)]
    pub turns: u32,
}

/// Instructions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// For a message, whoever subscribes: from its text to all workers' mailboxes and out of them.
    pub message: f64,
    /// For each subscriber that it comes to.
    pub delivery: f64,
}

/// Takes messages through the hubs of so many workers.
pub fn turns(flags: &TurnsFlags) {
    let mut workers = Audience::of_workers(flags.workers as usize, flags.subscribers, &[TOPIC]);
    for _ in 0..flags.turns {
        workers[0].publish(PUBLISH);
        for audience in &mut workers {
            audience.deliver();
            assert_eq!(audience.flush().frames, u64::from(flags.subscribers));
        }
    }
}

/// What messages and deliveries take where so many workers have so many subscribers each.
///
/// # Errors
/// If there is no valgrind, or it does not count.
pub fn cost(tools: &Tools, workers: u32, subscribers: u32) -> anyhow::Result<Cost> {
    let turn = |subscribers: u32| -> anyhow::Result<f64> {
        let flags = TurnsFlags { workers, subscribers, turns: WARM };
        let few = count(tools, flags)?;
        let many = count(tools, TurnsFlags { turns: WARM + COUNTED, ..flags })?;
        Ok((many as f64 - few as f64) / f64::from(COUNTED))
    };
    let half = subscribers / 2;
    let (of_half, of_all) = (turn(half)?, turn(subscribers)?);
    let delivery = (of_all - of_half) / f64::from(workers * (subscribers - half));
    Ok(Cost { message: of_all - delivery * f64::from(workers * subscribers), delivery })
}

/// All instructions of one run.
fn count(tools: &Tools, flags: TurnsFlags) -> anyhow::Result<u64> {
    let mut command = tools.valgrind()?;
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(tools.own("bench"))
        .args(["turns", "--workers", &flags.workers.to_string()])
        .args(["--subscribers", &flags.subscribers.to_string()])
        .args(["--turns", &flags.turns.to_string()]);
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?}: {}\n{said}", output.status);
    }
    collected(&said).with_context(|| format!("valgrind counted nothing:\n{said}"))
}

/// Of `==123== Collected : 4567`, the number.
fn collected(said: &str) -> Option<u64> {
    let counts = said.lines().find_map(|line| line.split_once("Collected : "));
    counts?.1.split_whitespace().next()?.parse().ok()
}

/// In Markdown.
pub(super) fn table(costs: &[(u32, Cost)]) -> String {
    let mut out = format!(
        "Instructions, with {SUBSCRIBERS} subscribers on each worker; counted by callgrind.\n\n\
         | workers | for a message | for each delivery |\n|--:|--:|--:|\n"
    );
    for (workers, cost) in costs {
        let _ = writeln!(out, "| {workers} | {:.0} | {:.1} |", cost.message, cost.delivery);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 8345120\n==7== \n";
        assert_eq!(collected(said), Some(8_345_120));
        assert_eq!(collected("==7== \n"), None);
    }

    #[test]
    fn messages_go_round_through_all_workers() {
        turns(&TurnsFlags { workers: 3, subscribers: 4, turns: 5 });
    }
}
