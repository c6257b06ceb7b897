//! Which branches a list of patterns means, as in `branches` and `trigger.branches`.
//!
//! A pattern is `ALL` or a regular expression that must match the whole name. Bytes are matched, not
//! characters, so that `\w` and its like mean ASCII, as they did in the original, and stay small.

use regex::bytes::{Regex, RegexBuilder};

use super::problem::{Fault, quote};

/// Longest pattern, in bytes.
pub(super) const MAX_PATTERN: usize = 500;
/// Most memory for one compiled pattern, in bytes.
const MAX_COMPILED: usize = 32 * 1024;
const MAX_NESTING: u32 = 32;

/// The pattern that matches every branch.
pub(super) const ALL: &str = "ALL";

/// True when the list is empty or one of the patterns matches all of `branch`.
///
/// A pattern that does not compile matches nothing; [`parse`](super::parse()) has refused it before.
pub fn branch_matches(patterns: &[String], branch: &str) -> bool {
    let matches = |pattern: &String| {
        pattern == ALL || compile(pattern).is_ok_and(|regex| regex.is_match(branch.as_bytes()))
    };
    patterns.is_empty() || patterns.iter().any(matches)
}

/// Whether these are patterns as `branches` takes them; says what is wrong with the first that is not.
pub fn check_branches(patterns: &[String]) -> Result<(), String> {
    patterns.iter().try_for_each(|pattern| check(pattern).map_err(|fault| fault.message))
}

pub(super) fn check(pattern: &str) -> Result<(), Fault> {
    match pattern {
        ALL => Ok(()),
        "" => {
            Err(Fault::new("regex", "an empty pattern matches no branch")
                .hint("write `ALL` for all branches"))
        }
        _ => compile(pattern).map(|_| ()),
    }
}

/// Like [`check`], for an expression that may match anywhere.
pub(super) fn check_searcher(pattern: &str) -> Result<(), Fault> {
    if pattern.is_empty() {
        return Err(Fault::new("regex", "an empty expression matches everything"));
    }
    searcher(pattern).map(|_| ())
}

/// What matches the pattern as a whole.
pub(super) fn compile(pattern: &str) -> Result<Regex, Fault> {
    // On its own first, so that `a)(b` cannot close the group that is put around it.
    searcher(pattern)?;
    build(pattern, &format!("^(?:{pattern})$"))
}

/// What matches the pattern anywhere.
pub(super) fn searcher(pattern: &str) -> Result<Regex, Fault> {
    build(pattern, pattern)
}

/// Compiles `text`, which is made of `pattern`.
fn build(pattern: &str, text: &str) -> Result<Regex, Fault> {
    let limit = || {
        let message = format!("the pattern {} is too large", quote(pattern));
        Fault::new("regex_limit", message)
    };
    if pattern.len() > MAX_PATTERN {
        return Err(limit());
    }
    RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED).nest_limit(MAX_NESTING).build().map_err(
        |error| {
            let too_big = matches!(error, regex::Error::CompiledTooBig(_));
            if too_big { limit() } else { syntax(pattern, &error) }
        },
    )
}

fn syntax(pattern: &str, error: &regex::Error) -> Fault {
    // The library draws the pattern over several lines; its last line says what is wrong.
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    let fault = Fault::new("regex", format!("{} is no regular expression: {why}", quote(pattern)));
    if pattern.contains('*') { fault.hint("`.*` stands for any text, as in `release/.*`") } else { fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_match() {
        let check = |patterns: &[&str], branch: &str, want: bool| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            assert_eq!(branch_matches(&patterns, branch), want, "{patterns:?} {branch}");
        };
        check(&[], "anything", true);
        check(&["ALL"], "a/b", true);
        check(&["all"], "a/b", false);
        check(&["main"], "main", true);
        check(&["main"], "main-2", false);
        check(&["main|develop"], "main-x", false);
        check(&["main|develop"], "x-develop", false);
        check(&["main|develop"], "develop", true);
        check(&["rc-v.*"], "rc-v1.2", true);
        check(&[r"here\/.*\/go"], "here/we/go", true);
        check(&["x", "y"], "y", true);
        check(&["(", "y"], "y", true);
        check(&["f.n"], "fän", false);
        check(&["fän"], "fän", true);
        check(&["main"], "main\n", false);
        check(&["main.*"], "--upload-pack=$(id)", false);
    }

    #[test]
    fn bad_patterns_are_named() {
        let check = |pattern: &str, code: &str| {
            let fault = super::check(pattern).map_err(|fault| fault.code);
            assert_eq!(fault, Err(code), "{pattern}");
        };
        check("", "regex");
        check("*", "regex");
        check("(", "regex");
        check("a)(b", "regex");
        check("(x{1000}){1000}", "regex_limit");
        check(&"x".repeat(501), "regex_limit");
        check(&format!("{}{}", "(".repeat(100), ")".repeat(100)), "regex");
    }
}
