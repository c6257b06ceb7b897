//! Webhooks that lie, are broken, or are more than anybody should read.

use std::time::Instant;

use ocelot_forge::{BadBody, Unverified, Verified, verify};
use ocelot_model::event::{CommitId, RefName};
use ocelot_model::{Event, ForgeKind};
use ocelot_testkit::forge::{Scene, Told, Webhook, sign};
use serde_json::{Value, json};

use crate::webhooks::{FORGES, SECRET, check_signed, headers};

fn pushed(kind: ForgeKind) -> Webhook {
    Webhook::new(kind, Told::BranchPushed, &Scene::default()).unwrap()
}

/// The header in which the proof stands.
fn proof(kind: ForgeKind) -> &'static str {
    match kind {
        ForgeKind::Github => "X-Hub-Signature-256",
        ForgeKind::Gitlab => "X-Gitlab-Token",
        ForgeKind::Bitbucket => "X-Hub-Signature",
        ForgeKind::Gitea => "X-Gitea-Signature",
        ForgeKind::Git => unreachable!("plain git sends nothing"),
    }
}

/// With the proof taken away (`None`) or replaced.
fn with_proof(webhook: &Webhook, change: impl Fn(&str) -> Option<String>) -> Result<(), Unverified> {
    let proofs = ["X-Hub-Signature-256", "X-Gitlab-Token", "X-Hub-Signature", "X-Gitea-Signature"];
    let mut pairs = webhook.headers(SECRET);
    pairs.retain_mut(|(name, value)| match change(value).filter(|_| proofs.contains(name)) {
        Some(other) => {
            *value = other;
            true
        }
        None => !proofs.contains(name),
    });
    verify(webhook.kind, &headers(&pairs), &webhook.body, &SECRET.into()).map(drop)
}

#[test]
fn without_a_signature_nobody_is_believed() {
    for kind in FORGES {
        let got = with_proof(&pushed(kind), |_| None);
        assert!(matches!(got, Err(Unverified::NoSignature(_))), "{kind}: {got:?}");
    }
}

#[test]
fn a_wrong_signature_is_refused() {
    for kind in FORGES {
        let webhook = pushed(kind);
        let wrong = |got: Result<(), Unverified>, why: &str| {
            assert!(matches!(got, Err(Unverified::Wrong(_))), "{kind} {why}: {got:?}");
        };
        let others = headers(&webhook.headers("another secret"));
        wrong(verify(kind, &others, &webhook.body, &SECRET.into()).map(drop), "of another secret");
        wrong(with_proof(&webhook, |_| Some(String::new())), "empty");
        wrong(with_proof(&webhook, |right| Some(right[..right.len() - 1].to_owned())), "cut");
        wrong(with_proof(&webhook, |right| Some(format!("{right}0"))), "longer");
        wrong(with_proof(&webhook, |_| Some("sha256=zz".to_owned())), "no number");
        wrong(with_proof(&webhook, |right| Some(format!("sha1={right}"))), "of another kind");
    }
}

#[test]
fn two_signatures_are_one_too_many() {
    for kind in FORGES {
        let webhook = pushed(kind);
        let mut pairs = webhook.headers(SECRET);
        let right = pairs.iter().find(|(name, _)| *name == proof(kind)).unwrap().clone();
        pairs.push(right);
        let got = verify(kind, &headers(&pairs), &webhook.body, &SECRET.into());
        assert!(matches!(got, Err(Unverified::OddHeader(_))), "{kind}: {got:?}");
    }
}

#[test]
fn a_body_that_was_written_anew_is_another_body() {
    for kind in FORGES.into_iter().filter(|kind| *kind != ForgeKind::Gitlab) {
        let webhook = pushed(kind);
        let body: Value = serde_json::from_slice(&webhook.body).unwrap();
        let pretty = serde_json::to_vec_pretty(&body).unwrap();
        let got = verify(kind, &headers(&webhook.headers(SECRET)), &pretty, &SECRET.into());
        assert!(matches!(got, Err(Unverified::Wrong(_))), "{kind}: {got:?}");
    }
}

#[test]
fn without_a_secret_of_ours_nothing_is_proven() {
    for kind in FORGES {
        assert_eq!(check_signed(&pushed(kind), "").map(drop), Err(Unverified::NoSecret), "{kind}");
    }
    let nothing = verify(ForgeKind::Git, &headers(&[]), b"{}", &SECRET.into());
    assert_eq!(nothing, Err(Unverified::NoWebhooks));
}

