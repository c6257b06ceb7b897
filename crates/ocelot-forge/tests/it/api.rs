//! Every question to every forge, asked of one that remembers.

use std::time::Duration;

use ocelot_forge::{Access, ApiError, Changes, CommitStatus, Forge, NewWebhook, Permission, Settings};
use ocelot_model::event::CommitId;
use ocelot_model::forge::{Account, RemoteName};
use ocelot_model::{ForgeKind, RemoteId, Status};
use ocelot_testkit::FakeForge;
use ocelot_testkit::forge::{Pull, TOKEN};

use crate::webhooks::FORGES;

pub(crate) const REPO: &str = "acme/app";

pub(crate) fn with(fake: &FakeForge, access: Access) -> Forge {
    let settings = Settings { base_url: fake.url(), ..Settings::new(fake.kind(), access) };
    Forge::new(settings).unwrap()
}

/// A fake forge with one repository, and who asks it.
pub(crate) async fn start(kind: ForgeKind) -> (FakeForge, Forge) {
    let fake = FakeForge::start(kind).await;
    fake.add_repo(11, REPO);
    let forge = with(&fake, Access::Token(TOKEN.into()));
    (fake, forge)
}

/// The account or repository that has this number elsewhere.
pub(crate) fn id(kind: ForgeKind, number: u64) -> RemoteId {
    match kind {
        ForgeKind::Bitbucket => RemoteId::new(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap(),
        _ => number.into(),
    }
}

#[tokio::test]
async fn a_repository_is_found_by_its_name() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let repo = forge.repo(REPO).await.unwrap();
        assert_eq!(repo.name, RemoteName { id: Some(id(kind, 11)), full_name: REPO.into() });
        assert_eq!(repo.default_branch.as_deref(), Some("main"));
        assert!(repo.private);
        let scheme = if kind == ForgeKind::Bitbucket { "https" } else { "http" };
        let host = fake.url().replace("http://", "");
        assert_eq!(repo.clone_https, format!("{scheme}://{host}/acme/app.git"), "{kind}");
        assert_eq!(repo.clone_ssh, "git@127.0.0.1:acme/app.git");
    }
}

#[tokio::test]
async fn the_repositories_of_an_account_are_listed_over_all_pages() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.pages_of(2);
        for number in 0..5 {
            fake.add_repo(20 + number, &format!("acme/lib{number}"));
        }
        fake.add_repo(30, "acme2/other");
        let all = forge.repos(None).await.unwrap();
        assert_eq!((all.items.len(), all.cut), (7, false), "{kind}");
        let one = forge.repos(Some("acme")).await.unwrap();
        assert_eq!(one.items.len(), 6, "{kind}");
        assert!(one.items.iter().all(|repo| repo.name.full_name.starts_with("acme/")));
    }
}

#[tokio::test]
async fn a_file_is_read_at_a_commit() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let first = fake.commit(REPO, "main", "one", &[("ocelot.yml", Some("image: a\n"))]);
        let second = fake.commit(REPO, "main", "two", &[("ocelot.yml", None), ("a dir/b#?.txt", Some("é"))]);
        let file = forge.file(REPO, &first, "ocelot.yml").await.unwrap();
        assert_eq!(file.as_deref(), Some(&b"image: a\n"[..]), "{kind}");
        assert_eq!(forge.file(REPO, &second, "ocelot.yml").await, Ok(None), "{kind}");
        let odd = forge.file(REPO, &second, "a dir/b#?.txt").await.unwrap();
        assert_eq!(odd.as_deref(), Some("é".as_bytes()), "{kind}");
    }
}

