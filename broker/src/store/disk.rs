//! The segment at hand and those before it, as something that is written to and can fail: a write
//! that fails is taken back whole and may be tried again; after anything else nothing more is
//! written, because what is on disk then can't be known.
//!
//! Knows nothing of topics. Called by the keeper's thread alone.

use std::io::{self, ErrorKind};

use super::record::Frame;
use super::segment::{Folder, Segment};

/// Where the log is written.
#[derive(Debug)]
pub(super) struct Disk {
    folder: Folder,
    segment: Segment,
    /// Bytes of the segments before it.
    older_bytes: u64,
    bytes_max: u64,
    /// Something was appended that may not be on disk yet.
    is_dirty: bool,
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    /// There is no room; nothing of it is there. It may be tried again.
    #[error("no room: {0}")]
    Full(io::Error),
    /// The disk failed; nothing may be written any more.
    #[error("the disk failed: {0}")]
    Broken(io::Error),
}

/// Which room a write may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// Within the limit.
    Limited,
    /// Beyond it for a moment: it makes room.
    Any,
}

/// A place to go back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(u64);

impl Disk {
    /// Begins a segment behind those in the folder.
    pub(super) fn new(folder: Folder, bytes_max: u64) -> io::Result<Self> {
        let found = folder.segments()?;
        let number = found.last().map_or(1, |segment| segment.number + 1);
        let segment = folder.begin(number)?;
        let older_bytes = found.iter().map(|segment| segment.bytes).sum();
        Ok(Self { folder, segment, older_bytes, bytes_max, is_dirty: false })
    }

    /// What all segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.older_bytes + self.segment.end()
    }

    /// The number of the segment at hand.
    pub(super) fn segment(&self) -> u64 {
        self.segment.number
    }

    /// Whether something waits to be [synced](Self::sync).
    pub(super) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Where the next frame goes.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.segment.end())
    }

    /// Writes a frame and takes its records out, if there are any. On an error those since `mark`
    /// are taken back.
    pub(super) fn append(
        &mut self,
        frame: &mut Frame,
        mark: Mark,
        room: Room,
    ) -> Result<(), DiskError> {
        if frame.is_empty() {
            return Ok(());
        }
        let is_over = self.bytes() + frame.len() as u64 > self.bytes_max;
        let written = match is_over && room == Room::Limited {
            true => Err(io::Error::new(ErrorKind::StorageFull, "store_bytes_max is reached")),
            false => self.segment.append(frame),
        };
        frame.clear();
        let Err(error) = written else {
            self.is_dirty = true;
            return Ok(());
        };
        if !is_want_of_room(&error) {
            return Err(DiskError::Broken(error));
        }
        self.segment.cut(mark.0).map_err(DiskError::Broken)?;
        Err(DiskError::Full(error))
    }

    /// Waits until all that was appended is on disk.
    pub(super) fn sync(&mut self) -> Result<(), DiskError> {
        self.segment.sync().map_err(DiskError::Broken)?;
        self.is_dirty = false;
        Ok(())
    }

    /// Goes on in a new segment.
    pub(super) fn turn_over(&mut self) -> Result<(), DiskError> {
        self.sync()?;
        let next = self.folder.begin(self.segment.number + 1).map_err(DiskError::Full)?;
        let last = std::mem::replace(&mut self.segment, next);
        self.older_bytes += last.end();
        Ok(())
    }

    /// Removes the segments before this one: all that is to be kept of them stands behind them,
    /// and is on disk. If one can't be removed, it is read again at the next start.
    pub(super) fn remove_before(&mut self, number: u64) -> io::Result<()> {
        let removed = self.folder.remove_before(number);
        let left = self.folder.segments()?;
        let older = left.iter().filter(|found| found.number < self.segment.number);
        self.older_bytes = older.map(|found| found.bytes).sum();
        removed
    }
}

fn is_want_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;

    #[test]
    fn what_does_not_fit_is_taken_back_whole_and_less_can_be_written_then() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Folder::open(place.path()).unwrap(), 120).unwrap();
        let (begin, mark) = (disk.bytes(), disk.mark());
        let mut frame = Frame::new();
        for id in 0..2 {
            frame.add(&Record::Forgotten { id });
        }
        disk.append(&mut frame, mark, Room::Limited).unwrap();
        frame.add(&Record::Forgotten { id: 2 });
        for id in 3..6 {
            frame.add(&Record::Forgotten { id });
        }
        let error = disk.append(&mut frame, mark, Room::Limited).unwrap_err();
        assert!(matches!(error, DiskError::Full(_)), "{error}");
        assert_eq!((disk.bytes(), frame.is_empty()), (begin, true), "both frames are gone");
        frame.add(&Record::Clean);
        disk.append(&mut frame, disk.mark(), Room::Limited).unwrap();
        assert!(disk.bytes() > begin);
    }

    #[test]
    fn segments_before_a_number_go_and_the_sum_with_them() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Folder::open(place.path()).unwrap(), u64::MAX).unwrap();
        let each = disk.bytes();
        disk.turn_over().unwrap();
        disk.turn_over().unwrap();
        assert_eq!((disk.bytes(), disk.segment()), (3 * each, 3));
        disk.remove_before(3).unwrap();
        assert_eq!(disk.bytes(), each);
    }
}
