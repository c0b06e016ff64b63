//! `loadgen chat`: rooms of unequal size, whose members come and go and are told of each other.
//! Turns its flags into a plan; the rest is `run`'s.

use fastrand::Rng;

use super::run::Scenario;
use crate::engine::{Arrivals, Flips, Group, Layout, Plan, Popularity, Schedule};
use crate::options::Chat;
use crate::target::Target;

/// Runs the scenario and returns the exit code.
pub(super) fn run(options: &Chat) -> anyhow::Result<u8> {
    scenario(options).run(|target| plan(options, target))
}

/// What is to be run.
pub(super) fn scenario(options: &Chat) -> Scenario<'_> {
    let (conduct, drain) = (&options.conduct, options.timing.drain);
    Scenario { name: "chat", conduct, drain, checked: options.check() }
}

/// What these flags ask for.
pub(super) fn plan(options: &Chat, target: Target) -> Plan {
    let Chat { users, rooms, publishers, size, timing, conduct, .. } = options;
    let popularity = Popularity { topics: *rooms, zipf: options.zipf };
    let times = [timing.warmup, timing.seconds];
    let schedule =
        Schedule::drawn(options.rate, times, Arrivals::Poisson, popularity, options.seed);
    let counts = [*users, *publishers, *rooms];
    let plan = Plan::new(target, counts, schedule, *size as usize, conduct.thread_count());
    Plan { layout: Some(layout(options)), ..plan }
}

/// Every user is in rooms of its own choice, each a group by itself.
fn layout(options: &Chat) -> Layout {
    let mut rng = Rng::with_seed(options.seed);
    let weights: Vec<f64> =
        (1..=options.rooms).map(|rank| f64::from(rank).powf(-options.zipf)).collect();
    let mut layout = Layout::new(options.rooms);
    layout.presence = true;
    let movers = (f64::from(options.users) * options.movers / 100.0).ceil() as u32;
    layout.flips = Some(Flips {
        subscribers: movers.clamp(1, options.users),
        per_second: options.leaves,
        away_ns: (options.away * 1e9) as u64,
    });
    for _ in 0..options.users {
        let rooms = choose(&weights, options.member_of as usize, &mut rng);
        layout.push(rooms.into_iter().map(|room| Group::of(vec![room])).collect());
    }
    layout
}

/// So many different rooms, each with a chance in proportion to its weight. (Efraimidis and
/// Spirakis: those with the highest keys u^(1/w), here as logarithms.)
fn choose(weights: &[f64], count: usize, rng: &mut Rng) -> Vec<u32> {
    // 1 - f64() is never 0, whose logarithm is none.
    let key = |weight: &f64| (1.0 - rng.f64()).ln() / weight;
    let mut keys: Vec<(f64, u32)> = weights.iter().map(key).zip(0..).collect();
    keys.sort_unstable_by(|one, other| other.0.total_cmp(&one.0));
    keys.into_iter().take(count).map(|(_, room)| room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_in_different_rooms_and_the_first_rooms_are_the_largest() {
        let mut rng = Rng::with_seed(1);
        let weights: Vec<f64> = (1..=20).map(|rank| f64::from(rank).powf(-1.0)).collect();
        let mut members = [0; 20];
        for _ in 0..2000 {
            let mut rooms = choose(&weights, 3, &mut rng);
            rooms.sort_unstable();
            rooms.dedup();
            assert_eq!(rooms.len(), 3);
            rooms.iter().for_each(|&room| members[room as usize] += 1);
        }
        assert!(members[0] > 2 * members[4] && members[4] > 2 * members[19], "{members:?}");
    }
}
