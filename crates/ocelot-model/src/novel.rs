//! Which lines of a failed stage's log are new: those whose shape no passed run of the stage had. The shape of a line is
//! what stays of it from one run to the next: without numbers, times, paths, names of chance, colours. Pure functions of
//! the bytes; what comes in pieces gives the same as the whole.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

mod shape;
mod weight;

pub use shape::{shape, text};

/// Nobody's shape needs more of a line.
const LINE_MAX: usize = 4 * 1024;
/// Shapes that are kept of one log. A log with more is noise in which nothing can be found.
pub const SHAPES_MAX: usize = 50_000;
/// Lines after one that tells of a fault, and before it, that may tell more of it.
const DETAILS: u64 = 4;
const LEAD: u64 = 2;
/// From this weight on a line tells of a fault.
const FAULT: i32 = 3;
/// And from this one on it may.
const HINT: i32 = 2;

/// The beginning of a line, and where it stands.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    /// From 1.
    number: u64,
    /// Of its first byte.
    offset: u64,
    bytes: &'a [u8],
}

/// Cuts a log that comes in pieces into lines.
#[derive(Debug, Default)]
struct Lines {
    number: u64,
    /// Of the line that is not over yet.
    offset: u64,
    /// Bytes of it so far, and the first of them.
    length: u64,
    begun: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(at);
            self.keep(line);
            self.end(&mut each);
            self.offset += 1;
            bytes = rest.split_at(1).1;
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_MAX.saturating_sub(self.begun.len()).min(bytes.len());
        self.begun.extend_from_slice(&bytes[..room]);
        self.length += bytes.len() as u64;
    }

    fn end(&mut self, each: &mut impl FnMut(Line<'_>)) {
        self.number += 1;
        each(Line { number: self.number, offset: self.offset, bytes: &self.begun });
        self.offset += self.length;
        self.length = 0;
        self.begun.clear();
    }

    /// The last line, when it has no end.
    fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.length > 0 {
            self.end(&mut each);
        }
    }
}

/// Learns the shapes of a passed log.
#[derive(Debug, Default)]
pub struct Shapes {
    lines: Lines,
    seen: HashSet<u64>,
}

impl Shapes {
    /// The next bytes of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        let seen = &mut self.seen;
        self.lines.feed(bytes, |line| learn(seen, line));
    }

    /// All of its shapes, in order; at most [`SHAPES_MAX`].
    #[must_use]
    pub fn finish(mut self) -> Vec<u64> {
        let seen = &mut self.seen;
        self.lines.finish(|line| learn(seen, line));
        let mut all: Vec<u64> = self.seen.into_iter().collect();
        all.sort_unstable();
        all
    }
}

fn learn(seen: &mut HashSet<u64>, line: Line<'_>) {
    if let Some(shape) = shape(line.bytes)
        && seen.len() < SHAPES_MAX
    {
        seen.insert(shape);
    }
}

/// A line that no passed run had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NovelLine {
    /// From 1.
    pub number: u64,
    /// Bytes before it in the log.
    pub offset: u64,
    /// How many lines of the log have its shape.
    pub count: u64,
}

/// What is new in a failed log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Novel {
    /// The ones that say most about a fault first.
    pub lines: Vec<NovelLine>,
    /// Shapes that are new, those in `lines` among them.
    pub all: u64,
}

/// Looks for what is new in a failed log.
#[derive(Debug)]
pub struct Search {
    lines: Lines,
    found: Found,
}

#[derive(Debug)]
struct Found {
    known: HashSet<u64>,
    /// By shape; the number says where in `new`.
    places: HashMap<u64, usize>,
    new: Vec<(i32, NovelLine)>,
    /// The newest line that tells of a fault.
    fault: Option<u64>,
}

impl Search {
    /// Against the shapes of passed runs. Without any, all lines are new, and only those that tell of a fault are found.
    #[must_use]
    pub fn new(known: HashSet<u64>) -> Search {
        let found = Found { known, places: HashMap::new(), new: Vec::new(), fault: None };
        Search { lines: Lines::default(), found }
    }

    /// The next bytes of the log.
    pub fn feed(&mut self, bytes: &[u8]) {
        let found = &mut self.found;
        self.lines.feed(bytes, |line| found.look(line));
    }

    /// What was found; at most so many lines of it.
    #[must_use]
    pub fn finish(mut self, most: usize) -> Novel {
        let found = &mut self.found;
        self.lines.finish(|line| found.look(line));
        let mut new = self.found.new;
        if self.found.known.is_empty() {
            new.retain(|(weight, _)| *weight >= HINT);
        }
        let all = new.len() as u64;
        new.sort_by_key(|(weight, line)| (-weight, line.number));
        new.truncate(most);
        Novel { lines: new.into_iter().map(|(_, line)| line).collect(), all }
    }
}

impl Found {
    fn look(&mut self, line: Line<'_>) {
        let Some(shape) = shape(line.bytes).filter(|shape| !self.known.contains(shape)) else { return };
        if let Some(place) = self.places.get(&shape) {
            self.new[*place].1.count += 1;
            return;
        }
        if self.new.len() >= SHAPES_MAX {
            return;
        }
        let text = shape::text(line.bytes);
        let detail = self.fault.is_some_and(|fault| line.number - fault <= DETAILS);
        let weight = weight::weight(&text, detail);
        if weight >= FAULT {
            self.fault = if detail { self.fault } else { Some(line.number) };
            let lead = self.new.iter_mut().rev().take_while(|(_, other)| other.number + LEAD >= line.number);
            lead.for_each(|(weight, _)| *weight += 1);
        }
        self.places.insert(shape, self.new.len());
        self.new.push((weight, NovelLine { number: line.number, offset: line.offset, count: 1 }));
    }
}

#[cfg(test)]
mod tests;
