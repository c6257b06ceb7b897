//! The stored form of log bytes: pieces of at most 256 KiB, compressed one by one, with the marks in them.
//!
//! Pure: no database here.

use crate::{Mark, StoreError};

/// Raw bytes in one chunk, at most.
pub(crate) const MAX: usize = 256 * 1024;
/// The fastest level that still shrinks build logs about tenfold.
const LEVEL: i32 = 1;

/// One row of `log_chunks`, without its place.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Raw length.
    pub(crate) len: usize,
    pub(crate) marks: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// Cuts and compresses. `marks` count from the beginning of `data` and rise.
pub(crate) fn cut(data: &[u8], marks: &[Mark]) -> Result<Vec<Chunk>, StoreError> {
    let mut at = 0;
    data.chunks(MAX)
        .map(|piece| {
            let chunk = Chunk {
                len: piece.len(),
                marks: encode_marks(&window(marks, at, at + piece.len())),
                data: zstd::bulk::compress(piece, LEVEL)
                    .map_err(|error| StoreError::Corrupt(format!("log bytes: {error}")))?,
            };
            at += piece.len();
            Ok(chunk)
        })
        .collect()
}

/// The raw bytes of a chunk.
pub(crate) fn inflate(data: &[u8], len: usize) -> Result<Vec<u8>, StoreError> {
    let raw = zstd::bulk::decompress(data, len.min(MAX))
        .map_err(|error| StoreError::Corrupt(format!("log bytes: {error}")))?;
    if raw.len() == len { Ok(raw) } else { Err(StoreError::Corrupt("log bytes: wrong length".into())) }
}

/// The marks for bytes `from..to`, counted from `from`. The last one before stands at 0, since it is still in force
/// there.
pub(crate) fn window(marks: &[Mark], from: usize, to: usize) -> Vec<Mark> {
    let first = marks.partition_point(|mark| mark.at as usize <= from);
    let in_force = first.checked_sub(1).map(|before| Mark { at: 0, time_us: marks[before].time_us });
    let inside = marks[first..]
        .iter()
        .take_while(|mark| (mark.at as usize) < to)
        .map(|mark| Mark { at: mark.at - from as u32, time_us: mark.time_us });
    in_force.into_iter().chain(inside).collect()
}

/// Differences from mark to mark, as numbers of as many bytes as they need: most marks take four bytes.
pub(crate) fn encode_marks(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marks.len() * 4);
    let mut last = Mark { at: 0, time_us: 0 };
    for mark in marks {
        put(&mut out, u64::from(mark.at.saturating_sub(last.at)));
        let step = mark.time_us.wrapping_sub(last.time_us);
        // The sign goes into the lowest bit, so that small steps back are short too.
        put(&mut out, ((step << 1) ^ (step >> 63)) as u64);
        last = *mark;
    }
    out
}

/// Back from [`encode_marks`].
pub(crate) fn decode_marks(mut bytes: &[u8]) -> Option<Vec<Mark>> {
    let mut marks = Vec::new();
    let mut last = Mark { at: 0, time_us: 0 };
    while !bytes.is_empty() {
        let at = last.at.checked_add(u32::try_from(take(&mut bytes)?).ok()?)?;
        let step = take(&mut bytes)?;
        let step = (step >> 1) as i64 ^ -((step & 1) as i64);
        last = Mark { at, time_us: last.time_us.wrapping_add(step) };
        marks.push(last);
    }
    Some(marks)
}

/// A number of as many bytes as it needs.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Back from [`put`].
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(all: &[(u32, i64)]) -> Vec<Mark> {
        all.iter().map(|&(at, time_us)| Mark { at, time_us }).collect()
    }

    #[test]
    fn marks_round_trip() {
        for all in [vec![], vec![(0, 0)], vec![(0, i64::MAX), (7, i64::MIN), (7, -1), (300_000, 5)]] {
            let all = marks(&all);
            assert_eq!(decode_marks(&encode_marks(&all)), Some(all));
        }
        assert_eq!(decode_marks(&[0x80]), None);
    }

    #[test]
    fn a_window_keeps_the_mark_in_force() {
        let all = marks(&[(0, 10), (5, 20), (9, 30)]);
        assert_eq!(window(&all, 0, 5), marks(&[(0, 10)]));
        assert_eq!(window(&all, 5, 9), marks(&[(0, 20)]));
        assert_eq!(window(&all, 7, 100), marks(&[(0, 20), (2, 30)]));
        assert_eq!(window(&[], 7, 100), []);
    }

    #[test]
    fn big_pieces_are_cut() {
        let data: Vec<u8> = (0..=MAX).map(|at| (at % 251) as u8).collect();
        let chunks = cut(&data, &marks(&[(0, 1)])).expect("bytes compress");
        assert_eq!(chunks.iter().map(|c| c.len).collect::<Vec<_>>(), [MAX, 1]);
        let back = chunks.iter().flat_map(|c| inflate(&c.data, c.len).expect("bytes inflate"));
        assert!(back.eq(data.iter().copied()));
        assert_eq!(decode_marks(&chunks[1].marks), Some(marks(&[(0, 1)])));
    }
}
