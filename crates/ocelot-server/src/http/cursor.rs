//! Where a reader of a build's stream is: in the history of changes, and in each log.
//!
//! Written as `SEQ` or `SEQ.FLOOR.FIRST-LAST.STAGE:OFFSET…`. All logs of stages below the floor, and from a first to a
//! last one, were sent whole, so that the text stays short however many stages a build has. `SEQ+COUNT` is the place of a reader who
//! has the first events of how things stood after that change, but not all of them yet. `.0-0` at the end, which is no stage, says
//! that the end of the build was told, so that it has an id of its own.

use std::collections::BTreeMap;
use std::fmt;

use ocelot_model::StageId;

/// Stands for the end of the build; a server of the version before takes it for a stage that is whole.
const OVER: &str = "0-0";
/// The longest text that is read.
const TEXT_MAX: usize = 32 << 10;

/// Where a reader is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last change that was sent.
    pub(super) seq: i64,
    /// So many events of how things stood then were sent; `None` when all were.
    pub(super) shown: Option<usize>,
    /// Logs of all stages before this one were sent to their end.
    pub(super) floor: i64,
    /// So were those from the first to the last one of each of these.
    pub(super) whole: Vec<(StageId, StageId)>,
    /// Bytes that were sent of the other ones.
    pub(super) sent: BTreeMap<StageId, u64>,
    /// The end was told.
    pub(super) over: bool,
}

impl Cursor {
    /// Reads the text of an event's id.
    pub(super) fn parse(text: &str) -> Option<Cursor> {
        if text.len() > TEXT_MAX {
            return None;
        }
        if let Some((seq, shown)) = text.split_once('+') {
            let shown = usize::try_from(digits(shown)?).ok();
            return Some(Cursor { seq: digits(seq)?, shown, ..Cursor::default() });
        }
        let mut words = text.split('.');
        let seq = digits(words.next()?)?;
        let floor = words.next().map_or(Some(0), digits)?;
        let (mut whole, mut sent, mut over) = (Vec::new(), BTreeMap::new(), false);
        for word in words {
            if word == OVER {
                over = true;
                continue;
            }
            if let Some((first, last)) = word.split_once('-') {
                whole.push((StageId(digits(first)?), StageId(digits(last)?)));
                continue;
            }
            let (stage, offset) = word.split_once(':')?;
            sent.insert(StageId(digits(stage)?), u64::try_from(digits(offset)?).ok()?);
        }
        Some(Cursor { seq, shown: None, floor, whole, sent, over })
    }

    /// Bytes that were sent of this log; `None` when all were.
    pub(super) fn offset(&self, stage: StageId) -> Option<u64> {
        let whole = stage.0 < self.floor || self.whole.iter().any(|(a, b)| (*a..=*b).contains(&stage));
        (!whole).then(|| self.sent.get(&stage).copied().unwrap_or(0))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.seq)?;
        if let Some(shown) = self.shown {
            return write!(f, "+{shown}");
        }
        if self.floor > 0 || !self.whole.is_empty() || !self.sent.is_empty() || self.over {
            write!(f, ".{}", self.floor)?;
        }
        self.whole.iter().try_for_each(|(first, last)| write!(f, ".{first}-{last}"))?;
        self.sent.iter().try_for_each(|(stage, offset)| write!(f, ".{stage}:{offset}"))?;
        if self.over { write!(f, ".{OVER}") } else { Ok(()) }
    }
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_whole_is_not_sent_again() {
        let cursor = Cursor::parse("12.5.7-9.11:4").expect("a cursor");
        let offsets: Vec<Option<u64>> = (4..=12).map(|stage| cursor.offset(StageId(stage))).collect();
        assert_eq!(offsets, [None, Some(0), Some(0), None, None, None, Some(0), Some(4), Some(0)]);
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        for text in ["0", "12", "12+3", "12.5", "12.5.7:100", "12.0.7:100.9:0", "12.5.7-9.11-11.10:4"] {
            assert_eq!(Cursor::parse(text).expect(text).to_string(), text);
        }
        for text in [
            "",
            "abc",
            "-1",
            "1.",
            "1.2.3",
            "1.2.3:",
            "1.2.x:1",
            "99999999999999999999",
            "1 2",
            "1+",
            "+1",
            "1+2.3",
            "1+-2",
            "1.0.2-",
            "1.0.2-3-4",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }
}
