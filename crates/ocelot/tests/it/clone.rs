//! Repositories on other hosts, over ssh and HTTP: the server reads `ocelot.yml` there, the worker clones.

use ocelot_api::body::{NewBuild, NewRepo};
use ocelot_model::Status;
use ocelot_testkit::{Environment, GitRepo, Manners, Setup, SshHost, Stages as _, TestApp, WebHost};

use crate::OCELOT;

const YML: &str = "machineTag: here\nstages: [{name: show, script: [cat file]}]\n";

fn repo() -> GitRepo {
    let repo = GitRepo::new();
    repo.commit(&[("ocelot.yml", YML), ("file", "from afar\n")]);
    repo
}

/// A server, and a worker on this machine, that know of an agent for ssh.
async fn app(server: Option<&SshHost>, worker: Option<&SshHost>) -> TestApp {
    let env = |host: Option<&SshHost>| {
        host.iter().map(|host| ("SSH_AUTH_SOCK".to_owned(), host.agent().display().to_string())).collect()
    };
    let env = Environment { server: env(server), worker: env(worker) };
    TestApp::start_with(OCELOT, Setup::Host, env).await
}

async fn add(app: &TestApp, clone_url: String, name: &str) -> Result<String, String> {
    let new = NewRepo { clone_url, name: Some(name.to_owned()), ..NewRepo::default() };
    app.admin().add_repo(&new).await.map(|repo| repo.repo).map_err(|error| error.to_string())
}

