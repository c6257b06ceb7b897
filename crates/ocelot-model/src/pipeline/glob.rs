//! Patterns of paths: `*` stays within a folder, `**` does not.

use globset::{Glob, GlobBuilder, GlobMatcher};

use super::problem::{Fault, quote};
use super::text::{climbs, outside};

/// Longest pattern, in bytes.
pub(super) const MAX: usize = 1_000;

/// Checks a pattern of paths.
pub(super) fn check(text: &str) -> Result<(), Fault> {
    const MAX_STARS: usize = 16;
    const MAX_BRACES: usize = 16;
    if text.is_empty() {
        return Err(outside(text, "is no path"));
    }
    if climbs(text) {
        return Err(outside(text, "may lead out"));
    }
    if text.matches("**").count() > MAX_STARS || text.matches('{').count() > MAX_BRACES || text.len() > MAX {
        return Err(Fault::new("glob_limit", format!("the pattern {} is too large", quote(text))));
    }
    built(text).map(|_| ())
}

/// A pattern of changed files, relative to the top of the repository.
pub(super) fn check_changed(text: &str) -> Result<(), Fault> {
    if text.starts_with('/') {
        return Err(outside(text, "is an absolute path"));
    }
    check(text)?;
    if text.ends_with('/') {
        let fault = Fault::new("glob", format!("{} matches folders, but only files change", quote(text)));
        return Err(fault.hint(format!("write `{text}**` for all files below it")));
    }
    Ok(())
}

/// What tells paths that match; `*` stays within a folder.
pub(super) fn matcher(text: &str) -> Result<GlobMatcher, Fault> {
    built(text).map(|glob| glob.compile_matcher())
}

fn built(text: &str) -> Result<Glob, Fault> {
    GlobBuilder::new(text).literal_separator(true).build().map_err(|error| {
        Fault::new("glob", format!("{} is no pattern of paths: {}", quote(text), error.kind()))
    })
}
