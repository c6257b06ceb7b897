//! The bytes of one finished log in the log store: a file that any zstd program can unpack, with an index at its end.
//!
//! ```text
//! skippable frame   MAGIC
//! block, again and again:
//!   zstd frame      256 KiB of the log, the last one less
//!   skippable frame the times of these bytes, as in `chunk`, in a zstd frame
//! skippable frame   for each block: raw length, line feeds, length of the zstd frame, length of the skippable frame
//!                   (numbers of as many bytes as they need), the first 16 bytes of the SHA-256 of both frames;
//!                   then the footer: length of this index and of the raw log (8 bytes each, little endian),
//!                   SHA-256 of all that in this frame up to here, MAGIC
//! ```
//!
//! So the last bytes say where everything is, and each block is checked by itself when it is read. The last byte of
//! MAGIC is the version of this format. Pure: no store here.

use sha2::{Digest as _, Sha256};

use crate::chunk::{self, put, take};
use crate::{LogSlice, Mark, StoreError};

/// Raw bytes in one block.
pub(crate) const BLOCK: usize = chunk::MAX;
const MAGIC: [u8; 8] = *b"OCLOG\0\0\x01";
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
/// Two lengths, a SHA-256, the magic.
pub(crate) const FOOTER: usize = 8 + 8 + 32 + 8;
/// Bytes of the sum of a block.
const SUM: usize = 16;
/// Written once and kept for months: worth more time than a chunk.
const LEVEL: i32 = 3;

/// Where a block stands, in the log and in the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    raw_at: u64,
    raw_len: u32,
    /// Line feeds in all blocks before it.
    lines_before: u64,
    stored_at: u64,
    data_len: u32,
    marks_len: u32,
    sum: [u8; SUM],
}

impl Block {
    fn stored_end(&self) -> u64 {
        self.stored_at + u64::from(self.data_len) + u64::from(self.marks_len)
    }
}

/// Makes a blob block by block.
pub(crate) struct Builder {
    index: Vec<u8>,
    raw: u64,
    hash: Sha256,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        Builder { index: Vec::new(), raw: 0, hash: Sha256::new() }
    }

    /// The first bytes of every blob.
    pub(crate) fn header() -> Vec<u8> {
        skippable(&MAGIC)
    }

    /// The bytes of the next block. All but the last one hold [`BLOCK`] bytes.
    pub(crate) fn block(&mut self, raw: &[u8], marks: &[Mark]) -> Result<Vec<u8>, StoreError> {
        let mut stored = pack(raw)?;
        let data_len = stored.len();
        stored.extend(skippable(&pack(&chunk::encode_marks(marks))?));
        put(&mut self.index, raw.len() as u64);
        put(&mut self.index, memchr::memchr_iter(b'\n', raw).count() as u64);
        put(&mut self.index, data_len as u64);
        put(&mut self.index, (stored.len() - data_len) as u64);
        self.index.extend_from_slice(&sum(&stored));
        self.raw += raw.len() as u64;
        self.hash.update(raw);
        Ok(stored)
    }

    /// The last bytes; the length and SHA-256 of the log that went into the blob.
    pub(crate) fn finish(self) -> (Vec<u8>, u64, [u8; 32]) {
        let mut end = self.index;
        let length = end.len() as u64;
        end.extend(length.to_le_bytes());
        end.extend(self.raw.to_le_bytes());
        let sha256 = Sha256::digest(&end);
        end.extend(sha256);
        end.extend(MAGIC);
        (skippable(&end), self.raw, self.hash.finalize().into())
    }
}

fn pack(raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(raw, LEVEL).map_err(|error| corrupt(&error.to_string()))
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let mut frame = SKIPPABLE.to_vec();
    frame.extend((content.len() as u32).to_le_bytes());
    frame.extend_from_slice(content);
    frame
}

fn sum(stored: &[u8]) -> [u8; SUM] {
    let mut sum = [0; SUM];
    sum.copy_from_slice(&Sha256::digest(stored)[..SUM]);
    sum
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(format!("a log in the log store: {what}"))
}

/// What the end of a blob says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Index {
    blocks: Vec<Block>,
    raw: u64,
}

