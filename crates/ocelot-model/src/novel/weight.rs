//! How much a line says about a fault: the words that tools of all kinds use for the cause weigh most, what only sums up or
//! tells that something before it failed weighs less.

/// Names the cause.
const CAUSES: [&str; 35] = [
    "error:",
    "error[",
    "error -",
    "fatal",
    "panicked",
    "panic:",
    "exception",
    "assertion",
    "segmentation fault",
    "undefined reference",
    "not found",
    "no such file",
    "permission denied",
    "connection refused",
    "no space left",
    "out of memory",
    "cannot find",
    "can't locate",
    "cannot locate",
    "unable to",
    "no module named",
    "could not find",
    "no matching",
    "was not declared",
    "undefined:",
    "conflict (",
    "mismatch",
    "timed out",
    "deadlock",
    "out of range",
    "overflow",
    "unexpected",
    "missing",
    "not ok",
    "--- fail",
];
/// Often stands in the lines that tell of one.
const HINTS: [&str; 18] = [
    "error",
    "fail",
    "cannot",
    "can't",
    "could not",
    "invalid",
    "illegal",
    "denied",
    "refused",
    "expected",
    "unknown",
    "unresolved",
    "abort",
    "killed",
    "differ",
    "not equal",
    "e   ",
    "traceback",
];
/// Tells that something else failed.
const ECHOES: [&str; 33] = [
    "could not compile",
    "aborting due to",
    "previous error",
    "errors generated",
    "error generated",
    "test result:",
    "to rerun",
    "exit code",
    "exit status",
    "exited with",
    "returned a non-zero",
    "npm err! code",
    "lifecycle",
    "process completed",
    "recipe for target",
    "short test summary",
    "no longer",
    "make: ***",
    "make[",
    "failures:",
    "build failed",
    "tests failed",
    "failed tests",
    "warning",
    "for more information",
    "complete log",
    "rust_backtrace",
    "passed",
    "collect2:",
    "interrupted:",
    "--- pass",
    "=== run",
    "... ok",
];

/// `detail`: a line shortly before tells of a fault.
pub(super) fn weight(line: &str, detail: bool) -> i32 {
    let lower = line.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| begins_in(&lower, word));
    let mut weight = 0;
    if has(&CAUSES) || names_a_class(line) {
        weight += 4;
    } else if has(&HINTS) {
        weight += 2;
    }
    if detail {
        weight += 1;
    }
    if names_a_place(line) {
        weight += 1;
    }
    if has(&ECHOES) {
        weight -= 4;
    }
    if is_frame(line) {
        weight -= 2;
    }
    weight
}

/// Whether a word begins with these letters. Names such as `testErrorPath` tell of no error.
fn begins_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let letters = word.starts_with(char::is_alphanumeric) && line[..at].ends_with(char::is_alphanumeric);
        !letters
    })
}

/// `KeyError`, `NullPointerException`: how languages call what went wrong.
fn names_a_class(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let class = word.strip_suffix("Error").or_else(|| word.strip_suffix("Exception"));
        class.is_some_and(|class| class.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

/// `src/main.rs:3`: a file and a line of it.
fn names_a_place(line: &str) -> bool {
    line.match_indices(':').any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + 1..]);
        after.starts_with(|c: char| c.is_ascii_digit())
            && before.rsplit([' ', '/', '(']).next().is_some_and(|file| {
                file.rsplit_once('.')
                    .is_some_and(|(_, end)| end.starts_with(|c: char| c.is_ascii_alphabetic()))
            })
    })
}

/// A line of the way by which a program came to its fault.
fn is_frame(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("at ") || line.starts_with("File \"") || line.starts_with("...")
}
