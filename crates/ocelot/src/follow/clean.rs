//! Makes log text harmless for a terminal: text and colours pass, everything else that a terminal would
//! obey (titles, clipboard, cursor, clearing) is dropped. Keeps its place between pieces.

use std::fmt::Write as _;

use vte::{Params, Parser, Perform};

/// See the module.
pub(super) struct Clean {
    parser: Parser,
    out: Out,
}

struct Out {
    text: String,
    colours: bool,
}

impl Clean {
    /// `colours`: let colours pass.
    pub(super) fn new(colours: bool) -> Clean {
        Clean { parser: Parser::new(), out: Out { text: String::new(), colours } }
    }

    /// What may be shown of `bytes`.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> String {
        self.parser.advance(&mut self.out, bytes);
        std::mem::take(&mut self.out.text)
    }
}

impl Perform for Out {
    fn print(&mut self, c: char) {
        // Characters that turn the direction of writing make text read as what it is not.
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        self.text.push(if turns || c.is_control() { '\u{fffd}' } else { c });
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\r' | b'\t') {
            self.text.push(char::from(byte));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if !self.colours || action != 'm' || ignore || !intermediates.is_empty() {
            return;
        }
        self.text.push_str("\u{1b}[");
        for (i, param) in params.iter().enumerate() {
            let border = if i == 0 { "" } else { ";" };
            let parts: Vec<String> = param.iter().map(u16::to_string).collect();
            let _ = write!(self.text, "{border}{}", parts.join(":"));
        }
        self.text.push('m');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &[u8], with_colours: &str, without: &str) {
        for (colours, want) in [(true, with_colours), (false, without)] {
            for size in 1..=input.len() {
                let mut clean = Clean::new(colours);
                let got: String = input.chunks(size).map(|piece| clean.pass(piece)).collect();
                assert_eq!(got, want, "{input:?} in pieces of {size}, colours: {colours}");
            }
        }
    }

    #[test]
    fn text_passes() {
        check("a\tü\r\n".as_bytes(), "a\tü\r\n", "a\tü\r\n");
    }

    #[test]
    fn colours_pass_where_they_are_wanted() {
        check(b"\x1b[1;31mred\x1b[0m", "\u{1b}[1;31mred\u{1b}[0m", "red");
        check(b"\x1b[38:5:9mx", "\u{1b}[38:5:9mx", "x");
    }

    #[test]
    fn nothing_else_does() {
        check(b"a\x1b]0;title\x07b\x1b[2Jc\x1b[10;10Hd\x07\x08", "abcd", "abcd");
        check("a\u{202e}b".as_bytes(), "a\u{fffd}b", "a\u{fffd}b");
    }
}