#[tokio::test]
async fn a_file_of_what_is_not_there_is_an_error_and_not_an_absent_file() {
    for kind in FORGES {
        let (_fake, forge) = start(kind).await;
        for (repo, commit) in [(REPO, "c".repeat(40)), ("acme/none", "a".repeat(40))] {
            let got = forge.file(repo, &commit, "ocelot.yml").await;
            assert!(matches!(got, Err(ocelot_forge::ApiError::NotFound(_))), "{kind}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_large_file_is_read_to_its_limit() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let text = "x".repeat(300 << 10);
        let commit = fake.commit(REPO, "main", "one", &[("ocelot.yml", Some(&text))]);
        let file = forge.file(REPO, &commit, "ocelot.yml").await.unwrap().unwrap();
        assert_eq!(file.len(), ocelot_forge::git::FILE_MAX + 1, "{kind}");
    }
}

#[tokio::test]
async fn the_beginning_of_an_id_is_made_whole() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let commit = fake.commit(REPO, "main", "one", &[]);
        assert_eq!(forge.resolve(REPO, &commit[..12]).await, Ok(Some(commit.clone())), "{kind}");
        assert_eq!(forge.resolve(REPO, &"c".repeat(12)).await, Ok(None), "{kind}");
        // A branch of this name is another thing.
        fake.branch(REPO, "deadbeef0000", &commit);
        assert_eq!(forge.resolve(REPO, "deadbeef0000").await, Ok(None), "{kind}");
    }
}

#[tokio::test]
async fn files_and_messages_between_two_commits() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let first =
            fake.commit(REPO, "main", "one", &[("a", Some("1")), ("b", Some("2")), ("old", Some("3"))]);
        fake.commit(REPO, "main", "two\n\nmore", &[("a", Some("11"))]);
        let last = fake.commit(REPO, "main", "three", &[("b", None), ("old", None), ("new", Some("3"))]);
        let mut changes = forge.changes(REPO, &first, &last).await.unwrap();
        changes.files.sort();
        changes.messages.sort();
        let words = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let (files, messages) = (words(&["a", "b", "new", "old"]), words(&["three", "two\n\nmore"]));
        assert_eq!(changes, Changes { files, messages, cut: false }, "{kind}");
    }
}

#[tokio::test]
async fn the_files_of_a_pull_request() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.pages_of(2);
        let base =
            fake.commit(REPO, "main", "one", &[("a", Some("1")), ("b", Some("2")), ("old", Some("3"))]);
        fake.branch(REPO, "topic", &base);
        fake.commit(REPO, "main", "elsewhere", &[("c", Some("1"))]);
        let commit = fake.commit(
            REPO,
            "topic",
            "two",
            &[("a", Some("11")), ("b", None), ("old", None), ("new", Some("3"))],
        );
        let (title, branch, target) = ("A change".into(), "topic".into(), "main".into());
        fake.open(REPO, Pull { number: 3, title, source: Some(12), branch, commit, target });
        let mut files = forge.pull_request_files(REPO, 3).await.unwrap();
        files.items.sort();
        assert_eq!(
            (files.items, files.cut),
            (["a", "b", "new", "old"].map(str::to_owned).to_vec(), false),
            "{kind}"
        );
        assert!(matches!(forge.pull_request_files(REPO, 4).await, Err(ApiError::NotFound(_))), "{kind}");
    }
}

#[tokio::test]
async fn more_than_a_listing_holds_is_said_to_be_cut() {
    let (fake, forge) = start(ForgeKind::Github).await;
    let first = fake.commit(REPO, "main", "one", &[]);
    let names: Vec<String> = (0..300).map(|number| format!("file{number}")).collect();
    let files: Vec<(&str, Option<&str>)> = names.iter().map(|name| (name.as_str(), Some("x"))).collect();
    let last = fake.commit(REPO, "main", "two", &files);
    assert!(forge.changes(REPO, &first, &last).await.unwrap().cut, "GitHub lists 300 files and no more");
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.pages_of(1);
        let commit = fake.commit(REPO, "main", "one", &[]);
        for number in 0..40 {
            fake.branch(REPO, &format!("branch{number}"), &commit);
        }
        let branches = forge.branches(REPO).await.unwrap();
        assert_eq!((branches.items.len(), branches.cut), (30, true), "{kind}");
    }
}

