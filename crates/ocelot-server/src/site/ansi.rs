//! Terminal output as HTML: colours and the weight of letters, nothing else.
//!
//! A log is hostile text. Cursor movement, titles, links and every other escape sequence are
//! dropped; control and direction-changing characters are shown instead of obeyed. Within one
//! line, a carriage return and "erase to the end" work, because progress bars live on them.

use std::fmt::Write as _;

use vte::{Params, Parser, Perform};

/// A palette index: 0–15 the terminal's own, 16–255 the usual cube and greys.
type Colour = Option<u8>;

/// How letters look. [`Style::code`] and [`Style::parse`] carry it from one piece of a log to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    front: Colour,
    back: Colour,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    strike: bool,
    inverse: bool,
}

impl Style {
    /// As short text, for example `f9.b`; empty for the plain style. The words are those of the style sheet.
    pub(crate) fn code(self) -> String {
        self.classes(".")
    }

    /// The style that [`Style::code`] wrote. What it does not know it leaves out.
    pub(crate) fn parse(code: &str) -> Style {
        let mut style = Style::default();
        for word in code.split('.') {
            match word {
                "b" => style.bold = true,
                "d" => style.dim = true,
                "i" => style.italic = true,
                "u" => style.underline = true,
                "s" => style.strike = true,
                "v" => style.inverse = true,
                _ => match (word.get(..1), word.get(1..).and_then(|n| n.parse().ok())) {
                    (Some("f"), Some(n)) => style.front = Some(n),
                    (Some("g"), Some(n)) => style.back = Some(n),
                    _ => {}
                },
            }
        }
        style
    }

    fn classes(self, between: &str) -> String {
        let (front, back) = (self.front.map(|n| format!("f{n}")), self.back.map(|n| format!("g{n}")));
        let flags = [
            (self.bold, "b"),
            (self.dim, "d"),
            (self.italic, "i"),
            (self.underline, "u"),
            (self.strike, "s"),
            (self.inverse, "v"),
        ];
        let words: Vec<&str> = [front.as_deref(), back.as_deref()]
            .into_iter()
            .flatten()
            .chain(flags.into_iter().filter_map(|(on, word)| on.then_some(word)))
            .collect();
        words.join(between)
    }

    fn apply(&mut self, params: &Params) {
        let mut codes = params.iter().flatten().copied();
        if params.is_empty() {
            *self = Style::default();
        }
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.inverse = true,
                9 => self.strike = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                29 => self.strike = false,
                30..=37 => self.front = Some((code - 30) as u8),
                90..=97 => self.front = Some((code - 82) as u8),
                40..=47 => self.back = Some((code - 40) as u8),
                100..=107 => self.back = Some((code - 92) as u8),
                38 => self.front = extended(&mut codes).or(self.front),
                48 => self.back = extended(&mut codes).or(self.back),
                39 => self.front = None,
                49 => self.back = None,
                _ => {}
            }
        }
    }
}

/// `5;n` or `2;r;g;b`, the latter as the nearest of the cube.
fn extended(codes: &mut impl Iterator<Item = u16>) -> Colour {
    match codes.next()? {
        5 => u8::try_from(codes.next()?).ok(),
        2 => {
            let mut level = || Some((u32::from(codes.next()?.min(255)) * 5 + 127) / 255);
            let (r, g, b) = (level()?, level()?, level()?);
            u8::try_from(16 + 36 * r + 6 * g + b).ok()
        }
        _ => None,
    }
}

/// One line under construction.
struct Line {
    cells: Vec<(char, Style)>,
    column: usize,
    style: Style,
}

impl Perform for Line {
    fn print(&mut self, letter: char) {
        let cell = (letter, self.style);
        match self.cells.get_mut(self.column) {
            Some(old) => *old = cell,
            None => self.cells.push(cell),
        }
        self.column += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.column = 0,
            b'\n' => {}
            8 => self.column = self.column.saturating_sub(1),
            b'\t' => {
                for _ in 0..8 - self.column % 8 {
                    self.print(' ');
                }
            }
            7 => {} // the bell
            _ => self.print(char::from(byte)),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, _: &[u8], _: bool, action: char) {
        match action {
            'm' => self.style.apply(params),
            'K' => match params.iter().flatten().next().copied().unwrap_or(0) {
                0 => self.cells.truncate(self.column),
                1 => self.cells.iter_mut().take(self.column).for_each(|cell| cell.0 = ' '),
                _ => {
                    self.cells.clear();
                    self.cells.resize(self.column, (' ', Style::default()));
                }
            },
            _ => {}
        }
    }
}

