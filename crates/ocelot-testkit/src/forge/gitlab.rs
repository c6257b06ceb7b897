//! A fake GitLab.

use serde_json::{Value, json};

use super::server::{Answer, Ask};
use super::state::{Comment, Hook, Pull, Repo, State, Status};

pub(super) fn answer(state: &mut State, ask: &Ask) -> Answer {
    let (method, path) = ask.parts();
    let url = state.clones.clone().unwrap_or_else(|| state.url.clone());
    let new_id = state.new_id();
    if let ("GET", ["projects"]) = (method, path.as_slice()) {
        return Answer::List(state.repos.iter().map(|repo| shown(&url, repo)).collect(), None);
    }
    let ["projects", name, rest @ ..] = path.as_slice() else { return Answer::not_found() };
    let Some(repo) = state.repo(name) else { return Answer::not_found() };
    match (method, rest) {
        ("GET", []) => Answer::Json(200, shown(&url, repo)),
        ("GET", ["repository", "files", file, "raw"]) => match repo.file(&ask.query["ref"], file) {
            Some(text) => Answer::Raw(text),
            None => Answer::not_found(),
        },
        ("GET", ["repository", "commits", name]) => match repo.find(name) {
            Some((id, _)) => Answer::Json(200, json!({"id": id})),
            None => Answer::not_found(),
        },
        ("GET", ["repository", "compare"]) => compare(repo, &ask.query["from"], &ask.query["to"]),
        ("GET", ["repository", "branches"]) => {
            let branches = repo.branches.iter();
            Answer::List(
                branches.map(|(name, id)| json!({"name": name, "commit": {"id": id}})).collect(),
                None,
            )
        }
        ("GET", ["merge_requests", number, "diffs"]) => match repo.pull_files(number) {
            Some(files) => {
                let diff = |(old, new): (Option<String>, Option<String>)| json!({"old_path": old.as_ref().or(new.as_ref()), "new_path": new.as_ref().or(old.as_ref())});
                Answer::List(files.into_iter().map(diff).collect(), None)
            }
            None => Answer::not_found(),
        },
        ("GET", ["merge_requests"]) => {
            Answer::List(repo.pulls.iter().map(|pull| merge_request(repo, pull)).collect(), None)
        }
        ("POST", ["statuses", commit]) => add_status(repo, ask, commit),
        (_, ["merge_requests", number, "notes", rest @ ..]) => notes(repo, ask, new_id, number, rest),
        (_, ["hooks", rest @ ..]) => hooks(repo, ask, new_id, rest),
        ("GET", ["members", "all", id]) => member(repo, id),
        _ => Answer::not_found(),
    }
}

fn shown(url: &str, repo: &Repo) -> Value {
    json!({
        "id": repo.id, "path_with_namespace": repo.full_name, "default_branch": "main", "visibility": "private",
        "http_url_to_repo": format!("{url}/{}.git", repo.full_name),
        "ssh_url_to_repo": format!("git@127.0.0.1:{}.git", repo.full_name),
    })
}

fn compare(repo: &Repo, from: &str, to: &str) -> Answer {
    let Some(between) = repo.between(from, to) else { return Answer::not_found() };
    let diffs = between.files.iter().map(|(old, new)| {
        let (old, new) = (old.as_ref().or(new.as_ref()), new.as_ref().or(old.as_ref()));
        json!({"old_path": old, "new_path": new})
    });
    let commits = between.commits.iter().map(|id| json!({"id": id, "message": repo.commits[id].message}));
    let (diffs, commits): (Vec<_>, Vec<_>) = (diffs.collect(), commits.collect());
    Answer::Json(200, json!({"commits": commits, "diffs": diffs, "compare_timeout": false}))
}

fn merge_request(repo: &Repo, pull: &Pull) -> Value {
    json!({
        "iid": pull.number, "title": pull.title, "draft": false, "author": {"id": 7, "username": "ada"},
        "source_project_id": pull.source, "source_branch": pull.branch, "target_branch": pull.target,
        "target_project_id": repo.id, "sha": pull.commit, "updated_at": repo.changed_at(pull.number),
    })
}

