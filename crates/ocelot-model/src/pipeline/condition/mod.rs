//! When a stage runs: its `when` and `triggers`, from text to a decision.
//!
//! Two languages with one meaning: [`when`] and [`directive`] each read a text into an [`Expr`], and
//! [`judge`] decides it over the [`Facts`] of a build. Nothing here finds a fact out: who makes the build
//! gives them.

pub(super) mod directive;
mod facts;
mod judge;
mod quoted;
mod token;
pub(super) mod when;
mod words;

pub use facts::{Facts, Files};
pub use judge::{Judge, Verdict, decide};

use super::problem::{Fault, Span};

/// The conditions of one stage: one of `triggers` must hold where there are any, and so must `when`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    pub(super) triggers: Vec<Expr>,
    pub(super) when: Option<Expr>,
}

impl Condition {
    /// True when the changed files decide about the stage.
    pub fn asks_for_files(&self) -> bool {
        let tests = self.triggers.iter().chain(&self.when).flat_map(Expr::tests);
        tests.into_iter().any(|test| matches!(test, Test::Changed(_) | Test::Path(_)))
    }
}

/// What must hold. Its depth is bounded by the readers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Constant(bool),
    Test(Test),
}

impl Expr {
    /// Every test in it.
    pub(super) fn tests(&self) -> Vec<&Test> {
        match self {
            Expr::All(parts) | Expr::Any(parts) => parts.iter().flat_map(Expr::tests).collect(),
            Expr::Not(inner) => inner.tests(),
            Expr::Constant(_) => Vec::new(),
            Expr::Test(test) => vec![test],
        }
    }
}

/// One question about the facts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// The fact is one of these.
    Is(Fact, Vec<Operand>),
    /// The regular expression matches somewhere in the fact.
    Matches(Fact, String),
    /// One of these patterns matches the whole branch, as in `branches`.
    Branch(Vec<String>),
    /// A changed path matches one of these globs.
    Changed(Vec<String>),
    /// A changed path holds this text.
    Path(String),
    /// A message holds this text.
    Message(String),
    /// The build follows a build of one of these subscriptions.
    Upstream(Vec<String>),
}

impl Test {
    /// What it costs, in values to look at.
    pub(super) fn cost(&self) -> usize {
        match self {
            Test::Is(_, values) => values.len(),
            Test::Branch(texts) | Test::Changed(texts) | Test::Upstream(texts) => texts.len(),
            Test::Matches(..) | Test::Path(_) | Test::Message(_) => 1,
        }
    }
}

/// What a fact is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operand {
    Text(String),
    Fact(Fact),
}

/// A fact that has a name in `when`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    Branch,
    Tag,
    Event,
    AuthorId,
    Message,
    /// A variable that the file sets.
    Env(String),
}

/// The names of facts, and those of functions.
const NAMES: [&str; 8] = ["branch", "tag", "event", "author_id", "message", "env", "changed", "upstream"];

impl Fact {
    fn find(name: &str) -> Option<Fact> {
        match name {
            "branch" => Some(Fact::Branch),
            "tag" => Some(Fact::Tag),
            "event" => Some(Fact::Event),
            "author_id" => Some(Fact::AuthorId),
            "message" => Some(Fact::Message),
            _ => name.strip_prefix("env.").map(|name| Fact::Env(name.to_owned())),
        }
    }

    fn name(&self) -> String {
        match self {
            Fact::Branch => "branch".to_owned(),
            Fact::Tag => "tag".to_owned(),
            Fact::Event => "event".to_owned(),
            Fact::AuthorId => "author_id".to_owned(),
            Fact::Message => "message".to_owned(),
            Fact::Env(name) => format!("env.{name}"),
        }
    }
}

/// Deepest nesting of one condition.
const MAX_DEPTH: usize = 32;

/// A condition that was read, and what of it is still to be checked.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) expr: Expr,
    pub(super) pieces: Vec<Piece>,
}

/// A text with a language of its own; to check it costs more than to read it, so each is checked once a file.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where it stands in the condition.
    pub(super) span: Span,
    pub(super) kind: PieceKind,
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PieceKind {
    /// A pattern for whole branches.
    Branch,
    /// A regular expression to search with.
    Search,
    Glob,
}

/// What is wrong, and where in the condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) span: Span,
    pub(super) fault: Fault,
}

impl Wrong {
    fn new(span: Span, fault: Fault) -> Wrong {
        Wrong { span, fault }
    }
}
