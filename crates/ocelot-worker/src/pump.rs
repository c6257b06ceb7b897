//! From a stage's output to the server: reads, hides secrets, caps, cuts into chunks, pushes. One per log.
//!
//! It begins at the first byte, always: the hash of the end covers everything, and a server that has a part
//! already says so. So nothing about a log needs to be remembered across a restart.

use std::collections::VecDeque;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::chunk::Chunker;
use crate::executor::{Frames, StageHandle};
use crate::limit::Limit;
use crate::mask::Mask;
use crate::ship::{Shipper, Stale};

/// Small output waits so long for more of it, unless nothing was sent for that long.
const GATHER: Duration = Duration::from_millis(20);

/// Where a log's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A stage in a room.
    Stage {
        /// The stage.
        handle: StageHandle,
        /// Its output.
        frames: Frames,
    },
    /// What the worker itself writes about the setup.
    Setup(SetupSource),
}

/// Lines of the setup. Each is on disk before it is sent, so that a restarted worker can send it again.
#[derive(Debug)]
pub(crate) struct SetupSource {
    before: VecDeque<(i64, Bytes)>,
    lines: mpsc::Receiver<Vec<u8>>,
    file: std::fs::File,
}

impl Source {
    /// The output of a stage.
    pub(crate) fn stage(handle: StageHandle) -> Source {
        let frames = handle.frames(0);
        Source::Stage { handle, frames }
    }

    async fn next(&mut self) -> Result<Option<(i64, Bytes)>, String> {
        match self {
            Source::Stage { frames, .. } => match frames.next().await {
                Ok(frame) => Ok(frame.map(|frame| (frame.time_us as i64, frame.bytes))),
                Err(error) => Err(error.to_string()),
            },
            Source::Setup(setup) => Ok(setup.next().await),
        }
    }

    /// Bytes that the stage wrote and that were not kept. Only after the last frame.
    async fn dropped(&self) -> u64 {
        match self {
            Source::Stage { handle, .. } => handle.exit().await.map_or(0, |exit| exit.dropped),
            Source::Setup(_) => 0,
        }
    }
}

impl SetupSource {
    /// Reads what an earlier life of the worker wrote to `path`, then takes `lines`.
    pub(crate) fn open(path: &Path, lines: mpsc::Receiver<Vec<u8>>) -> std::io::Result<SetupSource> {
        let old = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (before, whole) = read_frames(old.into());
        let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        file.set_len(whole)?;
        Ok(SetupSource { before, lines, file })
    }

    async fn next(&mut self) -> Option<(i64, Bytes)> {
        if let Some(frame) = self.before.pop_front() {
            return Some(frame);
        }
        let line = self.lines.recv().await?;
        let time_us = now_us();
        // Written without waiting in between, so that a dropped call loses no line. A disk that is full must
        // not stop the build here: the line is still sent.
        if let Err(error) = self.file.write_all(&frame(time_us, &line)) {
            tracing::warn!("the setup's log cannot be kept: {error}");
        }
        Some((time_us, line.into()))
    }
}

/// A piece of output on disk: time, length, bytes.
fn frame(time_us: i64, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(12 + bytes.len());
    frame.extend_from_slice(&time_us.to_le_bytes());
    frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// The whole frames of a file, and where the last one ends.
fn read_frames(mut file: Bytes) -> (VecDeque<(i64, Bytes)>, u64) {
    let all = file.len() as u64;
    let mut frames = VecDeque::new();
    loop {
        let left = file.len() as u64;
        let (Some(time), Some(length)) =
            (file.first_chunk::<8>(), file.get(8..).and_then(<[u8]>::first_chunk::<4>))
        else {
            return (frames, all - left);
        };
        let (time, length) = (i64::from_le_bytes(*time), u32::from_le_bytes(*length) as usize);
        if file.len() < 12 + length {
            return (frames, all - left);
        }
        file.advance(12);
        frames.push_back((time, file.split_to(length)));
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Brings all of a log to the shipper, its end included. Returns before the server has it.
pub(crate) async fn pump(
    mut source: Source,
    mut chunker: Chunker,
    mut mask: Mask,
    cap: u64,
    shipper: Shipper,
) -> Result<(), Stale> {
    let mut limit = Limit::new(cap);
    let mut sent = Instant::now() - GATHER;
    let mut time_us = now_us();
    let broken = loop {
        let next = if chunker.is_empty() {
            source.next().await
        } else if let Ok(next) = tokio::time::timeout_at(sent + GATHER, source.next()).await {
            next
        } else {
            sent = Instant::now();
            shipper.push(chunker.cut()).await?;
            continue;
        };
        match next {
            Ok(Some((time, bytes))) => {
                time_us = time;
                mask.take(&bytes, |bytes| limit.take(bytes, |bytes| chunker.push(time, bytes)));
            }
            Ok(None) => break None,
            Err(why) => break Some(why),
        }
        if chunker.is_full() || (!chunker.is_empty() && sent.elapsed() > GATHER * 2) {
            sent = Instant::now();
            shipper.push(chunker.cut()).await?;
        }
    };
    mask.end(|bytes| limit.take(bytes, |bytes| chunker.push(time_us, bytes)));
    if let Some(why) = broken {
        chunker.push(time_us, format!("\n[the log ends here: {why}]\n").as_bytes());
    } else {
        let dropped = source.dropped().await;
        if dropped > 0 {
            limit.lost(dropped, |bytes| chunker.push(time_us, bytes));
        }
    }
    shipper.push(chunker.end()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], want: &[(i64, &[u8])], whole: usize) {
        let (frames, end) = read_frames(Bytes::copy_from_slice(file));
        let frames: Vec<_> = frames.iter().map(|(time, bytes)| (*time, &bytes[..])).collect();
        assert_eq!((&frames[..], end), (want, whole as u64));
    }

    #[test]
    fn a_torn_frame_is_left_out() {
        let two = [frame(5, b"one\n"), frame(6, b"two\n")].concat();
        let both: &[(i64, &[u8])] = &[(5, b"one\n"), (6, b"two\n")];
        check(&[], &[], 0);
        check(&two, both, 32);
        check(&two[..31], &both[..1], 16);
        check(&two[..17], &both[..1], 16);
        check(&two[..3], &[], 0);
    }
}