/// GitLab refuses a state that is shown already.
fn add_status(repo: &mut Repo, ask: &Ask, commit: &str) -> Answer {
    let new = Status {
        commit: commit.to_owned(),
        context: ask.text("/name"),
        state: ask.text("/state"),
        description: ask.text("/description"),
        link: ask.text("/target_url"),
    };
    let of_it = repo.statuses.iter().rev().find(|one| one.commit == new.commit && one.context == new.context);
    if of_it.is_some_and(|old| old.state == new.state) {
        let words = "Cannot transition status via :run from :running (Reason(s): Status cannot transition)";
        return Answer::Json(400, json!({"message": words}));
    }
    repo.statuses.push(new);
    Answer::Json(201, json!({"id": 1}))
}

fn notes(repo: &mut Repo, ask: &Ask, new_id: u64, number: &str, path: &[&str]) -> Answer {
    let shown = |comment: &Comment| json!({"id": comment.id, "body": comment.text});
    match (ask.method.as_str(), path) {
        ("GET", []) => {
            let of_it = repo.comments.iter().filter(|comment| comment.number.to_string() == number);
            Answer::List(of_it.map(shown).collect(), None)
        }
        ("POST", []) => {
            let number = number.parse().unwrap_or_default();
            let comment = Comment { id: new_id, number, text: ask.text("/body") };
            let answer = Answer::Json(201, shown(&comment));
            repo.comments.push(comment);
            answer
        }
        ("PUT", [id]) => {
            let Some(comment) = repo.comments.iter_mut().find(|comment| comment.id.to_string() == *id) else {
                return Answer::not_found();
            };
            comment.text = ask.text("/body");
            Answer::Json(200, shown(comment))
        }
        _ => Answer::not_found(),
    }
}

fn hooks(repo: &mut Repo, ask: &Ask, new_id: u64, path: &[&str]) -> Answer {
    let shown = |hook: &Hook| {
        let id: u64 = hook.id.parse().unwrap_or_default();
        json!({"id": id, "url": hook.url, "alert_status": "executable"})
    };
    let kinds = ["push_events", "tag_push_events", "merge_requests_events"];
    let new = Hook {
        id: new_id.to_string(),
        url: ask.text("/url"),
        secret: ask.text("/token"),
        events: kinds.into_iter().filter(|kind| ask.body[*kind] == true).map(str::to_owned).collect(),
        active: ask.body["active"] != false,
        pings: 0,
    };
    let at = path.first().and_then(|id| repo.hooks.iter().position(|hook| hook.id == *id));
    match (ask.method.as_str(), path, at) {
        ("GET", [], _) => Answer::List(repo.hooks.iter().map(shown).collect(), None),
        ("POST", [], _) => {
            let answer = Answer::Json(201, shown(&new));
            repo.hooks.push(new);
            answer
        }
        ("PUT", [_], Some(at)) => {
            repo.hooks[at] = Hook { id: repo.hooks[at].id.clone(), ..new };
            Answer::Json(200, shown(&repo.hooks[at]))
        }
        ("DELETE", [_], Some(at)) => {
            repo.hooks.remove(at);
            Answer::Nothing
        }
        ("POST", [_, "test", "push_events"], Some(at)) => {
            repo.hooks[at].pings += 1;
            Answer::Json(201, json!({"message": "201 Created"}))
        }
        _ => Answer::not_found(),
    }
}

fn member(repo: &Repo, id: &str) -> Answer {
    match repo.rights.iter().find(|(known, _, _)| known.to_string() == id) {
        Some((id, name, right)) => {
            let level = match *right {
                "admin" => 40,
                "write" => 30,
                _ => 20,
            };
            Answer::Json(200, json!({"id": id, "username": name, "access_level": level, "state": "active"}))
        }
        None => Answer::not_found(),
    }
}
