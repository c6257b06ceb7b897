//! A fake Gitea. Much of it has GitHub's form.

use serde_json::{Value, json};

use super::github::{add_status, comments, hooks, pull_files, pull_request, right, shown};
use super::server::{Answer, Ask};
use super::state::{Repo, State};

pub(super) fn answer(state: &mut State, ask: &Ask) -> Answer {
    let (method, path) = ask.parts();
    let url = state.clones.clone().unwrap_or_else(|| state.url.clone());
    let new_id = state.new_id();
    if let ("GET", ["user", "repos"]) = (method, path.as_slice()) {
        return Answer::List(state.repos.iter().map(|repo| shown(&url, repo)).collect(), None);
    }
    let ["repos", owner, name, rest @ ..] = path.as_slice() else { return Answer::not_found() };
    let Some(repo) = state.repo(&format!("{owner}/{name}")) else { return Answer::not_found() };
    match (method, rest) {
        ("GET", []) => Answer::Json(200, shown(&url, repo)),
        ("GET", ["raw", file @ ..]) => match repo.file(&ask.query["ref"], &file.join("/")) {
            Some(text) => Answer::Raw(text),
            None => Answer::not_found(),
        },
        ("GET", ["git", "commits", name]) => match repo.find(name) {
            Some((id, _)) => Answer::Json(200, json!({"sha": id})),
            None => Answer::not_found(),
        },
        ("GET", ["compare", range]) => compare(repo, range),
        ("GET", ["pulls", number, "files"]) => pull_files(repo, number),
        ("GET", ["branches"]) => {
            let branches = repo.branches.iter();
            Answer::List(
                branches.map(|(name, id)| json!({"name": name, "commit": {"id": id}})).collect(),
                None,
            )
        }
        ("GET", ["pulls"]) => {
            Answer::List(repo.pulls.iter().map(|pull| pull_request(repo, pull)).collect(), None)
        }
        ("POST", ["statuses", commit]) => add_status(repo, ask, commit),
        (_, ["issues", ..]) => comments(repo, ask, new_id, rest),
        (_, ["hooks", rest @ ..]) => hooks(repo, ask, new_id, rest),
        ("GET", ["collaborators", name, "permission"]) => right(repo, name),
        _ => Answer::not_found(),
    }
}

/// Each commit with its own files.
fn compare(repo: &Repo, range: &str) -> Answer {
    let Some((from, between)) =
        range.split_once("...").and_then(|(from, to)| Some((from, repo.between(from, to)?)))
    else {
        return Answer::not_found();
    };
    let mut before = from;
    let mut commits = Vec::new();
    for id in &between.commits {
        let own = repo.between(before, id).unwrap_or_default().files.into_iter();
        let files: Vec<Value> =
            own.flat_map(|(old, new)| [old, new]).flatten().map(|path| json!({"filename": path})).collect();
        let message = &repo.commits[id].message;
        commits.push(json!({"sha": id, "commit": {"message": message}, "files": files}));
        before = id;
    }
    Answer::Json(200, json!({"total_commits": commits.len(), "commits": commits}))
}
