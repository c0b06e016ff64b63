//! How a run came out, before anything is judged or demanded, and the exit code of that. Decided by
//! the report.

use super::INVALID;

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was planned was sent and arrived, once and in order.
    Delivered,
    /// There were too few connections to begin.
    TooFewConnections,
    /// Something was lost, came twice, out of order, or could not be sent.
    Broken,
    /// Ended by the user.
    Interrupted,
    /// An agent was lost: what its connections saw is not known.
    AgentLost,
}

impl Outcome {
    /// The exit code that goes with it.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Delivered => 0,
            Self::TooFewConnections => 3,
            Self::Broken => 5,
            Self::Interrupted => 130,
            Self::AgentLost => INVALID,
        }
    }
}
