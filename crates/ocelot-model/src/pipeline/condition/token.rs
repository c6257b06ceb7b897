//! The words and signs of `when`.

use super::{Wrong, quoted};
use crate::pipeline::problem::{Fault, Span, quote};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, or something that looks like one.
    Word(String),
    Text(String),
    And,
    Or,
    Not,
    In,
    Is,
    IsNot,
    Matches,
    Open,
    Close,
    ListOpen,
    ListClose,
    Comma,
    End,
}

/// All of `text`, each with its place; [`Token::End`] is the last.
pub(super) fn all(text: &str) -> Result<Vec<(Token, Span)>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let (token, end) = one(text, at, c)?;
        tokens.push((token, Span { start: at, end }));
        at = end;
    }
    tokens.push((Token::End, Span { start: text.len(), end: text.len() }));
    Ok(tokens)
}

fn one(text: &str, at: usize, first: char) -> Result<(Token, usize), Wrong> {
    const SIGNS: [(&str, Token); 11] = [
        ("&&", Token::And),
        ("||", Token::Or),
        ("==", Token::Is),
        ("!=", Token::IsNot),
        ("=~", Token::Matches),
        ("!", Token::Not),
        ("(", Token::Open),
        (")", Token::Close),
        ("[", Token::ListOpen),
        ("]", Token::ListClose),
        (",", Token::Comma),
    ];
    let rest = &text[at..];
    if let Some((sign, token)) = SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
        return Ok((token, at + sign.len()));
    }
    if matches!(first, '"' | '\'') {
        return quoted::read(text, at).map(|(value, end)| (Token::Text(value), end));
    }
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let len = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
    if len == 0 {
        return Err(unknown(at, first));
    }
    let token = match &rest[..len] {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "in" => Token::In,
        word => Token::Word(word.to_owned()),
    };
    Ok((token, at + len))
}

fn unknown(at: usize, c: char) -> Wrong {
    let hint = match c {
        '=' => "compare with `==`",
        '&' => "write `&&` or `and`",
        '|' => "write `||` or `or`",
        '$' | '{' | '}' => "names stand as they are, as in `branch == \"main\"`",
        _ => "put text into quotes, as in `branch == \"feature/x\"`",
    };
    let fault = Fault::new("condition", format!("{} means nothing here", quote(&c.to_string())));
    Wrong::new(Span { start: at, end: at + c.len_utf8() }, fault.hint(hint))
}
