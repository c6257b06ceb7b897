//! Credentials that get tokens: GitHub Apps and Bitbucket's OAuth consumers.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ocelot_forge::{Access, ApiError};
use ocelot_model::ForgeKind;
use ocelot_testkit::FakeForge;
use ocelot_testkit::forge::{CLIENT, PASSWORD};

use crate::api::{REPO, with};

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A private and a public key.
fn keys() -> (String, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::Pkcs8V1Der>::as_der(&pair).unwrap();
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

fn asked(fake: &FakeForge, what: &str) -> usize {
    fake.requests().iter().filter(|request| request.contains(what)).count()
}

#[tokio::test]
async fn a_github_app_gets_a_token_for_each_account_and_keeps_it() {
    let (private, public) = keys();
    let fake = FakeForge::start(ForgeKind::Github).await;
    for (number, name) in [(11, REPO), (12, "beta/app"), (13, "gamma/app")] {
        fake.add_repo(number, name);
    }
    fake.install("123", &public, "acme");
    fake.install("123", &public, "beta");
    let forge = with(&fake, Access::App { id: "123".into(), key: private.into() });
    for _ in 0..3 {
        forge.repo(REPO).await.unwrap();
    }
    assert_eq!(asked(&fake, "access_tokens"), 1, "one token does for many questions");
    forge.repo("beta/app").await.unwrap();
    assert_eq!(asked(&fake, "access_tokens"), 2, "and each account has its own");
    let all = forge.repos(None).await.unwrap().items;
    assert_eq!(all.iter().map(|repo| repo.name.full_name.as_str()).collect::<Vec<_>>(), [REPO, "beta/app"]);
    let error = forge.repo("gamma/app").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the credentials do not suffice: the GitHub App is not installed at `gamma`: install it there",
    );
    // A token that was taken back is replaced, once.
    fake.revoke_tokens();
    forge.repo(REPO).await.unwrap();
    assert_eq!(asked(&fake, "access_tokens"), 3);
}

#[tokio::test]
async fn a_github_app_with_another_key_is_told_so() {
    let (private, _) = keys();
    let (_, public) = keys();
    let fake = FakeForge::start(ForgeKind::Github).await;
    fake.install("123", &public, "acme");
    let forge = with(&fake, Access::App { id: "123".into(), key: private.into() });
    let error = forge.repo(REPO).await.unwrap_err();
    let words =
        "the forge does not take the id and the private key of the GitHub App: it is wrong or was revoked";
    assert!(error.to_string().starts_with(words), "{error}");
}

fn client(secret: &str, token_url: Option<String>) -> Access {
    Access::Client { id: CLIENT.0.into(), secret: secret.into(), token_url }
}

#[tokio::test]
async fn an_oauth_consumer_gets_a_token_before_the_old_one_ends() {
    let fake = FakeForge::start(ForgeKind::Bitbucket).await;
    fake.add_repo(11, REPO);
    let forge = with(&fake, client(CLIENT.1, None));
    let ask = async || drop(forge.repo(REPO).await.unwrap());
    tokio::join!(ask(), ask(), ask());
    ask().await;
    assert_eq!(asked(&fake, "access_token"), 1, "many questions at once ask for one token");
    fake.revoke_tokens();
    ask().await;
    assert_eq!(asked(&fake, "access_token"), 2, "one that was taken back is replaced");
    // A token that ends at once is never kept.
    fake.revoke_tokens();
    fake.tokens_last(0);
    ask().await;
    ask().await;
    assert_eq!(asked(&fake, "access_token"), 4);
}

#[tokio::test]
async fn an_oauth_consumer_with_a_wrong_secret_is_told_so() {
    let fake = FakeForge::start(ForgeKind::Bitbucket).await;
    let url = format!("{}/site/oauth2/access_token", fake.url());
    let error = with(&fake, client("wrong", Some(url))).repo(REPO).await.unwrap_err();
    assert!(
        matches!(error, ApiError::Unauthorized { what: "the OAuth consumer's key and secret", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_app_password_is_taken() {
    let fake = FakeForge::start(ForgeKind::Bitbucket).await;
    fake.add_repo(11, REPO);
    let access = |password: &str| Access::Password { user: PASSWORD.0.into(), password: password.into() };
    with(&fake, access(PASSWORD.1)).repo(REPO).await.unwrap();
    let error = with(&fake, access("wrong")).repo(REPO).await.unwrap_err();
    assert!(matches!(error, ApiError::Unauthorized { what: "the app password", .. }), "{error}");
}
