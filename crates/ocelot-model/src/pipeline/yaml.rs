//! YAML text to a small tree that knows where each node stood.
//!
//! Values stay text: what `3.10` or `on` means is for the reader of a key to say. Everything is
//! bounded before it is built: bytes, depth, nodes, and what aliases would unfold to. This module
//! knows nothing of the keys of `ocelot.yml`.

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError};

use super::problem::{Fault, Report, Span, quote};
use super::tree::{Entry, Node, Value, measure};

/// Largest file, in bytes.
pub(super) const MAX_BYTES: usize = 256 * 1024;
/// Deepest nesting of lists and maps.
pub(super) const MAX_DEPTH: usize = 32;
/// Most nodes, those that aliases and anchors copy included.
pub(super) const MAX_NODES: usize = 50_000;
/// Most bytes of text, those that aliases and anchors copy included.
pub(super) const MAX_TEXT: usize = 1024 * 1024;
/// Longest key of a map, in bytes.
pub(super) const MAX_KEY: usize = 256;

/// The file as text, without a byte order mark, or the one problem that forbids to read it.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, (&str, Span, Fault)> {
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, at most {MAX_BYTES} are read", bytes.len());
        return Err(("", Span::default(), Fault::new("too_large", message)));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            // Up to here it is text: enough to find line and column.
            let before = str::from_utf8(&bytes[..at]).unwrap_or_default();
            let message = format!("byte {at} (0x{:02x}) is not UTF-8", bytes[at]);
            let utf16 = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
            let hint =
                if utf16 { "this is UTF-16: save the file as UTF-8" } else { "save the file as UTF-8" };
            let fault = Fault::new("not_utf8", message).hint(hint);
            return Err((before, Span { start: at, end: at }, fault));
        }
    };
    match text.char_indices().find(|(at, c)| forbidden(*c) && !text[*at..].starts_with("\r\n")) {
        None => Ok(text),
        Some((at, c)) => {
            let span = Span { start: at, end: at + c.len_utf8() };
            Err((text, span, control_fault(c)))
        }
    }
}

/// The only document of `text`, `None` when there is none.
pub(super) fn load(text: &str, report: &mut Report<'_>) -> Result<Option<Node>, Stop> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    Builder::new(report).build(text, options)
}

/// Reading cannot go on; the report already says why.
pub(super) struct Stop;

/// An open list or map.
enum Frame {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: HashSet<String>, merges: Vec<Node>, pending: Pending },
}

/// What the next node of a map is.
enum Pending {
    Key,
    Value(String, Span),
    Merge,
    /// The value of a key that was refused.
    Dropped,
}

struct Open {
    frame: Frame,
    start: usize,
    anchor: usize,
    broken: bool,
}

struct Builder<'r, 't> {
    report: &'r mut Report<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    bytes: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'r, 't> Builder<'r, 't> {
    fn new(report: &'r mut Report<'t>) -> Self {
        let (open, anchors) = (Vec::new(), HashMap::new());
        Builder { report, open, anchors, nodes: 0, bytes: 0, documents: 0, root: None }
    }

