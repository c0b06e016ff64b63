//! Reads a segment from its beginning to its end and says what is damaged. A frame that is not
//! whole is left out, whatever follows it is read: what was answered before and after it is there.
//!
//! Changes nothing on disk. Called once for each segment when the broker starts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::memmem;

use super::record::{
    FRAME_HEAD_BYTES, FRAME_MAGIC, FrameHead, HEADERS_BYTES, Record, is_of_another_version, nonce,
    records,
};

/// Bytes that are looked through at once for the next whole frame.
const STRETCH_BYTES: usize = 1024 * 1024;

/// What a segment turned out to hold besides its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Bytes that were left out in the middle: whole frames follow them. They were answered.
    pub(super) damaged_bytes: u64,
    /// Bytes at the end that are no whole frame: the process or the machine stopped while it wrote
    /// them. They were not answered, unless the disk lost what it had promised.
    pub(super) torn_bytes: u64,
}

/// What a reader is told, in the order of the segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    /// A record; a message's payload stands at this place of the file.
    Record(Record<'a>, u64),
    /// Something is left out here.
    Damage,
}

/// A segment that is open to be read.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    nonce: Option<u64>,
    bytes: u64,
}

impl Source {
    /// Reads what it begins with.
    ///
    /// # Errors
    /// It can't be read, or (`Unsupported`) another version of the broker has written it.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        let mut headers = vec![0; HEADERS_BYTES.min(bytes) as usize];
        file.read_exact_at(&mut headers, 0)?;
        let nonce = nonce(&headers);
        if nonce.is_none() && is_of_another_version(&headers) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { file, nonce, bytes })
    }

    /// Gives every piece of it to `take`.
    ///
    /// # Errors
    /// The disk can't read it.
    pub(super) fn scan(&self, mut take: impl FnMut(Piece<'_>)) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let Some(nonce) = self.nonce else {
            // Hardly begun; or both headers are gone, and nothing in it can be told from chance.
            match self.bytes <= HEADERS_BYTES {
                true => scan.torn_bytes = self.bytes,
                false => {
                    take(Piece::Damage);
                    scan.damaged_bytes = self.bytes;
                }
            }
            return Ok(scan);
        };
        let (mut offset, mut body) = (HEADERS_BYTES, Vec::new());
        while offset < self.bytes {
            if let Some(next) = self.frame(nonce, offset, &mut body)? {
                let payloads = offset + FRAME_HEAD_BYTES as u64;
                for (record, at) in records(&body) {
                    take(Piece::Record(record, payloads + at as u64));
                }
                offset = next;
                continue;
            }
            let Some(next) = self.next_frame(nonce, offset + 1, &mut body)? else {
                scan.torn_bytes = self.bytes - offset;
                break;
            };
            take(Piece::Damage);
            scan.damaged_bytes += next - offset;
            offset = next;
        }
        Ok(scan)
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads what stands at a place.
    pub(super) fn read_at(&self, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut into = vec![0; bytes];
        self.file.read_exact_at(&mut into, offset)?;
        Ok(into)
    }

    /// Reads the frame at a place into `body` and says where the next one begins; `None` if there
    /// is no whole one.
    fn frame(&self, nonce: u64, offset: u64, body: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let mut head = [0; FRAME_HEAD_BYTES];
        if self.bytes - offset < head.len() as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut head, offset)?;
        let begin = offset + head.len() as u64;
        let Some(head) = FrameHead::parse(&head, nonce, offset) else { return Ok(None) };
        if self.bytes - begin < head.length as u64 {
            return Ok(None);
        }
        body.resize(head.length, 0);
        self.file.read_exact_at(body, begin)?;
        let end = begin + head.length as u64;
        Ok(head.fits(body, nonce, offset).then_some(end))
    }

    /// Where the first whole frame from a place on begins.
    fn next_frame(&self, nonce: u64, from: u64, body: &mut Vec<u8>) -> io::Result<Option<u64>> {
        let mut from = from;
        while from < self.bytes {
            let stretch = STRETCH_BYTES.min((self.bytes - from) as usize);
            let bytes = self.read_at(from, stretch)?;
            for found in memmem::find_iter(&bytes, &FRAME_MAGIC) {
                let offset = from + found as u64;
                if self.frame(nonce, offset, body)?.is_some() {
                    return Ok(Some(offset));
                }
            }
            // One that begins in the last bytes of this stretch is found in the next.
            from += stretch.saturating_sub(FRAME_MAGIC.len() - 1).max(1) as u64;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::record::Frame;
    use super::super::segment::Folder;
    use super::*;

    /// A segment of four frames that forget 0, 1, 2 and 3, and where each begins.
    fn four(place: &Path) -> (std::path::PathBuf, Vec<u64>) {
        let folder = Folder::open(place).unwrap();
        let mut segment = folder.begin(1).unwrap();
        let mut begins = Vec::new();
        for id in 0..4 {
            let mut frame = Frame::new();
            frame.add(&Record::Forgotten { id });
            begins.push(segment.end());
            segment.append(&mut frame).unwrap();
        }
        (folder.segments().unwrap()[0].path.clone(), begins)
    }

    /// The numbers that are read, with 99 for damage.
    fn read(path: &Path) -> (Vec<u64>, Scan) {
        let mut read = Vec::new();
        let source = Source::new(File::open(path).unwrap()).unwrap();
        let scan = source.scan(|piece| {
            read.push(match piece {
                Piece::Record(Record::Forgotten { id }, _) => id,
                Piece::Record(other, _) => panic!("{other:?}"),
                Piece::Damage => 99,
            });
        });
        (read, scan.unwrap())
    }

    #[test]
    fn cut_anywhere_the_frames_before_are_read() {
        let place = tempfile::tempdir().unwrap();
        let (path, begins) = four(place.path());
        let whole = fs::read(&path).unwrap();
        assert_eq!(read(&path), (vec![0, 1, 2, 3], Scan::default()));
        for length in begins[2] as usize..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let count = if length >= begins[3] as usize { 3 } else { 2 };
            let torn_bytes = length as u64 - begins[count as usize];
            let expected = (0..count).collect();
            assert_eq!(read(&path), (expected, Scan { torn_bytes, damaged_bytes: 0 }), "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_own_frame_only() {
        let place = tempfile::tempdir().unwrap();
        let (path, begins) = four(place.path());
        let whole = fs::read(&path).unwrap();
        for at in begins[1]..whole.len() as u64 {
            let mut bytes = whole.clone();
            bytes[at as usize] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let (read, scan) = read(&path);
            let frame = begins[2] - begins[1];
            match (at - begins[1]) / frame {
                0 => assert_eq!(read, [0, 99, 2, 3], "{at}"),
                1 => assert_eq!(read, [0, 1, 99, 3], "{at}"),
                _ => assert_eq!((read, scan.torn_bytes), (vec![0, 1, 2], frame), "{at}"),
            }
            assert_eq!(scan.damaged_bytes + scan.torn_bytes, frame, "{at}");
        }
    }

    #[test]
    fn zeros_that_were_never_written_over_are_a_torn_end() {
        let place = tempfile::tempdir().unwrap();
        let (path, begins) = four(place.path());
        let mut bytes = fs::read(&path).unwrap();
        bytes[begins[3] as usize..].fill(0);
        bytes.resize(bytes.len() + 8192, 0);
        fs::write(&path, &bytes).unwrap();
        let torn_bytes = bytes.len() as u64 - begins[3];
        assert_eq!(read(&path), (vec![0, 1, 2], Scan { torn_bytes, damaged_bytes: 0 }));
    }

    #[test]
    fn a_segment_that_was_hardly_begun_holds_nothing() {
        let place = tempfile::tempdir().unwrap();
        let (path, _) = four(place.path());
        let mut bytes = fs::read(&path).unwrap();
        fs::write(&path, b"ALTA").unwrap();
        assert_eq!(read(&path), (vec![], Scan { torn_bytes: 4, damaged_bytes: 0 }));
        // With frames behind it, more is lost than was being written.
        bytes[..HEADERS_BYTES as usize].fill(0);
        fs::write(&path, &bytes).unwrap();
        let damaged_bytes = bytes.len() as u64;
        assert_eq!(read(&path), (vec![99], Scan { torn_bytes: 0, damaged_bytes }));
    }
}
