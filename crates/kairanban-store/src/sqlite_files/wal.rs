//! Whether the `-wal` of a database in use holds what SQLite wrote there.
//!
//! The `-shm` has an index of the `-wal`: how many of its frames count, their salt, and the
//! checksum of the last one. SQLite changes the index after a frame is written, and before it
//! writes from the first frame again. So what does not fit the index was written, or cut off, by
//! something else, and SQLite, which trusts the index, would read and copy whatever stands there.
//!
//! The checksum of a frame goes on from that of the one before, and the first from the header's.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    time::SystemTime,
};

use super::overwritten::read_at;

/// Bytes of the `-wal` before the first frame, and of a frame before its page.
const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// How much of it one step of [`WalPass`] reads.
const STEP_BYTES: usize = 512 << 10;

/// How often the index is read again that SQLite changes meanwhile.
const TRIES_MAX: usize = 8;

/// What the `-shm` says of the `-wal`. The layout is part of SQLite's file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalIndex {
    salt: [u8; 8],
    page_size: usize,
    /// Whether checksums are of big-endian numbers.
    is_big: bool,
    /// How many frames count.
    frames: u32,
    /// Of the last of them.
    checksum: [u8; 8],
}

impl WalIndex {
    /// Reads the index; `None` while SQLite writes it, or before it is made.
    fn read(shm: &fs::File) -> io::Result<Option<Self>> {
        const COPY: usize = 48;
        let mut bytes = [0; 2 * COPY];
        read_at(shm, &mut bytes, 0)?;
        let (one, other) = bytes.split_at(COPY);
        let is_made = one[12] != 0;
        if one != other || !is_made {
            return Ok(None);
        }
        let [frames, first, second] = [16, 24, 28].map(|at| native(one, at));
        let checksum = (u64::from(first) << 32) | u64::from(second);
        // 1 stands for 65536, which has no room.
        let page_size = match u16::from_ne_bytes([one[14], one[15]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        Ok(Some(Self {
            salt: part(one, 32),
            page_size,
            is_big: one[13] != 0,
            frames,
            checksum: checksum.to_be_bytes(),
        }))
    }

    /// Returns whether the last frame, and the header, are in the `-wal` as SQLite wrote them.
    fn matches(&self, wal: &fs::File) -> io::Result<bool> {
        let Some(before) = self.frames.checked_sub(1) else {
            return Ok(true);
        };
        let (mut header, mut frame) = ([0; HEADER], [0; FRAME_HEADER]);
        let size = (FRAME_HEADER + self.page_size) as u64;
        let offset = HEADER as u64 + u64::from(before) * size;
        let read = read_at(wal, &mut header, 0).and_then(|()| read_at(wal, &mut frame, offset));
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => {
                read?;
                Ok(self.sum_of_header(&header).is_some()
                    && frame[8..16] == self.salt
                    && frame[16..24] == self.checksum)
            }
        }
    }

    /// Returns the checksum of the header, if that is as SQLite wrote it.
    fn sum_of_header(&self, header: &[u8; HEADER]) -> Option<[u32; 2]> {
        let (rest, stored) = header.split_at(HEADER - 8);
        let sum = checksum([0, 0], rest, self.is_big);
        (rest[16..] == self.salt && *stored == sum.map(u32::to_be_bytes).concat()).then_some(sum)
    }

    /// Returns the checksum up to and with a frame that goes on from `sum`, if it is as SQLite
    /// wrote it.
    fn sum_of_frame(&self, sum: [u32; 2], frame: &[u8]) -> Option<[u32; 2]> {
        let (head, page) = frame.split_at(FRAME_HEADER);
        let sum = checksum(checksum(sum, &head[..8], self.is_big), page, self.is_big);
        let is_whole =
            head[8..16] == self.salt && head[16..24] == *sum.map(u32::to_be_bytes).concat();
        is_whole.then_some(sum)
    }
}

/// The header of a `-wal`, as SQLite wrote it: where the checksums of the frames begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WalHeader {
    salt: [u8; 8],
    sum: [u32; 2],
}

