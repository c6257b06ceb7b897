//! Reads a line of `triggers`, as the original had it: `\branch main||develop and \text release`.
//!
//! What was good there means the same here. New are precedence (`and` before `or`), parentheses and `not`
//! around directives, and quotes around values. Where the original dropped a part of a line in silence, such
//! as a directive without a word before it, this says so.

use super::{Expr, MAX_DEPTH, Parsed, Piece, PieceKind, Test, Wrong, quoted};
use crate::pipeline::problem::{Fault, Span, nearest, quote};

const KINDS: [(&str, Kind); 4] = [
    (r"\branch", Kind::Branch),
    (r"\text", Kind::Text),
    (r"\filepath", Kind::Path),
    (r"\upstream", Kind::Upstream),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Branch,
    Text,
    Path,
    Upstream,
}

/// What stands between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Or,
    And,
}

/// Reads a whole line.
pub(in crate::pipeline) fn parse(text: &str) -> Result<Parsed, Wrong> {
    let mut reader = Reader { text, at: 0, depth: 0, open: 0, pieces: Vec::new() };
    let expr = reader.any()?;
    reader.blanks();
    let rest = Span { start: reader.at, end: text.len() };
    if rest.start < rest.end {
        return Err(wrong(rest, "nothing may follow here", "join directives by `and` or `or`"));
    }
    Ok(Parsed { expr, pieces: reader.pieces })
}