#[tokio::test]
async fn branches_and_open_pull_requests() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.pages_of(1);
        let main = fake.commit(REPO, "main", "one", &[]);
        let topic = fake.commit(REPO, "feature/a b", "two", &[]);
        let branches = forge.branches(REPO).await.unwrap();
        let got: Vec<(&str, &str)> =
            branches.items.iter().map(|branch| (branch.name.as_str(), branch.commit.as_str())).collect();
        assert_eq!(got, [("feature/a b", topic.as_str()), ("main", main.as_str())], "{kind}");
        for (number, source) in [(3, Some(11)), (4, Some(12)), (5, None)] {
            let pull = Pull {
                number,
                title: "A change".into(),
                source,
                branch: "feature/a b".into(),
                commit: topic.clone(),
                target: "main".into(),
            };
            fake.open(REPO, pull);
        }
        let repo = forge.repo(REPO).await.unwrap().name;
        let pulls = forge.pull_requests(&repo).await.unwrap();
        let forks: Vec<(u64, bool)> =
            pulls.items.iter().map(|pull| (pull.number, pull.is_from_fork())).collect();
        assert_eq!((forks, pulls.cut), (vec![(3, false), (4, true), (5, true)], false), "{kind}");
        let first = &pulls.items[0];
        let commit = CommitId::new(if kind == ForgeKind::Bitbucket { &topic[..12] } else { &topic }).unwrap();
        assert_eq!((&first.commit, first.source_branch.as_str()), (&commit, "feature/a b"), "{kind}");
        assert_eq!(first.author, Some(Account { id: id(kind, 7), name: "ada".into() }), "{kind}");
    }
}

#[tokio::test]
async fn a_status_is_shown_in_the_words_of_the_forge() {
    // GitHub, GitLab, Bitbucket, Gitea.
    let words = [
        (Status::Blocked, ["pending", "pending", "INPROGRESS", "pending"]),
        (Status::Queued, ["pending", "pending", "INPROGRESS", "pending"]),
        (Status::Running, ["pending", "running", "INPROGRESS", "pending"]),
        (Status::Passed, ["success", "success", "SUCCESSFUL", "success"]),
        (Status::Failed, ["failure", "failed", "FAILED", "failure"]),
        (Status::Error, ["error", "failed", "FAILED", "error"]),
        (Status::TimedOut, ["error", "failed", "FAILED", "error"]),
        (Status::Cancelled, ["error", "canceled", "STOPPED", "error"]),
        (Status::Skipped, ["success", "success", "SUCCESSFUL", "success"]),
    ];
    for (at, kind) in FORGES.into_iter().enumerate() {
        let (fake, forge) = start(kind).await;
        let commit = fake.commit(REPO, "main", "one", &[]);
        let description = "é".repeat(1000);
        for (number, (status, _)) in words.iter().enumerate() {
            let context = format!("ocelot/a job with a name of more than forty characters {number}");
            let link = "https://ci.example.org/builds/1";
            let status = CommitStatus {
                commit: &commit,
                status: *status,
                context: &context,
                description: &description,
                link,
            };
            forge.set_status(REPO, status).await.unwrap();
            // Told twice is as good.
            forge.set_status(REPO, status).await.unwrap();
        }
        let shown = fake.statuses(REPO);
        for (number, (status, words)) in words.iter().enumerate() {
            let end = format!(" {number}");
            let of_it: Vec<_> = shown.iter().filter(|one| one.context.ends_with(&end)).collect();
            assert!(
                !of_it.is_empty() && of_it.iter().all(|one| one.state == words[at]),
                "{kind} {status}: {of_it:?}"
            );
        }
        let room = if kind == ForgeKind::Github { 140 } else { 255 };
        assert!(
            shown.iter().all(|one| one.commit == commit && one.description.chars().count() == room),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn there_is_one_comment_and_it_is_edited() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.pages_of(2);
        for number in 0..5 {
            fake.say(REPO, 3, &format!("a person's words {number}"));
        }
        forge.comment(REPO, 3, "k7x", "running").await.unwrap();
        forge.comment(REPO, 3, "k7x", "passed").await.unwrap();
        forge.comment(REPO, 3, "k7x", "passed").await.unwrap();
        forge.comment(REPO, 4, "k8y", "failed").await.unwrap();
        let comments = fake.comments(REPO, 3);
        assert_eq!(comments.len(), 6, "{kind}: {comments:?}");
        assert!(comments[5].starts_with("passed\n"), "{kind}: {comments:?}");
        assert_eq!(fake.comments(REPO, 4).len(), 1, "{kind}");
        let writes = fake.requests().iter().filter(|request| !request.starts_with("GET")).count();
        assert_eq!(writes, 3, "{kind}: equal words are not written again");
    }
}

#[tokio::test]
async fn a_webhook_is_made_once_and_removed() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let url = "https://ci.example.org/hooks/forge/1";
        let (one, two) = ("first".into(), "second".into());
        let first = forge.watch(REPO, NewWebhook { url, secret: &one }).await.unwrap();
        let other = NewWebhook { url: "https://other.example.org/", secret: &one };
        forge.watch(REPO, other).await.unwrap();
        let again = forge.watch(REPO, NewWebhook { url, secret: &two }).await.unwrap();
        assert_eq!(first, again, "{kind}");
        let hooks = fake.hooks(REPO);
        assert_eq!(hooks.len(), 2, "{kind}: {hooks:?}");
        assert_eq!((hooks[0].url.as_str(), hooks[0].secret.as_str()), (url, "second"), "{kind}");
        assert!(hooks[0].events.len() >= 3, "{kind}: {:?}", hooks[0].events);
        let listed = forge.webhooks(REPO).await.unwrap();
        assert!(listed.items.iter().any(|hook| hook.url == url && hook.active), "{kind}");
        let can_ping = kind != ForgeKind::Bitbucket;
        assert_eq!(forge.ping(REPO, &first).await, Ok(can_ping), "{kind}");
        assert_eq!(fake.hooks(REPO)[0].pings, usize::from(can_ping), "{kind}");
        assert_eq!(forge.unwatch(REPO, url).await, Ok(1), "{kind}");
        assert_eq!(forge.unwatch(REPO, url).await, Ok(0), "{kind}");
        assert_eq!(fake.hooks(REPO).len(), 1, "{kind}");
    }
}

