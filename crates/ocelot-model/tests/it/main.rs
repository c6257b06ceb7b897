//! `ocelot.yml` as a user meets it: what is accepted and means what, and what is answered to the rest.
#![expect(clippy::unwrap_used, reason = "a test may stop where it stands")]

mod accepted;
mod conditions;
mod hostile;
mod refused;
mod schema;
mod shown;
mod slips;
mod subscriptions;

use ocelot_model::pipeline::{Pipeline, parse};

/// The problems of a text as `code@line:column`, in their order.
fn problems(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(_) => String::new(),
        Err(problems) => problems
            .iter()
            .map(|problem| format!("{}@{}:{}", problem.code, problem.line, problem.column))
            .collect::<Vec<_>>()
            .join(" "),
    }
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(problems(text.as_bytes()), want, "\n{text}");
}

/// A file whose one job has this as its stages, from line 2 on.
#[track_caller]
fn check_stage(stage: &str, want: &str) {
    check(&format!("image: busybox\nstages:\n- {stage}\n"), want);
}

/// A good file with this at its top, from line 4 on.
#[track_caller]
fn check_top(text: &str, want: &str) {
    check(&format!("image: busybox\nstages:\n- {{name: a, script: x}}\n{text}\n"), want);
}

#[track_caller]
fn load(text: &str) -> Pipeline {
    parse(text.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// One piece of text after the other, made from the numbers of a range.
fn repeat(range: std::ops::Range<usize>, piece: impl Fn(usize) -> String) -> String {
    range.map(piece).collect()
}
