//! A forge that is slow, broken, full or not itself: each has its own error, and none holds a secret.

use std::time::Duration;

use ocelot_forge::{Access, ApiError, Forge, NewWebhook, Settings};
use ocelot_model::ForgeKind;
use ocelot_testkit::forge::TOKEN;
use ocelot_testkit::{FakeForge, Fault};

use crate::api::{REPO, start, with};
use crate::webhooks::FORGES;

/// The error of the next request, which meets `fault`.
async fn met(kind: ForgeKind, fault: Fault) -> ApiError {
    let (fake, forge) = start(kind).await;
    fake.misbehave(fault);
    let error = forge.branches(REPO).await.unwrap_err();
    assert!(!error.to_string().contains(TOKEN), "{error}");
    assert!(forge.branches(REPO).await.is_ok(), "{kind}: the next one is answered");
    error
}

#[tokio::test]
async fn too_many_requests_say_until_when() {
    for kind in FORGES {
        let limits = [
            (429, vec![("retry-after", "120".to_owned())]),
            (
                403,
                vec![
                    ("x-ratelimit-remaining", "0".to_owned()),
                    ("x-ratelimit-reset", "4102444800".to_owned()),
                ],
            ),
            (403, vec![("retry-after", "60".to_owned())]),
            (429, vec![]),
        ];
        for (status, headers) in limits {
            let error = met(kind, Fault::Status(status, headers, "{}")).await;
            assert!(matches!(error, ApiError::RateLimited { .. }), "{kind} {status}: {error}");
        }
    }
}

