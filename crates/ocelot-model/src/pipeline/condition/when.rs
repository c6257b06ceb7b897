//! Reads `when`: a condition such as `branch == "main" and changed("src/**")`.
//!
//! From loose to tight: `or`, `and`, `not`, comparison. Types are checked as it is read: what is joined by
//! `and` must be conditions, and what is compared must be facts and texts.

use super::token::{self, Token};
use super::{Expr, Fact, MAX_DEPTH, NAMES, Operand, Parsed, Piece, PieceKind, Test, Wrong};
use crate::EventKind;
use crate::pipeline::env::check_env_name;
use crate::pipeline::problem::{Fault, Span, nearest, quote};

/// Reads a whole condition.
pub(in crate::pipeline) fn parse(text: &str) -> Result<Parsed, Wrong> {
    let mut reader = Reader { tokens: token::all(text)?, at: 0, depth: 0, pieces: Vec::new() };
    let whole = reader.any()?;
    let (token, span) = reader.next();
    match token {
        Token::End => {}
        Token::Close | Token::ListClose => return Err(wrong(span, "this closes nothing")),
        _ => return Err(wrong_hint(span, "the condition is over here", "join conditions by `and` or `or`")),
    }
    Ok(Parsed { expr: whole.into_condition()?, pieces: reader.pieces })
}

fn wrong(span: Span, message: impl Into<String>) -> Wrong {
    Wrong::new(span, Fault::new("condition", message))
}

fn wrong_hint(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong::new(span, Fault::new("condition", message).hint(hint))
}

fn wrong_type(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong::new(span, Fault::new("condition_type", message).hint(hint))
}

/// Something with a type, and where it stands.
struct Typed {
    span: Span,
    value: Value,
}

enum Value {
    Condition(Expr),
    Operand(Operand),
}

impl Typed {
    fn into_condition(self) -> Result<Expr, Wrong> {
        let (message, hint) = match self.value {
            Value::Condition(expr) => return Ok(expr),
            Value::Operand(Operand::Text(text)) => {
                (format!("the text {} is no condition", quote(&text)), "compare a name with it".to_owned())
            }
            Value::Operand(Operand::Fact(fact)) => {
                let name = fact.name();
                let value = if fact == Fact::Event { "push" } else { "" };
                let sign = if fact == Fact::Event { "==" } else { "!=" };
                (
                    format!("`{name}` is no condition"),
                    format!("compare it, as in `{name} {sign} \"{value}\"`"),
                )
            }
        };
        Err(wrong_type(self.span, message, hint))
    }

    fn into_operand(self) -> Result<Operand, Wrong> {
        match self.value {
            Value::Operand(operand) => Ok(operand),
            Value::Condition(_) => Err(wrong_type(
                self.span,
                "a condition cannot be compared",
                "let it stand alone, or put `not` before it",
            )),
        }
    }
}

struct Reader {
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
    pieces: Vec<Piece>,
}

