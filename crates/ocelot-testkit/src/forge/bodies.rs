//! Bodies of webhooks, made by hand: what is read of the real ones, and an address that must never be used.

use ocelot_model::ForgeKind;
use serde_json::{Value, json};

use super::bitbucket::uuid;
use super::hooks::{Scene, Told};

/// Nobody may ever clone from here.
const TRAP: &str = "http://169.254.169.254/acme/app.git";

fn zero() -> String {
    "0".repeat(40)
}

/// What stands for an annotated tag, whose own id is not the commit's.
fn tag_object() -> String {
    "7a".repeat(20)
}

pub(super) fn github(kind: ForgeKind, told: Told, scene: &Scene) -> Option<(&'static str, Value)> {
    let is_gitea = kind == ForgeKind::Gitea;
    let repository =
        json!({"id": scene.repo, "full_name": scene.full_name, "clone_url": TRAP, "ssh_url": TRAP});
    let sender = json!({"id": scene.sender.0, "login": scene.sender.1});
    let newest =
        json!({"id": scene.after, "message": scene.message, "author": {"name": "Ada", "email": "a@h"}});
    let push = |name: String, before: &str, after: &str, newest: Value| {
        let body = json!({
            "ref": name, "before": before, "after": after, "repository": repository, "sender": sender,
            "head_commit": newest, "commits": [], "pusher": {"name": "ada"},
        });
        Some(("push", body))
    };
    let (branch, tag) = (format!("refs/heads/{}", scene.name), format!("refs/tags/{}", scene.name));
    let pull = |action: &str, more: Value| {
        let mut body = json!({
            "action": action, "number": scene.number, "repository": repository, "sender": sender,
            "pull_request": pull(scene, told == Told::PullRequestMerged),
        });
        merge(&mut body, more);
        Some(("pull_request", body))
    };
    match told {
        Told::BranchCreated => push(branch, &zero(), &scene.after, newest),
        Told::BranchPushed => push(branch, &scene.before, &scene.after, newest),
        Told::BranchDeleted if is_gitea => {
            let body = json!({
                "ref": scene.name, "ref_type": "branch", "pusher_type": "user",
                "repository": repository, "sender": sender,
            });
            Some(("delete", body))
        }
        Told::BranchDeleted => push(branch, &scene.before, &zero(), Value::Null),
        Told::TagCreated => push(tag, &zero(), &tag_object(), newest),
        Told::TagDeleted => push(tag, &scene.before, &zero(), Value::Null),
        Told::PullRequestOpened => pull("opened", json!({})),
        Told::PullRequestUpdated if is_gitea => pull("synchronized", json!({})),
        Told::PullRequestUpdated => {
            pull("synchronize", json!({"before": scene.before, "after": scene.after}))
        }
        Told::PullRequestClosed | Told::PullRequestMerged => pull("closed", json!({})),
        Told::PullRequestReopened => pull("reopened", json!({})),
        Told::PullRequestRetargeted if is_gitea => {
            pull("edited", json!({"changes": {"ref": {"from": "develop"}}}))
        }
        Told::PullRequestRetargeted => pull(
            "edited",
            json!({"changes": {"base": {"ref": {"from": "develop"}, "sha": {"from": scene.before}}}}),
        ),
        Told::PullRequestTitleEdited => pull("edited", json!({"changes": {"title": {"from": "Old"}}})),
        Told::PullRequestLabeled if is_gitea => pull("label_updated", json!({})),
        Told::PullRequestLabeled => pull("labeled", json!({"label": {"name": "bug"}})),
        Told::MergeGroupWanted | Told::MergeGroupGone if is_gitea => None,
        Told::MergeGroupWanted => {
            Some(("merge_group", merge_group("checks_requested", scene, &repository, &sender)))
        }
        Told::MergeGroupGone => Some(("merge_group", merge_group("destroyed", scene, &repository, &sender))),
        Told::Ping if is_gitea => None,
        Told::Ping => {
            Some(("ping", json!({"zen": "Keep it simple.", "hook_id": 1, "repository": repository})))
        }
        Told::Star => {
            Some(("star", json!({"action": "created", "repository": repository, "sender": sender})))
        }
    }
}

fn pull(scene: &Scene, merged: bool) -> Value {
    let source = scene.source.map(|id| json!({"id": id, "full_name": "someone/app", "clone_url": TRAP}));
    json!({
        "number": scene.number, "title": scene.title, "draft": false, "merged": merged,
        "user": {"id": scene.sender.0, "login": scene.sender.1}, "updated_at": "2026-01-02T03:04:05Z",
        "head": {"ref": scene.name, "sha": scene.after, "repo": source},
        "base": {
            "ref": scene.target, "sha": scene.before,
            "repo": {"id": scene.repo, "full_name": scene.full_name, "clone_url": TRAP},
        },
    })
}

fn merge_group(action: &str, scene: &Scene, repository: &Value, sender: &Value) -> Value {
    json!({
        "action": action, "repository": repository, "sender": sender,
        "merge_group": {
            "head_sha": scene.after, "head_ref": format!("refs/heads/gh-readonly-queue/{}/pr-3", scene.target),
            "base_sha": scene.before, "base_ref": format!("refs/heads/{}", scene.target),
            "head_commit": {"id": scene.after, "message": scene.message, "author": {"name": "Ada"}},
        },
    })
}

