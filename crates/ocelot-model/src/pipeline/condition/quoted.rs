//! Text in quotes, the same in both languages.

use super::Wrong;
use crate::pipeline::problem::{Fault, Span};

/// The text that begins with the quote at `start`, and where it ends. A backslash takes the quote or another
/// backslash literally; before anything else it stays, so that regular expressions need no second one.
pub(super) fn read(text: &str, start: usize) -> Result<(String, usize), Wrong> {
    let mut chars = text[start..].char_indices();
    let quote = chars.next().map_or('"', |(_, quote)| quote);
    let mut value = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.clone().next() {
                Some((_, next)) if next == quote || next == '\\' => {
                    value.push(next);
                    chars.next();
                }
                _ => value.push(c),
            },
            _ if c == quote => return Ok((value, start + at + 1)),
            _ => value.push(c),
        }
    }
    let fault = Fault::new("condition", format!("the quote {quote} is not closed"));
    Err(Wrong::new(Span { start, end: text.len() }, fault.hint(format!("close it with {quote}"))))
}
