//! A fake Bitbucket Cloud. Repositories and accounts have UUIDs, lists have `values` and `next`.

use serde_json::{Value, json};

use super::server::{Answer, Ask};
use super::state::{Comment, Hook, Pull, Repo, State, Status};

const VALUES: Option<&str> = Some("values");

/// The UUID of what has this number elsewhere.
pub(super) fn uuid(number: u64) -> String {
    format!("{{00000000-0000-4000-8000-{number:012x}}}")
}

pub(super) fn answer(state: &mut State, ask: &Ask) -> Answer {
    let (method, path) = ask.parts();
    let url = state.clones.clone().unwrap_or_else(|| state.url.replace("http://", "https://ada@"));
    let new_id = state.new_id();
    match (method, path.as_slice()) {
        ("GET", ["user", "workspaces"]) => {
            let mut slugs: Vec<&str> =
                state.repos.iter().filter_map(|repo| Some(repo.full_name.split_once('/')?.0)).collect();
            slugs.dedup();
            let places = slugs.into_iter().map(|slug| json!({"workspace": {"slug": slug}}));
            return Answer::List(places.collect(), VALUES);
        }
        ("GET", ["repositories", workspace]) => {
            let begin = format!("{workspace}/");
            let of_it = state.repos.iter().filter(|repo| repo.full_name.starts_with(&begin));
            return Answer::List(of_it.map(|repo| shown(&url, repo)).collect(), VALUES);
        }
        ("GET", ["workspaces", workspace, "permissions", "repositories", name]) => {
            let Some(repo) = state.repo(&format!("{workspace}/{name}")) else { return Answer::not_found() };
            let is_asked = |id: u64| ask.query["q"] == format!("user.uuid=\"{}\"", uuid(id));
            let rights = repo.rights.iter().filter(|(id, _, _)| is_asked(*id));
            return Answer::List(rights.map(|(_, _, right)| json!({"permission": right})).collect(), VALUES);
        }
        _ => {}
    }
    let ["repositories", workspace, name, rest @ ..] = path.as_slice() else { return Answer::not_found() };
    let Some(repo) = state.repo(&format!("{workspace}/{name}")) else { return Answer::not_found() };
    match (method, rest) {
        ("GET", []) => Answer::Json(200, shown(&url, repo)),
        ("GET", ["src", commit, file @ ..]) => match repo.file(commit, &file.join("/")) {
            Some(text) => Answer::Raw(text),
            None => Answer::not_found(),
        },
        ("GET", ["commit", name]) => match repo.find(name) {
            Some((id, commit)) => Answer::Json(200, json!({"hash": id, "message": commit.message})),
            None => Answer::not_found(),
        },
        ("GET", ["diffstat", range]) => diffstat(repo, range),
        ("GET", ["commits", after]) => commits(repo, after, &ask.query["exclude"]),
        ("GET", ["refs", "branches"]) => {
            let branches = repo.branches.iter();
            Answer::List(
                branches.map(|(name, id)| json!({"name": name, "target": {"hash": id}})).collect(),
                VALUES,
            )
        }
        ("GET", ["pullrequests", number, "diffstat"]) => match repo.pull_files(number) {
            Some(files) => sides(files),
            None => Answer::not_found(),
        },
        ("GET", ["pullrequests"]) => {
            Answer::List(repo.pulls.iter().map(|pull| pull_request(repo, pull)).collect(), VALUES)
        }
        ("POST", ["commit", commit, "statuses", "build"]) => add_status(repo, ask, commit),
        (_, ["pullrequests", number, "comments", rest @ ..]) => comments(repo, ask, new_id, number, rest),
        (_, ["hooks", rest @ ..]) => hooks(repo, ask, new_id, rest),
        _ => Answer::not_found(),
    }
}

fn shown(url: &str, repo: &Repo) -> Value {
    let name = &repo.full_name;
    let https = format!("{url}/{name}.git");
    json!({
        "uuid": uuid(repo.id), "full_name": name, "is_private": true, "mainbranch": {"name": "main"},
        "links": {"clone": [
            {"name": "https", "href": https}, {"name": "ssh", "href": format!("git@127.0.0.1:{name}.git")},
        ]},
    })
}

