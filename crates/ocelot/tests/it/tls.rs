//! TLS as people meet it: the commands and workers know a server by its certificate, and say what to do when they do not.

use std::path::Path;

use ocelot_api::client::{Client, Way};
use ocelot_testkit::{Authority, Output, Process, ocelot, wait_for};

use super::OCELOT;

struct Case {
    folder: tempfile::TempDir,
    server: Process,
    /// `https://127.0.0.1:port`.
    url: String,
}

/// A server with a certificate of this authority.
async fn start(role: &str, authority: &Authority, (cert, key): (String, String), more: &[&str]) -> Case {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
        std::fs::write(path(name), text).expect("a file");
    }
    authority.write(folder.path());
    let mut args: Vec<String> = [role, "--data=data", "--listen=127.0.0.1:0"].map(str::to_owned).to_vec();
    args.push(format!("--address-file={}", path("address")));
    args.extend(more.iter().map(|&arg| arg.to_owned()));
    let env = [("OCELOT_TLS_CERT", path("cert.pem")), ("OCELOT_TLS_KEY", path("key.pem"))];
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut server =
        Process::start(OCELOT.as_ref(), folder.path(), &env, &args, &folder.path().join("server.log"));
    let address = folder.path().join("address");
    let url = wait_for("the server", async || {
        assert!(server.ended().is_none(), "the server ended: {}", server.said());
        std::fs::read_to_string(&address).ok()
    })
    .await;
    Case { folder, server, url }
}

async fn server(authority: &Authority, pair: (String, String)) -> Case {
    start("server", authority, pair, &["--database-url=sqlite://data/ocelot.db"]).await
}

impl Case {
    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").display().to_string()
    }

    fn token(&self) -> String {
        let token = std::fs::read_to_string(self.folder.path().join("data/admin-token")).expect("a token");
        token.trim().to_owned()
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().expect("a port")
    }

    async fn cli(&self, env: &[(&str, &str)], args: &[&str]) -> Output {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (folder, args) = (self.folder.path().to_owned(), own(args));
        let work = move || {
            let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            ocelot(Path::new(OCELOT), &folder, &env, &args, "")
        };
        tokio::task::spawn_blocking(work).await.expect("ocelot")
    }

    /// As the admin.
    async fn admin(&self, args: &[&str]) -> Output {
        let env = [
            ("OCELOT_URL", self.url.as_str()),
            ("OCELOT_TOKEN", &self.token()),
            ("OCELOT_CA_CERT", &self.ca()),
        ];
        self.cli(&env, args).await
    }

    /// A worker that runs nothing, which comes with this token.
    fn worker(&self, name: &str, url: &str, ca: Option<&str>, token: &str) -> Process {
        let args = ["worker", "--executor=host", "--server", url, "--name", name, "--data", name];
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut env = vec![("OCELOT_TOKEN", token)];
        env.extend(ca.map(|ca| ("OCELOT_CA_CERT", ca)));
        let log = self.folder.path().join(format!("{name}.log"));
        Process::start(OCELOT.as_ref(), self.folder.path(), &env, &args, &log)
    }
}

async fn says(process: &Process, want: &str) {
    wait_for(want, async || process.said().contains(want).then_some(())).await;
}

#[tokio::test]
async fn a_private_authority_is_enough_for_commands_and_workers() {
    let authority = Authority::new("ours");
    let case = server(&authority, authority.sign(&["127.0.0.1"])).await;
    assert!(case.url.starts_with("https://"), "{}", case.url);
    case.admin(&["health"]).await.expect(0);
    // A worker enrols, is shown, drained, and removed.
    let token = case.admin(&["worker", "token", "create", "--label", "zone=dmz"]).await.expect(0).stdout;
    let mut worker = case.worker("w1", &case.url, Some(&case.ca()), token.trim());
    says(&worker, "connected to Ocelot").await;
    let list = case.admin(&["worker", "list"]).await.expect(0).stdout;
    assert!(list.contains("idle") && list.contains("zone=dmz"), "{list}");
    let drained = case.admin(&["worker", "drain", "w1"]).await.expect(0).stdout;
    assert_eq!(drained, "w1 gets no more jobs, and has none.\n");
    let list = case.admin(&["worker", "list"]).await.expect(0).stdout;
    assert!(list.contains("draining (by admin)"), "{list}");
    case.admin(&["worker", "resume", "w1"]).await.expect(0);
    let tokens = case.admin(&["worker", "token", "list"]).await.expect(0).stdout;
    assert!(tokens.contains("1 of 1") && tokens.contains("zone=dmz"), "{tokens}");
    case.admin(&["worker", "token", "revoke", "1"]).await.expect(0);
    // Without any token it is known all the same.
    drop(worker);
    worker = case.worker("w1", &case.url, Some(&case.ca()), "");
    wait_for("the worker again", async || {
        case.admin(&["worker", "list"]).await.stdout.contains("idle").then_some(())
    })
    .await;
    case.admin(&["worker", "remove", "w1"]).await.expect(0);
    says(&worker, "the server refused this worker").await;
    let ended = wait_for("its end", async || worker.ended()).await;
    assert_eq!(ended.code(), Some(2));
    assert!(worker.said().contains("delete") && worker.said().contains("identity"), "{}", worker.said());
}