impl Reader {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::default(), |(_, span)| *span)
    }

    fn next(&mut self) -> (Token, Span) {
        let found = (self.peek().clone(), self.span());
        self.at += 1;
        found
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<Typed, Wrong> {
        self.joined(&Token::Or, Reader::all, Expr::Any)
    }

    fn all(&mut self) -> Result<Typed, Wrong> {
        self.joined(&Token::And, Reader::not, Expr::All)
    }

    fn joined(
        &mut self,
        by: &Token,
        part: fn(&mut Reader) -> Result<Typed, Wrong>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Typed, Wrong> {
        let first = part(self)?;
        if self.peek() != by {
            return Ok(first);
        }
        let start = first.span.start;
        let mut parts = vec![first.into_condition()?];
        let mut end = start;
        while self.take(by) {
            let next = part(self)?;
            end = next.span.end;
            parts.push(next.into_condition()?);
        }
        Ok(Typed { span: Span { start, end }, value: Value::Condition(join(parts)) })
    }

    fn not(&mut self) -> Result<Typed, Wrong> {
        let start = self.span().start;
        if !self.take(&Token::Not) {
            return self.comparison();
        }
        let inner = self.deeper(Reader::not)?;
        let span = Span { start, end: inner.span.end };
        Ok(Typed { span, value: Value::Condition(Expr::Not(Box::new(inner.into_condition()?))) })
    }

    fn deeper(&mut self, read: fn(&mut Reader) -> Result<Typed, Wrong>) -> Result<Typed, Wrong> {
        if self.depth >= MAX_DEPTH {
            let fault = Fault::new("condition_limit", format!("a condition nests at most {MAX_DEPTH} deep"));
            return Err(Wrong::new(self.span(), fault));
        }
        self.depth += 1;
        let found = read(self);
        self.depth -= 1;
        found
    }

    fn comparison(&mut self) -> Result<Typed, Wrong> {
        let left = self.value()?;
        let start = left.span.start;
        let negated_in = *self.peek() == Token::Not
            && self.tokens.get(self.at + 1).is_some_and(|(token, _)| *token == Token::In);
        self.at += usize::from(negated_in);
        let expr = match self.peek() {
            Token::Is => self.equal(left)?,
            Token::IsNot => Expr::Not(Box::new(self.equal(left)?)),
            Token::In if negated_in => Expr::Not(Box::new(self.within(left)?)),
            Token::In => self.within(left)?,
            Token::Matches => self.matches(left)?,
            _ => return Ok(left),
        };
        let end = self.tokens.get(self.at.saturating_sub(1)).map_or(start, |(_, span)| span.end);
        Ok(Typed { span: Span { start, end }, value: Value::Condition(expr) })
    }

    fn equal(&mut self, left: Typed) -> Result<Expr, Wrong> {
        self.next();
        let right = self.value()?;
        let whole = Span { start: left.span.start, end: right.span.end };
        let places = (left.span, right.span);
        match (left.into_operand()?, right.into_operand()?) {
            (Operand::Text(_), Operand::Text(_)) => {
                Err(wrong_type(whole, "two texts are always the same or never", "compare a name with a text"))
            }
            (Operand::Fact(fact), other) => same(fact, vec![(other, places.1)]),
            (text, Operand::Fact(fact)) => same(fact, vec![(text, places.0)]),
        }
    }

    fn within(&mut self, left: Typed) -> Result<Expr, Wrong> {
        let (_, sign) = self.next();
        let fact = fact_of(left)?;
        if !self.take(&Token::ListOpen) {
            let hint = "write `branch in [\"main\", \"develop\"]`";
            return Err(wrong_hint(
                if *self.peek() == Token::End { sign } else { self.span() },
                "`in` needs a list",
                hint,
            ));
        }
        let values = self.list(&Token::ListClose, "]")?;
        let values = values.into_iter().map(|typed| {
            let span = typed.span;
            Ok((typed.into_operand()?, span))
        });
        same(fact, values.collect::<Result<_, Wrong>>()?)
    }

    fn matches(&mut self, left: Typed) -> Result<Expr, Wrong> {
        let (_, sign) = self.next();
        let fact = fact_of(left)?;
        if fact == Fact::Event {
            return Err(wrong_type(sign, "`event` is one of a few words", "compare it by `==` or `in`"));
        }
        let pattern = self.literal("a regular expression in quotes")?;
        self.pieces.push(Piece { span: pattern.0, kind: PieceKind::Search, text: pattern.1.clone() });
        Ok(Expr::Test(Test::Matches(fact, pattern.1)))
    }

    /// Values with commas between them, up to the sign that closes the list.
    fn list(&mut self, close: &Token, sign: &str) -> Result<Vec<Typed>, Wrong> {
        let mut values = Vec::new();
        loop {
            if self.take(close) {
                break;
            }
            values.push(self.value()?);
            if !self.take(&Token::Comma) && self.peek() != close {
                return Err(wrong(self.span(), format!("a `,` or `{sign}` is missing here")));
            }
        }
        if values.is_empty() {
            let span = self.tokens.get(self.at - 1).map_or(Span::default(), |(_, span)| *span);
            return Err(wrong(span, "nothing is in the list"));
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Typed, Wrong> {
        let (token, span) = self.next();
        let operand = |operand| Ok(Typed { span, value: Value::Operand(operand) });
        let condition = |expr| Ok(Typed { span, value: Value::Condition(expr) });
        match token {
            Token::Text(text) => operand(Operand::Text(text)),
            Token::Open => {
                let inner = self.deeper(Reader::any)?;
                if !self.take(&Token::Close) {
                    return Err(wrong(span, "this `(` is not closed"));
                }
                Ok(inner)
            }
            Token::Word(word) if word == "true" || word == "false" => {
                condition(Expr::Constant(word == "true"))
            }
            Token::Word(word) if *self.peek() == Token::Open => self.call(&word, span),
            Token::Word(word) => match Fact::find(&word) {
                Some(Fact::Env(name)) if check_env_name(&name).is_err() => Err(unset(&name, span)),
                Some(fact) => operand(Operand::Fact(fact)),
                None => Err(unknown(&word, span)),
            },
            Token::End => Err(wrong(span, "the condition ends too early: a name or a text is missing")),
            Token::ListOpen => {
                Err(wrong_hint(span, "a list stands only after `in`", "write `branch in [\"main\"]`"))
            }
            Token::And
            | Token::Or
            | Token::Not
            | Token::In
            | Token::Is
            | Token::IsNot
            | Token::Matches
            | Token::Close
            | Token::ListClose
            | Token::Comma => Err(wrong(span, "a name or a text is missing before this")),
        }
    }

    fn call(&mut self, name: &str, span: Span) -> Result<Typed, Wrong> {
        if !matches!(name, "changed" | "upstream") {
            let fault = Fault::new("condition_name", format!("there is no function {}", quote(name)));
            let hint = match nearest(name, ["changed", "upstream"].into_iter()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "there are `changed(\"src/**\")` and `upstream(\"alias\")`".to_owned(),
            };
            return Err(Wrong::new(span, fault.hint(hint)));
        }
        self.next();
        let mut texts = Vec::new();
        for typed in self.list(&Token::Close, ")")? {
            let Value::Operand(Operand::Text(text)) = typed.value else {
                let hint = format!("put it into quotes, as in `{name}(\"…\")`");
                return Err(wrong_type(typed.span, format!("`{name}` takes texts only"), hint));
            };
            if name == "changed" {
                self.pieces.push(Piece { span: typed.span, kind: PieceKind::Glob, text: text.clone() });
            }
            texts.push(text);
        }
        let end = self.tokens.get(self.at - 1).map_or(span.end, |(_, span)| span.end);
        let test = if name == "changed" { Test::Changed(texts) } else { Test::Upstream(texts) };
        Ok(Typed { span: Span { end, ..span }, value: Value::Condition(Expr::Test(test)) })
    }

    fn literal(&mut self, what: &str) -> Result<(Span, String), Wrong> {
        match self.next() {
            (Token::Text(text), span) => Ok((span, text)),
            (_, span) => Err(wrong(span, format!("{what} must stand here"))),
        }
    }
}

fn fact_of(typed: Typed) -> Result<Fact, Wrong> {
    let span = typed.span;
    match typed.into_operand()? {
        Operand::Fact(fact) => Ok(fact),
        Operand::Text(_) => {
            Err(wrong_type(span, "a name must stand here, not a text", "as in `branch =~ \"^v\"`"))
        }
    }
}

/// The fact is one of the values, each of its own type.
fn same(fact: Fact, values: Vec<(Operand, Span)>) -> Result<Expr, Wrong> {
    for (value, span) in &values {
        match value {
            Operand::Fact(other) if (fact == Fact::Event) != (*other == Fact::Event) => {
                let message = format!("`{}` and `{}` are never the same", fact.name(), other.name());
                return Err(wrong_type(*span, message, "`event` is one of a few words"));
            }
            Operand::Text(text) if fact == Fact::Event => event(text, *span)?,
            Operand::Text(_) | Operand::Fact(_) => {}
        }
    }
    Ok(Expr::Test(Test::Is(fact, values.into_iter().map(|(value, _)| value).collect())))
}

fn event(text: &str, span: Span) -> Result<(), Wrong> {
    let words = EventKind::ALL.map(EventKind::as_str);
    if words.contains(&text) {
        return Ok(());
    }
    let hint = match nearest(text, words.into_iter()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("one of {}", words.join(", ")),
    };
    Err(wrong_type(span, format!("{} is no event", quote(text)), hint))
}

fn unknown(word: &str, span: Span) -> Wrong {
    const ELSEWHERE: [(&str, &str); 6] = [
        ("author", "`author_id` is the number of the author's account; names prove nothing"),
        ("files", "changed files are asked for by `changed(\"src/**\")`"),
        ("changed", "write `changed(\"src/**\")`"),
        ("upstream", "write `upstream(\"alias\")`"),
        ("env", "write `env.NAME`"),
        ("commit", "the commit's message is `message`"),
    ];
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("{} is no text", quote(word));
        return wrong_type(span, message, format!("put it into quotes: \"{word}\""));
    }
    let told = ELSEWHERE.iter().find(|(name, _)| *name == word).map(|(_, hint)| (*hint).to_owned());
    let hint =
        told.or_else(|| nearest(word, NAMES.into_iter()).map(|meant| format!("did you mean `{meant}`?")));
    let fault = Fault::new("condition_name", format!("there is no name {}", quote(word)));
    let names = || format!("text stands in quotes; the names are {}", NAMES.join(", "));
    Wrong::new(span, fault.hint(hint.unwrap_or_else(names)))
}

fn unset(name: &str, span: Span) -> Wrong {
    let message = format!("{} is no variable that a file sets", quote(name));
    wrong_hint(
        span,
        message,
        "`env.NAME` is for variables of `env`; the branch is `branch`, the event `event`",
    )
}