/// Bytes at the end of a blob that are needed to read its index.
pub(crate) fn index_needs(last: &[u8]) -> Result<u64, StoreError> {
    let footer = last.last_chunk::<FOOTER>().ok_or_else(|| corrupt("it has no end"))?;
    if footer[FOOTER - 8..] != MAGIC {
        return Err(corrupt("it does not end as one does; it may be of a newer version"));
    }
    Ok(number(&footer[..8]).saturating_add(FOOTER as u64))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Index {
    /// Reads the end of a blob, of which `last` holds at least as much as [`index_needs`] says.
    pub(crate) fn read(last: &[u8]) -> Result<Index, StoreError> {
        let from = usize::try_from(index_needs(last)?).ok().and_then(|needs| last.len().checked_sub(needs));
        let end = &last[from.ok_or_else(|| corrupt("its index is cut"))?..];
        let (said, rest) = end.split_at(end.len() - 8 - 32);
        if Sha256::digest(said)[..] != rest[..32] {
            return Err(corrupt("its index was changed"));
        }
        let (mut entries, numbers) = said.split_at(said.len() - 16);
        let mut index = Index { blocks: Vec::new(), raw: 0 };
        let (mut stored_at, mut lines) = (Builder::header().len() as u64, 0);
        while !entries.is_empty() {
            let entry = read_entry(&mut entries, index.raw, stored_at, lines);
            let (block, feeds) = entry.ok_or_else(|| corrupt("its index makes no sense"))?;
            index.raw += u64::from(block.raw_len);
            stored_at = block.stored_end();
            lines += feeds;
            index.blocks.push(block);
        }
        if index.raw != number(&numbers[8..]) {
            return Err(corrupt("its index has another length"));
        }
        Ok(index)
    }

    /// Bytes of the log.
    pub(crate) fn raw(&self) -> u64 {
        self.raw
    }

    /// Memory that it takes, about.
    pub(crate) fn size(&self) -> usize {
        size_of::<Index>() + self.blocks.len() * size_of::<Block>()
    }

    fn at(&self, offset: u64) -> usize {
        self.blocks.partition_point(|block| block.raw_at <= offset).saturating_sub(1)
    }

    /// The bytes of the blob that hold `max` bytes of the log from `offset`; `None` behind its end.
    pub(crate) fn range(&self, offset: u64, max: usize) -> Option<std::ops::Range<u64>> {
        let end = offset.saturating_add(max as u64).min(self.raw);
        if offset >= end {
            return None;
        }
        Some(self.blocks[self.at(offset)].stored_at..self.blocks[self.at(end - 1)].stored_end())
    }

    /// Unpacks what [`Index::range`] asked for.
    pub(crate) fn unpack(&self, stored: &[u8], offset: u64, max: usize) -> Result<LogSlice, StoreError> {
        let mut out = LogSlice { offset, data: Vec::new(), marks: Vec::new() };
        let end = offset.saturating_add(max as u64).min(self.raw);
        let (first, last) = (self.at(offset), self.at(end.saturating_sub(1)));
        let base = self.blocks.get(first).map_or(0, |block| block.stored_at);
        for block in self.blocks.get(first..=last).unwrap_or_default() {
            let from = (block.stored_at - base) as usize;
            let both = stored.get(from..(block.stored_end() - base) as usize);
            let both = both.ok_or_else(|| corrupt("it is cut"))?;
            if sum(both) != block.sum {
                return Err(corrupt(&format!("its bytes from {} on were changed", block.raw_at)));
            }
            let (data, marks) = both.split_at(block.data_len as usize);
            let raw = chunk::inflate(data, block.raw_len as usize)?;
            let marks = read_marks(marks).ok_or_else(|| corrupt("its times cannot be read"))?;
            let from = offset.saturating_sub(block.raw_at) as usize;
            let to = ((end - block.raw_at) as usize).min(raw.len());
            let at = out.data.len() as u32;
            let inside = chunk::window(&marks, from, to);
            out.marks.extend(inside.into_iter().map(|mark| Mark { at: mark.at + at, ..mark }));
            out.data.extend_from_slice(&raw[from..to]);
        }
        Ok(out)
    }

    /// Line feeds before the block that holds this byte, and where that block begins.
    pub(crate) fn lines_before(&self, offset: u64) -> (u64, u64) {
        self.blocks.get(self.at(offset)).map_or((0, 0), |block| (block.lines_before, block.raw_at))
    }

    /// Where to look for the line feed before which there are `count` others: the beginning of its block, and how many of
    /// them stand before that.
    pub(crate) fn block_of_line(&self, count: u64) -> (u64, u64) {
        let at = self.blocks.partition_point(|block| block.lines_before <= count).saturating_sub(1);
        self.blocks.get(at).map_or((0, 0), |block| (block.raw_at, block.lines_before))
    }
}

fn read_entry(bytes: &mut &[u8], raw_at: u64, stored_at: u64, lines_before: u64) -> Option<(Block, u64)> {
    let mut next = || take(bytes);
    let (raw_len, feeds, data_len, marks_len) = (next()?, next()?, next()?, next()?);
    let (sum, rest) = bytes.split_first_chunk::<SUM>()?;
    *bytes = rest;
    let narrow = |number: u64| u32::try_from(number).ok();
    let raw_len = narrow(raw_len).filter(|len| (1..=BLOCK as u32).contains(len))?;
    let block = Block {
        raw_at,
        raw_len,
        lines_before,
        stored_at,
        data_len: narrow(data_len)?,
        marks_len: narrow(marks_len)?,
        sum: *sum,
    };
    Some((block, feeds))
}

fn read_marks(frame: &[u8]) -> Option<Vec<Mark>> {
    // At most one mark for each byte, of at most 15 bytes.
    let packed = frame.get(8..)?;
    chunk::decode_marks(&zstd::bulk::decompress(packed, BLOCK * 15).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: usize) -> Vec<u8> {
        (0..lines).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    /// The whole blob of this log, with a time for each line.
    fn build(log: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new();
        let mut blob = Builder::header();
        for (raw, at) in log.chunks(BLOCK).zip(0_i64..) {
            blob.extend(
                builder
                    .block(raw, &[Mark { at: 0, time_us: at }, Mark { at: 5, time_us: -at }])
                    .expect("a block"),
            );
        }
        let (end, length, sha256) = builder.finish();
        assert_eq!((length, &sha256[..]), (log.len() as u64, &Sha256::digest(log)[..]));
        blob.extend(end);
        blob
    }

    fn read(blob: &[u8], offset: u64, max: usize) -> Result<LogSlice, StoreError> {
        let index = Index::read(blob)?;
        let range = index.range(offset, max).unwrap_or(0..0);
        index.unpack(&blob[range.start as usize..range.end as usize], offset, max)
    }

    #[test]
    fn any_range_comes_back() {
        let log = text(100_000);
        let blob = build(&log);
        for (offset, max) in
            [(0, 10), (BLOCK - 3, 7), (BLOCK, BLOCK), (0, log.len()), (log.len() - 1, 99), (17, 600_000)]
        {
            let slice = read(&blob, offset as u64, max).expect("readable");
            assert!(slice.data == log[offset..(offset + max).min(log.len())], "{offset}+{max}");
        }
        let slice = read(&blob, BLOCK as u64 - 1, 10).expect("readable");
        let want = [(0, 0), (1, 1), (6, -1)].map(|(at, time_us)| Mark { at, time_us });
        assert_eq!(slice.marks, want);
        assert_eq!(Index::read(&blob).expect("an index").range(log.len() as u64, 5), None);
        assert_eq!(Index::read(&build(b"")).expect("an index").range(0, 5), None);
    }

    #[test]
    fn any_zstd_program_unpacks_it() {
        let log = text(60_000);
        assert!(zstd::decode_all(&build(&log)[..]).expect("plain zstd") == log);
    }

    #[test]
    fn lines_are_counted_without_reading_them() {
        let log = text(100_000);
        let index = Index::read(&build(&log)).expect("an index");
        let (lines, from) = index.lines_before(log.len() as u64 - 1);
        assert_eq!(lines as usize, memchr::memchr_iter(b'\n', &log[..from as usize]).count());
        assert!(lines > 50_000);
        let (from, before) = index.block_of_line(70_000);
        let inside = memchr::memchr_iter(b'\n', &log[from as usize..from as usize + BLOCK]).count() as u64;
        assert!(before <= 70_000 && 70_000 < before + inside);
    }

    #[test]
    fn what_was_changed_is_seen() {
        let log = text(40_000);
        let good = build(&log);
        for at in [20, good.len() - 1, good.len() - 20, good.len() - FOOTER - 1, good.len() - FOOTER + 9] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(matches!(read(&bad, 0, log.len()), Err(StoreError::Corrupt(_))), "{at}");
        }
        assert!(Index::read(&good[..good.len() - 1]).is_err());
        assert!(Index::read(b"").is_err());
    }
}
