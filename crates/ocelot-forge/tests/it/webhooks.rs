//! Every class of event of every forge, by bodies that are made by hand, signed.

use http::{HeaderMap, HeaderName, HeaderValue};
use ocelot_forge::{NewWebhook, Unverified, Verified, verify};
use ocelot_model::event::{Change, CommitId, PullRequestAction, RefName};
use ocelot_model::forge::Account;
use ocelot_model::{Event, ForgeKind, RemoteId};
use ocelot_testkit::forge::{Scene, Told, Webhook};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::api::{REPO, start};

pub(crate) const SECRET: &str = "a secret of this webhook";
pub(crate) const FORGES: [ForgeKind; 4] =
    [ForgeKind::Github, ForgeKind::Gitlab, ForgeKind::Bitbucket, ForgeKind::Gitea];

pub(crate) fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

pub(crate) fn check_signed<'a>(webhook: &'a Webhook, secret: &str) -> Result<Verified<'a>, Unverified> {
    verify(webhook.kind, &headers(&webhook.headers(secret)), &webhook.body, &secret.into())
}

/// The repository that has this number elsewhere.
fn id(kind: ForgeKind, number: u64) -> RemoteId {
    match kind {
        ForgeKind::Bitbucket => RemoteId::new(&format!("00000000-0000-4000-8000-{number:012x}")).unwrap(),
        _ => number.into(),
    }
}