fn wrong(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong::new(span, Fault::new("directive", message).hint(hint))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    /// How many parentheses are open around here.
    open: usize,
    pieces: Vec<Piece>,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The text up to the next blank; inside of parentheses, up to one that closes too.
    fn word(&self) -> &'t str {
        let closes = |c: char| self.open > 0 && c == ')';
        let rest = self.rest();
        &rest[..rest.find(|c: char| c.is_whitespace() || closes(c)).unwrap_or(rest.len())]
    }

    fn word_span(&self) -> Span {
        Span { start: self.at, end: self.at + self.word().len() }
    }

    /// True when this word stands here, and a blank or one of `may_follow` after it. Looks no further than
    /// the word is long: lines may be long.
    fn is_word(&self, word: &str, may_follow: &[char]) -> bool {
        let rest = self.rest();
        let next = || rest[word.len()..].chars().next();
        let same = rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        let closes = |c: char| self.open > 0 && c == ')';
        same && next().is_none_or(|c| c.is_whitespace() || closes(c) || may_follow.contains(&c))
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.is_word(word, &['(']);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn any(&mut self) -> Result<Expr, Wrong> {
        self.joined("or", Reader::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Expr, Wrong> {
        self.joined("and", Reader::not, Expr::All)
    }

    fn joined(
        &mut self,
        by: &str,
        part: fn(&mut Self) -> Result<Expr, Wrong>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Wrong> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.take_word(by) {
            parts.push(part(self)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { join(parts) })
    }

    fn not(&mut self) -> Result<Expr, Wrong> {
        if self.take_word("not") {
            return Ok(Expr::Not(Box::new(self.deeper(Reader::not)?)));
        }
        let place = Span { start: self.at, end: self.at + 1 };
        if !self.rest().starts_with('(') {
            return self.directive();
        }
        self.at += 1;
        self.open += 1;
        let inner = self.deeper(Reader::any)?;
        self.open -= 1;
        self.blanks();
        if !self.rest().starts_with(')') {
            return Err(wrong(place, "this `(` is not closed", "close it with `)`"));
        }
        self.at += 1;
        Ok(inner)
    }

    fn deeper(&mut self, read: fn(&mut Self) -> Result<Expr, Wrong>) -> Result<Expr, Wrong> {
        if self.depth >= MAX_DEPTH {
            let fault = Fault::new("condition_limit", format!("a line nests at most {MAX_DEPTH} deep"));
            return Err(Wrong::new(Span { start: self.at, end: self.at }, fault));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn directive(&mut self) -> Result<Expr, Wrong> {
        let (word, span) = (self.word(), self.word_span());
        let Some((_, kind)) = find(word) else { return Err(no_directive(word, span)) };
        self.at = span.end;
        let (values, sign) = self.values(word, span)?;
        let each = |test: fn(String) -> Test| {
            let tests = values.iter().map(|(_, value)| Expr::Test(test(value.clone()))).collect();
            if sign == Sign::And { Expr::All(tests) } else { Expr::Any(tests) }
        };
        let texts = || values.iter().map(|(_, value)| value.clone()).collect();
        Ok(match kind {
            Kind::Text => each(Test::Message),
            Kind::Path => each(Test::Path),
            // A build has one branch: here both signs mean "or", as they always did.
            Kind::Branch => {
                let piece = |(span, text): &(Span, String)| Piece {
                    span: *span,
                    kind: PieceKind::Branch,
                    text: text.clone(),
                };
                self.pieces.extend(values.iter().map(piece));
                Expr::Test(Test::Branch(texts()))
            }
            Kind::Upstream => Expr::Test(Test::Upstream(texts())),
        })
    }

    /// The values of a directive, and what stands between them. Blanks alone join values like the sign of
    /// the others, `||` when there is none.
    fn values(&mut self, kind: &str, place: Span) -> Result<(Vec<(Span, String)>, Sign), Wrong> {
        let mut values: Vec<(Span, String)> = Vec::new();
        let mut sign: Option<Sign> = None;
        // Where a sign stands after which no value has come yet.
        let mut open: Option<Span> = None;
        loop {
            self.blanks();
            let span = Span { start: self.at, end: self.at + 2 };
            let next = sign_at(self.rest());
            match next {
                Some(_) if values.is_empty() || open.is_some() => {
                    return Err(wrong(
                        span,
                        "a value is missing before this",
                        "put text with signs into quotes",
                    ));
                }
                Some(next) if sign.is_some_and(|sign| sign != next) => {
                    let hint = format!("write two directives, as in `{kind} a||b and {kind} c`");
                    return Err(wrong(span, "`||` and `&&` cannot be mixed in one directive", hint));
                }
                Some(_) => {
                    (sign, open) = (next, Some(span));
                    self.at = span.end;
                }
                None if self.ends() => break,
                None => {
                    values.push(self.value()?);
                    open = None;
                }
            }
        }
        if let Some(span) = open {
            return Err(wrong(span, "a value is missing after this", "put text with signs into quotes"));
        }
        if values.is_empty() {
            let hint = format!("as in `{kind} value`");
            return Err(wrong(place, format!("{} needs a value", quote(kind)), hint));
        }
        Ok((values, sign.unwrap_or(Sign::Or)))
    }

    /// True where no further value of this directive stands; `and(` is a value.
    fn ends(&self) -> bool {
        let rest = self.rest();
        let closed = self.open > 0 && rest.starts_with(')');
        rest.is_empty() || closed || self.is_word("and", &[]) || self.is_word("or", &[])
    }

    fn value(&mut self) -> Result<(Span, String), Wrong> {
        let start = self.at;
        if self.rest().starts_with(['"', '\'']) {
            let (value, end) = quoted::read(self.text, start)?;
            self.at = end;
            let rest = self.rest();
            let closed = self.open > 0 && rest.starts_with(')');
            if !(rest.is_empty()
                || closed
                || rest.starts_with(char::is_whitespace)
                || sign_at(rest).is_some())
            {
                return Err(wrong(
                    self.word_span(),
                    "text goes on after its quote",
                    "put all of it into quotes",
                ));
            }
            return Ok((Span { start, end }, value));
        }
        let len = self.bare();
        let (span, value) = (Span { start, end: start + len }, &self.rest()[..len]);
        if find(value).is_some() {
            return Err(wrong(
                span,
                "two directives need `and` or `or` between them",
                format!("write `and {value}`"),
            ));
        }
        if let Some(meant) = misspelt(value) {
            let message = format!("{} is no directive", quote(value));
            return Err(wrong(span, message, format!("did you mean `and {meant}`? Put a value into quotes")));
        }
        self.at = span.end;
        Ok((span, value.to_owned()))
    }

    /// Length of the value without quotes that begins here. A parenthesis of its own, as in `(a|b)`, is part of it.
    fn bare(&self) -> usize {
        let rest = self.rest();
        let (mut own, mut escaped) = (0usize, false);
        for (at, c) in rest.char_indices() {
            if c.is_whitespace() || (at > 0 && sign_at(&rest[at..]).is_some()) {
                return at;
            }
            match c {
                '(' if !escaped => own += 1,
                ')' if !escaped && own == 0 && self.open > 0 => return at,
                ')' if !escaped => own = own.saturating_sub(1),
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        rest.len()
    }
}

fn no_directive(word: &str, span: Span) -> Wrong {
    let known = KINDS.map(|(name, _)| name);
    let names = known.join(", ");
    if word.is_empty() {
        return wrong(span, "a directive is missing here", format!("write one of {names}"));
    }
    let hint = match nearest(word, known.into_iter()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("begin with one of {names}; text with `and` or `or` in it stands in quotes"),
    };
    wrong(span, format!("a directive must stand here, {} is none", quote(word)), hint)
}

fn find(word: &str) -> Option<(&'static str, Kind)> {
    KINDS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word))
}

fn sign_at(rest: &str) -> Option<Sign> {
    match rest.as_bytes() {
        [b'|', b'|', ..] => Some(Sign::Or),
        [b'&', b'&', ..] => Some(Sign::And),
        _ => None,
    }
}

/// The directive that a value was probably meant to be: `\filpath`, but not `\d+`.
fn misspelt(value: &str) -> Option<&'static str> {
    let letters = value.strip_prefix('\\')?;
    let word = letters.len() > 3 && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
    nearest(value, KINDS.iter().map(|(name, _)| *name)).filter(|_| word)
}
