//! The segment at hand and those before it, as something that is written to and can fail: a write
//! that fails is taken back whole and may be tried again; after anything else nothing more is
//! written, because what is on disk then can't be known.
//!
//! What is kept can be written once more, as a copy in a segment of its own: it takes the place of
//! all before it when it is whole, and is removed if it can't be.
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
    /// A copy of what is kept, while it is written; it stands before the segment at hand.
    copy: Option<Segment>,
    /// Bytes of the segments before these.
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
        let (copy, is_dirty) = (None, false);
        Ok(Self { folder, segment, copy, older_bytes, bytes_max, is_dirty })
    }

    /// From here on it fails when it is waited for.
    #[cfg(test)]
    pub(super) fn wear_out(&mut self) {
        self.segment = Segment::failing(self.segment.number);
    }

    /// What all segments take.
    pub(super) fn bytes(&self) -> u64 {
        self.older_bytes + self.segment.end() + self.copy.as_ref().map_or(0, Segment::end)
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
    ///
    /// # Errors
    /// [`DiskError`].
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

    /// Begins a copy, and goes on in a new segment behind it: what is written from here on is no
    /// part of it.
    ///
    /// # Errors
    /// With [`DiskError::Full`] all is as it was.
    pub(super) fn begin_copy(&mut self) -> Result<(), DiskError> {
        self.sync()?;
        self.drop_copy();
        let begin = |number| self.folder.begin(number).map_err(DiskError::Full);
        if self.segment.is_empty() {
            // What was tried in vain leaves no segments behind.
            let next = begin(self.segment.number + 1)?;
            self.copy = Some(std::mem::replace(&mut self.segment, next));
            return Ok(());
        }
        let copy = begin(self.segment.number + 1)?;
        let next = begin(copy.number + 1).inspect_err(|_| self.folder.forget(&copy))?;
        let last = std::mem::replace(&mut self.segment, next);
        self.older_bytes += last.end();
        self.copy = Some(copy);
        Ok(())
    }

    /// Writes a frame into the copy, beyond the limit if it must.
    ///
    /// # Errors
    /// With [`DiskError::Full`] there is no copy any more.
    pub(super) fn append_copy(&mut self, frame: &mut Frame) -> Result<(), DiskError> {
        let written = self.copy.as_mut().map_or(Ok(()), |copy| copy.append(frame));
        frame.clear();
        self.keep_copy(written)
    }

    /// Waits until all of the copy that was written is on disk.
    ///
    /// # Errors
    /// With [`DiskError::Full`] there is no copy any more.
    pub(super) fn sync_copy(&mut self) -> Result<(), DiskError> {
        let synced = self.copy.as_ref().map_or(Ok(()), Segment::sync);
        self.keep_copy(synced)
    }

    fn keep_copy(&mut self, done: io::Result<()>) -> Result<(), DiskError> {
        match done {
            Err(error) if is_want_of_room(&error) => {
                self.drop_copy();
                Err(DiskError::Full(error))
            }
            done => done.map_err(DiskError::Broken),
        }
    }

    /// Gives the copy up, if there is one, and the room it takes.
    pub(super) fn drop_copy(&mut self) {
        if let Some(copy) = self.copy.take() {
            self.folder.forget(&copy);
        }
    }

    /// The copy is whole, and [on disk](Self::sync_copy): removes the segments before it. If one
    /// can't be removed, it is read again at the next start.
    pub(super) fn end_copy(&mut self) -> io::Result<()> {
        let Some(copy) = self.copy.take() else { return Ok(()) };
        let removed = self.folder.remove_before(copy.number);
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

    fn numbers(disk: &Disk) -> Vec<u64> {
        disk.folder.segments().unwrap().iter().map(|found| found.number).collect()
    }

    fn noted(disk: &mut Disk, id: u64) {
        let mut frame = Frame::new();
        frame.add(&Record::Forgotten { id });
        disk.append(&mut frame, disk.mark(), Room::Limited).unwrap();
    }

    #[test]
    fn a_whole_copy_takes_the_place_of_all_before_it() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Folder::open(place.path()).unwrap(), u64::MAX).unwrap();
        let (empty, mut frame) = (disk.bytes(), Frame::new());
        noted(&mut disk, 1);
        disk.begin_copy().unwrap();
        assert_eq!((disk.segment(), numbers(&disk)), (3, vec![1, 2, 3]));
        frame.add(&Record::Forgotten { id: 1 });
        let bytes = frame.len() as u64;
        disk.append_copy(&mut frame).unwrap();
        noted(&mut disk, 2);
        assert_eq!((disk.bytes(), frame.is_empty()), (3 * (empty + bytes), true));
        disk.end_copy().unwrap();
        assert_eq!((disk.bytes(), numbers(&disk)), (2 * (empty + bytes), vec![2, 3]));
    }

    #[test]
    fn a_copy_that_is_given_up_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let mut disk = Disk::new(Folder::open(place.path()).unwrap(), u64::MAX).unwrap();
        let (empty, mut frame) = (disk.bytes(), Frame::new());
        for round in 2..5 {
            disk.begin_copy().unwrap();
            frame.add(&Record::Forgotten { id: 1 });
            disk.append_copy(&mut frame).unwrap();
            disk.drop_copy();
            assert_eq!((disk.bytes(), numbers(&disk)), (empty, vec![round]));
        }
        disk.begin_copy().unwrap();
        disk.end_copy().unwrap();
        assert_eq!((disk.bytes(), numbers(&disk).len()), (2 * empty, 2));
    }
}