impl WalHeader {
    /// Reads the header; `None` if it is not that of the index.
    pub(super) fn read(wal: &fs::File, index: &WalIndex) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        read_at(wal, &mut header, 0)?;
        Ok(index.sum_of_header(&header).map(|sum| Self {
            salt: index.salt,
            sum,
        }))
    }

    pub(super) fn is_of(&self, index: &WalIndex) -> bool {
        self.salt == index.salt
    }
}

/// What a look at the `-wal` finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalFound {
    /// What SQLite wrote, up to there; `None` if it is writing at this moment.
    Fits(Option<WalIndex>),
    /// Something else wrote the `-wal` or the `-shm`.
    Overwritten,
}

/// Looks whether the `-wal` holds what SQLite wrote, also what it had written at an earlier look.
pub(crate) fn inspect(
    wal: &fs::File,
    shm: &fs::File,
    earlier: Option<&WalIndex>,
) -> io::Result<WalFound> {
    for _ in 0..TRIES_MAX {
        let Some(index) = WalIndex::read(shm)? else {
            continue;
        };
        let earlier = earlier.filter(|earlier| earlier.salt == index.salt);
        let is_set_back = earlier.is_some_and(|earlier| earlier.frames > index.frames);
        let had = earlier.filter(|earlier| earlier.frames < index.frames);
        let fits = !is_set_back
            && index.matches(wal)?
            && had.map_or(Ok(true), |earlier| earlier.matches(wal))?;
        if fits {
            return Ok(WalFound::Fits(Some(index)));
        }
        // SQLite may have begun with the first frame again between the two readings.
        if WalIndex::read(shm)? == Some(index) {
            return Ok(WalFound::Overwritten);
        }
    }
    Ok(WalFound::Fits(None))
}

/// Reads the `-wal` from end to end, and again once it was written, a part at each step: what is
/// changed in the middle of it shows before SQLite copies that into the database.
#[derive(Debug, Default)]
pub(crate) struct WalPass {
    /// The index at the last step.
    index: Option<WalIndex>,
    /// How many frames were read, and their checksum.
    frames: u32,
    sum: [u32; 2],
    /// How the `-wal` was when the pass began.
    began: Option<(u64, SystemTime)>,
}

impl WalPass {
    /// Reads the next part. Returns whether that is as SQLite wrote it.
    pub(crate) fn step(&mut self, wal: &fs::File, shm: &fs::File) -> io::Result<bool> {
        let Some(index) = WalIndex::read(shm)?.filter(|index| index.frames > 0) else {
            return Ok(true);
        };
        let fits = match self.read_part(wal, &index) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            read => read?,
        };
        // SQLite may have begun with the first frame again meanwhile.
        let is_same = WalIndex::read(shm)?.is_some_and(|now| now.salt == index.salt);
        if !fits || !is_same {
            *self = Self::default();
        }
        Ok(fits || !is_same)
    }

    /// Returns whether nothing is left to read.
    pub(crate) fn is_done(&self) -> bool {
        self.index.is_none_or(|index| self.frames == index.frames)
    }

    fn read_part(&mut self, wal: &fs::File, index: &WalIndex) -> io::Result<bool> {
        let metadata = wal.metadata()?;
        let now = Some((metadata.len(), metadata.modified()?));
        let goes_on = self
            .index
            .is_some_and(|before| before.salt == index.salt && self.frames <= index.frames);
        if goes_on && self.frames == index.frames && self.began == now {
            return Ok(true);
        }
        if !goes_on || self.frames == index.frames {
            let mut header = [0; HEADER];
            read_at(wal, &mut header, 0)?;
            let Some(sum) = index.sum_of_header(&header) else {
                return Ok(false);
            };
            (self.frames, self.sum, self.began) = (0, sum, now);
        }
        self.index = Some(*index);
        let size = FRAME_HEADER + index.page_size;
        let most = u32::try_from(STEP_BYTES / size).unwrap_or_default().max(1);
        let count = most.min(index.frames - self.frames);
        let mut part = vec![0; size * count as usize];
        let offset = HEADER as u64 + u64::from(self.frames) * size as u64;
        read_at(wal, &mut part, offset)?;
        for frame in part.chunks_exact(size) {
            let Some(sum) = index.sum_of_frame(self.sum, frame) else {
                return Ok(false);
            };
            (self.frames, self.sum) = (self.frames + 1, sum);
        }
        Ok(true)
    }
}

