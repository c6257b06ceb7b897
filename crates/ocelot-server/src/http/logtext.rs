//! Logs as text on their way out, piece by piece: never whole in memory.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ocelot_model::StageId;
use ocelot_store::{LogSlice, Mark, Store, StoreError};
use regex::bytes::{Regex, RegexBuilder};

/// Bytes that are read at once.
pub(super) const PIECE: usize = 512 << 10;
/// A line that is longer is searched in parts.
const LINE_MAX: usize = 1 << 20;

/// Lines with this text, any case.
#[derive(Debug, Clone)]
pub(super) struct Search(Regex);

impl Search {
    /// `None` for a text that is too long to be looked for.
    pub(super) fn new(text: &str) -> Option<Search> {
        RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build().ok().map(Search)
    }
}

/// What is done with the bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// Put the time before each line.
    pub(super) timestamps: bool,
    /// Only lines with this text.
    pub(super) search: Option<Search>,
}

impl Shape {
    /// True when bytes go out as they are.
    pub(super) fn is_plain(&self) -> bool {
        !self.timestamps && self.search.is_none()
    }
}

/// Reads a log from `at` up to `end`.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) stage: StageId,
    pub(super) at: u64,
    pub(super) end: u64,
    pub(super) writer: Writer,
}

impl Reader {
    /// The next bytes to send; `None` at the end. May be empty when nothing of a piece is wanted.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        // Whole pieces begin where blocks of the log store do, so that no block is read twice.
        let piece = PIECE - (self.at % PIECE as u64) as usize;
        let most = piece.min(usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(piece));
        if most == 0 {
            return Ok(self.writer.finish());
        }
        let mut slice = self.store.read_log(self.stage, self.at, most).await?;
        slice.data.truncate(most);
        if slice.data.is_empty() {
            self.end = self.at;
            return Ok(self.writer.finish());
        }
        self.at += slice.data.len() as u64;
        Ok(Some(self.writer.write(slice)))
    }
}

/// Puts times before lines and leaves lines out.
#[derive(Debug)]
pub(super) struct Writer {
    shape: Shape,
    line: Vec<u8>,
    time_us: Option<i64>,
    line_time: Option<i64>,
    done: bool,
}

impl Writer {
    pub(super) fn new(shape: Shape) -> Writer {
        Writer { shape, line: Vec::new(), time_us: None, line_time: None, done: false }
    }

    /// What goes out for this piece.
    pub(super) fn write(&mut self, slice: LogSlice) -> Vec<u8> {
        if self.shape.is_plain() {
            return slice.data;
        }
        let mut out = Vec::with_capacity(slice.data.len() + slice.data.len() / 4);
        let mut marks = slice.marks.iter().peekable();
        let mut at = 0;
        while at < slice.data.len() {
            while let Some(Mark { time_us, .. }) = marks.next_if(|mark| mark.at as usize <= at) {
                self.time_us = Some(*time_us);
            }
            let rest = &slice.data[at..];
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |line| line + 1);
            if self.line.is_empty() {
                self.line_time = self.time_us;
            }
            self.line.extend_from_slice(&rest[..length]);
            at += length;
            if self.line.ends_with(b"\n") || self.line.len() >= LINE_MAX {
                self.put(&mut out);
            }
        }
        for mark in marks {
            self.time_us = Some(mark.time_us);
        }
        out
    }

    /// The last line, when no line feed ended it.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        if self.done || self.line.is_empty() {
            return None;
        }
        self.done = true;
        let mut out = Vec::new();
        self.put(&mut out);
        Some(out)
    }

    fn put(&mut self, out: &mut Vec<u8>) {
        if self.shape.search.as_ref().is_none_or(|search| search.0.is_match(&self.line)) {
            if self.shape.timestamps {
                out.extend_from_slice(clock(self.line_time).as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(&self.line);
        }
        self.line.clear();
    }
}

/// RFC 3339 with milliseconds, always as wide.
fn clock(time_us: Option<i64>) -> String {
    let time = time_us.and_then(|us| Timestamp::from_microsecond(us).ok());
    time.map_or_else(
        || " ".repeat("2026-01-01T00:00:00.000Z".len()),
        |time| time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(shape: &Shape, pieces: &[&str]) -> String {
        let mut writer = Writer::new(shape.clone());
        let mut out = Vec::new();
        for (piece, second) in pieces.iter().zip(0..) {
            let marks = vec![Mark { at: 0, time_us: second * 1_000_000 }];
            out.extend(writer.write(LogSlice { offset: 0, data: piece.as_bytes().to_vec(), marks }));
        }
        out.extend(writer.finish().unwrap_or_default());
        assert_eq!(writer.finish(), None);
        String::from_utf8(out).unwrap_or_default()
    }

    #[test]
    fn times_stand_before_lines() {
        let shape = Shape { timestamps: true, search: None };
        let want = "1970-01-01T00:00:00.000Z a\n1970-01-01T00:00:00.000Z bc\n1970-01-01T00:00:01.000Z d";
        assert_eq!(shaped(&shape, &["a\nb", "c\nd"]), want);
    }

    #[test]
    fn only_lines_with_the_text() {
        let shape = Shape { timestamps: false, search: Search::new("ERR (é") };
        assert_eq!(shaped(&shape, &["ok\nan er", "r (É)\nok\nErr\nerr (\u{e9}"]), "an err (É)\nerr (é");
    }
}
