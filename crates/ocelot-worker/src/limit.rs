//! The two caps on a stage's log: the length of a line, and the whole. Pure, and a function of the bytes
//! alone: however they come in pieces, the same log comes out. A restarted worker relies on that.

/// Longest line of a log, in bytes.
pub(crate) const LINE_CAP: u64 = 1 << 20;

const LINE_MARK: &[u8] = b" [line cut: it is longer than 1 MiB]";

/// Cuts long lines, and what exceeds the stage's cap.
#[derive(Debug)]
pub(crate) struct Limit {
    line_cap: u64,
    cap: u64,
    /// Bytes of the current line so far.
    line: u64,
    /// Bytes let through so far.
    passed: u64,
    closed: bool,
}

impl Limit {
    /// Lets `cap` bytes through.
    pub(crate) fn new(cap: u64) -> Limit {
        Limit { line_cap: LINE_CAP, cap, line: 0, passed: 0, closed: false }
    }

    /// Hands what may pass of `bytes` to `out`, in order.
    pub(crate) fn take(&mut self, bytes: &[u8], mut out: impl FnMut(&[u8])) {
        if self.closed {
            return;
        }
        // A piece that cannot make any line too long is not looked at line by line.
        if self.line + bytes.len() as u64 <= self.line_cap {
            self.line = match memchr::memrchr(b'\n', bytes) {
                Some(last) => (bytes.len() - last - 1) as u64,
                None => self.line + bytes.len() as u64,
            };
            return self.pass(bytes, &mut out);
        }
        let mut rest = bytes;
        while !rest.is_empty() && !self.closed {
            let end = memchr::memchr(b'\n', rest);
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.line(line, &mut out);
            if end.is_some() {
                self.pass(b"\n", &mut out);
                self.line = 0;
                rest = &after[1..];
            } else {
                rest = after;
            }
        }
    }

    /// Output was lost before it came here: says so, unless the cap has said it already.
    pub(crate) fn lost(&mut self, bytes: u64, mut out: impl FnMut(&[u8])) {
        if !self.closed {
            self.closed = true;
            out(format!("\n[log cut: {bytes} more bytes were not kept; the stage went on]\n").as_bytes());
        }
    }

    /// A piece of one line, without its end.
    fn line(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        if self.line > self.line_cap {
            return;
        }
        let room = (self.line_cap - self.line) as usize;
        if piece.len() <= room {
            self.line += piece.len() as u64;
            return self.pass(piece, out);
        }
        self.pass(&piece[..room], out);
        self.pass(LINE_MARK, out);
        self.line = self.line_cap + 1;
    }

    fn pass(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        let room = self.cap - self.passed;
        if bytes.len() as u64 <= room {
            self.passed += bytes.len() as u64;
            if !bytes.is_empty() && !self.closed {
                out(bytes);
            }
        } else if !self.closed {
            out(&bytes[..room as usize]);
            self.passed = self.cap;
            self.closed = true;
            out(format!("\n[log cut: it is larger than {}; the stage goes on]\n", size(self.cap)).as_bytes());
        }
    }
}

/// Bytes in words: whole mebibytes where they are whole.
fn size(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{bytes} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out must not depend on how the bytes come in pieces.
    fn check(line_cap: u64, cap: u64, input: &str, want: &str) {
        for step in 1..=input.len().max(1) {
            let mut limit = Limit { line_cap, ..Limit::new(cap) };
            let mut log = Vec::new();
            for piece in input.as_bytes().chunks(step) {
                limit.take(piece, |bytes| log.extend_from_slice(bytes));
            }
            assert_eq!(String::from_utf8_lossy(&log), want, "{input:?} in pieces of {step}");
        }
    }

    const CUT: &str = " [line cut: it is longer than 1 MiB]";

    #[test]
    fn what_fits_passes_unchanged() {
        check(4, 100, "", "");
        check(4, 100, "abcd\nef\n\nghij", "abcd\nef\n\nghij");
        check(4, 9, "abcd\nefg\n", "abcd\nefg\n");
    }

    #[test]
    fn a_long_line_is_cut_with_a_mark() {
        check(4, 100, "abcde\nx\n", &format!("abcd{CUT}\nx\n"));
        check(4, 100, "x\nabcdefghijk", &format!("x\nabcd{CUT}"));
        check(2, 200, "abcde\nabcd\n", &format!("ab{CUT}\nab{CUT}\n"));
    }

    #[test]
    fn the_log_ends_at_its_cap_with_a_mark() {
        let mark = "\n[log cut: it is larger than 5 bytes; the stage goes on]\n";
        check(100, 5, "ab\ncdefgh\nij\n", &format!("ab\ncd{mark}"));
        check(4, 5, "abc\nd\n", &format!("abc\nd{mark}"));
        check(2, 5, "abcdef\n", &format!("ab [l{mark}"));
    }

    #[test]
    fn bytes_lost_before_are_said_once() {
        let mut limit = Limit::new(3);
        let mut log = Vec::new();
        limit.take(b"ab", |bytes| log.extend_from_slice(bytes));
        limit.lost(7, |bytes| log.extend_from_slice(bytes));
        limit.lost(7, |bytes| log.extend_from_slice(bytes));
        assert_eq!(log, b"ab\n[log cut: 7 more bytes were not kept; the stage went on]\n");
    }
}