async fn passes(app: &TestApp, handle: &str) {
    let build = app.start_build(handle).await;
    let build = app.finished(build.number).await;
    assert_eq!((build.status, build.reason.as_deref()), (Status::Passed, None));
    assert!(app.stage_log(&build, "show").await.contains("from afar\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh() {
    let (host, repo) = (SshHost::start(), repo());
    let app = app(Some(&host), Some(&host)).await;
    let handle = add(&app, host.url(repo.path()), "app").await.unwrap();
    passes(&app, &handle).await;
    for folder in ["data", "worker"] {
        let known = std::fs::read_to_string(app.home().join(folder).join("known_hosts")).unwrap();
        assert!(known.starts_with("[127.0.0.1]:") && known.contains(" ssh-ed25519 "), "{known}");
    }
    let unknown = NewBuild { repo: handle.clone(), commit: Some("0".repeat(40)), ..NewBuild::default() };
    let error = app.admin().start(&unknown).await.unwrap_err().to_string();
    assert!(error.contains("000000"), "{error}");
    let error = add(&app, host.url(&repo.path().join("none")), "none").await.unwrap_err();
    assert!(error.contains("repository not found"), "{error}");

    host.change_key();
    let error =
        app.admin().start(&NewBuild { repo: handle, ..NewBuild::default() }).await.unwrap_err().to_string();
    let file = app.data().join("known_hosts:1");
    let want = format!("shows another key than the one in {}. Somebody may be in between", file.display());
    assert!(error.contains("Host key verification failed") && error.contains(&want), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_host_does_not_know() {
    let (host, repo) = (SshHost::start(), repo());
    // The server may read it, the worker may not.
    let app = app(Some(&host), None).await;
    let handle = add(&app, host.url(repo.path()), "app").await.unwrap();
    let build = app.start_build(&handle).await;
    let build = app.finished(build.number).await;
    let reason = build.reason.clone().unwrap_or_default();
    assert_eq!(build.status, Status::Error);
    assert!(
        reason.contains("cannot check out") && reason.contains("Permission denied (publickey"),
        "{reason}"
    );
    assert_eq!(
        build.jobs.iter().flatten().map(|job| job.attempts.len()).sum::<usize>(),
        1,
        "it was tried again"
    );
    assert_eq!(build.stage("setup").reason.as_deref(), Some(reason.as_str()));
    let log = app.stage_log(&build, "setup").await;
    assert!(log.contains("Permission denied (publickey"), "{log}");
    // Another host's agent has a key that this one does not take.
    let stranger = SshHost::start();
    let error = add(&app, stranger.url(repo.path()), "stranger").await.unwrap_err();
    assert!(error.contains("may not read") && error.contains("Permission denied (publickey"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_a_password_from_the_users_netrc() {
    let repo = repo();
    let host = WebHost::start(repo.path().parent().unwrap(), Manners::Closed);
    let app = app(None, None).await;
    let url = host.url(repo.path().file_name().unwrap().to_str().unwrap());
    let asks = "asks for a user and a password, and takes none that Ocelot has";
    let error = add(&app, url.clone(), "app").await.unwrap_err();
    assert!(error.contains(asks), "{error}");
    let netrc = app.home().join(".netrc");
    let login = |password: &str| format!("machine 127.0.0.1 login ada password {password}\n");
    std::fs::write(&netrc, login("wrong")).unwrap();
    let error = add(&app, url.clone(), "app").await.unwrap_err();
    assert!(error.contains(asks), "{error}");
    std::fs::write(&netrc, login("secret")).unwrap();
    let handle = add(&app, url, "app").await.unwrap();
    passes(&app, &handle).await;
}

/// Keeps a credential for all repositories.
async fn keep(app: &TestApp, args: &[&str], value: &str) {
    app.cli_with(&[&["creds"], args].concat(), value).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_with_a_credential() {
    let repo = repo();
    let host = WebHost::start(repo.path().parent().unwrap(), Manners::Closed);
    let app = app(None, None).await;
    let url = host.url(repo.path().file_name().unwrap().to_str().unwrap());
    let place = format!("url={}", url.rsplit_once('/').unwrap().0);
    let vcs = ["vcs", "add", "CLONE", "--field", &place, "--field", "username=ada"];
    keep(&app, &vcs, "wrong-one\n").await;
    let error = add(&app, url.clone(), "app").await.unwrap_err();
    assert!(
        error.contains("with the credential CLONE") && error.contains("`ocelot creds vcs add CLONE`"),
        "{error}"
    );
    assert!(!error.contains("wrong-one"), "{error}");
    keep(&app, &vcs, "secret\n").await;
    let handle = add(&app, url.clone(), "app").await.unwrap();
    passes(&app, &handle).await;
    for folder in ["data", "worker"] {
        let found = std::fs::read_to_string(app.home().join(folder).join("known_hosts"));
        assert!(found.is_err(), "{found:?}");
    }
    // The server's cache is there, the worker's mirror too; a new commit needs the password again.
    keep(&app, &vcs, "expired-one\n").await;
    repo.commit(&[("file", "from afar\nnew\n")]);
    let error =
        app.admin().start(&NewBuild { repo: handle, ..NewBuild::default() }).await.unwrap_err().to_string();
    assert!(error.contains("with the credential CLONE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ssh_with_a_credential() {
    let (host, repo) = (SshHost::start(), repo());
    let app = app(None, None).await;
    let url = host.url(repo.path());
    let stranger = SshHost::start();
    keep(&app, &["ssh", "add", "DEPLOY"], &stranger.client_key()).await;
    let error = add(&app, url.clone(), "app").await.unwrap_err();
    assert!(error.contains("with the credential DEPLOY") && error.contains("Permission denied"), "{error}");
    keep(&app, &["ssh", "add", "DEPLOY"], &host.client_key()).await;
    let handle = add(&app, url, "app").await.unwrap();
    passes(&app, &handle).await;
    let key = host.client_key();
    let line = key.lines().nth(2).unwrap();
    for folder in ["data", "worker"] {
        let found = super::secrets::holding(&app.home().join(folder), line.as_bytes());
        assert_eq!(found, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_may_be_anyones_is_cloned_and_does_not_see_with_what() {
    let (host, repo) = (
        SshHost::start(),
        GitRepo::with("image: ocelot-test/busybox\nstages: [{name: one, script: [ls]}]\n"),
    );
    repo.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let app = TestApp::start(OCELOT, Setup::Up).await;
    keep(&app, &["ssh", "add", "DEPLOY"], &host.client_key()).await;
    let handle = add(&app, host.url(repo.path()), "app").await.unwrap();
    repo.git(&["checkout", "-q", "--detach"]);
    // The name that the repository's own builds may use to have the key.
    let yml = "image: ocelot-test/busybox\nsecrets: [DEPLOY]\nstages:\n- name: one\n  script:\n\
               \x20 - test ! -e ~/.ssh && test -z \"$DEPLOY\"\n  - cat guess\n";
    let line = host.client_key().lines().nth(2).unwrap().to_owned();
    repo.commit(&[("ocelot.yml", yml), ("guess", &format!("is it {line}?\n"))]);
    let commit = Some(repo.git(&["rev-parse", "HEAD"]).trim().to_owned());
    let new = NewBuild { repo: handle, commit, ..NewBuild::default() };
    let build = app.admin().start(&new).await.unwrap();
    assert!(!build.trusted);
    app.cli(&["approve", &build.number.to_string()]).await.expect(0);
    let build = app.finished(build.number).await;
    assert_eq!((build.status, build.reason.as_deref()), (Status::Passed, None));
    // Stars would say that the guess is right.
    assert!(app.stage_log(&build, "one").await.contains(&format!("is it {line}?\n")));
    assert!(app.stage_log(&build, "setup").await.contains("it gets no secrets: DEPLOY\n"));
}
