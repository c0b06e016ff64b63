//! The flags of `loadgen chat`. Their defaults are those of `loadgen/scenarios/chat.toml`.

use clap::Args;

use super::dashboard::check_drawn;
use super::groups::{check_options, check_publishers, check_size};
use super::{Conduct, Timing, not_negative, positive};

/// The flags of `loadgen chat`.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_long_help = EXAMPLES)]
pub struct Chat {
    /// Users, each with one connection.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Rooms, each a topic.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rooms: u32,
    /// Rooms that each user is in.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub member_of: u32,
    /// How unequal the rooms are: room n has members and messages in proportion to 1 / n to this
    /// power.
    #[arg(long, default_value_t = 0.8, value_parser = not_negative)]
    pub zipf: f64,
    /// How many of 100 users leave rooms and join them again; the others see that.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub movers: f64,
    /// How often somebody leaves a room in a second.
    #[arg(long, default_value_t = 20.0, value_parser = positive)]
    pub leaves: f64,
    /// How long each is away from the room, in seconds.
    #[arg(long, default_value_t = 2.0, value_parser = not_negative)]
    pub away: f64,
    /// Connections that publish; at most one per room.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publishers: u32,
    /// Messages a second, all rooms together, on average.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub rate: f64,
    /// What members and messages are drawn from: the same number gives the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Bytes of a payload: at least 64 in JSON, 28 in binary.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=64 << 20))]
    pub size: u32,
    /// How long what takes.
    #[command(flatten)]
    pub timing: Timing,
    /// What every scenario has.
    #[command(flatten)]
    pub conduct: Conduct,
}

const EXAMPLES: &str = "\
Examples:
  5,000 users in 200 rooms, 50 of them leave and join again every second:
      loadgen chat --users 5000 --rooms 200 --leaves 50

Members are told who joins and leaves (presence): those who stay must each see it. The lines `joins`
and `leaves` tell how often that was, and how long after the command. The server must tell of presence;
for this broker that is --presence members.

`loadgen fanout --help` explains how it measures, and the exit codes.";

impl Chat {
    /// What no single flag can tell.
    ///
    /// # Errors
    ///
    /// A sentence for the user.
    pub fn check(&self) -> Result<(), String> {
        check_options("chat", self.conduct.protocol)?;
        check_size(self.size, self.conduct.protocol.shape().payload_bytes_min())?;
        check_publishers(self.publishers, self.rooms, "--rooms")?;
        if self.member_of > self.rooms {
            return Err(format!("--member-of {} needs as many --rooms", self.member_of));
        }
        if self.movers > 100.0 {
            return Err(format!("--movers {} is more than all", self.movers));
        }
        check_drawn(self.rate, &self.timing)
    }
}
