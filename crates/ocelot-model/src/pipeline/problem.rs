//! What is wrong with a file, said so that a person can mend it.
//!
//! [`Report`] collects problems while a file is read. It never decides what is wrong, and it never
//! grows without bound: a hostile file must not make a large answer.

use std::fmt;

use serde::Serialize;

use super::place;

/// How many problems one answer holds; the rest would not be read anyway.
pub(super) const MAX_PROBLEMS: usize = 100;

/// One problem, with its place in the file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word for programs, such as `unknown_key`.
    pub code: &'static str,
    /// One sentence for people.
    pub message: String,
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Line of the place where the offending text ends.
    pub end_line: usize,
    /// Column just after the offending text.
    pub end_column: usize,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// All problems of a file in the order of the file, at least one and at most 100.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl std::ops::Deref for Problems {
    type Target = [Problem];

    fn deref(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            let border = if i == 0 { "" } else { "\n" };
            write!(f, "{border}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A range of bytes in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is wrong with a single value, before anyone knows where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// Collects the problems of one text.
pub(super) struct Report<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Report<'t> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Report { text, line_starts: std::iter::once(0).chain(breaks).collect(), problems: Vec::new() }
    }

    /// True when nothing more would be kept, so that costly hints need not be made.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    pub(super) fn add(&mut self, span: Span, fault: Fault) {
        if self.is_full() {
            return;
        }
        let (line, column) = self.place(span.start);
        let (end_line, end_column) = self.place(span.end.max(span.start));
        let Fault { code, message, hint } = fault;
        let problem = Problem { code, message, line, column, end_line, end_column, hint };
        // A node that aliases repeat is wrong once, at its definition.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Something that is wrong in a part of the text that stands at `span`.
    pub(super) fn add_within(&mut self, span: Span, text: &str, part: Span, fault: Fault) {
        if !self.is_full() {
            self.add(place::within(self.text, span, text, part), fault);
        }
    }

    /// The problems in the order of the file, or `value` when there are none.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => {
                self.problems.sort_by_key(|problem| (problem.line, problem.column));
                drop_echoes(&mut self.problems);
                Err(Problems(self.problems))
            }
        }
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let line = self.line_starts.partition_point(|start| *start <= at);
        (line, self.text[self.line_starts[line - 1]..at].chars().count() + 1)
    }
}

/// Where a key is only misspelt, that it is missing need not be said as well.
fn drop_echoes(problems: &mut Vec<Problem>) {
    let hints =
        problems.iter().filter(|problem| problem.code == "unknown_key").filter_map(|p| p.hint.as_deref());
    let meant: Vec<String> =
        hints.filter_map(|hint| Some(format!("`{}`", hint.split('`').nth(1)?))).collect();
    problems.retain(|problem| {
        !problem.code.starts_with("missing_") || !meant.iter().any(|key| problem.message.contains(key))
    });
}

/// A piece of the user's text for a message: short, on one line, with nothing that moves the cursor.
pub(super) fn quote(text: &str) -> String {
    const MOST: usize = 60;
    let mut short: String =
        text.chars().take(MOST).map(|c| if printable(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// True for characters that show as themselves: no controls, and none that turn or hide text.
pub(super) fn printable(c: char) -> bool {
    let hidden =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    !(c.is_control() || hidden)
}

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let check = |word: &str, want: Option<&str>| {
            assert_eq!(nearest(word, ["script", "image", "machineTag"].into_iter()), want, "{word}");
        };
        check("scirpt", Some("script"));
        check("Image", Some("image"));
        check("machinetag", Some("machineTag"));
        check("volumes", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn quoted_text_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\u{202e}b"), "`a\u{fffd}[31m\u{fffd}b`");
        assert!(quote(&"ä".repeat(1_000)).chars().count() < 70);
    }
}
