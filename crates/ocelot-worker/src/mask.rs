//! Hides secrets in what a job writes, before anything of it is kept or sent. Pure, and a function of the bytes alone:
//! however they come in pieces, the same text comes out. A restarted worker relies on that.
//!
//! All forms of all secrets (`ocelot_model::forms`) are looked for at once, by the automaton of Aho and Corasick. It is our own one,
//! because two things are asked of it that a library does not tell: how much of the last bytes may still become a
//! secret (only that is held back, so that a line that is written is seen), and where matches overlap (all of them are
//! hidden; who takes the first or the longest match lets the end of the other one out).
//!
//! Colours and other escape sequences inside a secret are passed over, and so are line feeds where a longer piece of a secret
//! stands before them: tools wrap what they encode.

use std::collections::VecDeque;
use std::sync::Arc;

use ocelot_model::forms;

/// Stands in place of a secret.
const STARS: &[u8] = b"***";
/// Longest escape sequence that is passed over; a longer one is text.
const ESCAPE_MAX: usize = 256;
/// So much that is passed over may stand inside a secret.
const BETWEEN_MAX: usize = 4_096;
/// A line feed is passed over after so many characters of a secret: encoders wrap between groups of four.
const GROUP: u32 = 4;

/// What is looked for: a tree of all patterns, and for each place in it where to go on when the next byte does not fit.
#[derive(Debug)]
pub(crate) struct Patterns {
    nodes: Vec<Node>,
    /// Children of the root, by byte; 0 for none. Most bytes of a log end here.
    roots: Box<[u32; 256]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// Bytes from the root.
    depth: u32,
    /// The longest other place that ends in the same bytes.
    fail: u32,
    /// Length of the longest pattern that ends here.
    found: u32,
    /// First child, and the next one of the same parent; 0 for none.
    child: u32,
    sibling: u32,
    /// From the parent to here.
    byte: u8,
}

impl Patterns {
    /// Of these values, in all forms; `None` when there is nothing to hide.
    pub(crate) fn of<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Option<Arc<Patterns>> {
        let mut patterns = Patterns { nodes: vec![Node::default()], roots: Box::new([0; 256]) };
        for value in values {
            forms::each(value, |form| patterns.add(form));
        }
        patterns.link();
        (patterns.nodes.len() > 1).then(|| Arc::new(patterns))
    }

    /// The same text without secrets.
    pub(crate) fn hide(self: &Arc<Self>, text: &str) -> String {
        let mut hidden = Vec::new();
        let mut mask = Mask::new(Some(Arc::clone(self)));
        mask.take(text.as_bytes(), |bytes| hidden.extend_from_slice(bytes));
        mask.end(|bytes| hidden.extend_from_slice(bytes));
        String::from_utf8_lossy(&hidden).into_owned()
    }

    fn add(&mut self, pattern: &[u8]) {
        let mut at = 0;
        for &byte in pattern {
            at = match self.child(at, byte) {
                0 => self.grow(at, byte),
                next => next,
            };
        }
        self.nodes[at as usize].found = pattern.len() as u32;
    }

    fn grow(&mut self, parent: u32, byte: u8) -> u32 {
        let new = self.nodes.len() as u32;
        let Node { depth, child, .. } = self.nodes[parent as usize];
        self.nodes.push(Node { depth: depth + 1, sibling: child, byte, ..Node::default() });
        self.nodes[parent as usize].child = new;
        if parent == 0 {
            self.roots[usize::from(byte)] = new;
        }
        new
    }

    /// 0 for none: nothing leads to the root.
    fn child(&self, parent: u32, byte: u8) -> u32 {
        if parent == 0 {
            return self.roots[usize::from(byte)];
        }
        let mut child = self.nodes[parent as usize].child;
        while child != 0 && self.nodes[child as usize].byte != byte {
            child = self.nodes[child as usize].sibling;
        }
        child
    }

    /// Finds where to go on, from the root outwards.
    fn link(&mut self) {
        let mut queue = VecDeque::from([0]);
        while let Some(parent) = queue.pop_front() {
            let mut child = self.nodes[parent as usize].child;
            while child != 0 {
                let byte = self.nodes[child as usize].byte;
                let fail = if parent == 0 { 0 } else { self.step(self.nodes[parent as usize].fail, byte) };
                let found = self.nodes[fail as usize].found.max(self.nodes[child as usize].found);
                let node = &mut self.nodes[child as usize];
                (node.fail, node.found) = (fail, found);
                queue.push_back(child);
                child = node.sibling;
            }
        }
    }

    /// Where a byte leads.
    fn step(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.child(at, byte) {
                0 if at == 0 => return 0,
                0 => at = self.nodes[at as usize].fail,
                next => return next,
            }
        }
    }

    /// The longest end of the text that may still become more than it is.
    fn open(&self, mut at: u32) -> u32 {
        while at != 0 && self.nodes[at as usize].child == 0 {
            at = self.nodes[at as usize].fail;
        }
        at
    }
}

/// Inside of which escape sequence the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    No,
    /// After ESC.
    Begun,
    /// After `ESC [`: to a letter.
    Control,
    /// After `ESC ]` and the like: to BEL or `ESC \`.
    Text,
    /// After ESC inside such a text.
    TextEnd,
}

