//! The tree that a YAML text becomes: values that know where they stood.
//!
//! Only the data and ways to look at it; [`yaml`](super::yaml) builds it within its limits.

use super::problem::Span;

/// One value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// The shapes that YAML has.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Text {
        text: String,
        /// Written without quotes, so it may mean a number or a boolean.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Already reported as wrong; nobody should complain about it again.
    Broken,
}

/// One key of a map with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    /// Where to point at: a collection may span many lines, its beginning says enough.
    pub(super) fn head(&self) -> Span {
        match &self.value {
            Value::Map(entries) => entries.first().map_or(self.span, |entry| entry.key_span),
            Value::List(items) => items.first().map_or(self.span, Node::head),
            Value::Null | Value::Text { .. } | Value::Broken => self.span,
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Text { .. } | Value::List(_) | Value::Broken => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Text { .. } | Value::Map(_) | Value::Broken => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    pub(super) fn find(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
}

/// What a copy of a node costs.
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) bytes: usize,
    /// Levels of lists and maps; 0 for a scalar.
    pub(super) height: usize,
}

/// Walks the whole node; its depth is bounded by [`yaml`](super::yaml).
pub(super) fn measure(node: &Node) -> Size {
    let leaf = Size { nodes: 1, bytes: node.text().map_or(0, str::len), height: 0 };
    let around = |size: Size, inner: Size| Size {
        nodes: size.nodes + inner.nodes,
        bytes: size.bytes + inner.bytes,
        height: size.height.max(inner.height + 1),
    };
    match &node.value {
        Value::List(items) => items.iter().map(measure).fold(Size { height: 1, ..leaf }, around),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| {
                let value = measure(&entry.value);
                Size { nodes: value.nodes + 1, bytes: value.bytes + entry.key.len(), ..value }
            })
            .fold(Size { height: 1, ..leaf }, around),
        Value::Null | Value::Text { .. } | Value::Broken => leaf,
    }
}