fn diffstat(repo: &Repo, range: &str) -> Answer {
    let Some(between) = range.split_once("..").and_then(|(to, from)| repo.between(from, to)) else {
        return Answer::not_found();
    };
    sides(between.files)
}

fn sides(files: Vec<(Option<String>, Option<String>)>) -> Answer {
    let side = |path: Option<String>| path.map(|path| json!({"path": path}));
    let files = files.into_iter().map(|(old, new)| json!({"old": side(old), "new": side(new)}));
    Answer::List(files.collect(), VALUES)
}

fn commits(repo: &Repo, after: &str, before: &str) -> Answer {
    let Some(between) = repo.between(before, after) else { return Answer::not_found() };
    let commits = between.commits.iter().rev();
    let commits = commits.map(|id| json!({"hash": id, "message": repo.commits[id].message}));
    Answer::List(commits.collect(), VALUES)
}

fn pull_request(repo: &Repo, pull: &Pull) -> Value {
    let source =
        pull.source.map(|id| json!({"uuid": uuid(id), "full_name": format!("someone/{}", repo.name())}));
    json!({
        "id": pull.number, "title": pull.title, "draft": false, "author": {"uuid": uuid(7), "nickname": "ada"},
        "updated_on": repo.changed_at(pull.number),
        "source": {"branch": {"name": pull.branch}, "commit": {"hash": pull.commit[..12]}, "repository": source},
        "destination": {
            "branch": {"name": pull.target},
            "repository": {"uuid": uuid(repo.id), "full_name": repo.full_name},
        },
    })
}

fn add_status(repo: &mut Repo, ask: &Ask, commit: &str) -> Answer {
    let key = ask.text("/key");
    if key.is_empty() || key.len() > 40 || ask.text("/url").is_empty() {
        return Answer::Json(400, json!({"type": "error", "error": {"message": "Bad request"}}));
    }
    repo.statuses.push(Status {
        commit: commit.to_owned(),
        context: ask.text("/name"),
        state: ask.text("/state"),
        description: ask.text("/description"),
        link: ask.text("/url"),
    });
    Answer::Json(201, json!({"key": key}))
}

fn comments(repo: &mut Repo, ask: &Ask, new_id: u64, number: &str, path: &[&str]) -> Answer {
    let shown =
        |comment: &Comment| json!({"id": comment.id, "content": {"raw": comment.text}, "deleted": false});
    match (ask.method.as_str(), path) {
        ("GET", []) => {
            let of_it = repo.comments.iter().filter(|comment| comment.number.to_string() == number);
            Answer::List(of_it.map(shown).collect(), VALUES)
        }
        ("POST", []) => {
            let number = number.parse().unwrap_or_default();
            let comment = Comment { id: new_id, number, text: ask.text("/content/raw") };
            let answer = Answer::Json(201, shown(&comment));
            repo.comments.push(comment);
            answer
        }
        ("PUT", [id]) => {
            let Some(comment) = repo.comments.iter_mut().find(|comment| comment.id.to_string() == *id) else {
                return Answer::not_found();
            };
            comment.text = ask.text("/content/raw");
            Answer::Json(200, shown(comment))
        }
        _ => Answer::not_found(),
    }
}

fn hooks(repo: &mut Repo, ask: &Ask, new_id: u64, path: &[&str]) -> Answer {
    let shown = |hook: &Hook| json!({"uuid": hook.id, "url": hook.url, "active": hook.active});
    let events = ask.body["events"].as_array().into_iter().flatten();
    let new = Hook {
        id: uuid(new_id),
        url: ask.text("/url"),
        secret: ask.text("/secret"),
        events: events.filter_map(|event| event.as_str().map(str::to_owned)).collect(),
        active: ask.body["active"] != false,
        pings: 0,
    };
    let at = path.first().and_then(|id| repo.hooks.iter().position(|hook| hook.id == *id));
    match (ask.method.as_str(), path, at) {
        ("GET", [], _) => Answer::List(repo.hooks.iter().map(shown).collect(), VALUES),
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
        _ => Answer::not_found(),
    }
}
