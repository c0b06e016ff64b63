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

/// Bits of a session's number below those that say which worker has it.
const SESSION_BITS: u32 = 48;

/// The number of a worker's `count`th session.
pub fn session_number(worker: usize, count: u64) -> u64 {
    (worker as u64) << SESSION_BITS | count
}

/// The worker that has the session of this number.
pub fn worker_of(session: u64) -> usize {
    (session >> SESSION_BITS) as usize
}