/// Returns whether SQLite would find all that counts in the `-wal`: at least what it began to copy,
/// or what was there at an `earlier` look. Reading an older one into the database would mix two
/// states of it.
pub(crate) fn has_all_committed_frames(
    wal: &fs::File,
    shm: &fs::File,
    earlier: Option<&WalIndex>,
) -> io::Result<bool> {
    let mut copied = [0; 4];
    read_at(shm, &mut copied, super::overwritten::TO_COPY)?;
    if let Some(index) = WalIndex::read(shm)? {
        let whole = whole_frames(wal, &index, WalHeader::read(wal, &index)?)?;
        if whole > 0 && whole >= u32::from_ne_bytes(copied) {
            return Ok(true);
        }
    }
    // The -shm may be what was overwritten.
    earlier.map_or(Ok(false), |earlier| {
        let whole = whole_frames(wal, earlier, WalHeader::read(wal, earlier)?)?;
        Ok(earlier.frames > 0 && whole >= earlier.frames)
    })
}

/// Returns whether all frames that count are in the `-wal` as SQLite wrote them, whatever stands in
/// place of the `header`. SQLite copies them by the `-shm` alone, as long as a connection is open.
pub(crate) fn has_all_but_the_header(
    wal: &fs::File,
    shm: &fs::File,
    earlier: Option<&WalIndex>,
    header: WalHeader,
) -> io::Result<bool> {
    let Some(index) = WalIndex::read(shm)?.filter(|index| header.is_of(index)) else {
        return Ok(false);
    };
    // The -shm may be what was overwritten.
    let is_set_back =
        earlier.is_some_and(|earlier| earlier.salt == index.salt && earlier.frames > index.frames);
    let is_any = index.frames > 0 && !is_set_back;
    Ok(is_any && whole_frames(wal, &index, Some(header))? >= index.frames)
}

/// Counts the frames from the first on that have the right salt and checksum, up to the last that
/// ends a transaction.
fn whole_frames(wal: &fs::File, index: &WalIndex, header: Option<WalHeader>) -> io::Result<u32> {
    let Some(WalHeader { mut sum, .. }) = header else {
        return Ok(0);
    };
    let mut file = io::BufReader::new(wal);
    file.seek(io::SeekFrom::Start(HEADER as u64))?;
    let (mut frame, mut whole) = (vec![0; FRAME_HEADER + index.page_size], 0);
    for number in 1.. {
        if file.read_exact(&mut frame).is_err() {
            break;
        }
        let Some(next) = index.sum_of_frame(sum, &frame) else {
            break;
        };
        sum = next;
        let ends_transaction = frame[4..8] != [0; 4];
        if ends_transaction {
            whole = number;
        }
    }
    Ok(whole)
}

/// Continues the checksum of SQLite's file format.
fn checksum([mut first, mut second]: [u32; 2], bytes: &[u8], is_big: bool) -> [u32; 2] {
    let read = if is_big {
        u32::from_be_bytes
    } else {
        u32::from_le_bytes
    };
    for &[a, b, c, d, e, f, g, h] in bytes.as_chunks::<8>().0 {
        first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
        second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
    }
    [first, second]
}

fn native(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(part(bytes, at))
}

/// Returns the bytes at an offset; none of the callers asks beyond the end.
fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|n| bytes.get(at + n).copied().unwrap_or_default())
}
