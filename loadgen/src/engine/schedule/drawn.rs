//! A schedule drawn at random before the run: when a message comes, and on which topic. Sends
//! nothing and reads no clock; made and read by the schedule.

use fastrand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most messages of a drawn schedule: 20 million, which take 320 MB.
pub const DRAWN_MAX: usize = 20_000_000;

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Each at a time of its own, whatever the others do: bursts and pauses, as with many
    /// independent sources.
    Poisson,
    /// At equal distances.
    Constant,
}

/// How often each topic comes: topic t, from 0, in proportion to 1 / (t + 1) to the power of `zipf`.
#[derive(Clone, Copy, Debug)]
pub struct Popularity {
    /// How many topics there are, at least one.
    pub topics: u32,
    /// 0 makes all alike; with 1, the first comes twice as often as the second, three times as
    /// often as the third.
    pub zipf: f64,
}

/// All messages, in the order of their times.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Drawn {
    pub(super) messages: Vec<Message>,
    by_topic: Vec<u32>,
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) after_ns: u64,
    pub(super) topic: u32,
    /// Its number within its topic, from 1.
    pub(super) seq: u32,
}

/// As three numbers: there may be millions.
impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.after_ns, self.topic, self.seq).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (after_ns, topic, seq) = Deserialize::deserialize(deserializer)?;
        Ok(Self { after_ns, topic, seq })
    }
}

impl Drawn {
    pub(super) fn new(
        rate: f64,
        [measured_after_ns, duration_ns]: [u64; 2],
        arrivals: Arrivals,
        popularity: Popularity,
        seed: u64,
    ) -> Self {
        let weights = (1..=popularity.topics).map(|rank| f64::from(rank).powf(-popularity.zipf));
        let mut drawn = Self::empty(popularity.topics as usize);
        drawn.draw(rate, 0, [measured_after_ns, duration_ns], arrivals, &wheel(weights), seed);
        drawn
    }

    /// Each topic in proportion to its weight; but first each of them once, in order, in the first
    /// half of the time before measuring.
    pub(super) fn weighted(
        rate: f64,
        [measured_after_ns, duration_ns]: [u64; 2],
        weights: &[f64],
        seed: u64,
    ) -> Self {
        let mut drawn = Self::empty(weights.len());
        let from_ns = measured_after_ns / 2;
        for topic in 0..weights.len() as u64 {
            drawn.push(from_ns * topic / weights.len() as u64, topic as u32);
        }
        let times = [measured_after_ns, duration_ns];
        let wheel = wheel(weights.iter().copied());
        drawn.draw(rate, from_ns, times, Arrivals::Poisson, &wheel, seed);
        drawn
    }

    fn empty(topics: usize) -> Self {
        Self { messages: Vec::new(), by_topic: vec![0; topics] }
    }

    fn draw(
        &mut self,
        rate: f64,
        from_ns: u64,
        [measured_after_ns, duration_ns]: [u64; 2],
        arrivals: Arrivals,
        wheel: &[f64],
        seed: u64,
    ) {
        let mut rng = Rng::with_seed(seed);
        let mut after_s = 0.0;
        for k in 0..DRAWN_MAX as u64 {
            after_s = match arrivals {
                // 1 - f64() is never 0, whose logarithm is none.
                Arrivals::Poisson => after_s - (1.0 - rng.f64()).ln() / rate,
                Arrivals::Constant => k as f64 / rate,
            };
            let after_ns = from_ns + (after_s * 1e9).round() as u64;
            if after_ns >= duration_ns {
                break;
            }
            self.push(after_ns, pick(wheel, rng.f64()));
        }
        if self.messages.last().is_none_or(|last| last.after_ns < measured_after_ns) {
            self.push(measured_after_ns, pick(wheel, rng.f64()));
        }
    }

    pub(super) fn fits(&self, topics: u32) -> bool {
        let is_known = |message: &Message| message.topic < topics;
        self.by_topic.len() == topics as usize && self.messages.iter().all(is_known)
    }

