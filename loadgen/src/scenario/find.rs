//! `loadgen find`: the highest rate at which a scenario holds a bound, by runs one after the other.
//! Each is a fresh run of the scenario; `search` says at which rate, `step` judges it, `outcome`
//! tells what was found.

mod outcome;
mod search;
mod step;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use super::run::{Scenario, unfit};
use super::{
    Console, UNREACHABLE, USAGE, chat, churn, dashboard, echo, fanout, notify, refuse, slow, ticker,
};
use crate::engine::Plan;
use crate::options::{
    Bound, Chat, ChurnFlags, Command, Dashboard, EchoFlags, Fanout, Find, Notify, Searched,
    SlowFlags, Ticker,
};
use crate::target::Target;
use crate::threshold::Threshold;
use crate::{library, sys};
use outcome::Outcome;
use search::{Judgement, Search};
use step::{HEAD, Step, Stop};

/// Searches and returns the exit code.
pub(super) fn run(options: &Find) -> anyhow::Result<u8> {
    match &options.scenario {
        Searched::Chat(with) => look(&with.bound, &chat::scenario(&with.flags), |rate, target| {
            chat::plan(&Chat { rate, ..with.flags.clone() }, target)
        }),
        Searched::Churn(with) => {
            look(&with.bound, &churn::scenario(&with.flags), |rate, target| {
                churn::plan(&ChurnFlags { rate, ..with.flags.clone() }, target)
            })
        }
        Searched::Echo(with) => look(&with.bound, &echo::scenario(&with.flags), |rate, target| {
            echo::plan(&EchoFlags { rate, ..with.flags.clone() }, target)
        }),
        Searched::Dashboard(with) => {
            look(&with.bound, &dashboard::scenario(&with.flags), |rate, target| {
                dashboard::plan(&Dashboard { rate, ..with.flags.clone() }, target)
            })
        }
        Searched::Fanout(with) => {
            look(&with.bound, &fanout::scenario(&with.flags), |rate, target| {
                fanout::plan(&Fanout { rate, ..with.flags.clone() }, target)
            })
        }
        Searched::Notify(with) => {
            look(&with.bound, &notify::scenario(&with.flags), |rate, target| {
                notify::plan(&Notify { rate, ..with.flags.clone() }, target)
            })
        }
        Searched::Slow(with) => look(&with.bound, &slow::scenario(&with.flags), |rate, target| {
            slow::plan(&SlowFlags { rate, ..with.flags.clone() }, target)
        }),
        Searched::Ticker(with) => {
            look(&with.bound, &ticker::scenario(&with.flags), |rate, target| {
                ticker::plan(&Ticker { rate, ..with.flags.clone() }, target)
            })
        }
        Searched::File(words) => match library::load_search(words) {
            Ok(options) => match &options.command {
                Command::Find(found) => run(found),
                _ => Ok(USAGE),
            },
            Err(error) => Ok(refuse(&error.to_string())),
        },
    }
}

fn look(
    bound: &Bound,
    scenario: &Scenario<'_>,
    plan: impl Fn(f64, Target) -> Plan,
) -> anyhow::Result<u8> {
    let console = Console { is_quiet: scenario.conduct.following.quiet };
    let checked = bound.check().and_then(|()| scenario.checked.clone());
    if let Err(why) = checked {
        return Ok(refuse(&why));
    }
    let target = match scenario.target() {
        Ok(target) => target,
        Err((why, code)) => {
            console.complain(&why);
            return Ok(code);
        }
    };
    let files = match scenario.conduct.outputs.open() {
        Ok(files) => files,
        Err(why) => return Ok(refuse(&why)),
    };
    let first = plan(bound.from, target.clone());
    if let Some(why) = unfit(&first) {
        return Ok(refuse(&why));
    }
    if let Some(why) = scenario.forbidden(&first) {
        console.verdict(&why);
        return Ok(UNREACHABLE);
    }
    let mut finder = Finder { bound, scenario, console, steps: Vec::new() };
    let (search, stop) = finder.search(|rate| plan(rate, target.clone()))?;
    let demands: Vec<&str> = finder.demands().map(Threshold::text).collect();
    let outcome = Outcome {
        scenario: scenario.name,
        bound,
        demands: demands.join(", "),
        search,
        steps: finder.steps,
        stop,
    };
    let written = files.write_all_of(&outcome.json(), &outcome.csv(), &outcome.page());
    written.context("cannot write the result")?;
    outcome.doubts().iter().for_each(|line| console.verdict(line));
    console.verdict(&outcome.verdict());
    Ok(outcome.exit_code())
}

struct Finder<'a> {
    bound: &'a Bound,
    scenario: &'a Scenario<'a>,
    console: Console,
    steps: Vec<Step>,
}

impl Finder<'_> {
    /// Tries one rate after the other; returns what is known then, and what ended it early.
    fn search(&mut self, plan: impl Fn(f64) -> Plan) -> anyhow::Result<(Search, Option<Stop>)> {
        let interrupted = Arc::new(AtomicBool::new(false));
        sys::watch_interrupt(&interrupted, &interrupted)
            .context("cannot watch the interrupt key")?;
        let mut search = Search::new(self.bound.from, self.bound.to, self.bound.precision / 100.0);
        self.console.summary(HEAD);
        while let Some(rate) = search.next_rate() {
            let mut judgement = None;
            for is_second in [false, true] {
                let step = match interrupted.load(Ordering::Relaxed) {
                    true => Err(Stop::Interrupted),
                    false => self.step(rate, is_second, plan(rate))?,
                };
                let one = match step {
                    Ok(one) => one,
                    Err(stop) => return Ok((search, Some(stop))),
                };
                judgement = Some(judgement.map_or(one, |first: Judgement| first.of_two(one)));
                if one == Judgement::Holds {
                    break;
                }
            }
            search.handle(rate, judgement.expect("each rate is tried at least once"));
        }
        Ok((search, None))
    }

    fn step(
        &mut self,
        rate: f64,
        is_second: bool,
        plan: Plan,
    ) -> anyhow::Result<Result<Judgement, Stop>> {
        let console = Console { is_quiet: true };
        let follow = self.scenario.follow(&plan, console).map_err(anyhow::Error::msg)?;
        let mut report = match self.scenario.measure(plan, follow, console)? {
            Ok(report) => report,
            Err(why) => {
                self.console.complain(&why);
                return Ok(Err(Stop::Unreachable));
            }
        };
        if let Some(why) = &report.fault {
            self.console.complain(why);
        }
        report.thresholds = self.demands().cloned().collect();
        Ok(Step::new(rate, is_second, &report).map(|step| {
            self.console.summary(&step.line());
            let judgement = step.judgement;
            self.steps.push(step);
            judgement
        }))
    }

    fn demands(&self) -> impl Iterator<Item = &Threshold> {
        self.bound.latency.iter().chain(&self.scenario.conduct.outputs.threshold)
    }
}
