//! From a place in a text to the place in the file where it is written: quotes, escapes and line breaks of
//! YAML lie between the two.
//!
//! Walks both side by side. Where they do not fit together it gives up, and the whole value is pointed at.

use super::problem::Span;

/// The part `inner` of the decoded `text`, which stands at `outer` in `file`.
pub(super) fn within(file: &str, outer: Span, text: &str, inner: Span) -> Span {
    if inner == (Span { start: 0, end: text.len() }) {
        return outer;
    }
    let Some(source) = file.get(outer.start..outer.end) else { return outer };
    let place = |at: usize| Some(outer.start + locate(source, text, at)?);
    match (place(inner.start), place(inner.end)) {
        (Some(start), Some(end)) if start <= end => Span { start, end },
        _ => outer,
    }
}

/// Where byte `at` of `text` stands in `source`, the same value as YAML writes it.
fn locate(source: &str, text: &str, at: usize) -> Option<usize> {
    let quote = source.chars().next()?;
    let mut from = match quote {
        '"' | '\'' => 1,
        '|' | '>' => source.find('\n')? + 1,
        _ => 0,
    };
    if matches!(quote, '|' | '>') {
        from += blanks(&source[from..]);
    }
    for (done, c) in text.char_indices() {
        if done >= at {
            return Some(from);
        }
        from += written(source.get(from..)?, c, quote)?;
    }
    Some(from)
}

/// Length of what stands for `c` at the beginning of `source`.
fn written(source: &str, c: char, quote: char) -> Option<usize> {
    let next = source.chars().next()?;
    match (quote, next) {
        ('\'', '\'') => source.starts_with("''").then_some(2),
        ('"', '\\') => escape(source),
        // A line break, or one that stands for a blank: with the indentation of the next line.
        _ if c.is_whitespace() && source.trim_start_matches([' ', '\t', '\r']).starts_with('\n') => {
            Some(blanks(source))
        }
        (_, next) => (next == c).then_some(next.len_utf8()),
    }
}

fn blanks(source: &str) -> usize {
    source.len() - source.trim_start().len()
}

/// Length of an escape in double quotes.
fn escape(source: &str) -> Option<usize> {
    let len = match source.as_bytes().get(1)? {
        b'x' => 4,
        b'u' => 6,
        b'U' => 10,
        // A line that goes on in the next one: it stands for nothing.
        b'\n' | b'\r' => return None,
        _ => 1 + source[1..].chars().next()?.len_utf8(),
    };
    source.is_char_boundary(len).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_file() {
        // `[` and `]` mark what must be found.
        let check = |marked: &str, text: &str, part: &str| {
            let source = marked.replace(['[', ']'], "");
            let (start, end) = (marked.find('[').unwrap_or(0), marked.find(']').map_or(0, |at| at - 1));
            let at = text.find(part).unwrap_or_default();
            let outer = Span { start: 0, end: source.len() };
            let found = within(&source, outer, text, Span { start: at, end: at + part.len() });
            assert_eq!(found, Span { start, end }, "{marked}");
        };
        check("branch == [main]", "branch == main", "main");
        check("'it''s [here]'", "it's here", "here");
        check("\"say \\\"[x]\\\"\"", "say \"x\"", "x");
        check("\"\\u00e4 [x]\"", "ä x", "x");
        check("|\n  one\n  [two]\n", "one\ntwo\n", "two");
        check(">-\n  one\n  [two]\n", "one two", "two");
        check("one\n    [two] three", "one two three", "two");
        check("'one\n\n    [two]'", "one\ntwo", "two");
        check("\"ä [b]\"", "ä b", "b");
    }

    #[test]
    fn what_does_not_fit_is_pointed_at_as_a_whole() {
        let outer = Span { start: 0, end: 5 };
        for source in ["", "abcde", "'", "\"\\", "|", ">"] {
            assert_eq!(within(source, outer, "something else", Span { start: 4, end: 6 }), outer, "{source}");
        }
    }
}