pub(super) fn gitlab(told: Told, scene: &Scene) -> Option<(&'static str, Value)> {
    let project = json!({"id": scene.repo, "path_with_namespace": scene.full_name, "git_http_url": TRAP});
    let push = |kind: &str, name: String, before: &str, after: &str, checkout: Value| {
        let newest =
            json!({"id": scene.after, "message": scene.message, "author": {"name": "Ada", "email": "a@h"}});
        let commits = if checkout.is_null() { json!([]) } else { json!([newest]) };
        json!({
            "object_kind": kind, "event_name": kind, "before": before, "after": after, "ref": name,
            "checkout_sha": checkout, "user_id": scene.sender.0, "user_username": scene.sender.1,
            "project_id": scene.repo, "project": project, "commits": commits, "total_commits_count": 1,
        })
    };
    let (branch, tag) = (format!("refs/heads/{}", scene.name), format!("refs/tags/{}", scene.name));
    let request = |action: &str, attributes: Value, changes: Value| {
        let mut body = json!({
            "object_kind": "merge_request", "event_type": "merge_request", "project": project,
            "user": {"id": scene.sender.0, "username": scene.sender.1},
            "changes": changes,
            "object_attributes": {
                "iid": scene.number, "action": action, "title": scene.title, "draft": false,
                "author_id": scene.sender.0, "source_project_id": scene.source, "target_project_id": scene.repo,
                "source_branch": scene.name, "target_branch": scene.target,
                "source": scene.source.map(|_| json!({"path_with_namespace": "someone/app", "git_http_url": TRAP})),
                "last_commit": {"id": scene.after, "message": scene.message},
                "updated_at": "2026-01-02 03:04:05 UTC",
            },
        });
        merge(&mut body["object_attributes"], attributes);
        Some(("Merge Request Hook", body))
    };
    let from_to = json!({"previous": "old", "current": "new"});
    match told {
        Told::BranchCreated => {
            let body = push("push", branch, &zero(), &scene.after, json!(scene.after));
            Some(("Push Hook", body))
        }
        Told::BranchPushed => {
            Some(("Push Hook", push("push", branch, &scene.before, &scene.after, json!(scene.after))))
        }
        Told::BranchDeleted => Some(("Push Hook", push("push", branch, &scene.before, &zero(), Value::Null))),
        Told::TagCreated => {
            let body = push("tag_push", tag, &zero(), &tag_object(), json!(scene.after));
            Some(("Tag Push Hook", body))
        }
        Told::TagDeleted => {
            Some(("Tag Push Hook", push("tag_push", tag, &scene.before, &zero(), Value::Null)))
        }
        Told::PullRequestOpened => request("open", json!({}), json!({})),
        Told::PullRequestUpdated => request("update", json!({"oldrev": scene.before}), json!({})),
        Told::PullRequestClosed => request("close", json!({}), json!({})),
        Told::PullRequestMerged => request("merge", json!({}), json!({})),
        Told::PullRequestReopened => request("reopen", json!({}), json!({})),
        Told::PullRequestRetargeted => request("update", json!({}), json!({"target_branch": from_to})),
        Told::PullRequestTitleEdited => request("update", json!({}), json!({"title": from_to})),
        Told::PullRequestLabeled => {
            request("update", json!({}), json!({"labels": {"previous": [], "current": []}}))
        }
        Told::MergeGroupWanted | Told::MergeGroupGone | Told::Ping => None,
        Told::Star => Some(("Emoji Hook", json!({"object_kind": "emoji", "project": project}))),
    }
}

pub(super) fn bitbucket(told: Told, scene: &Scene) -> Option<(&'static str, Value)> {
    let links = json!({"clone": [{"name": "https", "href": TRAP}]});
    let repository = json!({"uuid": uuid(scene.repo), "full_name": scene.full_name, "links": links});
    let actor = json!({"uuid": uuid(scene.sender.0), "nickname": scene.sender.1});
    let at = |kind: &str, commit: &str| {
        json!({"type": kind, "name": scene.name, "target": {
            "hash": commit, "message": scene.message, "author": {"raw": "Ada <ada@example.org>"},
        }})
    };
    let push = |old: Value, new: Value| {
        let change = json!({"old": old, "new": new, "truncated": false});
        Some(("repo:push", json!({"actor": actor, "repository": repository, "push": {"changes": [change]}})))
    };
    let pull = |event: &'static str| {
        let source =
            scene.source.map(|id| json!({"uuid": uuid(id), "full_name": "someone/app", "links": links}));
        let body = json!({
            "actor": actor, "repository": repository,
            "pullrequest": {
                "id": scene.number, "title": scene.title, "draft": false, "author": actor,
                "updated_on": "2026-01-02T03:04:05Z",
                "source": {
                    "branch": {"name": scene.name}, "commit": {"hash": scene.after[..12]}, "repository": source,
                },
                "destination": {
                    "branch": {"name": scene.target}, "commit": {"hash": scene.before[..12]},
                    "repository": repository,
                },
            },
        });
        Some((event, body))
    };
    match told {
        Told::BranchCreated => push(Value::Null, at("branch", &scene.after)),
        Told::BranchPushed => push(at("branch", &scene.before), at("branch", &scene.after)),
        Told::BranchDeleted => push(at("branch", &scene.before), Value::Null),
        Told::TagCreated => push(Value::Null, at("tag", &scene.after)),
        Told::TagDeleted => push(at("tag", &scene.before), Value::Null),
        Told::PullRequestOpened => pull("pullrequest:created"),
        Told::PullRequestUpdated | Told::PullRequestRetargeted | Told::PullRequestTitleEdited => {
            pull("pullrequest:updated")
        }
        Told::PullRequestClosed => pull("pullrequest:rejected"),
        Told::PullRequestMerged => pull("pullrequest:fulfilled"),
        Told::PullRequestReopened
        | Told::PullRequestLabeled
        | Told::MergeGroupWanted
        | Told::MergeGroupGone => None,
        Told::Ping => Some(("diagnostics:ping", json!({"test": true}))),
        Told::Star => Some(("repo:fork", json!({"actor": actor, "repository": repository}))),
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}
