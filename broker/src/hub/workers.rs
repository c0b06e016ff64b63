//! Sets of workers: one bit each in a word, which is why a broker has at most 64.

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