#[tokio::test]
async fn statuses_have_their_errors() {
    for kind in FORGES {
        let status = |status| Fault::Status(status, vec![], r#"{"message": "its words"}"#);
        for (code, want) in [
            (500, "the forge is not available: its words (status 500)"),
            (503, "the forge is not available: its words (status 503)"),
            (403, "the credentials do not suffice: its words"),
            (404, "not found, or the credentials do not reach it: its words"),
            (410, "not found, or the credentials do not reach it: its words"),
            (418, "the forge refuses: its words (status 418)"),
            (401, "the forge does not take the token: it is wrong or was revoked (its words)"),
        ] {
            assert_eq!(met(kind, status(code)).await.to_string(), want, "{kind}");
        }
        let expired = Fault::Status(401, vec![], r#"{"message": "Token has expired"}"#);
        let error = met(kind, expired).await;
        assert!(matches!(error, ApiError::Unauthorized { expired: true, .. }), "{kind}: {error}");
    }
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    for kind in FORGES {
        for fault in [Fault::WrongJson, Fault::OtherJson] {
            let error = met(kind, fault).await;
            assert!(matches!(error, ApiError::Nonsense(_)), "{kind}: {error}");
        }
        let error = met(kind, Fault::Cut).await;
        assert!(matches!(error, ApiError::Unavailable(_)), "{kind}: {error}");
        let error = met(kind, Fault::Huge((16 << 20) + 1)).await;
        assert_eq!(error, ApiError::TooLarge, "{kind}");
    }
}

#[tokio::test]
async fn changes_that_are_too_large_to_read_are_cut_and_no_error() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        fake.misbehave(Fault::Huge((16 << 20) + 1));
        let changes = forge.changes(REPO, &"a".repeat(40), &"b".repeat(40)).await.unwrap();
        assert!(changes.cut && changes.files.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn silence_ends() {
    for kind in FORGES {
        let (fake, _) = start(kind).await;
        fake.misbehave(Fault::Silence);
        let settings = Settings {
            base_url: fake.url(),
            time: Duration::from_millis(200),
            ..Settings::new(kind, Access::Token(TOKEN.into()))
        };
        let error = Forge::new(settings).unwrap().branches(REPO).await.unwrap_err();
        assert_eq!(error, ApiError::Unavailable("no answer in time".into()), "{kind}");
    }
}

#[tokio::test]
async fn nobody_there_is_no_mistake_of_ours() {
    let (fake, forge) = start(ForgeKind::Gitea).await;
    drop(fake);
    // The port may take a moment to be free; until then the answer is one of the network as well.
    let error = forge.branches(REPO).await.unwrap_err();
    assert!(matches!(error, ApiError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_host() {
    for kind in FORGES {
        let elsewhere = FakeForge::start(kind).await;
        for status in [301, 302, 307, 308] {
            let error = met(kind, Fault::Redirect(status, format!("{}/x", elsewhere.url()))).await;
            assert!(
                matches!(&error, ApiError::Nonsense(words) if words.contains("another place")),
                "{kind}: {error}"
            );
        }
        assert_eq!(elsewhere.requests(), Vec::<String>::new(), "{kind}");
    }
}

#[tokio::test]
async fn a_redirect_on_the_same_host_is_followed_with_the_same_method() {
    let (fake, forge) = start(ForgeKind::Github).await;
    let commit = fake.commit(REPO, "main", "one", &[]);
    // A renamed repository.
    fake.misbehave(Fault::Redirect(301, format!("/api/v3/repos/{REPO}/branches")));
    assert_eq!(forge.branches("acme/old").await.unwrap().items[0].commit, commit);
    // The list is answered where it is, and the words are sent on.
    fake.misbehave(Fault::Status(200, vec![], "[]"));
    fake.misbehave(Fault::Redirect(307, format!("/api/v3/repos/{REPO}/issues/3/comments")));
    forge.comment("acme/old", 3, "k", "words").await.unwrap();
    assert_eq!(fake.comments(REPO, 3).len(), 1);
    let loops = Fault::Redirect(302, format!("/api/v3/repos/{REPO}/branches"));
    (0..4).for_each(|_| fake.misbehave(loops.clone()));
    let error = forge.branches(REPO).await.unwrap_err();
    assert_eq!(error, ApiError::Nonsense("it leads in a circle".into()));
}

#[tokio::test]
async fn a_next_page_on_another_host_is_not_asked() {
    let (fake, forge) = start(ForgeKind::Bitbucket).await;
    let body =
        r#"{"values": [], "next": "http://127.0.0.1:9/2.0/repositories/acme/app/refs/branches?page=2"}"#;
    fake.misbehave(Fault::Status(200, vec![], body));
    let error = forge.branches(REPO).await.unwrap_err();
    assert_eq!(error, ApiError::Nonsense("its next page is on another host".into()));
}

#[tokio::test]
async fn what_a_request_carried_is_not_said_back() {
    for kind in FORGES {
        for (status, body) in [
            (401, r#"{"message": "no token good\u002dtoken", "error_description": "good-token is bad"}"#),
            (422, r#"{"message": "x", "errors": ["Bearer good-token", "Z29vZC10b2tlbg=="]}"#),
            // Not what branches look like, and quoted.
            (200, r#"[{"name": {"good-token": 1}, "commit": "good-token"}]"#),
            (200, r#"{"values": "good-token", "pagelen": "good-token"}"#),
        ] {
            let error = met(kind, Fault::Status(status, Vec::new(), body)).await.to_string();
            assert!(!error.contains("Z29v"), "{error}");
        }
        let (fake, forge) = start(kind).await;
        let secret = "canary-of-hooks".to_owned().into();
        fake.misbehave(Fault::Status(200, Vec::new(), "[]"));
        fake.misbehave(Fault::Status(422, Vec::new(), r#"{"message": "no hook with canary-of-hooks"}"#));
        let new = NewWebhook { url: "https://ci.example.org/hooks/1", secret: &secret };
        let error = forge.watch(REPO, new).await.unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong() {
    for kind in FORGES {
        let (fake, _) = start(kind).await;
        let error = with(&fake, Access::Token("bad".into())).repo(REPO).await.unwrap_err();
        assert!(
            matches!(error, ApiError::Unauthorized { expired: false, what: "the token", .. }),
            "{kind}: {error}"
        );
    }
}

#[tokio::test]
async fn a_name_cannot_leave_its_place_in_an_address() {
    for kind in FORGES {
        let (fake, forge) = start(kind).await;
        for name in ["acme/../../user", "acme/app?x=1#y", "acme/app/hooks", "..%2f..", "/"] {
            assert!(forge.repo(name).await.is_err(), "{kind} {name}");
        }
        let root = ["/api/v3/repos", "/api/v4/projects", "/2.0/repositories", "/api/v1/repos"];
        for request in fake.requests() {
            let path = request.strip_prefix("GET ").unwrap();
            assert!(
                root.iter().any(|root| path.starts_with(root)) && !path.contains('?'),
                "{kind}: {request}"
            );
        }
    }
}
