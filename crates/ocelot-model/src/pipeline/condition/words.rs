//! The facts in words, for the reason why a stage runs or not.

use crate::pipeline::problem::printable;

/// Longest reason, in characters.
const LONGEST: usize = 300;
/// Longest piece of a fact in it.
const PIECE: usize = 60;

/// A piece of somebody's text: short and harmless.
pub(super) fn shown(text: &str) -> String {
    let mut short: String =
        text.chars().take(PIECE).map(|c| if printable(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(PIECE).is_some() {
        short.push('…');
    }
    short
}

/// Several of them, the first few only.
pub(super) fn some<'t>(texts: impl ExactSizeIterator<Item = &'t str>) -> String {
    const SOME: usize = 5;
    let more = texts.len().saturating_sub(SOME);
    let first: Vec<String> = texts.take(SOME).map(shown).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A reason that is not too long.
pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
