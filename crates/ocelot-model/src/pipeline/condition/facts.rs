//! What is known of a build when its conditions are decided.

use crate::EventKind;

/// Most changed files that are looked at.
const MAX_FILES: usize = 3_000;

/// The facts of one build. What there is not is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What made the build.
    pub event: EventKind,
    /// Its branch.
    pub branch: String,
    /// Its tag.
    pub tag: String,
    /// Number of the author's account at the forge: a name proves nothing.
    pub author_id: String,
    /// Messages of the commits that came with it, the newest first.
    pub messages: Vec<String>,
    /// The files that these commits changed.
    pub files: Files,
    /// Aliases of the subscriptions whose builds it follows.
    pub upstream: Vec<String>,
    /// Aliases of the subscriptions in its own file.
    pub aliases: Vec<String>,
}

impl Facts {
    /// A build of a branch of which nothing else is known.
    pub fn of_branch(event: EventKind, branch: &str) -> Facts {
        Facts {
            event,
            branch: branch.to_owned(),
            tag: String::new(),
            author_id: String::new(),
            messages: Vec::new(),
            files: Files::unknown("nobody said which"),
            upstream: Vec::new(),
            aliases: Vec::new(),
        }
    }
}

/// Paths of changed files, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub(super) paths: Vec<String>,
    /// Why there may be more.
    pub(super) gap: Option<String>,
}

impl Files {
    /// These and no others. Of a very long list only the first are kept, and the rest counts as unknown.
    pub fn these(mut paths: Vec<String>) -> Files {
        let gap = (paths.len() > MAX_FILES).then(|| format!("more than {MAX_FILES} files have changed"));
        paths.truncate(MAX_FILES);
        Files { paths, gap }
    }

    /// Which ones is not known, for this reason.
    pub fn unknown(why: impl Into<String>) -> Files {
        Files { paths: Vec::new(), gap: Some(why.into()) }
    }
}