#[test]
fn a_header_of_64_kib_is_not_looked_at() {
    for kind in FORGES {
        let got = with_proof(&pushed(kind), |_| Some("a".repeat(64 << 10)));
        assert!(matches!(got, Err(Unverified::OddHeader(_))), "{kind}: {got:?}");
    }
}

#[test]
fn a_delivery_without_a_name_is_named_by_its_body() {
    for kind in FORGES {
        let webhook = pushed(kind);
        let signed = headers(&sign(kind, SECRET, "", &webhook.body));
        let verified = verify(kind, &signed, &webhook.body, &SECRET.into()).unwrap();
        assert!(verified.delivery().starts_with("sha256-"), "{kind}: {}", verified.delivery());
    }
}

/// What becomes of a body whose text was changed, signature and all.
fn parse(kind: ForgeKind, told: Told, change: impl Fn(String) -> String) -> Result<Event, BadBody> {
    let webhook = Webhook::new(kind, told, &Scene::default()).unwrap();
    let body = change(String::from_utf8(webhook.body.clone()).unwrap());
    let webhook = Webhook { body: body.into_bytes(), ..webhook };
    check_signed(&webhook, SECRET).unwrap().parse()
}

#[test]
fn a_repository_that_is_named_twice_is_refused() {
    let twice = |key: &str| {
        let double = format!(
            "{{\"{key}\":{{\"id\":1,\"uuid\":\"1\",\"full_name\":\"x/y\",\"path_with_namespace\":\"x/y\"}},"
        );
        move |body: String| body.replacen('{', &double, 1)
    };
    for kind in FORGES {
        let key = if kind == ForgeKind::Gitlab { "project" } else { "repository" };
        let got = parse(kind, Told::BranchPushed, twice(key));
        assert!(
            matches!(&got, Err(BadBody::Json(words)) if words.contains("duplicate field")),
            "{kind}: {got:?}"
        );
    }
}

#[test]
fn what_is_nested_too_deep_or_too_large_is_refused() {
    for kind in FORGES {
        let event = pushed(kind).event;
        let parse = |body: &[u8]| Verified::stored(kind, &event, "1", body).parse();
        let deep = format!("{{\"unknown\":{}", "[".repeat(100_000));
        assert_eq!(parse(deep.as_bytes()), Err(BadBody::TooDeep), "{kind}");
        assert_eq!(parse(&vec![b' '; (25 << 20) + 1]), Err(BadBody::TooLarge), "{kind}");
        for broken in [&b""[..], b"null", b"[]", b"{", b"payload=%7B%7D", b"\xff\xfe", b"{\"ref\":1}"] {
            let got = parse(broken);
            let is_fine = match (&got, kind) {
                (Err(BadBody::Json(_) | BadBody::Strange(_)), _) => true,
                // What happened stands in the body, and it does not say.
                (Ok(Event::Ignored(_)), ForgeKind::Gitlab) => broken == b"{\"ref\":1}",
                _ => false,
            };
            assert!(is_fine, "{kind} {broken:?}: {got:?}");
        }
    }
}

#[test]
fn an_id_that_is_none_is_refused() {
    for kind in FORGES {
        for bad in ["", "main", "--upload-pack=x", &"A".repeat(40), &"a".repeat(41)] {
            let got = parse(kind, Told::BranchPushed, |body| body.replace(&"a".repeat(40), bad));
            assert!(matches!(got, Err(BadBody::Field { .. })), "{kind} {bad}: {got:?}");
        }
        // Before and after are nothing.
        let none = |body: String| {
            body.replace(&"a".repeat(40), &"0".repeat(40)).replace(&"b".repeat(40), &"0".repeat(40))
        };
        let got = parse(kind, Told::BranchPushed, none);
        assert_eq!(got.is_err(), kind != ForgeKind::Bitbucket, "{kind}: {got:?}");
    }
    let long = |body: String| body.replace(&"a".repeat(12), &"a".repeat(40));
    let Ok(Event::PullRequest(event)) = parse(ForgeKind::Bitbucket, Told::PullRequestOpened, long) else {
        panic!("no pull request")
    };
    assert_eq!(event.pull_request.commit, CommitId::Whole("a".repeat(40)));
}

