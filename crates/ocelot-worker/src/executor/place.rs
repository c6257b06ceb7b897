//! What a job attempt has on this machine, and what a room of it is made of. Plain values, no I/O.

use std::path::PathBuf;

use ocelot_model::id::{AttemptId, JobId};
use ocelot_model::pipeline::spec::{Pull, Resources};

use super::ExecutorError;

/// The folder of one job attempt and whose it is.
///
/// The caller makes `folder` (0700) and `folder/workspace`; the executor makes `folder/io` and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Absolute path; nothing in it is shared with another attempt.
    pub folder: PathBuf,
    /// The job.
    pub job: JobId,
    /// The attempt, unique over all jobs.
    pub attempt: AttemptId,
    /// Which of the worker's slots the attempt has, from 0; one attempt at a time per slot.
    pub slot: u32,
}

impl Place {
    /// Where the checkout goes.
    pub fn workspace(&self) -> PathBuf {
        self.folder.join("workspace")
    }

    /// Where a room's socket and files are, as this machine sees them.
    pub(crate) fn io(&self, room: &str) -> PathBuf {
        self.folder.join("io").join(room)
    }
}

/// What a room is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomSpec {
    /// Unique within the attempt: 1 to 64 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
    pub name: String,
    /// The image; the host executor refuses a job with one, the Docker executor a job without.
    pub image: Option<String>,
    /// When the image is pulled.
    pub pull: Pull,
    /// Who Ocelot is for the image's registry.
    pub login: Option<RegistryLogin>,
    /// Limits; what is `None` takes the executor's default.
    pub resources: Resources,
}

/// Who Ocelot is for an image registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// Name of the credential, for people.
    pub name: String,
    /// The registry, as Docker names it.
    pub server: String,
    /// User.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryLogin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A file for the stages of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path in the container.
    pub path: String,
    /// What stands in it.
    pub content: Vec<u8>,
}

/// The numbers that a stage runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
}

impl User {
    /// Root, the default in containers.
    pub const ROOT: User = User { uid: 0, gid: 0 };

    /// Reads `user:` of a job: `uid:gid`, or `uid` alone for a group of the same number.
    pub fn parse(text: &str) -> Result<User, ExecutorError> {
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            part.parse().ok().filter(|n| plain && *n < u32::MAX)
        };
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        match (number(uid), number(gid)) {
            (Some(uid), Some(gid)) => Ok(User { uid, gid }),
            (None, _) | (_, None) => Err(ExecutorError::Refused(format!(
                "`user: {text}` is not supported: write numbers, like `1000:1000`"
            ))),
        }
    }
}

/// Names that become file names and container labels: nothing that a path could misread.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=64).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let check = |text: &str, want: Option<(u32, u32)>| {
            assert_eq!(User::parse(text).ok().map(|u| (u.uid, u.gid)), want, "{text}");
        };
        check("0:0", Some((0, 0)));
        check("1000", Some((1000, 1000)));
        check("1000:50", Some((1000, 50)));
        check("", None);
        check("node", None);
        check("+1:1", None);
        check("1:", None);
        check("1:2:3", None);
        check("4294967295", None);
        assert_eq!(
            User::parse("node").unwrap_err().to_string(),
            "`user: node` is not supported: write numbers, like `1000:1000`"
        );
    }

    #[test]
    fn names() {
        let check = |text: &str, want: bool| assert_eq!(is_name(text), want, "{text}");
        check("77", true);
        check("main.1_a-b", true);
        check("", false);
        check("..", false);
        check(".hidden", false);
        check("a/b", false);
        check("a b", false);
        check(&"x".repeat(65), false);
    }
}
