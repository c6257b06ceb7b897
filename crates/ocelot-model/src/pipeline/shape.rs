//! Checks a tree against the tables of keys, one value at a time.
//!
//! After this pass every value either has the shape that its key promises or has been reported, so
//! that the readers that follow may pass over what does not fit in silence. What depends on two
//! values at once is not checked here.

use std::collections::HashSet;

use super::condition::{Parsed, PieceKind, Test, Wrong, directive, when};
use super::problem::{Fault, Report, Span, nearest, quote};
use super::text::Kind;
use super::tree::{Node, Value};
use super::{env, glob, keys, matrix, text, trigger};

/// What a value must look like.
#[derive(Debug)]
pub(super) enum Shape {
    Text(Kind),
    Bool,
    Integer {
        min: i64,
        max: i64,
    },
    Choice(&'static [&'static str]),
    /// A map with known keys.
    Table(&'static Table),
    List {
        of: &'static Shape,
        max: usize,
    },
    /// A map whose names the user chooses.
    Map {
        names: Kind,
        of: &'static Shape,
        max: usize,
        limit: &'static str,
    },
    Matrix,
    /// The first of these that a value of its YAML type could be.
    Either(&'static [Shape]),
}

/// A map with known keys.
#[derive(Debug)]
pub(super) struct Table {
    /// Its name in the schema.
    pub(super) name: &'static str,
    /// With its article, for messages.
    pub(super) what: &'static str,
    pub(super) groups: &'static [&'static [Key]],
}

impl Table {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// One key that a [`Table`] knows.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) shape: Shape,
    pub(super) support: Support,
}

/// Whether a key does something today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Support {
    Now,
    Required,
    /// Checked and then refused, under the name that stands in [`keys::NOT_SUPPORTED_YET`].
    NotYet(&'static str),
}

/// Most different patterns in one file, of branches and others: each is compiled, which costs time.
const MAX_PATTERNS: usize = 100;
/// Most values that the conditions of one file look at, those of aliases counted again.
const MAX_COST: usize = 5_000;

/// Reports everything in `root` that has not the shape of `table`.
pub(super) fn check(root: &Node, table: &'static Table, report: &mut Report<'_>) {
    let mut checker = Checker { report, patterns: HashSet::new(), cost: 0 };
    checker.table(root, table);
}

struct Checker<'r, 't> {
    report: &'r mut Report<'t>,
    patterns: HashSet<(PieceKind, String)>,
    /// What all conditions so far cost.
    cost: usize,
}

impl Checker<'_, '_> {
    fn node(&mut self, node: &Node, shape: &'static Shape) {
        match (&node.value, shape) {
            (Value::Broken, _) => {}
            (Value::Null, _) => {
                let fault = Fault::new("null_value", "a value is missing here");
                self.report.add(node.span, fault.hint("leave the key out, or write `\"\"` for empty text"));
            }
            (_, Shape::Either(shapes)) => match shapes.iter().find(|shape| fits(node, shape)) {
                Some(shape) => self.node(node, shape),
                None => self.wrong_type(node, shape),
            },
            _ if !fits(node, shape) => self.wrong_type(node, shape),
            (Value::Text { text, plain }, shape) => self.scalar(node.span, text, *plain, shape),
            (Value::List(items), Shape::List { of, max }) => {
                self.limit(node, items.len(), *max, "range");
                for item in items {
                    self.node(item, of);
                }
            }
            (Value::Map(_), Shape::Table(table)) => self.table(node, table),
            (Value::Map(_), Shape::Map { names, of, max, limit }) => {
                self.limit(node, node.entries().len(), *max, limit);
                for entry in node.entries() {
                    self.fault(entry.key_span, names.check(&entry.key));
                    self.node(&entry.value, of);
                }
            }
            (Value::Map(_), Shape::Matrix) => matrix::check(node, self.report),
            (Value::List(_) | Value::Map(_), _) => self.wrong_type(node, shape),
        }
    }