/// The word for an event that a table can hold.
pub(crate) fn class(event: &Event) -> String {
    match event {
        Event::Push(push) => {
            let one = |change: &ocelot_model::event::RefChange| {
                let what = match &change.name {
                    RefName::Branch(_) => "branch",
                    RefName::Tag(_) => "tag",
                };
                let how = match &change.change {
                    Change::Created { .. } => "created",
                    Change::Moved { .. } => "moved",
                    Change::Deleted { .. } => "deleted",
                };
                format!("{what} {how}")
            };
            push.changes.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Event::PullRequest(event) => format!("{:?}", event.action),
        Event::MergeGroup(group) => format!("merge group {}", if group.wanted { "wanted" } else { "gone" }),
        Event::Ping(_) => "ping".to_owned(),
        Event::Ignored(_) => "ignored".to_owned(),
    }
}

fn classes(kind: ForgeKind, told: Told) -> String {
    let Some(webhook) = Webhook::new(kind, told, &Scene::default()) else { return "-".to_owned() };
    let verified = check_signed(&webhook, SECRET).unwrap();
    assert_eq!(verified.delivery(), webhook.delivery);
    assert_eq!(verified.event(), webhook.event);
    class(&verified.parse().unwrap())
}

#[test]
fn every_class_of_every_forge() {
    use Told as T;
    // GitHub, GitLab, Bitbucket, Gitea.
    let table = [
        (T::BranchCreated, ["branch created"; 4]),
        (T::BranchPushed, ["branch moved"; 4]),
        (T::BranchDeleted, ["branch deleted"; 4]),
        (T::TagCreated, ["tag created"; 4]),
        (T::TagDeleted, ["tag deleted"; 4]),
        (T::PullRequestOpened, ["Opened"; 4]),
        (T::PullRequestUpdated, ["Updated"; 4]),
        (T::PullRequestClosed, ["Closed"; 4]),
        (T::PullRequestMerged, ["Merged"; 4]),
        (T::PullRequestReopened, ["Reopened", "Reopened", "-", "Reopened"]),
        (T::PullRequestRetargeted, ["Retargeted", "Retargeted", "Updated", "Retargeted"]),
        (T::PullRequestTitleEdited, ["TitleEdited", "TitleEdited", "Updated", "TitleEdited"]),
        (T::PullRequestLabeled, ["ignored", "ignored", "-", "ignored"]),
        (T::MergeGroupWanted, ["merge group wanted", "-", "-", "-"]),
        (T::MergeGroupGone, ["merge group gone", "-", "-", "-"]),
        (T::Ping, ["ping", "-", "ping", "-"]),
        (T::Star, ["ignored"; 4]),
    ];
    assert_eq!(table.map(|(told, _)| told), Told::ALL, "the table is whole");
    for (told, want) in table {
        let got = FORGES.map(|kind| classes(kind, told));
        assert_eq!(got, want, "{told:?}");
    }
}

fn parsed(kind: ForgeKind, told: Told, scene: &Scene) -> Event {
    let webhook = Webhook::new(kind, told, scene).unwrap();
    check_signed(&webhook, SECRET).unwrap().parse().unwrap()
}

#[test]
fn a_push_says_who_where_and_what() {
    for kind in FORGES {
        let Event::Push(push) = parsed(kind, Told::BranchPushed, &Scene::default()) else { panic!("{kind}") };
        assert_eq!(push.repo.id, Some(id(kind, 11)));
        assert_eq!(push.repo.full_name, "acme/app");
        assert_eq!(push.sender, Some(Account { id: id(kind, 7), name: "ada".into() }));
        let change = &push.changes[0];
        assert_eq!(change.name, RefName::Branch("topic".into()));
        let (before, after) = (CommitId::Whole("b".repeat(40)), CommitId::Whole("a".repeat(40)));
        assert_eq!(change.change, Change::Moved { before, after });
        assert_eq!(change.message.as_deref(), Some("Change it\n\nand more"));
        assert_eq!(change.author.as_deref(), Some("Ada"));
    }
}

#[test]
fn an_annotated_tag_is_known_by_the_commit_that_it_marks() {
    for kind in FORGES {
        let Event::Push(push) = parsed(kind, Told::TagCreated, &Scene::default()) else { panic!("{kind}") };
        let after = CommitId::Whole("a".repeat(40));
        assert_eq!(push.changes[0].change, Change::Created { after }, "{kind}");
        assert_eq!(push.changes[0].message.as_deref(), Some("Change it\n\nand more"), "{kind}");
    }
}

#[test]
fn a_pull_request_says_where_it_comes_from() {
    for kind in FORGES {
        let Event::PullRequest(event) = parsed(kind, Told::PullRequestUpdated, &Scene::default()) else {
            panic!("{kind}")
        };
        assert_eq!(event.action, PullRequestAction::Updated);
        assert_eq!(event.sender, Some(Account { id: id(kind, 7), name: "ada".into() }));
        let pull = &event.pull_request;
        assert_eq!(
            (pull.number, pull.title.as_str(), pull.source_branch.as_str(), pull.target_branch.as_str()),
            (3, "A change", "topic", "main"),
        );
        let short = kind == ForgeKind::Bitbucket;
        let commit = if short { CommitId::Short("a".repeat(12)) } else { CommitId::Whole("a".repeat(40)) };
        assert_eq!(pull.commit, commit, "{kind}");
        assert!(pull.updated.starts_with("2026-01-02"), "{kind}");
        assert!(!pull.is_from_fork(), "{kind}");
        assert_eq!(pull.author.as_ref().map(|author| &author.id), Some(&id(kind, 7)));
    }
}

#[test]
fn a_fork_is_told_by_its_number_and_a_repository_that_is_gone_counts_as_one() {
    for kind in FORGES {
        for source in [Some(12), None] {
            let scene = Scene { source, ..Scene::default() };
            let Event::PullRequest(event) = parsed(kind, Told::PullRequestOpened, &scene) else {
                panic!("{kind}")
            };
            assert!(event.pull_request.is_from_fork(), "{kind} {source:?}");
        }
    }
}

#[test]
fn a_push_to_bitbucket_may_hold_several_changes() {
    let webhook = Webhook::new(ForgeKind::Bitbucket, Told::BranchPushed, &Scene::default()).unwrap();
    let mut body: serde_json::Value = serde_json::from_slice(&webhook.body).unwrap();
    for told in [Told::TagCreated, Told::BranchDeleted] {
        let more = Webhook::new(ForgeKind::Bitbucket, told, &Scene::default()).unwrap();
        let more: serde_json::Value = serde_json::from_slice(&more.body).unwrap();
        let change = more["push"]["changes"][0].clone();
        body["push"]["changes"].as_array_mut().unwrap().push(change);
    }
    let webhook = Webhook { body: body.to_string().into_bytes(), ..webhook };
    let event = check_signed(&webhook, SECRET).unwrap().parse().unwrap();
    assert_eq!(class(&event), "branch moved, tag created, branch deleted");
}

#[test]
fn a_merge_queue_names_its_commit_and_its_target() {
    let Event::MergeGroup(group) = parsed(ForgeKind::Github, Told::MergeGroupWanted, &Scene::default())
    else {
        panic!("no merge group")
    };
    assert_eq!(group.branch, "gh-readonly-queue/main/pr-3");
    assert_eq!(group.target_branch, "main");
    assert_eq!(group.commit, CommitId::Whole("a".repeat(40)));
}

#[test]
fn what_was_stored_is_read_again_the_same() {
    for kind in FORGES {
        let webhook = Webhook::new(kind, Told::PullRequestOpened, &Scene::default()).unwrap();
        let verified = check_signed(&webhook, SECRET).unwrap();
        let again = Verified::stored(kind, verified.event(), verified.delivery(), &webhook.body);
        assert_eq!(again, verified);
        assert_eq!(again.parse(), verified.parse());
    }
}

#[test]
fn an_address_of_the_body_reaches_nobody() {
    for kind in FORGES {
        for told in Told::ALL {
            let Some(webhook) = Webhook::new(kind, told, &Scene::default()) else { continue };
            let event = check_signed(&webhook, SECRET).unwrap().parse().unwrap();
            let json = serde_json::to_string(&event).unwrap();
            assert!(!json.contains("169.254"), "{kind} {told:?}: {json}");
        }
    }
}

#[test]
fn gitlabs_newer_signature_is_checked_where_the_key_is_one() {
    let key = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=";
    let webhook = Webhook::new(ForgeKind::Gitlab, Told::BranchPushed, &Scene::default()).unwrap();
    let signed = webhook.headers(key);
    let check = |pairs: &[(&'static str, String)]| {
        verify(ForgeKind::Gitlab, &headers(pairs), &webhook.body, &key.into()).map(drop)
    };
    assert_eq!(check(&signed), Ok(()));
    // GitLab may be told to send no token; then the signature alone says it.
    let without: Vec<_> = signed.iter().filter(|(name, _)| *name != "X-Gitlab-Token").cloned().collect();
    assert_eq!(check(&without), Ok(()));
    // The name of the delivery is signed: it cannot be made new.
    let renamed: Vec<_> = signed
        .iter()
        .map(|(name, value)| {
            (*name, if *name == "webhook-id" { "another".to_owned() } else { value.clone() })
        })
        .collect();
    assert_eq!(check(&renamed), Err(Unverified::Wrong("Webhook-Signature")));
    let bare: Vec<_> = without.into_iter().filter(|(name, _)| *name != "webhook-signature").collect();
    assert_eq!(check(&bare), Err(Unverified::NoSignature("X-Gitlab-Token")));
}

/// What one HTTP request brings: headers and body.
async fn receive(listener: tokio::net::TcpListener) -> (HeaderMap, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    let (head, length) = loop {
        stream.read_buf(&mut bytes).await.unwrap();
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes.drain(..end + 4);
        let length = head.to_lowercase();
        let length = length.split_once("content-length: ").unwrap().1;
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        break (head, length);
    };
    while bytes.len() < length {
        stream.read_buf(&mut bytes).await.unwrap();
    }
    stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    (headers, bytes)
}

#[tokio::test]
async fn what_watch_made_is_signed_with_its_secret() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/forge/1", listener.local_addr().unwrap());
        let secret = SECRET.into();
        forge.watch(REPO, NewWebhook { url: &url, secret: &secret }).await.unwrap();
        let webhook = Webhook::new(kind, Told::BranchPushed, &Scene::default()).unwrap();
        let (statuses, (headers, body)) = tokio::join!(fake.tell(REPO, &webhook), receive(listener));
        assert_eq!(statuses, [202]);
        let verified = verify(kind, &headers, &body, &secret).unwrap();
        assert_eq!(class(&verified.parse().unwrap()), "branch moved", "{kind}");
        assert!(verify(kind, &headers, &body, &"another".into()).is_err(), "{kind}");
    }
}
