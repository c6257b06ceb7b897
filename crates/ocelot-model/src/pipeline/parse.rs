//! Bytes to a checked [`Pipeline`], or everything that is wrong with them.

use super::problem::{Fault, Problems, Report, Span};
use super::tree::{Node, Value};
use super::yaml;
use super::{Limits, Pipeline, keys, read, shape};

/// Reads the text of an `ocelot.yml`. All problems are found in one go, except that nothing after a
/// fault of the YAML itself can be read. Bounded in time and memory whatever the bytes are.
pub fn parse(bytes: &[u8]) -> Result<Pipeline, Problems> {
    parse_within(bytes, &Limits::default())
}

/// The same where more than these limits is refused.
pub fn parse_within(bytes: &[u8], limits: &Limits) -> Result<Pipeline, Problems> {
    let text = match yaml::decode(bytes) {
        Ok(text) => text,
        Err((before, span, fault)) => {
            let mut report = Report::new(before);
            report.add(span, fault);
            return report.finish(None);
        }
    };
    let mut report = Report::new(text);
    let pipeline = match yaml::load(text, &mut report) {
        Ok(root) => root_map(root, &mut report).map(|top| {
            shape::check(&top, &keys::TOP, &mut report);
            limits.check(&top, &mut report);
            read::pipeline(&top, &mut report)
        }),
        Err(yaml::Stop) => None,
    };
    let mut pipeline = report.finish(pipeline)?;
    limits.apply(&mut pipeline);
    Ok(pipeline)
}

fn root_map(root: Option<Node>, report: &mut Report<'_>) -> Option<Node> {
    let (span, fault) = match root {
        Some(node) => match &node.value {
            Value::Map(entries) if entries.is_empty() => (node.span, empty()),
            Value::Map(_) => return Some(node),
            Value::Null => (Span::default(), empty()),
            Value::Broken => return None,
            Value::Text { .. } | Value::List(_) => {
                let fault =
                    Fault::new("root_not_map", "the file must be a map of keys, such as `image: debian:12`");
                (node.head(), fault)
            }
        },
        None => (Span::default(), empty()),
    };
    report.add(span, fault);
    None
}

fn empty() -> Fault {
    Fault::new("empty", "the file is empty").hint("`ocelot init` writes one to begin with")
}
