//! `loadgen dashboard`: users with panels over the metrics of many hosts, which they close and open
//! again. Turns its flags into a plan; the rest is `run`'s.

use super::run::Scenario;
use crate::engine::{Flips, Group, Latest, Layout, Plan, Schedule};
use crate::options::Dashboard;
use crate::target::Target;

/// What the first metrics are called.
const METRICS: [&str; 6] = ["cpu", "memory", "disk", "network", "load", "requests"];

/// How often a fast, a medium and a slow metric comes, against each other.
const SPEEDS: [f64; 3] = [25.0, 5.0, 1.0];

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Dashboard) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Dashboard) -> Scenario<'_> {
    // The newest may come an interval after the last send.
    let drain = options.timing.drain.max(1.0 / options.max_rate + 1.0);
    Scenario { name: "dashboard", conduct: &options.conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &Dashboard, target: Target) -> Plan {
    let Dashboard { users, hosts, metrics, publishers, size, timing, conduct, .. } = options;
    let topics = hosts * metrics;
    let speed = |topic: u32| SPEEDS[(topic / hosts) as usize % SPEEDS.len()];
    let weights: Vec<f64> = (0..topics).map(speed).collect();
    let times = [timing.warmup, timing.seconds];
    let schedule = Schedule::weighted(options.rate, times, &weights, options.seed);
    let counts = [*users, *publishers, topics];
    let plan = Plan::new(target, counts, schedule, *size as usize, conduct.thread_count());
    let root = format!("loadgen/{:08x}/host", plan.run);
    // All hosts of a metric follow each other.
    let name = |topic: u32| format!("{root}/{}/{}", topic % hosts, metric(topic / hosts));
    Plan { topics: (0..topics).map(name).collect(), layout: Some(layout(options, &root)), ..plan }
}

/// User u begins with metric u; of its panels every third is one topic, a list, and all hosts.
fn layout(options: &Dashboard, root: &str) -> Layout {
    let Dashboard { users, panels, hosts, metrics, list, .. } = options;
    let mut layout = Layout::new(hosts * metrics);
    layout.last = true;
    layout.flips = Some(Flips {
        subscribers: *users,
        per_second: options.flips,
        away_ns: (options.away * 1e9) as u64,
    });
    for user in 0..*users {
        let panel = |panel: u32| {
            let number = (user + panel) % metrics;
            let topics = match panel % 3 {
                0 => 1,
                1 => *list,
                _ => *hosts,
            };
            let first = user.wrapping_mul(7) % hosts;
            let mut topics: Vec<u32> =
                (0..topics).map(|place| number * hosts + (first + place) % hosts).collect();
            topics.sort_unstable();
            let is_latest = is_in_share(user * panels + panel, options.latest_share);
            let mut group = Group::of(topics);
            group.filter = (panel % 3 == 2).then(|| format!("{root}/+/{}", metric(number)));
            group.latest = is_latest.then_some(Latest { max_rate: Some(options.max_rate) });
            group
        };
        layout.push((0..*panels).map(panel).collect());
    }
    layout
}

fn metric(number: u32) -> String {
    METRICS.get(number as usize).map_or_else(|| format!("metric-{number}"), |name| (*name).into())
}

/// Whether number n is among so many per cent, which are spread evenly.
fn is_in_share(number: u32, percent: f64) -> bool {
    let before = |count: u32| (f64::from(count) * percent / 100.0).floor();
    before(number + 1) > before(number)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    #[test]
    fn every_user_has_panels_of_all_kinds_which_do_not_overlap() {
        let flags = "--users 7 --hosts 5 --metrics 6 --panels 6 --list 3 --latest-share 50";
        let all = format!("loadgen dashboard {flags}");
        let Command::Dashboard(options) = Options::parse_from(all.split_whitespace()).command
        else {
            panic!("not dashboard: {all}")
        };
        assert_eq!(options.check(), Ok(()));
        let conduct = &options.conduct;
        let plan = plan(&options, conduct.to.resolve(conduct.protocol).unwrap());
        let layout = plan.layout.as_ref().unwrap();
        let mut latest = 0;
        for user in 0..7 {
            let groups: Vec<_> =
                layout.groups_of(user).map(|number| layout.group(number)).collect();
            let mut sizes: Vec<_> = groups.iter().map(|group| group.topics.len()).collect();
            sizes.sort_unstable();
            assert_eq!(sizes, [1, 1, 3, 3, 5, 5]);
            assert_eq!(plan.accounts_of(user), 18);
            for group in groups {
                latest += usize::from(group.latest.is_some());
                for (place, filter) in group.filters(&plan.topics) {
                    let topic = &plan.topics[layout.topics_of(user)[place as usize] as usize];
                    let filter = broker_proto::topic::Filter::new(filter).unwrap();
                    assert!(filter.matches(broker_proto::topic::Topic::new(topic).unwrap()));
                    assert_eq!(filter.is_wildcard(), group.topics.len() == 5);
                }
            }
        }
        assert_eq!((latest, layout.group_count()), (21, 42));
        assert!(plan.topics[5].ends_with("/host/0/memory"), "{}", plan.topics[5]);
    }
}
