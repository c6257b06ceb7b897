//! TLS on the one port: what is spoken, what is said to those who do not, and certificates that are renewed.

use std::path::Path;

use ocelot_server::{Server, Tls};
use ocelot_testkit::{Authority, wait_for};
use reqwest::{Certificate, Client};
use serde_json::json;

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

fn write(folder: &Path, (cert, key): (String, String)) -> Tls {
    let tls = Tls { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&tls.key, key).unwrap();
    std::fs::write(&tls.cert, cert).unwrap();
    tls
}

async fn start(folder: &Path, tls: Tls) -> anyhow::Result<Server> {
    let mut config = crate::room::config(folder);
    config.tls = Some(tls);
    ocelot_server::start(config).await
}

/// Trusts this authority.
fn trusting(folder: &Path, authority: &Authority) -> reqwest::ClientBuilder {
    let ca = std::fs::read(authority.write(folder)).unwrap();
    Client::builder().tls_certs_only([Certificate::from_pem(&ca).unwrap()])
}

#[tokio::test]
async fn everything_is_spoken_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("ours");
    let server = start(folder.path(), write(folder.path(), authority.sign(&NAMES))).await.unwrap();
    assert_eq!(server.public_url(), format!("https://{}", server.address));
    let health = format!("{}/healthz", server.public_url());
    let one = trusting(folder.path(), &authority).http1_only().build().unwrap();
    let two = trusting(folder.path(), &authority).build().unwrap();
    assert_eq!(one.get(&health).send().await.unwrap().version(), http::Version::HTTP_11);
    assert_eq!(two.get(&health).send().await.unwrap().version(), http::Version::HTTP_2);

    let token = std::fs::read_to_string(folder.path().join("admin-token")).unwrap();
    let login = two.post(format!("{}/login", server.public_url())).json(&json!({"token": token.trim()}));
    let cookie = login.send().await.unwrap().headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-ocelot_session=") && cookie.ends_with("; Secure"), "{cookie}");

    let plain = Client::new().get(format!("http://{}/healthz", server.address)).send().await.unwrap();
    assert_eq!(plain.status(), 400);
    assert!(plain.text().await.unwrap().contains("This port speaks https"));
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let tls = write(folder.path(), old.sign(&NAMES));
    let server = start(folder.path(), tls.clone()).await.unwrap();
    let url = format!("{}/healthz", server.public_url());
    let good = async |authority: &Authority| {
        // A client of its own: what is connected stays so.
        let client = trusting(folder.path(), authority).build().unwrap();
        client.get(&url).send().await.is_ok()
    };
    assert!(good(&old).await && !good(&new).await);
    write(folder.path(), new.sign(&NAMES));
    wait_for("the new certificate", async || good(&new).await.then_some(())).await;
    assert!(!good(&old).await);
    server.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let authority = Authority::new("ours");
    let check = async |tls: &Tls, want: &str| {
        let error = start(path, tls.clone()).await.map(|_| ()).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(want), "{error}");
    };
    let tls = write(path, authority.sign(&NAMES));
    check(&Tls { cert: path.join("none.pem"), ..tls.clone() }, "--tls-cert: ").await;
    check(&Tls { key: path.join("none.pem"), ..tls.clone() }, "--tls-key: ").await;
    // The two in each other's place.
    check(&Tls { cert: tls.key.clone(), ..tls.clone() }, "has no certificate in it").await;
    check(&Tls { key: tls.cert.clone(), ..tls.clone() }, "has no private key in it").await;
    let (_, other) = authority.sign(&NAMES);
    std::fs::write(&tls.key, other).unwrap();
    check(&tls, "is not the key of the first certificate").await;
    std::fs::write(&tls.cert, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").unwrap();
    check(&tls, "--tls-cert: ").await;
}