    fn table(&mut self, node: &Node, table: &'static Table) {
        for entry in node.entries() {
            let Some(key) = table.find(&entry.key) else {
                self.unknown(&entry.key, entry.key_span, table);
                continue;
            };
            self.node(&entry.value, &key.shape);
            if let Support::NotYet(name) = key.support
                && !asks_for_nothing(&entry.value, &key.shape)
            {
                let fault = Fault::new("not_supported", format!("`{name}` is not supported yet"));
                self.report.add(entry.key_span, fault);
            }
        }
        for key in table.keys().filter(|key| key.support == Support::Required) {
            if node.find(key.name).is_none() {
                let fault = Fault::new("missing_key", format!("{} needs `{}`", table.what, key.name));
                self.report.add(node.head(), fault);
            }
        }
    }

    fn unknown(&mut self, key: &str, span: Span, table: &'static Table) {
        if self.report.is_full() {
            return;
        }
        if keys::NOT_ALLOWED.contains(&key) {
            let message = format!("{} is not allowed: a job cannot reach out of its container", quote(key));
            return self.report.add(span, Fault::new("not_allowed", message));
        }
        let fault = Fault::new("unknown_key", format!("{} is no key of {}", quote(key), table.what));
        let meant = keys::elsewhere(key)
            .filter(|meant| table.find(meant).is_some())
            .or_else(|| nearest(key, table.keys().map(|key| key.name)));
        let fault = match (meant, keys::owner(key)) {
            (Some(meant), _) => fault.hint(format!("did you mean `{meant}`?")),
            (None, Some(owner)) => fault.hint(format!("it is a key of {owner}")),
            (None, None) => fault,
        };
        self.report.add(span, fault);
    }

    fn scalar(&mut self, span: Span, text: &str, plain: bool, shape: &'static Shape) {
        match shape {
            Shape::Text(kind) => {
                let result = kind.check(text);
                let good = result.is_ok();
                self.fault(span, result);
                match kind {
                    Kind::Branches if good => {
                        let whole = Span { start: 0, end: text.len() };
                        self.pattern(span, text, whole, PieceKind::Branch, text);
                    }
                    Kind::Directive if good => self.condition(span, text, directive::parse),
                    Kind::When if good => self.condition(span, text, when::parse),
                    _ => {}
                }
            }
            Shape::Bool => self.fault(span, boolean(text, plain).map(|_| ())),
            Shape::Integer { min, max } => self.fault(span, integer(text, plain, *min, *max).map(|_| ())),
            Shape::Choice(allowed) => {
                if !allowed.iter().any(|word| word == &text) {
                    let message = format!("{} is not one of {}", quote(text), allowed.join(", "));
                    let fault = Fault::new("choice", message);
                    let fault = match nearest(text, allowed.iter().copied()) {
                        Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
                        None => fault,
                    };
                    self.report.add(span, fault);
                }
            }
            // `fits` lets no scalar come here for the others.
            Shape::Table(_) | Shape::List { .. } | Shape::Map { .. } | Shape::Matrix | Shape::Either(_) => {}
        }
    }

    fn condition(&mut self, span: Span, text: &str, parse: fn(&str) -> Result<Parsed, Wrong>) {
        if self.cost > MAX_COST {
            return;
        }
        let parsed = match parse(text) {
            Ok(parsed) => parsed,
            Err(Wrong { span: part, fault }) => return self.report.add_within(span, text, part, fault),
        };
        self.cost += parsed.expr.tests().into_iter().map(Test::cost).sum::<usize>();
        if self.cost > MAX_COST {
            let message = format!("the conditions of a file look at {MAX_COST} values at most");
            return self.report.add(span, Fault::new("condition_limit", message));
        }
        for piece in parsed.pieces {
            self.pattern(span, text, piece.span, piece.kind, &piece.text);
        }
    }

    /// A pattern seen before was reported before.
    fn pattern(&mut self, span: Span, text: &str, part: Span, kind: PieceKind, pattern: &str) {
        if !self.patterns.insert((kind, pattern.to_owned())) {
            return;
        }
        let result = if self.patterns.len() > MAX_PATTERNS {
            let message = format!("a file has at most {MAX_PATTERNS} different patterns");
            Err(Fault::new("regex_limit", message))
        } else {
            match kind {
                PieceKind::Branch => trigger::check(pattern),
                PieceKind::Search => trigger::check_searcher(pattern),
                PieceKind::Glob => glob::check_changed(pattern),
            }
        };
        if let Err(fault) = result {
            self.report.add_within(span, text, part, fault);
        }
    }

