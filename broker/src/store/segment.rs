//! The files of the store: a folder that one broker has to itself, and in it segments, which are
//! only ever appended to. Each start begins a segment of its own, so nothing is written behind what
//! a crash has left.
//!
//! Knows nothing of what is written; waits for the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{Frame, HEADERS_BYTES, headers};

const LOCK: &str = "lock";
const SUFFIX: &str = ".log";

/// The folder, held for this process until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

/// A segment as it is found in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its number: a later segment has a greater one.
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// How long it is.
    pub(super) bytes: u64,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    file: File,
    nonce: u64,
    /// Where the next frame begins.
    end: u64,
}

impl Folder {
    /// Takes the folder, made if it is not there.
    ///
    /// # Errors
    /// `WouldBlock`: another process has it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = path.join(LOCK);
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The segments that are there, in their order.
    pub(super) fn segments(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            if let Some(number) = number {
                found.push(Found { number, path: entry.path(), bytes: entry.metadata()?.len() });
            }
        }
        found.sort_unstable_by_key(|segment| segment.number);
        Ok(found)
    }

    /// A new segment, on disk with its name when this returns.
    pub(super) fn begin(&self, number: u64) -> io::Result<Segment> {
        let path = self.path_of(number);
        let nonce = fastrand::u64(..);
        let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
        let written = file.write_all_at(&headers(nonce), 0);
        if let Err(error) = written.and_then(|()| file.sync_all()).and_then(|()| self.sync()) {
            // What is there of it holds nothing.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Segment { number, file, nonce, end: HEADERS_BYTES })
    }

    /// Removes a segment that holds nothing which is not elsewhere too. If it can't be, it stays
    /// until those before a later one are removed.
    pub(super) fn forget(&self, segment: &Segment) {
        if let Err(error) = fs::remove_file(self.path_of(segment.number)) {
            tracing::warn!(%error, number = segment.number, "a part of the store can't be removed");
        }
    }

    /// Removes the segments before this one.
    pub(super) fn remove_before(&self, number: u64) -> io::Result<()> {
        for segment in self.segments()?.iter().filter(|found| found.number < number) {
            fs::remove_file(&segment.path)?;
        }
        self.sync()
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:010}{SUFFIX}"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl Segment {
    /// One whose disk fails when it is waited for.
    #[cfg(test)]
    pub(super) fn failing(number: u64) -> Self {
        let file = OpenOptions::new().write(true).open("/dev/null").unwrap();
        Self { number, file, nonce: 0, end: HEADERS_BYTES }
    }

    /// How long it is.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether nothing was written to it.
    pub(super) fn is_empty(&self) -> bool {
        self.end == HEADERS_BYTES
    }

    /// Writes a frame; it is on disk after [`sync`](Self::sync).
    ///
    /// # Errors
    /// A part of it may have been written; [`cut`](Self::cut) takes that away.
    pub(super) fn append(&mut self, frame: &mut Frame) -> io::Result<()> {
        let bytes = frame.seal(self.nonce, self.end);
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all that was appended is on disk.
    ///
    /// # Errors
    /// What is on disk then can't be known from here: nothing more may be appended.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes away what stands behind `end`, and goes on from there.
    pub(super) fn cut(&mut self, end: u64) -> io::Result<()> {
        self.file.set_len(end)?;
        self.end = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Record;
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/store");
        let first = Folder::open(&path).unwrap();
        let second = Folder::open(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn segments_stand_in_the_order_of_their_numbers_and_old_ones_go() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        for number in [10, 2, 9] {
            folder.begin(number).unwrap();
        }
        fs::write(place.path().join("notes.txt"), "not ours").unwrap();
        assert!(folder.begin(9).is_err(), "a segment is never begun twice");
        let numbers = |folder: &Folder| {
            let found = folder.segments().unwrap();
            found.iter().map(|found| found.number).collect::<Vec<_>>()
        };
        // Beginning it again failed, and must not have taken away what stands there.
        assert_eq!(numbers(&folder), [2, 9, 10]);
        folder.remove_before(10).unwrap();
        assert_eq!(numbers(&folder), [10]);
        assert!(place.path().join("notes.txt").exists());
    }

    #[test]
    fn what_was_cut_off_is_written_over() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let mut segment = folder.begin(1).unwrap();
        let mut frame = Frame::new();
        frame.add(&Record::Clean);
        segment.append(&mut frame).unwrap();
        let end = segment.end();
        segment.append(&mut frame).unwrap();
        segment.cut(end).unwrap();
        assert_eq!((segment.end(), folder.segments().unwrap()[0].bytes), (end, end));
    }
}
