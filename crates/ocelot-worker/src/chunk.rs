//! From bytes of a log to the chunks that are sent: offsets, marks of time, the running hash. Pure.

use bytes::{Bytes, BytesMut};
use ocelot_api::proto;
use sha2::{Digest, Sha256};

/// A chunk is sent when it is this full, in bytes. Large, because each one costs the server a commit.
pub(crate) const CHUNK: usize = 768 << 10;

/// Collects bytes of one stage's log into chunks.
#[derive(Debug)]
pub(crate) struct Chunker {
    lease: proto::Lease,
    stage: i64,
    /// Of the first byte in `data`.
    offset: u64,
    data: BytesMut,
    marks: Vec<proto::Mark>,
    hash: Sha256,
}

impl Chunker {
    /// Begins at the first byte of a log.
    pub(crate) fn new(lease: proto::Lease, stage: i64) -> Chunker {
        Chunker { lease, stage, offset: 0, data: BytesMut::new(), marks: Vec::new(), hash: Sha256::new() }
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// True when it is time for [`Chunker::cut`].
    pub(crate) fn is_full(&self) -> bool {
        self.data.len() >= CHUNK
    }

    /// Adds bytes that were written at `time_us`. One piece must be smaller than a chunk may be
    /// ([`ocelot_api::LOG_CHUNK_MAX`] less [`CHUNK`]).
    pub(crate) fn push(&mut self, time_us: i64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // One mark for all that was written in the same millisecond: viewers show no more.
        let same = |mark: &proto::Mark| mark.time_us.div_euclid(1000) == time_us.div_euclid(1000);
        if !self.marks.last().is_some_and(same) {
            self.marks.push(proto::Mark { at: self.data.len() as u32, time_us });
        }
        if self.data.capacity() == 0 && bytes.len() >= 32 << 10 {
            self.data.reserve(CHUNK + (128 << 10));
        }
        self.data.extend_from_slice(bytes);
        self.hash.update(bytes);
    }

    /// The bytes collected so far as a chunk, and begins the next one.
    pub(crate) fn cut(&mut self) -> proto::LogChunk {
        let data = std::mem::take(&mut self.data).freeze();
        let offset = self.offset;
        self.offset += data.len() as u64;
        let marks = std::mem::take(&mut self.marks);
        self.chunk(offset, data, marks)
    }

    /// The last chunk: what is left, the length of the whole and its hash.
    pub(crate) fn end(mut self) -> proto::LogChunk {
        let last = self.cut();
        let sha256 = Bytes::copy_from_slice(&self.hash.finalize());
        proto::LogChunk { end: true, total: self.offset, sha256, ..last }
    }

    fn chunk(&self, offset: u64, data: Bytes, marks: Vec<proto::Mark>) -> proto::LogChunk {
        let lease = Some(self.lease.clone());
        proto::LogChunk {
            lease,
            stage_id: self.stage,
            offset,
            data,
            marks,
            end: false,
            total: 0,
            sha256: Bytes::new(),
            // Said when it is sent.
            sent_at_us: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(chunk: &proto::LogChunk) -> Vec<(u32, i64)> {
        chunk.marks.iter().map(|mark| (mark.at, mark.time_us)).collect()
    }

    #[test]
    fn chunks_follow_each_other_and_the_end_covers_all() {
        let mut chunker = Chunker::new(proto::Lease::default(), 7);
        chunker.push(1_000, b"ab");
        let first = chunker.cut();
        chunker.push(2_000, b"c");
        let last = chunker.end();
        assert_eq!((first.stage_id, first.offset, &first.data[..], first.end), (7, 0, &b"ab"[..], false));
        assert_eq!((last.offset, &last.data[..], last.end, last.total), (2, &b"c"[..], true, 3));
        assert_eq!(last.sha256[..], Sha256::digest(b"abc")[..]);
    }

    #[test]
    fn an_empty_log_has_an_end_too() {
        let last = Chunker::new(proto::Lease::default(), 7).end();
        assert_eq!((last.offset, last.data.len(), last.total), (0, 0, 0));
        assert_eq!(last.sha256[..], Sha256::digest(b"")[..]);
    }

    #[test]
    fn marks_are_one_for_a_millisecond_and_count_from_the_chunk() {
        let mut chunker = Chunker::new(proto::Lease::default(), 7);
        chunker.push(5_000, b"ab");
        chunker.push(5_999, b"cd");
        chunker.push(6_000, b"");
        chunker.push(6_000, b"ef");
        assert_eq!(marks(&chunker.cut()), [(0, 5_000), (4, 6_000)]);
        chunker.push(6_001, b"gh");
        assert_eq!(marks(&chunker.cut()), [(0, 6_001)]);
    }
}