    pub(super) fn messages_of(&self, topic: u32) -> u64 {
        u64::from(self.by_topic[topic as usize])
    }

    pub(super) fn messages_before(&self, after_ns: u64) -> u64 {
        self.messages.partition_point(|message| message.after_ns < after_ns) as u64
    }

    fn push(&mut self, after_ns: u64, topic: u32) {
        let seq = &mut self.by_topic[topic as usize];
        *seq += 1;
        self.messages.push(Message { after_ns, topic, seq: *seq });
    }
}

/// Where the part of each topic ends on a wheel of circumference 1.
fn wheel(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sum = 0.0;
    let mut wheel: Vec<f64> = weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect();
    wheel.iter_mut().for_each(|end| *end /= sum);
    wheel
}

fn pick(wheel: &[f64], at: f64) -> u32 {
    let topic = wheel.partition_point(|&end| end <= at);
    topic.min(wheel.len() - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn drawn(arrivals: Arrivals, zipf: f64, seed: u64) -> Drawn {
        let popularity = Popularity { topics: 10, zipf };
        Drawn::new(1000.0, [0, 20 * SECOND_NS], arrivals, popularity, seed)
    }

    #[test]
    fn constant_arrivals_keep_their_distance_and_poisson_arrivals_do_not() {
        let constant = drawn(Arrivals::Constant, 0.0, 1).messages;
        assert_eq!(constant.len(), 20_000);
        assert!((0_u64..).zip(&constant).all(|(k, message)| message.after_ns == k * 1_000_000));
        let poisson = drawn(Arrivals::Poisson, 0.0, 1).messages;
        // 20,000 expected, with a standard deviation of 141.
        assert!((19_300..20_700).contains(&poisson.len()), "{}", poisson.len());
        let gaps: Vec<u64> =
            poisson.windows(2).map(|two| two[1].after_ns - two[0].after_ns).collect();
        let long = gaps.iter().filter(|&&gap| gap > 1_000_000).count() as f64;
        let share = long / gaps.len() as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.02, "{share} of the gaps are long");
    }

    #[test]
    fn the_first_topic_is_as_popular_as_the_exponent_says() {
        let even = drawn(Arrivals::Constant, 0.0, 2);
        assert!((0..10).all(|topic| (1800..2200).contains(&even.messages_of(topic))));
        let zipf = drawn(Arrivals::Constant, 1.0, 2);
        let ratio = zipf.messages_of(0) as f64 / zipf.messages_of(3) as f64;
        assert!((3.5..4.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn by_weight_every_topic_has_its_first_message_before_measuring() {
        let times = [2 * SECOND_NS, 22 * SECOND_NS];
        let drawn = Drawn::weighted(1000.0, times, &[1.0, 4.0, 5.0], 3);
        let first: Vec<_> =
            drawn.messages[..3].iter().map(|message| (message.topic, message.seq)).collect();
        assert_eq!(first, [(0, 1), (1, 1), (2, 1)]);
        assert!(drawn.messages[2].after_ns < SECOND_NS);
        assert!(drawn.messages.is_sorted_by_key(|message| message.after_ns));
        let ratio = drawn.messages_of(1) as f64 / drawn.messages_of(0) as f64;
        assert!((3.5..4.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_same_seed_gives_the_same_messages_and_there_is_always_one_to_measure() {
        let of = |seed| {
            let messages = drawn(Arrivals::Poisson, 1.0, seed).messages;
            messages.iter().map(|message| (message.after_ns, message.topic)).collect::<Vec<_>>()
        };
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
        let popularity = Popularity { topics: 1, zipf: 1.0 };
        let rare = Drawn::new(0.001, [5, 10], Arrivals::Poisson, popularity, 1);
        assert_eq!((rare.messages.len(), rare.messages_before(5)), (1, 0));
    }
}
