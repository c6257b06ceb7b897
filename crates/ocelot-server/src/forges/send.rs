//! What a forge is told of a build: the status of its commit.
//!
//! Sent from the outbox only, never where a build begins or goes on.

use ocelot_forge::{ApiError, CommitStatus, Forge};
use ocelot_model::{Status, duration};
use ocelot_store::{Post, PostKind};

use super::{ForgeError, follow, full_name};
use crate::App;

/// Sends it.
pub async fn send(app: &App, post: &Post) -> Result<(), ForgeError> {
    let forge = &post.repo.name.forge;
    let (_, open) = app.forges.open(&app.store, forge).await?;
    let link = format!("{}/builds/{}", app.public_url, post.build);
    match say(&open, post, &full_name(&post.repo.name), &link).await {
        // It may have another name by now. That is asked once: what is gone stays gone.
        Err(ApiError::NotFound(words)) if post.tries == 0 => {
            let repo = follow::follow(app, &post.repo, None).await?;
            if repo.name == post.repo.name {
                return Err(ForgeError::of(forge)(ApiError::NotFound(words)));
            }
            say(&open, post, &full_name(&repo.name), &link).await.map_err(ForgeError::of(forge))
        }
        other => other.map_err(ForgeError::of(forge)),
    }
}

async fn say(open: &Forge, post: &Post, repo: &str, link: &str) -> Result<(), ApiError> {
    match post.kind {
        PostKind::Status => {
            let description = sentence(post);
            let status = CommitStatus {
                commit: &post.subject,
                status: post.status,
                context: &post.context,
                description: &description,
                link,
            };
            open.set_status(repo, status).await
        }
        // Others are told by `crate::notify`.
        PostKind::Notice(_) => Err(ApiError::Nonsense("no forge takes notifications".to_owned())),
        PostKind::Comment => {
            let number =
                post.subject.parse().map_err(|_| ApiError::Nonsense("no pull request".to_owned()))?;
            open.comment(repo, number, &post.mark, &comment(post, link)).await
        }
    }
}

/// How it stands, in one sentence.
fn sentence(post: &Post) -> String {
    let words = match post.status {
        Status::Blocked => "waits for approval",
        Status::Queued => "queued",
        Status::Running => "running",
        Status::Passed => "passed",
        Status::Failed => "failed",
        Status::Error => "error",
        Status::TimedOut => "timed out",
        Status::Cancelled => "cancelled",
        Status::Skipped => "skipped",
    };
    let reason = post.reason.as_deref().filter(|_| post.status.is_terminal());
    match (reason, post.duration_ms.filter(|_| post.status.is_terminal())) {
        (Some(reason), _) => format!("{words}: {reason}"),
        (None, Some(took)) => format!("{words} after {}", duration::took(took)),
        (None, None) => words.to_owned(),
    }
}

fn comment(post: &Post, link: &str) -> String {
    format!("Ocelot: [build {}]({link}) {}", post.build, plain(&sentence(post)))
}

/// A reason holds names and words from the repository: in a comment they shall be words, and call nobody.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '@' | '[' | ']' | '<' | '>' | '`' | '#' | '!' | '|')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_calls_nobody() {
        assert_eq!(plain("job @all: [x](http://h) <img> `a` #1"), "job all: x(http://h) img a 1");
    }
}