#[tokio::test]
async fn a_login_remembers_the_authority() {
    let authority = Authority::new("ours");
    let case = server(&authority, authority.sign(&["127.0.0.1"])).await;
    std::fs::write(case.folder.path().join("t"), case.token()).expect("a file");
    let ca = case.ca();
    case.cli(&[], &["login", &case.url, "--token-file", "t", "--ca-cert", &ca]).await.expect(0);
    case.cli(&[], &["worker", "list"]).await.expect(0);
}

#[tokio::test]
async fn who_refuses_a_certificate_says_what_to_do() {
    let authority = Authority::new("ours");
    let good = server(&authority, authority.sign(&["127.0.0.1"])).await;
    let other = server(&authority, authority.sign(&["ci.example.org"])).await;
    let old = server(&authority, authority.sign_expired(&["127.0.0.1"])).await;
    let ca = good.ca();
    for (case, ca, want) in [
        (&good, None, "--ca-cert FILE"),
        (&other, Some(&ca), "it is for DnsName(\"ci.example.org\")"),
        (&old, Some(&ca), "has expired: renew it"),
    ] {
        let way = Way { ca_cert: ca.map(Into::into), ..Way::default() };
        let error =
            Client::by(&case.url, None, &way).expect("a client").ready().await.expect_err("it answers");
        assert!(error.to_string().contains(want), "{error}");
        let name = format!("w{}", case.port());
        let worker = good.worker(&name, &case.url, ca.map(String::as_str), "ocl_any");
        says(&worker, want).await;
    }
    let unknown = good.cli(&[("OCELOT_URL", &good.url)], &["health"]).await.expect(69);
    assert!(unknown.stderr.contains("--ca-cert FILE"), "{}", unknown.stderr);
    let no_file =
        good.cli(&[("OCELOT_URL", &good.url), ("OCELOT_CA_CERT", "/nowhere")], &["health"]).await.expect(64);
    assert!(no_file.stderr.contains("/nowhere cannot be read"), "{}", no_file.stderr);
}

#[tokio::test]
async fn plain_and_encrypted_are_told_apart() {
    let authority = Authority::new("ours");
    let case = server(&authority, authority.sign(&["127.0.0.1"])).await;
    let plain = case.url.replace("https://", "http://");
    let health = case.cli(&[("OCELOT_URL", &plain)], &["health"]).await.expect(69);
    assert!(health.stderr.contains("This port speaks https"), "{}", health.stderr);
    says(&case.server, "without TLS was refused").await;
    let worker = case.worker("plain", &plain, None, "ocl_any");
    says(&worker, "address begins with https://").await;
}

#[tokio::test]
async fn up_works_with_a_certificate_for_another_name() {
    let authority = Authority::new("ours");
    let pair = authority.sign(&["ci.example.org"]);
    let more = ["--executor=host", "--slots=1", "--public-url=https://ci.example.org"];
    let case = start("up", &authority, pair, &more).await;
    says(&case.server, "connected to Ocelot").await;
    // As in an image whose health is asked for: the certificate is for the public name, the server is here.
    let (cert, listen) =
        (case.folder.path().join("cert.pem").display().to_string(), format!("0.0.0.0:{}", case.port()));
    let ca = case.ca();
    let env = [
        ("OCELOT_TLS_CERT", cert.as_str()),
        ("OCELOT_PUBLIC_URL", "https://ci.example.org"),
        ("OCELOT_LISTEN", &listen),
        ("OCELOT_CA_CERT", &ca),
    ];
    case.cli(&env, &["health"]).await.expect(0);
    case.cli(&env[..3], &["health"]).await.expect(69);
}
