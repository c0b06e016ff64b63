//! What the allocator says of memory, and how it gives back what is not used.

use tikv_jemalloc_ctl::{Access, AsName};

/// Memory that was freed goes back to the system within this time.
const DIRTY_DECAY_MS: isize = 1_000;

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
    give_back_soon();
    tikv_jemalloc_ctl::background_thread::write(true).is_ok()
}

/// Within a second, instead of ten. While tables grow, what they leave behind is of no use to
/// larger ones; and memory that is in use again within a second, as in every turn, stays.
fn give_back_soon() {
    // For arenas to come, and for those that are there; there is no way to say it to all at once.
    // One that is not in use yet refuses, and takes the first.
    let _ = "arenas.dirty_decay_ms\0".name().write(DIRTY_DECAY_MS);
    let arenas = tikv_jemalloc_ctl::arenas::narenas::read().unwrap_or_default();
    for arena in 0..arenas {
        let _ = format!("arena.{arena}.dirty_decay_ms\0").name().write(DIRTY_DECAY_MS);
    }
}
