//! What the allocator says of memory, and how it gives back what is not used.

/// Bytes of memory in use; none if the allocator does not tell.
pub fn allocated_bytes() -> Option<u64> {
    allocated_and_resident().map(|(allocated, _)| allocated)
}

/// Bytes in use, and bytes that the allocator holds in memory.
pub(super) fn allocated_and_resident() -> Option<(u64, u64)> {
    tikv_jemalloc_ctl::epoch::advance().ok()?;
    let allocated = tikv_jemalloc_ctl::stats::allocated::read().ok()?;
    let resident = tikv_jemalloc_ctl::stats::resident::read().ok()?;
    Some((allocated as u64, resident as u64))
}

/// From here on memory that was freed goes back to the system some seconds later, also while nobody
/// asks for more: threads of the allocator's own see to it. Otherwise an idle broker would keep
/// what a burst of connections needed. Whether that can be had.
pub fn give_back_when_idle() -> bool {
    tikv_jemalloc_ctl::background_thread::write(true).is_ok()
}
