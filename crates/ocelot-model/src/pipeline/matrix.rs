//! The limits of `matrix`, checked before anything would be multiplied out.

use super::problem::{Fault, Report};
use super::tree::{Node, Value};

/// Most jobs that one matrix may make.
pub(super) const MAX_JOBS: usize = 256;

/// Reports what is wrong with a map of axes: each a list of text, next to `include` and `exclude`.
pub(super) fn check(node: &Node, report: &mut Report<'_>) {
    let mut jobs: usize = 1;
    let mut included = 0;
    for entry in node.entries() {
        let special = matches!(entry.key.as_str(), "include" | "exclude");
        let Value::List(items) = &entry.value.value else {
            let message = format!("`{}` of a matrix must be a list", entry.key.escape_debug());
            report.add(entry.value.head(), Fault::new("type", message));
            continue;
        };
        match entry.key.as_str() {
            "include" => included = items.len(),
            "exclude" => {}
            _ => jobs = jobs.saturating_mul(items.len().max(1)),
        }
        for item in items {
            let fits = if special { combination(item) } else { item.text().is_some() };
            if !fits {
                let wanted = if special { "a map from axis to text" } else { "text" };
                report.add(item.head(), Fault::new("type", format!("this must be {wanted}")));
            }
        }
    }
    if jobs.saturating_add(included) > MAX_JOBS {
        let message = format!("the matrix makes more than {MAX_JOBS} jobs");
        report.add(node.head(), Fault::new("matrix_limit", message));
    }
}

fn combination(node: &Node) -> bool {
    matches!(node.value, Value::Map(_)) && node.entries().iter().all(|entry| entry.value.text().is_some())
}
