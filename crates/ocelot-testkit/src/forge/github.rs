//! A fake GitHub.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::server::{Answer, Ask};
use super::state::{Comment, Hook, Pull, Repo, State, Status};

/// What the App asks for itself.
pub(super) fn app(state: &mut State, ask: &Ask, auth: &str) -> Answer {
    let jwt = auth.strip_prefix("Bearer ").unwrap_or_default();
    let Some(app) = state.app.clone().filter(|app| is_signed(&app.id, &app.public_key, jwt)) else {
        return Answer::Json(401, json!({"message": "A JSON web token could not be decoded"}));
    };
    match ask.parts() {
        ("GET", path) if path == ["app", "installations"] => {
            let places = state.installations.iter();
            let places =
                places.map(|(id, login)| json!({"id": id, "app_id": app.id, "account": {"login": login}}));
            Answer::List(places.collect(), None)
        }
        ("POST", path) if path.len() == 4 && path[3] == "access_tokens" => {
            let found = state.installations.iter().find(|(id, _)| id.to_string() == path[2]);
            let Some((_, login)) = found.cloned() else { return Answer::not_found() };
            let token = format!("ghs-{}", state.new_id());
            state.tokens.push((token.clone(), login));
            Answer::Json(201, json!({"token": token, "expires_at": "2999-01-01T00:00:00Z"}))
        }
        _ => Answer::not_found(),
    }
}

/// The files of a pull request.
pub(super) fn pull_files(repo: &Repo, number: &str) -> Answer {
    let Some(files) = repo.pull_files(number) else { return Answer::not_found() };
    let file = |(old, new): (Option<String>, Option<String>)| match (old, new) {
        (Some(old), Some(new)) if old != new => json!({"filename": new, "previous_filename": old}),
        (old, new) => json!({"filename": new.or(old)}),
    };
    Answer::List(files.into_iter().map(file).collect(), None)
}

fn is_signed(app: &str, public_key: &str, jwt: &str) -> bool {
    let key = DecodingKey::from_rsa_pem(public_key.as_bytes()).expect("a public key");
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&[app]);
    let claims = jsonwebtoken::decode::<Value>(jwt, &key, &rules);
    claims.is_ok_and(|token| {
        let number = |name: &str| token.claims[name].as_i64().unwrap_or_default();
        (1..=600).contains(&(number("exp") - number("iat")))
    })
}

