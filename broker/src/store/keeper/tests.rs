//! The thread's work without the thread: what it does when the disk fails.

use std::path::Path;

use super::super::segment::Folder;
use super::*;
use crate::config::Config;

fn keeping(folder: &Path) -> Keeping {
    let shared = Arc::new(Shared::new(1, &Config::default(), 0));
    Keeping {
        desk: Desk::new(shared.clone(), |_| {}),
        shared,
        disk: Disk::new(Folder::open(folder).unwrap(), u64::MAX).unwrap(),
        book: Book::default(),
        metrics: Arc::new(Metrics::new(1)),
        bell: Bell::default(),
        clock: Clock { started: Instant::now(), began_unix_ms: 0 },
        health: Health::Open,
        checkpoint: Checkpoint::new(u64::MAX),
        frame: Frame::new(),
        dirty_since: None,
    }
}

#[test]
fn when_the_disk_has_failed_there_is_nothing_to_come_back_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeping = keeping(folder.path());
    keeping.disk.wear_out();
    keeping.frame.add(&Record::Clean);
    keeping.append(keeping.disk.mark(), Room::Any).unwrap();
    let soon = Instant::now() + LAZY_SYNC + REST / 2;
    assert!(keeping.dirty_since.is_some() && keeping.rests_until() < soon);
    // As long as a lazy sync may take to be due.
    keeping.dirty_since = Some(Instant::now() - LAZY_SYNC);
    keeping.look_after(0);
    assert_eq!((keeping.health, keeping.sync()), (Health::Closed, Err(CLOSED)));
    assert!(keeping.rests_until() > Instant::now(), "it sleeps");
}