#[test]
fn names_of_branches_are_data_and_texts_are_cleaned() {
    for kind in FORGES {
        for name in ["--upload-pack=touch${IFS}x", "$(id)", "<script>alert(1)</script>", "a/../../b", "é ☃"]
        {
            let scene = Scene { name: name.to_owned(), ..Scene::default() };
            for told in [Told::BranchPushed, Told::PullRequestOpened] {
                let webhook = Webhook::new(kind, told, &scene).unwrap();
                let got = match check_signed(&webhook, SECRET).unwrap().parse().unwrap() {
                    Event::Push(push) => push.changes[0].name.clone(),
                    Event::PullRequest(event) => RefName::Branch(event.pull_request.source_branch.clone()),
                    other => panic!("{kind}: {other:?}"),
                };
                assert_eq!(got, RefName::Branch(name.to_owned()), "{kind}");
            }
        }
        let length = if kind == ForgeKind::Github { 5 << 20 } else { 100 << 10 };
        let message = format!("one\u{0}\u{1b}[31m\ntwo{}", "x".repeat(length));
        let scene = Scene { message, title: "a\u{0}b\nc".to_owned(), ..Scene::default() };
        let webhook = Webhook::new(kind, Told::BranchPushed, &scene).unwrap();
        let Event::Push(push) = check_signed(&webhook, SECRET).unwrap().parse().unwrap() else {
            panic!("{kind}")
        };
        let text = push.changes[0].message.clone().unwrap();
        assert!(text.starts_with("one[31m\ntwoxxx") && text.len() == 64 << 10, "{kind}: {}", text.len());
        let webhook = Webhook::new(kind, Told::PullRequestOpened, &scene).unwrap();
        let Event::PullRequest(event) = check_signed(&webhook, SECRET).unwrap().parse().unwrap() else {
            panic!("{kind}")
        };
        assert_eq!(event.pull_request.title, "abc", "{kind}");
    }
    let scene = Scene { name: "a\nb".to_owned(), ..Scene::default() };
    let webhook = Webhook::new(ForgeKind::Github, Told::BranchPushed, &scene).unwrap();
    let got = check_signed(&webhook, SECRET).unwrap().parse();
    assert!(matches!(got, Err(BadBody::Field { field: "ref", .. })), "{got:?}");
}

#[test]
fn times_of_another_century_are_words() {
    for time in ["1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "soon"] {
        let got = parse(ForgeKind::Github, Told::PullRequestOpened, |body| {
            body.replace("2026-01-02T03:04:05Z", time)
        });
        let Ok(Event::PullRequest(event)) = got else { panic!("{got:?}") };
        assert_eq!(event.pull_request.updated, time);
    }
}

#[test]
fn what_is_neither_a_branch_nor_a_tag_builds_nothing() {
    for kind in FORGES.into_iter().filter(|kind| *kind != ForgeKind::Bitbucket) {
        let got =
            parse(kind, Told::BranchPushed, |body| body.replace("refs/heads/topic", "refs/notes/commits"));
        assert!(
            matches!(&got, Ok(Event::Ignored(why)) if why.contains("refs/notes/commits")),
            "{kind}: {got:?}"
        );
    }
    let unknown = Verified::stored(ForgeKind::Github, "deployment", "1", b"not even JSON").parse();
    assert_eq!(unknown, Ok(Event::Ignored("deployment builds nothing".to_owned())));
    let unknown =
        Verified::stored(ForgeKind::Gitlab, "", "1", json!({"object_kind": "x\ny"}).to_string().as_bytes())
            .parse();
    assert_eq!(unknown, Ok(Event::Ignored("xy builds nothing".to_owned())));
}

/// Prints what a wrong signature costs; a figure of the machine's, so nothing is claimed of it here.
#[test]
fn a_wrong_signature_costs_little() {
    for kind in FORGES {
        let scene = Scene { message: "x".repeat(20 << 10), ..Scene::default() };
        let webhook = Webhook::new(kind, Told::BranchPushed, &scene).unwrap();
        let signed = headers(&webhook.headers("another secret"));
        let begin = Instant::now();
        for _ in 0..100 {
            assert!(verify(kind, &signed, &webhook.body, &SECRET.into()).is_err());
        }
        println!("{kind}: {:?} for a wrong signature of {} bytes", begin.elapsed() / 100, webhook.body.len());
    }
}