/// Hides secrets in one log.
#[derive(Debug)]
pub(crate) struct Mask {
    patterns: Option<Arc<Patterns>>,
    at: u32,
    escape: Escape,
    /// Bytes of the escape sequence under way.
    escape_len: usize,
    /// What may still become a secret: bytes, and whether each is text (or passed over).
    held: VecDeque<(u8, bool)>,
    /// Bytes of text so far, and how many of them went out.
    seen: u64,
    gone: u64,
    /// Passed over since the last byte of text.
    between: usize,
    /// Parts of the held text to hide, by number of byte, in order and apart.
    hidden: VecDeque<(u64, u64)>,
    /// The last byte of text that went out was hidden.
    in_stars: bool,
    out: Vec<u8>,
}

impl Mask {
    /// With no patterns, everything passes as it is.
    pub(crate) fn new(patterns: Option<Arc<Patterns>>) -> Mask {
        Mask {
            patterns,
            at: 0,
            escape: Escape::No,
            escape_len: 0,
            held: VecDeque::new(),
            seen: 0,
            gone: 0,
            between: 0,
            hidden: VecDeque::new(),
            in_stars: false,
            out: Vec::new(),
        }
    }

    /// Hands what may pass to `out`, in order. What may still become a secret waits for the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8], mut out: impl FnMut(&[u8])) {
        let Some(patterns) = self.patterns.clone() else { return out(bytes) };
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if self.held.is_empty() && self.escape == Escape::No {
                // The usual case: nothing that begins a secret.
                let plain = |byte: &u8| *byte != 0x1b && patterns.roots[usize::from(*byte)] == 0;
                let length = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
                if length > 0 {
                    self.flush(&mut out);
                    out(&rest[..length]);
                    self.seen += length as u64;
                    self.gone = self.seen;
                    self.in_stars = false;
                    rest = &rest[length..];
                    continue;
                }
            }
            self.byte(&patterns, byte);
            rest = &rest[1..];
        }
        self.flush(&mut out);
    }

    /// The log is over: what was held back becomes nothing any more.
    pub(crate) fn end(&mut self, mut out: impl FnMut(&[u8])) {
        self.at = 0;
        self.release(self.seen);
        self.flush(&mut out);
    }

    fn flush(&mut self, out: &mut impl FnMut(&[u8])) {
        if !self.out.is_empty() {
            out(&self.out);
            self.out.clear();
        }
    }

    fn byte(&mut self, patterns: &Patterns, byte: u8) {
        if self.passes_over(patterns, byte) {
            self.held.push_back((byte, false));
            self.between += 1;
            if self.between > BETWEEN_MAX {
                self.at = 0;
            }
        } else {
            self.between = 0;
            self.held.push_back((byte, true));
            self.seen += 1;
            let reached = patterns.step(self.at, byte);
            let found = patterns.nodes[reached as usize].found;
            if found > 0 {
                self.hide(self.seen - u64::from(found));
            }
            self.at = patterns.open(reached);
        }
        let open = u64::from(patterns.nodes[self.at as usize].depth);
        self.release(self.seen - open);
    }

    /// Whether the byte is no part of the text.
    fn passes_over(&mut self, patterns: &Patterns, byte: u8) -> bool {
        use Escape::{Begun, Control, No, Text, TextEnd};
        if self.escape == No && matches!(byte, b'\n' | b'\r') {
            return patterns.nodes[self.at as usize].depth >= GROUP;
        }
        let before = self.escape;
        self.escape = match (before, byte) {
            (No | Begun, 0x1b) => Begun,
            (Begun, b'[') => Control,
            (Begun, b']' | b'P' | b'_' | b'^') => Text,
            // Of character sets, which have one more.
            (Begun, 0x20..=0x2f) => Begun,
            (Control, 0x20..=0x3f) => Control,
            (Text | TextEnd, 0x1b) => TextEnd,
            (Text, 0x07) | (TextEnd, b'\\') => No,
            (Text | TextEnd, 0x20..=0xff) => Text,
            // A line feed or the like ends what is no sequence.
            (Control | Text | TextEnd | Begun, 0x00..=0x1f) => {
                self.escape = No;
                return false;
            }
            (No | Begun | Control, _) => No,
        };
        if before == No && self.escape == No {
            return false;
        }
        self.escape_len = if before == No { 1 } else { self.escape_len + 1 };
        if self.escape_len > ESCAPE_MAX {
            self.escape = No;
            return false;
        }
        true
    }

    /// Hides the text from `from` to here.
    fn hide(&mut self, from: u64) {
        let mut from = from;
        while let Some(&(begin, end)) = self.hidden.back() {
            if end < from {
                break;
            }
            from = from.min(begin);
            self.hidden.pop_back();
        }
        self.hidden.push_back((from, self.seen));
    }

    /// Lets out what stands before byte `to` of the text, and what is passed over with it.
    fn release(&mut self, to: u64) {
        while let Some(&(byte, is_text)) = self.held.front() {
            if is_text && self.gone >= to {
                return;
            }
            self.held.pop_front();
            if !is_text {
                self.out.push(byte);
                continue;
            }
            while self.hidden.front().is_some_and(|&(_, end)| end <= self.gone) {
                self.hidden.pop_front();
            }
            let hide = self.hidden.front().is_some_and(|&(begin, _)| begin <= self.gone);
            self.gone += 1;
            if !hide {
                self.out.push(byte);
            } else if !self.in_stars {
                self.out.extend_from_slice(STARS);
            }
            self.in_stars = hide;
        }
    }
}

#[cfg(test)]
mod tests;
