//! Reading a stage's output: cuts blocks of the log into frames, and waits for more. It must end for every log
//! that a stage may leave, and never hang on one.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::ExecutorError;
use super::files::OpenLog;
use super::link::News;
use super::room::Inner;
use super::shim::wire::{Ended, FRAME_HEAD, MAX_FRAME};

/// A piece of output as the stage wrote it, not cut at lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// When the shim read it, in microseconds since 1970.
    pub time_us: u64,
    /// At least one byte.
    pub bytes: Bytes,
    /// Where the next frame begins; what [`super::StageHandle::frames`] wants to go on after this one.
    pub next: u64,
}

/// Output of a stage in order, from a position on; waits for more until the stage has ended.
#[derive(Debug)]
pub struct Frames {
    room: Arc<Inner>,
    key: String,
    news: watch::Receiver<News>,
    log: OpenLog,
    block: Bytes,
    at: u64,
    ended: Option<Ended>,
    /// Whether the exit file is to be looked for: at first, and when there is word of it.
    look: bool,
}

impl Frames {
    pub(crate) fn new(room: Arc<Inner>, key: String, from: u64) -> Frames {
        let news = room.link.follow(&key);
        let (log, block) = (OpenLog::default(), Bytes::new());
        Frames { room, key, news, log, block, at: from, ended: None, look: true }
    }

    /// The next frame; `None` after the last one of a stage that has ended. Safe to drop and call again.
    pub async fn next(&mut self) -> Result<Option<Frame>, ExecutorError> {
        loop {
            if !self.is_over()
                && let Some(frame) = self.cut()?
            {
                return Ok(Some(frame));
            }
            let lost = self.hear().await?;
            // What lies behind the end is not output; of a stage that did not start there is not even a log.
            if self.is_over() {
                return Ok(None);
            }
            // A frame that is not whole is read again from its beginning: that keeps each one in one piece.
            let block = self.room.files.log(&self.room.link, &self.key, &mut self.log, self.at).await?;
            let grew = block.len() > self.block.len();
            self.block = block;
            if grew {
                continue;
            }
            if self.ended.is_some() {
                return Err(ExecutorError::Tampered("its log was cut short".to_owned()));
            }
            if lost {
                return Err(ExecutorError::Lost("the container ended before the stage did".to_owned()));
            }
            // Fails only when the link is dropped, which the room holds.
            let _ = self.news.changed().await;
        }
    }

    fn is_over(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| self.at >= ended.frames_end)
    }

    /// Takes in what was heard, before the log is read, so that an end means that all was written.
    async fn hear(&mut self) -> Result<bool, ExecutorError> {
        let (ended, lost) = {
            let news = self.news.borrow_and_update();
            (news.ended(&self.key), news.lost)
        };
        if self.ended.is_none() && (self.look || ended || lost) {
            self.look = false;
            self.ended = self.room.exit_file(&self.key, ended).await?;
        }
        Ok(lost)
    }

    fn cut(&mut self) -> Result<Option<Frame>, ExecutorError> {
        let Some((head, rest)) = self.block.split_first_chunk::<FRAME_HEAD>() else { return Ok(None) };
        let [t0, t1, t2, t3, t4, t5, t6, t7, l0, l1, l2, l3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(ExecutorError::Tampered("its log is not what was written".to_owned()));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let whole = self.block.split_to(FRAME_HEAD + length);
        self.at += whole.len() as u64;
        let time_us = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        Ok(Some(Frame { time_us, bytes: whole.slice(FRAME_HEAD..), next: self.at }))
    }
}