pub(super) fn answer(state: &mut State, ask: &Ask) -> Answer {
    let (method, path) = ask.parts();
    let url = state.clones.clone().unwrap_or_else(|| state.url.clone());
    let new_id = state.new_id();
    let is_reached =
        |repo: &&Repo| ask.owner.is_empty() || repo.full_name.starts_with(&format!("{}/", ask.owner));
    if let ("GET", ["user", "repos"] | ["installation", "repositories"]) = (method, path.as_slice()) {
        let key = (path[0] == "installation").then_some("repositories");
        return Answer::List(
            state.repos.iter().filter(is_reached).map(|repo| shown(&url, repo)).collect(),
            key,
        );
    }
    let ["repos", owner, name, rest @ ..] = path.as_slice() else { return Answer::not_found() };
    let full_name = format!("{owner}/{name}");
    let Some(repo) = state.repo(&full_name).filter(|repo| is_reached(&&**repo)) else {
        return Answer::not_found();
    };
    match (method, rest) {
        ("GET", []) => Answer::Json(200, shown(&url, repo)),
        ("GET", ["contents", file @ ..]) => match repo.file(&ask.query["ref"], &file.join("/")) {
            Some(text) => Answer::Raw(text),
            None => Answer::not_found(),
        },
        ("GET", ["commits", name]) => match repo.find(name) {
            Some((id, _)) => Answer::Raw(id.clone()),
            None => Answer::Json(422, json!({"message": format!("No commit found for SHA: {name}")})),
        },
        ("GET", ["compare", range]) => compare(repo, range),
        ("GET", ["pulls", number, "files"]) => pull_files(repo, number),
        ("GET", ["branches"]) => {
            let branches = repo.branches.iter();
            Answer::List(
                branches.map(|(name, id)| json!({"name": name, "commit": {"sha": id}})).collect(),
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

pub(super) fn shown(url: &str, repo: &Repo) -> Value {
    json!({
        "id": repo.id, "full_name": repo.full_name, "name": repo.name(), "private": true, "default_branch": "main",
        "clone_url": format!("{url}/{}.git", repo.full_name),
        "ssh_url": format!("git@127.0.0.1:{}.git", repo.full_name),
    })
}

fn compare(repo: &Repo, range: &str) -> Answer {
    let Some(between) = range.split_once("...").and_then(|(from, to)| repo.between(from, to)) else {
        return Answer::not_found();
    };
    let files = between.files.iter().map(|(old, new)| match (old, new) {
        (Some(old), Some(new)) if old != new => json!({"filename": new, "previous_filename": old}),
        (old, new) => json!({"filename": new.as_ref().or(old.as_ref())}),
    });
    let commits = between.commits.iter();
    let commits: Vec<Value> =
        commits.map(|id| json!({"sha": id, "commit": {"message": repo.commits[id].message}})).collect();
    Answer::Json(
        200,
        json!({"total_commits": commits.len(), "commits": commits, "files": files.collect::<Vec<_>>()}),
    )
}

/// Also Gitea's form.
pub(super) fn pull_request(repo: &Repo, pull: &Pull) -> Value {
    let source = pull.source.map(|id| json!({"id": id, "full_name": format!("someone/{}", repo.name())}));
    json!({
        "number": pull.number, "title": pull.title, "draft": false, "user": {"id": 7, "login": "ada"},
        "updated_at": repo.changed_at(pull.number),
        "head": {"ref": pull.branch, "sha": pull.commit, "repo": source},
        "base": {
            "ref": pull.target, "sha": "0".repeat(40), "repo": {"id": repo.id, "full_name": repo.full_name},
        },
    })
}

/// Also Gitea's form.
pub(super) fn add_status(repo: &mut Repo, ask: &Ask, commit: &str) -> Answer {
    repo.statuses.push(Status {
        commit: commit.to_owned(),
        context: ask.text("/context"),
        state: ask.text("/state"),
        description: ask.text("/description"),
        link: ask.text("/target_url"),
    });
    Answer::Json(201, json!({"id": 1}))
}

/// Also Gitea's form.
pub(super) fn comments(repo: &mut Repo, ask: &Ask, new_id: u64, path: &[&str]) -> Answer {
    let shown = |comment: &Comment| json!({"id": comment.id, "body": comment.text});
    match (ask.method.as_str(), path) {
        ("GET", ["issues", number, "comments"]) => {
            let of_it = repo.comments.iter().filter(|comment| comment.number.to_string() == *number);
            Answer::List(of_it.map(shown).collect(), None)
        }
        ("POST", ["issues", number, "comments"]) => {
            let number = number.parse().unwrap_or_default();
            let comment = Comment { id: new_id, number, text: ask.text("/body") };
            let answer = Answer::Json(201, shown(&comment));
            repo.comments.push(comment);
            answer
        }
        ("PATCH", ["issues", "comments", id]) => {
            let Some(comment) = repo.comments.iter_mut().find(|comment| comment.id.to_string() == *id) else {
                return Answer::not_found();
            };
            comment.text = ask.text("/body");
            Answer::Json(200, shown(comment))
        }
        _ => Answer::not_found(),
    }
}

/// Also Gitea's form.
pub(super) fn hooks(repo: &mut Repo, ask: &Ask, new_id: u64, path: &[&str]) -> Answer {
    let shown = |hook: &Hook| {
        let id: u64 = hook.id.parse().unwrap_or_default();
        json!({"id": id, "active": hook.active, "events": hook.events, "config": {"url": hook.url, "content_type": "json"}})
    };
    let events = ask.body["events"].as_array().into_iter().flatten();
    let new = Hook {
        id: new_id.to_string(),
        url: ask.text("/config/url"),
        secret: ask.text("/config/secret"),
        events: events.filter_map(|event| event.as_str().map(str::to_owned)).collect(),
        active: ask.body["active"] != false,
        pings: 0,
    };
    let at = |id: &str| repo.hooks.iter().position(|hook| hook.id == id);
    match (ask.method.as_str(), path) {
        ("GET", []) => Answer::List(repo.hooks.iter().map(shown).collect(), None),
        ("POST", []) if ask.text("/config/content_type") == "json" => {
            let answer = Answer::Json(201, shown(&new));
            repo.hooks.push(new);
            answer
        }
        ("PATCH" | "DELETE" | "POST", [id, ..]) => {
            let Some(at) = at(id) else { return Answer::not_found() };
            match (ask.method.as_str(), &path[1..]) {
                ("PATCH", []) => {
                    repo.hooks[at] = Hook { id: repo.hooks[at].id.clone(), ..new };
                    Answer::Json(200, shown(&repo.hooks[at]))
                }
                ("DELETE", []) => {
                    repo.hooks.remove(at);
                    Answer::Nothing
                }
                ("POST", ["pings" | "tests"]) => {
                    repo.hooks[at].pings += 1;
                    Answer::Nothing
                }
                _ => Answer::not_found(),
            }
        }
        _ => Answer::not_found(),
    }
}

/// Also Gitea's form.
pub(super) fn right(repo: &Repo, name: &str) -> Answer {
    match repo.rights.iter().find(|(_, known, _)| known == name) {
        Some((id, login, right)) => {
            Answer::Json(200, json!({"permission": right, "user": {"id": id, "login": login}}))
        }
        None => Answer::not_found(),
    }
}