    fn build(mut self, text: &str, options: Options) -> Result<Option<Node>, Stop> {
        for next in Parser::new_from_str_with_options(text, options) {
            let (event, span) = next.map_err(|error| self.syntax(&error))?;
            let tag = span.tag_span().and_then(|tag| tag.byte_range());
            let span = span.byte_range().map_or(Span::default(), |r| Span { start: r.start, end: r.end });
            let tag = tag.map_or(span, |r| Span { start: r.start, end: r.end });
            self.take(event, span, tag)?;
        }
        Ok(self.root)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the parser may add kinds of events that are not asked for"
    )]
    fn take(&mut self, event: Event<'_>, span: Span, tag_span: Span) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return self.stop(span, Fault::new("multi_document", "a file holds one document"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let broken = self.refuse_tag(tag.is_some(), tag_span);
                let value = if broken { Value::Broken } else { self.scalar(text.into_owned(), style, span) };
                self.close(Node { span, value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.push(Frame::List(Vec::new()), span, anchor, tag.is_some(), tag_span)
            }
            Event::MappingStart(_, anchor, tag) => {
                let (entries, seen, merges) = (Vec::new(), HashSet::new(), Vec::new());
                let frame = Frame::Map { entries, seen, merges, pending: Pending::Key };
                self.push(frame, span, anchor, tag.is_some(), tag_span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.pop(span),
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor {} stands before this alias", quote(&format!("&{name}")));
                self.report.add(span, Fault::new("unknown_alias", message));
                self.deliver(Node { span, value: Value::Broken });
                Ok(())
            }
            // Stream and document ends, and kinds of events that were not asked for.
            _ => Ok(()),
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) -> bool {
        if tagged {
            let fault = Fault::new("tag", "YAML tags (`!…`) are not allowed");
            self.report.add(span, fault.hint("leave it out; write text in quotes"));
        }
        tagged
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: Span) -> Value {
        let plain = style == ScalarStyle::Plain;
        if plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
            return Value::Null;
        }
        // Escapes such as "\0" come here as characters.
        if let Some(c) = text.chars().find(|c| forbidden(*c)) {
            self.report.add(span, control_fault(c));
            return Value::Broken;
        }
        Value::Text { text, plain }
    }

    fn push(
        &mut self,
        frame: Frame,
        span: Span,
        anchor: usize,
        tagged: bool,
        tag_span: Span,
    ) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            return self.stop(span, depth_fault());
        }
        let broken = self.refuse_tag(tagged, tag_span);
        self.charge(1, 0, span)?;
        self.open.push(Open { frame, start: span.start, anchor, broken });
        Ok(())
    }

    fn pop(&mut self, span: Span) -> Result<(), Stop> {
        let Some(Open { frame, start, anchor, broken }) = self.open.pop() else { return Ok(()) };
        let value = match frame {
            _ if broken => Value::Broken,
            Frame::List(items) => Value::List(items),
            Frame::Map { mut entries, merges, .. } => {
                for merge in merges {
                    self.merge(&mut entries, merge)?;
                }
                Value::Map(entries)
            }
        };
        let node = Node { span: Span { start, end: span.end.max(start) }, value };
        self.keep(&node, anchor)?;
        self.deliver(node);
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.charge(1, node.text().map_or(0, str::len), node.span)?;
        self.keep(&node, anchor)?;
        self.deliver(node);
        Ok(())
    }

    /// Remembers an anchored node; the copy costs what it holds.
    fn keep(&mut self, node: &Node, anchor: usize) -> Result<(), Stop> {
        if anchor != 0 {
            let size = measure(node);
            self.charge(size.nodes, size.bytes, node.head())?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stop> {
        let Some(node) = self.anchors.get(&id) else {
            // The parser knows the anchor, but its node is still open: it would contain itself.
            self.report.add(span, Fault::new("recursive_alias", "this alias stands inside its own anchor"));
            self.deliver(Node { span, value: Value::Broken });
            return Ok(());
        };
        let size = measure(node);
        if self.open.len() + size.height > MAX_DEPTH {
            return self.stop(span, depth_fault());
        }
        self.charge(size.nodes, size.bytes, span)?;
        let node = self.anchors[&id].clone();
        self.deliver(node);
        Ok(())
    }

    /// Hands a finished node to the list or map around it.
    fn deliver(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.frame) {
            None => self.root = Some(node),
            Some(Frame::List(items)) => items.push(node),
            Some(Frame::Map { entries, merges, pending, .. }) => {
                match std::mem::replace(pending, Pending::Key) {
                    Pending::Key => self.key(&node),
                    Pending::Dropped => {}
                    Pending::Merge => merges.push(node),
                    Pending::Value(key, key_span) => {
                        // Nothing was written: point at the key, the parser points at the next line.
                        let empty = matches!(node.value, Value::Null) && node.span.start == node.span.end;
                        let span = if empty { key_span } else { node.span };
                        entries.push(Entry { key, key_span, value: Node { span, ..node } });
                    }
                }
            }
        }
    }

    fn key(&mut self, node: &Node) {
        let span = node.head();
        let (next, fault) = match &node.value {
            Value::Text { text, .. } if text.len() > MAX_KEY => {
                let message = format!("a key has at most {MAX_KEY} bytes");
                (Pending::Dropped, Some(Fault::new("field_length", message)))
            }
            Value::Text { text, plain: true } if text == "<<" => (Pending::Merge, None),
            Value::Text { text, .. } if self.is_new(text) => (Pending::Value(text.clone(), span), None),
            Value::Text { text, .. } => {
                let message = format!("the key {} stands here twice", quote(text));
                (Pending::Dropped, Some(Fault::new("duplicate_key", message)))
            }
            Value::Null => (Pending::Dropped, Some(Fault::new("null_value", "a key must not be empty"))),
            Value::List(_) | Value::Map(_) => {
                let fault = Fault::new("type", "a key must be text, not a list or a map");
                (Pending::Dropped, Some(fault))
            }
            Value::Broken => (Pending::Dropped, None),
        };
        if let Some(fault) = fault {
            self.report.add(span, fault);
        }
        if let Some(Open { frame: Frame::Map { pending, .. }, .. }) = self.open.last_mut() {
            *pending = next;
        }
    }

    fn is_new(&mut self, key: &str) -> bool {
        match self.open.last_mut().map(|open| &mut open.frame) {
            Some(Frame::Map { seen, .. }) => seen.insert(key.to_owned()),
            Some(Frame::List(_)) | None => true,
        }
    }

    /// `<<: *base` gives the keys that the map does not have itself; `<<: [*a, *b]` prefers the first.
    fn merge(&mut self, entries: &mut Vec<Entry>, from: Node) -> Result<(), Stop> {
        let span = from.head();
        match from.value {
            Value::Map(base) => {
                // It looks through all keys that are there, which costs like a copy of them.
                self.charge(entries.len(), 0, span)?;
                let own: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
                entries.extend(base.into_iter().filter(|entry| !own.contains(&entry.key)));
            }
            Value::List(items) if items.iter().all(|item| !matches!(item.value, Value::List(_))) => {
                for item in items {
                    self.merge(entries, item)?;
                }
            }
            Value::Broken => {}
            Value::Null | Value::Text { .. } | Value::List(_) => {
                self.report.add(span, Fault::new("merge_key", "`<<` takes a map or a list of maps"));
            }
        }
        Ok(())
    }

    fn charge(&mut self, nodes: usize, bytes: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes <= MAX_NODES && self.bytes <= MAX_TEXT {
            return Ok(());
        }
        let message = format!(
            "the file unfolds to too much: at most {MAX_NODES} values and {MAX_TEXT} bytes of text, \
             aliases included"
        );
        self.stop(span, Fault::new("budget", message))
    }

    fn stop(&mut self, span: Span, fault: Fault) -> Result<(), Stop> {
        self.report.add(span, fault);
        Err(Stop)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most kinds of faults are told by the parser's own words"
    )]
    fn syntax(&mut self, error: &ScanError) -> Stop {
        let at = error.marker().byte_offset().unwrap_or_default();
        let fault = match error.kind() {
            ErrorKind::RecursionLimitExceeded => depth_fault(),
            ErrorKind::DirectiveDisallowed => Fault::new("syntax", "directives (`%…`) are not allowed"),
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar => {
                Fault::new("syntax", "a tab cannot indent").hint("indent with spaces")
            }
            kind => Fault::new("syntax", format!("this is not YAML: {kind}")),
        };
        self.report.add(Span { start: at, end: at + 1 }, fault);
        Stop
    }
}

fn forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
}

fn control_fault(c: char) -> Fault {
    let message = format!("the control character U+{:04X} is not allowed", c as u32);
    Fault::new("control_char", message)
}

fn depth_fault() -> Fault {
    Fault::new("depth", format!("lists and maps nest at most {MAX_DEPTH} deep"))
}
