//! Workers by their numbers: sets of them, one bit each in a word, which is why a broker has at
//! most 64, and the sessions that are theirs.

/// A set of workers, one bit each.
pub type WorkerSet = u64;

/// The members of a set.
pub fn members(mut set: WorkerSet) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let next = set.trailing_zeros();
        (next < WorkerSet::BITS).then(|| {
            set &= set - 1;
            next as usize
        })
    })
}

/// Bits of a session's number that count the sessions of a worker.
const COUNT_BITS: u32 = 38;
/// The six above them, which say which worker it is; those above are the node's.
const WORKER_MASK: u64 = 63;
/// Bits of a session's number that are its node's.
pub const NODE_BITS: u32 = 20;

/// The number before that of a worker's first session; the sessions are counted up from it. Of
/// `node` the lowest [`NODE_BITS`] bits count: random in a cluster, so that two nodes do not give
/// one number to two sessions, and 0 alone.
pub fn before_sessions(node: u64, worker: usize) -> u64 {
    node << (u64::BITS - NODE_BITS) | (worker as u64) << COUNT_BITS
}

/// The worker that has the session of this number, if it is this node's.
pub fn worker_of(session: u64) -> usize {
    (session >> COUNT_BITS & WORKER_MASK) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_its_worker_and_differs_from_those_of_other_nodes() {
        for (node, worker) in [(0, 0), (0, 63), (0xf_ffff, 5), (u64::MAX, 63)] {
            assert_eq!(worker_of(before_sessions(node, worker) + 1), worker);
        }
        assert_ne!(before_sessions(1, 0), before_sessions(2, 0));
        assert_eq!(before_sessions(0, 0) + 1, 1);
    }
}
