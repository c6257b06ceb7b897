//! The shape of a line: what it has in common with the same line of another run.

use std::borrow::Cow;

/// FNV-1a, 64 bits: shapes are kept in databases, so that the function must never change.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// What may follow a number without being more than its unit.
const UNITS: [&str; 24] = [
    "ns", "us", "µs", "ms", "s", "sec", "secs", "m", "min", "h", "d", "b", "kb", "mb", "gb", "kib", "mib",
    "gib", "k", "g", "x", "st", "nd", "th",
];

/// The text of a line as a reader sees it: without colours and what was overwritten.
#[must_use]
pub fn text(line: &[u8]) -> String {
    let plain = without_escapes(line);
    let plain = plain.trim_ascii_end();
    let start = memchr::memrchr(b'\r', plain).map_or(0, |at| at + 1);
    String::from_utf8_lossy(&plain[start..]).into_owned()
}

/// Leaves out the sequences with which programs colour lines and move about in them.
fn without_escapes(line: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0x1b, line).is_none() {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = memchr::memchr(0x1b, rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let end = match rest.first() {
            Some(b'[') => rest.iter().skip(1).position(|b| (0x40..=0x7e).contains(b)).map(|at| at + 2),
            Some(b']') => rest.iter().position(|b| matches!(b, 0x07 | b'\\')).map(|at| at + 1),
            Some(_) => Some(1),
            None => None,
        };
        rest = &rest[end.unwrap_or(rest.len())..];
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// A number for the line's shape; `None` when nothing stands in it but numbers and marks.
#[must_use]
pub fn shape(line: &[u8]) -> Option<u64> {
    let text = text(line);
    let mut hash = Hash { value: BASIS, last: '\0', times: 0, says: false };
    for word in text.split_whitespace() {
        add_word(&mut hash, word);
        hash.add(' ');
    }
    hash.says.then_some(hash.value)
}

/// A path or an address is one thing, whichever it is; what stands about it stays.
fn add_word(hash: &mut Hash, word: &str) {
    let inner =
        word.trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '/' | '.' | '~' | '_' | '@'));
    let names = inner.contains('/') && inner.chars().any(char::is_alphabetic);
    if !names {
        return add_text(hash, word);
    }
    let (before, after) = word.split_once(inner).unwrap_or((word, ""));
    add_text(hash, before);
    hash.add('/');
    add_text(hash, after);
}

fn add_text(hash: &mut Hash, text: &str) {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        if end == 0 {
            hash.add(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (run, more) = rest.split_at(end);
        add_run(hash, run);
        rest = more;
        if run.ends_with(|c: char| c.is_ascii_digit()) {
            // 1,234.5 and 01:02:03 are one number.
            while let Some(next) = rest
                .strip_prefix(['.', ',', ':'])
                .filter(|next| next.starts_with(|c: char| c.is_ascii_digit()))
            {
                let digits = next.find(|c: char| !c.is_alphanumeric()).unwrap_or(next.len());
                rest = &next[digits..];
            }
        }
    }
}

/// Letters and digits that belong together.
fn add_run(hash: &mut Hash, run: &str) {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let by_chance = digits > 0
        && (run.len() >= 12
            || run.len() >= 4 && digits < run.len() && run.bytes().all(|b| b.is_ascii_hexdigit()));
    let address = run.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    if by_chance || address || run.len() >= 16 && run.bytes().all(|b| b.is_ascii_hexdigit()) {
        return hash.add('#');
    }
    let mut rest = run;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        if end > 0 {
            hash.add('#');
            rest = &rest[end..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            if UNITS.iter().any(|known| known.eq_ignore_ascii_case(&rest[..unit])) {
                rest = &rest[unit..];
            }
            continue;
        }
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].chars().for_each(|c| hash.add_letter(c));
        rest = &rest[end..];
    }
}

struct Hash {
    value: u64,
    last: char,
    times: u32,
    /// There is a letter in it.
    says: bool,
}

impl Hash {
    fn add_letter(&mut self, c: char) {
        self.says = true;
        self.last = '\0';
        self.push(c);
    }

    /// Marks that are repeated are bars: how long they are means nothing.
    fn add(&mut self, c: char) {
        if c == '/' {
            self.says = true;
        }
        self.times = if self.last == c { self.times + 1 } else { 0 };
        self.last = c;
        if self.times < 2 && (c != '#' || self.times == 0) {
            self.push(c);
        }
    }

    fn push(&mut self, c: char) {
        let mut bytes = [0; 4];
        for byte in c.encode_utf8(&mut bytes).bytes() {
            self.value = (self.value ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}
