//! Which files a commit changed, for conditions that ask for them.

use ocelot_model::Status;
use ocelot_model::pipeline::Files;
use ocelot_store::{BuildFilter, Repo, StoreError};

use super::clone;
use super::trigger::TriggerError;
use crate::App;
use crate::forges;

/// The files that differ from the branch's last passed build. That they cannot be told fails no build.
pub(super) async fn since_it_passed(
    app: &App,
    repo: &Repo,
    branch: &str,
    commit: &str,
) -> Result<Files, StoreError> {
    let last_good = BuildFilter {
        repo: Some(repo.id),
        branch: Some(branch.to_owned()),
        status: Some(Status::Passed),
        // A fork's branch may have the same name.
        trusted: Some(true),
        ..BuildFilter::default()
    };
    let Some(last) = app.store.list_builds(&last_good, 1).await?.pop() else {
        return Ok(Files::unknown("no build of this branch has passed yet"));
    };
    if last.commit == commit {
        // Who builds a commit again wants to see it built.
        return Ok(Files::unknown(format!("this commit has passed before, in build {}", last.number)));
    }
    let paths = async {
        let url = clone::url(app, repo).await?;
        Ok::<_, TriggerError>(app.git.changed(&url, &last.commit, commit).await?)
    };
    Ok(match paths.await {
        Ok(paths) => Files::these(paths),
        Err(error) => {
            tracing::warn!(repo = %repo.name, %error, "the changed files of {commit} cannot be told");
            Files::unknown(words(&error, &last.commit))
        }
    })
}

/// The files that differ between where a branch was and where it is.
pub(super) async fn between(app: &App, repo: &Repo, before: &str, commit: &str) -> Files {
    let paths = async {
        let url = clone::url(app, repo).await?;
        Ok::<_, TriggerError>(app.git.changed(&url, before, commit).await?)
    };
    match paths.await {
        Ok(paths) => Files::these(paths),
        Err(error) => {
            tracing::warn!(repo = %repo.name, %error, "the changed files of {commit} cannot be told");
            let short = before.get(..12).unwrap_or(before);
            Files::unknown(format!("{short}, where the branch was, cannot be compared: {error}"))
        }
    }
}

/// The files of a pull request, as its forge lists them.
pub(super) async fn of_pull_request(app: &App, repo: &Repo, number: u64) -> Files {
    match forges::changed_files(app, repo, number).await {
        Ok((paths, false)) => Files::these(paths),
        Ok((_, true)) => Files::unknown(format!("pull request {number} has more files than the forge lists")),
        Err(error) => {
            tracing::warn!(repo = %repo.name, %error, "the changed files of pull request {number} cannot be told");
            Files::unknown(format!("the files of pull request {number} are not known: {error}"))
        }
    }
}

fn words(error: &TriggerError, from: &str) -> String {
    let short = from.get(..12).unwrap_or(from);
    format!("{short}, which passed last, cannot be compared: {error}")
}