#[tokio::test]
async fn rights_belong_to_numbers_and_not_to_names() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.allow(REPO, 7, "ada", "write");
        fake.allow(REPO, 8, "root", "admin");
        let right = async |number, name: &str| {
            let account = Account { id: id(kind, number), name: name.into() };
            forge.permission(REPO, &account).await.unwrap()
        };
        assert_eq!(right(7, "ada").await, Permission::Write, "{kind}");
        assert_eq!(right(8, "root").await, Permission::Admin, "{kind}");
        assert_eq!(right(9, "nobody").await, Permission::None, "{kind}");
        // Another account that took the name.
        assert_eq!(right(9, "ada").await, Permission::None, "{kind}");
    }
}

#[test]
fn an_address_or_credentials_that_cannot_be_are_refused_at_once() {
    let token = || Access::Token("t".into());
    let app = || Access::App { id: "1".into(), key: "no key".into() };
    let password = || Access::Password { user: "ada".into(), password: "p".into() };
    let check = |kind, url: &str, access, want: &str| {
        let settings = Settings { base_url: url.into(), ..Settings::new(kind, access) };
        let words =
            Forge::new(Settings { time: Duration::from_secs(1), ..settings }).unwrap_err().to_string();
        assert!(words.contains(want), "{words}");
    };
    check(ForgeKind::Gitea, "git.example.org", token(), "no address of a forge");
    check(ForgeKind::Github, "https://github.com", app(), "no RSA key in PEM");
    check(ForgeKind::Gitlab, "https://gitlab.com", app(), "gitlab takes other credentials: a token");
    check(ForgeKind::Github, "https://github.com", password(), "a token or a GitHub App");
    check(ForgeKind::Git, "https://h", token(), "git takes other credentials: none");
}
