//! Bodies of webhooks: bounded before they are parsed, and their texts made fit to be stored and shown.
//!
//! Knows no forge. A name of a branch is never altered: it is taken as it is or the body is refused.

use ocelot_model::event::{Change, CommitId, RefName};
use ocelot_model::forge::RemoteId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Largest body of a webhook, in bytes; GitHub sends no larger ones.
pub const BODY_MAX: usize = 25 << 20;
/// Deepest nesting; real bodies have less than 10.
const DEPTH_MAX: usize = 64;
/// Longest title or name, in bytes.
pub(crate) const LINE_MAX: usize = 1024;
/// Longest message of a commit, in bytes.
pub(crate) const MESSAGE_MAX: usize = 64 << 10;
/// Longest name of a branch or tag, in bytes; a file system could not hold a longer one.
const REF_MAX: usize = 4096;

/// The forge signed it, and it cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// More than [`BODY_MAX`].
    #[error("the body is larger than {} MiB", BODY_MAX >> 20)]
    TooLarge,
    /// Brackets in brackets.
    #[error("the body is nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// It is no JSON, or a field is twice there.
    #[error("the body cannot be read: {0}")]
    Json(String),
    /// A field is missing or of another type: perhaps the forge has changed.
    #[error("the body is not what this forge sends: {0}")]
    Strange(String),
    /// A field holds something that cannot be.
    #[error("the body is not what this forge sends: {field} is {problem}")]
    Field {
        /// Where.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Parses a body. A key that is read may stand there only once.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    if body.len() > BODY_MAX {
        return Err(BadBody::TooLarge);
    }
    check_depth(body)?;
    serde_json::from_slice(body).map_err(|error| {
        let form = if body.starts_with(b"payload=") {
            "; set the webhook's content type to application/json: "
        } else {
            ""
        };
        let words = format!("{form}{}", line(&error.to_string(), 200));
        let twice = words.starts_with("duplicate field");
        if error.is_data() && !twice { BadBody::Strange(words) } else { BadBody::Json(words) }
    })
}

/// Before the parser, which skips what nobody reads without counting.
fn check_depth(body: &[u8]) -> Result<(), BadBody> {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(BadBody::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// One line without control characters, cut at `max` bytes.
pub(crate) fn line(text: &str, max: usize) -> String {
    cut(text.chars().filter(|c| !c.is_control()), max)
}

/// Lines without control characters, cut at [`MESSAGE_MAX`].
pub(crate) fn message(text: &str) -> String {
    cut(text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()), MESSAGE_MAX)
        .trim_end()
        .to_owned()
}

fn cut(chars: impl Iterator<Item = char>, max: usize) -> String {
    let mut out = String::new();
    for c in chars {
        if out.len() + c.len_utf8() > max {
            break;
        }
        out.push(c);
    }
    out
}

/// A whole commit id.
pub(crate) fn commit(field: &'static str, text: &str) -> Result<CommitId, BadBody> {
    match CommitId::new(text) {
        Some(CommitId::Whole(id)) => Ok(CommitId::Whole(id)),
        Some(CommitId::Short(_)) | None => Err(BadBody::Field { field, problem: "no commit id" }),
    }
}

/// A commit id or the beginning of one.
pub(crate) fn any_commit(field: &'static str, text: &str) -> Result<CommitId, BadBody> {
    CommitId::new(text).ok_or(BadBody::Field { field, problem: "no commit id" })
}

/// The name of a branch or tag, as it is. git itself allows no control characters in it.
pub(crate) fn name(field: &'static str, text: String) -> Result<String, BadBody> {
    if text.is_empty() || text.len() > REF_MAX || text.chars().any(char::is_control) {
        return Err(BadBody::Field { field, problem: "no name that git would take" });
    }
    Ok(text)
}

/// A whole ref name; `None` when it is neither a branch nor a tag.
pub(crate) fn ref_name(field: &'static str, text: &str) -> Result<Option<RefName>, BadBody> {
    if let Some(branch) = text.strip_prefix("refs/heads/") {
        return name(field, branch.to_owned()).map(RefName::Branch).map(Some);
    }
    match text.strip_prefix("refs/tags/") {
        Some(tag) => name(field, tag.to_owned()).map(RefName::Tag).map(Some),
        None => Ok(None),
    }
}

/// What became of a ref, by the ids before and after; only zeros stand for "not there". `marked` is the commit that an
/// annotated tag marks.
pub(crate) fn change(before: &str, after: &str, marked: Option<&str>) -> Result<Change, BadBody> {
    let is_none = |id: &str| !id.is_empty() && id.bytes().all(|b| b == b'0');
    let before = if is_none(before) { None } else { Some(commit("before", before)?) };
    let after = if is_none(after) { None } else { Some(commit("after", marked.unwrap_or(after))?) };
    match (before, after) {
        (None, Some(after)) => Ok(Change::Created { after }),
        (Some(before), Some(after)) => Ok(Change::Moved { before, after }),
        (Some(before), None) => Ok(Change::Deleted { before: Some(before) }),
        (None, None) => Err(BadBody::Field { field: "before", problem: "nothing, and so is after" }),
    }
}

/// `owner/name` as the forge says it.
pub(crate) fn full_name(field: &'static str, text: &str) -> Result<String, BadBody> {
    let fits = text.len() <= LINE_MAX
        && text.contains('/')
        && text.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if fits { Ok(text.to_owned()) } else { Err(BadBody::Field { field, problem: "no name of a repository" }) }
}

/// A UUID of Bitbucket; anything else is refused.
pub(crate) fn remote_id(field: &'static str, text: Option<&str>) -> Result<Option<RemoteId>, BadBody> {
    text.map(|text| RemoteId::new(text).ok_or(BadBody::Field { field, problem: "no id" })).transpose()
}

/// A field of which only its being there counts.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct There(serde::de::IgnoredAny);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cleaned_and_cut() {
        assert_eq!(line("a\u{0}b\r\n\u{1b}[31mc\u{9b}", 99), "ab[31mc");
        assert_eq!(line("aé", 2), "a");
        assert_eq!(message("one\r\n\n\ttwo\u{0}\n\n"), "one\n\n\ttwo");
        assert_eq!(message(&"é".repeat(MESSAGE_MAX)).len(), MESSAGE_MAX);
    }

    #[test]
    fn names_of_branches_are_data() {
        for text in [
            "refs/heads/--upload-pack=touch${IFS}x",
            "refs/heads/$(id)",
            "refs/heads/<script>",
            "refs/heads/é",
        ] {
            let branch = text.strip_prefix("refs/heads/").unwrap();
            assert_eq!(ref_name("ref", text), Ok(Some(RefName::Branch(branch.to_owned()))));
        }
        assert_eq!(ref_name("ref", "refs/notes/x"), Ok(None));
        for text in
            ["refs/heads/", "refs/heads/a\nb", "refs/tags/\u{0}", &format!("refs/heads/{}", "x".repeat(5000))]
        {
            assert!(ref_name("ref", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_is_counted_outside_of_texts() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check_depth(nested(64).as_bytes()), Ok(()));
        assert_eq!(check_depth(nested(65).as_bytes()), Err(BadBody::TooDeep));
        assert_eq!(check_depth(format!(r#""\"{}""#, nested(99)).as_bytes()), Ok(()));
    }
}