/// Turns lines into HTML one after the other, keeping the style from line to line.
pub(crate) struct Renderer {
    line: Line,
}

impl Renderer {
    /// Begins with this style.
    pub(crate) fn new(style: Style) -> Renderer {
        Renderer { line: Line { cells: Vec::new(), column: 0, style } }
    }

    /// The style after all lines so far.
    pub(crate) fn style(&self) -> Style {
        self.line.style
    }

    /// One line without its line feed, as HTML.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> String {
        self.line.cells.clear();
        self.line.column = 0;
        // A fresh parser for each line: a sequence that never ends must not swallow what follows.
        Parser::new().advance(&mut self.line, bytes);
        html(&self.line.cells)
    }
}

fn html(cells: &[(char, Style)]) -> String {
    let mut out = String::with_capacity(cells.len() + 16);
    for part in cells.chunk_by(|a, b| a.1 == b.1) {
        let classes = part[0].1.classes(" ");
        if !classes.is_empty() {
            let _ = write!(out, "<span class=\"{classes}\">");
        }
        part.iter().for_each(|(letter, _)| escape(*letter, &mut out));
        if !classes.is_empty() {
            out.push_str("</span>");
        }
    }
    out
}

fn escape(letter: char, out: &mut String) {
    match letter {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        letter if letter.is_control() || changes_direction(letter) => {
            let _ = write!(out, "<i class=\"ctl\">U+{:04X}</i>", letter as u32);
        }
        letter => out.push(letter),
    }
}

/// Characters that make text look like other text: overrides, isolates, marks, invisible joiners.
pub(super) fn changes_direction(letter: char) -> bool {
    matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The style sheet for palette indexes 16–255 (the first sixteen follow the page's theme).
pub(crate) fn palette_css() -> String {
    let mut css = String::new();
    for n in 16..=255_u8 {
        let (r, g, b) = if n < 232 {
            let level = |v: u8| if v == 0 { 0 } else { 55 + 40 * v };
            (level((n - 16) / 36), level((n - 16) / 6 % 6), level((n - 16) % 6))
        } else {
            let grey = 8 + 10 * (n - 232);
            (grey, grey, grey)
        };
        let _ =
            write!(css, ".f{n}{{color:#{r:02x}{g:02x}{b:02x}}}.g{n}{{background:#{r:02x}{g:02x}{b:02x}}}");
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, want: &str) {
        assert_eq!(Renderer::new(Style::default()).line(line.as_bytes()), want, "{line:?}");
    }

    #[test]
    fn colours_and_weights() {
        check("plain", "plain");
        check("\x1b[31mred\x1b[0m plain", "<span class=\"f1\">red</span> plain");
        check("\x1b[1;92mok", "<span class=\"f10 b\">ok</span>");
        check("\x1b[38;5;208mo\x1b[39mp", "<span class=\"f208\">o</span>p");
        check("\x1b[38;2;255;0;0mr", "<span class=\"f196\">r</span>");
        check("\x1b[4mu\x1b[24mn", "<span class=\"u\">u</span>n");
    }

    #[test]
    fn nothing_of_a_log_becomes_markup() {
        check("<script>alert(1)</script>&\"'", "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;");
        check("\x1b]8;;javascript:alert(1)\x07x\x1b]8;;\x07", "x");
        check("\x1b]0;title\x07a", "a");
        check("\x1b[2J\x1b[10;10Ha\x1b[5Ab", "ab");
    }

    #[test]
    fn control_and_direction_characters_are_shown() {
        check("a\u{202e}b", "a<i class=\"ctl\">U+202E</i>b");
        check("a\x01b", "a<i class=\"ctl\">U+0001</i>b");
    }

    #[test]
    fn progress_bars_show_their_last_state() {
        check("10%\r50%\r100%", "100%");
        check("downloading\r\x1b[Kdone", "done");
        check("abcdef\rXY", "XYcdef");
        check("text\r", "text");
    }

    #[test]
    fn the_style_goes_on_over_lines() {
        let mut renderer = Renderer::new(Style::default());
        renderer.line(b"\x1b[1;31mone");
        assert_eq!(renderer.line(b"two"), "<span class=\"f1 b\">two</span>");
        assert_eq!(Style::parse(&renderer.style().code()), renderer.style());
    }

    #[test]
    fn bytes_that_are_no_text_stay_visible() {
        assert_eq!(Renderer::new(Style::default()).line(b"a\xffb"), "a\u{fffd}b");
    }
}