    fn limit(&mut self, node: &Node, len: usize, max: usize, code: &'static str) {
        if len > max {
            let message = format!("{len} entries are too many, at most {max} are allowed");
            self.report.add(node.head(), Fault::new(code, message));
        }
    }

    fn fault(&mut self, span: Span, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.report.add(span, fault);
        }
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape) {
        let found = match &node.value {
            Value::Text { .. } => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
            Value::Null | Value::Broken => "nothing",
        };
        let message = format!("this must be {}, not {found}", describe(shape));
        let fault = Fault::new("type", message);
        // The usual slips: `- echo a: b` and `- main: main` are maps in YAML.
        let fault = match (&node.value, shape) {
            (Value::Map(_), Shape::Text(Kind::BranchPair)) => {
                fault.hint("write `there:here` without a blank, or all of them as one map")
            }
            (Value::Map(_), Shape::Text(_)) => fault.hint("put text with `: ` in it into quotes"),
            _ => fault,
        };
        self.report.add(node.head(), fault);
    }
}

/// Whether a value of this YAML type could have this shape.
fn fits(node: &Node, shape: &Shape) -> bool {
    match shape {
        Shape::Text(_) | Shape::Choice(_) | Shape::Bool | Shape::Integer { .. } => {
            matches!(node.value, Value::Text { .. })
        }
        Shape::List { .. } => matches!(node.value, Value::List(_)),
        Shape::Table(_) | Shape::Map { .. } | Shape::Matrix => matches!(node.value, Value::Map(_)),
        Shape::Either(shapes) => shapes.iter().any(|shape| fits(node, shape)),
    }
}

fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Text(_) | Shape::Choice(_) => "text".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::List { .. } => "a list".to_owned(),
        Shape::Table(_) | Shape::Map { .. } | Shape::Matrix => "a map".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(describe).collect::<Vec<_>>().join(" or "),
    }
}

/// A value such as `false` or `[]` is harmless even where its key does nothing yet.
fn asks_for_nothing(node: &Node, shape: &Shape) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Text { text, plain } => match shape {
            Shape::Bool => *plain && boolean(text, true) == Ok(false),
            // The first choice is what happens anyway.
            Shape::Choice(words) => words.first() == Some(&text.as_str()),
            Shape::Text(_)
            | Shape::Integer { .. }
            | Shape::Table(_)
            | Shape::List { .. }
            | Shape::Map { .. }
            | Shape::Matrix
            | Shape::Either(_) => false,
        },
        Value::Null | Value::Broken => true,
    }
}

pub(super) fn boolean(text: &str, plain: bool) -> Result<bool, Fault> {
    match text {
        "true" | "True" | "TRUE" if plain => Ok(true),
        "false" | "False" | "FALSE" if plain => Ok(false),
        _ => {
            let message = format!("this must be true or false, not {}", quote(text));
            Err(Fault::new("type", message).hint("write `true` or `false`, without quotes"))
        }
    }
}

pub(super) fn integer(text: &str, plain: bool, min: i64, max: i64) -> Result<i64, Fault> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !plain || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new("type", format!("this must be a whole number, not {}", quote(text))));
    }
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(Fault::new("range", format!("{} is not between {min} and {max}", quote(text)))),
    }
}

/// The variables of an `env` in their order, and where each name stands. What is wrong was reported.
pub(super) fn variables(node: &Node) -> Vec<(String, String, Span)> {
    let listed = node.items().iter().filter_map(|item| {
        let (name, value) = text::assignment(item.text()?).ok()?;
        Some((name.to_owned(), value.to_owned(), item.span))
    });
    let mapped = node
        .entries()
        .iter()
        .filter_map(|entry| Some((entry.key.clone(), entry.value.text()?.to_owned(), entry.key_span)));
    listed.chain(mapped).filter(|(name, ..)| env::check_env_name(name).is_ok()).collect()
}
