//! Notifications of real builds, through a real mail server; and what a server that dies owes.

use ocelot_model::Status;
use ocelot_testkit::{
    Authority, Environment, GitRepo, MAIL_PASSWORD, MAIL_USER, MailServer, Mode, Output, Receiver,
    SLACK_CANARY, Setup, TestApp, WEBHOOK_KEY, wait_for,
};
use tempfile::TempDir;

use super::OCELOT;
use super::secrets::holding;

/// An Ocelot that believes an authority of the test's own.
struct Site {
    app: TestApp,
    authority: Authority,
    _folder: TempDir,
}

impl Site {
    async fn new(setup: Setup, env: &[(&str, &str)]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("the test's own");
        let ca = authority.write(folder.path()).display().to_string();
        let all = [("SSL_CERT_FILE", ca.as_str())].into_iter().chain(env.iter().copied());
        let server = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let env = Environment { server, ..Environment::default() };
        Site { app: TestApp::start_with(OCELOT, setup, env).await, authority, _folder: folder }
    }

    async fn credential(&self, name: &str, value: &str, fields: &[&str]) {
        let mut args = vec!["creds", "notify", "add", name];
        for field in fields {
            args.extend(["--field", field]);
        }
        self.app.cli_with(&args, &format!("{value}\n")).await.expect(0);
    }

    /// A credential for this mail server, with further fields.
    async fn mailer(&self, server: &MailServer, password: &str, more: &[&str]) {
        let url = format!("url={}", server.url());
        let user = format!("username={MAIL_USER}");
        let mut fields = vec!["type=email", &url, "from=Ocelot <ci@example.org>"];
        if !more.iter().any(|field| field.starts_with("username=")) {
            fields.push(&user);
        }
        fields.extend(more);
        self.credential("mailer", password, &fields).await;
    }

    async fn test(&self) -> Output {
        self.app.cli(&["notify", "test", "--credential", "mailer"]).await
    }
}

#[tokio::test]
async fn a_real_build_tells_slack_a_webhook_and_people() {
    let site = Site::new(Setup::Up, &[]).await;
    let (slack, hook) = (Receiver::slack().await, Receiver::webhook().await);
    let mail = MailServer::start(Mode::StartTls, &site.authority).await;
    site.credential("team", &slack.url(), &[]).await;
    site.credential("sign", WEBHOOK_KEY, &["type=webhook", &format!("url={}", hook.url())]).await;
    site.mailer(&mail, MAIL_PASSWORD, &["to=ann@example.org"]).await;
    let yml = "image: ocelot-test/busybox\nstages:\n- {name: lint, script: [echo fine]}\n- {name: test, script: ['echo \"error: no such thing\"; exit 7']}\n\
               - {name: deploy, script: [echo never]}\nnotify:\n  slack: {identifier: team, channel: '#ci', on: [FAIL]}\n\
               \x20 webhook: {identifier: sign}\n  email: {identifier: mailer}\n";
    let build = site.app.build("app", yml).await;
    let build = site.app.finished(build.number).await;
    assert_eq!(build.status, Status::Failed, "{build:#?}");
    let link = format!("{}/builds/{}", site.app.url(), build.number);
    let mails = wait_for("a mail", async || Some(mail.taken()).filter(|all| !all.is_empty())).await;
    let told = wait_for("Slack and the webhook", async || {
        Some((slack.taken(), hook.taken())).filter(|(slack, hook)| !slack.is_empty() && !hook.is_empty())
    });
    let (messages, hooks) = told.await;
    let text = messages[0]["attachments"][0]["text"].as_str().unwrap();
    // With what its log says that none before it did.
    assert!(text.contains("[lint] passed\n[test] failed: exit code 7\n    "), "{text}");
    assert!(text.contains("\n    error: no such thing\n") && text.contains("\n[deploy] skipped"), "{text}");
    assert_eq!(messages[0]["attachments"][0]["title_link"], link.as_str());
    assert_eq!(
        (&hooks[0]["type"], &hooks[0]["data"]["url"]),
        (&"build.failed".into(), &link.as_str().into())
    );
    let text = mails[0]["text"].as_str().unwrap();
    for part in
        ["Subject: [git/app] Build 1 failed", "[test] failed: exit code 7", &link, "To: ann@example.org"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!((&mails[0]["encrypted"], &mails[0]["user"]), (&true.into(), &MAIL_USER.into()));
    wait_for("an empty list", async || {
        site.app
            .cli(&["notify", "list", "--json"])
            .await
            .expect(0)
            .json()
            .as_array()
            .unwrap()
            .is_empty()
            .then_some(())
    })
    .await;
    let said = site.app.cli(&["notify", "test", "git/app"]).await.expect(0).stdout;
    for part in [
        "slack team #ci",
        "webhook sign",
        "email mailer",
        "answered: 200 ok",
        "answered: 250 2.0.0 queued as 42",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    for canary in [SLACK_CANARY, MAIL_PASSWORD, WEBHOOK_KEY] {
        assert!(!said.contains(canary), "{said}");
        let found = holding(site.app.home(), canary.as_bytes());
        assert_eq!(found, Vec::<String>::new(), "{canary}");
    }
}

#[tokio::test]
async fn what_is_news_is_told_past_errors_and_cancelled_builds() {
    let site = Site::new(Setup::Up, &[]).await;
    let hook = Receiver::webhook().await;
    let fields = ["type=webhook", &format!("url={}", hook.url()), "on=pass, fail, cancelled"];
    site.credential("sign", WEBHOOK_KEY, &fields).await;
    let yml = |image: &str, script: &str| {
        format!(
            "image: {image}\nretry: {{infrastructure: 0}}\nstages:\n- {{name: t, script: ['{script}']}}\n"
        )
    };
    let repo = GitRepo::with(&yml("ocelot-test/busybox", "exit 0"));
    let handle = site.app.add_repo(&repo, "app").await;
    // How each ends, and what that is an occasion of. Nobody listens at port 9.
    for (image, script, status, want) in [
        ("ocelot-test/busybox", "exit 0", Status::Passed, "pass"),
        ("localhost:9/none", "exit 0", Status::Error, "fail error broken"),
        ("ocelot-test/busybox", "echo begun; sleep 600", Status::Cancelled, "cancelled"),
        ("ocelot-test/busybox", "exit 3", Status::Failed, "fail still_failing"),
        ("ocelot-test/busybox", "exit 0", Status::Passed, "pass fixed"),
    ] {
        repo.commit(&[("ocelot.yml", &yml(image, script))]);
        let number = site.app.start_build(&handle).await.number;
        if status == Status::Cancelled {
            site.app.logged(number, "begun").await;
            site.app.cli(&["cancel", &number.to_string()]).await.expect(0);
        }
        let build = site.app.finished(number).await;
        assert_eq!(build.status, status, "{build:#?}");
        let body = wait_for("that it is told", async || {
            hook.taken().into_iter().find(|body| body["data"]["number"] == number)
        })
        .await;
        let occasions: Vec<&str> =
            body["data"]["occasions"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
        assert_eq!(occasions.join(" "), want, "{body}");
        if status == Status::Error {
            let stages = &body["data"]["jobs"][0]["stages"];
            let of =
                |at: usize| (stages[at]["name"].as_str().unwrap(), stages[at]["status"].as_str().unwrap());
            assert_eq!([of(0), of(1)], [("setup", "error"), ("t", "skipped")], "{body}");
        }
    }
}

#[tokio::test]
async fn mail_goes_over_tls_and_in_no_other_way() {
    let site = Site::new(Setup::NoWorker, &[]).await;
    for mode in [Mode::StartTls, Mode::Implicit] {
        let mail = MailServer::start(mode, &site.authority).await;
        site.mailer(&mail, MAIL_PASSWORD, &["to=ann@example.org, Bob <bob@example.org>"]).await;
        let said = site.test().await.expect(0).stdout;
        assert!(said.contains("answered: 250 2.0.0 queued as 42") && said.contains("A test of"), "{said}");
        let got = mail.taken().remove(0);
        assert_eq!((&got["encrypted"], &got["user"]), (&true.into(), &MAIL_USER.into()));
        assert_eq!(got["to"], serde_json::json!(["ann@example.org", "bob@example.org"]));
        assert_eq!(got["from"], "ci@example.org");

        site.mailer(&mail, "not the password", &["to=ann@example.org"]).await;
        let said = site.test().await.expect(1).stdout;
        // The server says it back, as some do.
        assert!(said.contains("failed: the far side refuses:") && said.contains("no PLAIN ***"), "{said}");
        assert!(!said.contains("AGNp") && !said.contains("not the password"), "{said}");
        for (to, words) in [
            ("nobody", "refuses: nobody@example.org: 550 5.1.1 no such user"),
            ("later", "not available: later@example.org: 451 4.2.1 try again later"),
        ] {
            site.mailer(&mail, MAIL_PASSWORD, &[&format!("to={to}@example.org")]).await;
            let said = site.test().await.expect(1).stdout;
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(mail.taken().len(), 1);

        // Somebody else's certificate, or one for another name.
        let foreign = MailServer::start(mode, &Authority::new("somebody else's")).await;
        site.mailer(&foreign, MAIL_PASSWORD, &["to=ann@example.org"]).await;
        let said = site.test().await.expect(1).stdout;
        assert!(said.contains("certificate") && foreign.taken().is_empty(), "{said}");
        let other_name = mail.url().replace("localhost", "127.0.0.1");
        site.mailer(&mail, MAIL_PASSWORD, &["to=ann@example.org", &format!("url={other_name}")]).await;
        let said = site.test().await.expect(1).stdout;
        assert!(said.contains("certificate") && mail.taken().len() == 1, "{said}");
    }
    let clear = MailServer::start(Mode::Clear, &site.authority).await;
    site.mailer(&clear, MAIL_PASSWORD, &["to=ann@example.org"]).await;
    let said = site.test().await.expect(1).stdout;
    assert!(said.contains("offers no STARTTLS, and nothing is sent to it in the clear"), "{said}");
    assert!(clear.taken().is_empty());
}

#[tokio::test]
async fn one_who_is_refused_keeps_a_mail_from_nobody() {
    let site = Site::new(Setup::NoWorker, &[]).await;
    let mail = MailServer::start(Mode::Implicit, &site.authority).await;
    let people = "to=nobody@example.org, ann@example.org, soon@example.org";
    site.mailer(&mail, MAIL_PASSWORD, &[people, "on=error"]).await;
    let repo = GitRepo::with("nonsense: true\n");
    let handle = site.app.add_repo(&repo, "app").await;
    site.app.cli(&["build", &handle]).await;
    let why = async || site.app.cli(&["why", "1"]).await.expect(0).stdout;
    let said =
        wait_for("who is refused", async || Some(why().await).filter(|said| said.contains("not taken")))
            .await;
    for part in ["nobody@example.org: 550 5.1.1 no such user", "soon@example.org: 451 4.2.1 try again later"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(mail.taken()[0]["to"], serde_json::json!(["ann@example.org"]));
    // A credential that is changed is tried at once: with those who have no mail yet.
    site.mailer(&mail, MAIL_PASSWORD, &[people, "on=error"]).await;
    let second = wait_for("the second mail", async || mail.taken().get(1).cloned()).await;
    assert_eq!(second["to"], serde_json::json!(["soon@example.org"]));
    let said =
        wait_for("the one who is left", async || Some(why().await).filter(|said| !said.contains("soon@")))
            .await;
    assert!(said.contains("not taken for nobody@example.org: 550"), "{said}");
    // Whom it was a mistake to name.
    site.mailer(&mail, MAIL_PASSWORD, &["to=ann@example.org, bob@example.org", "on=error"]).await;
    let third = wait_for("the third mail", async || mail.taken().get(2).cloned()).await;
    assert_eq!(third["to"], serde_json::json!(["bob@example.org"]));
    wait_for("nothing left", async || (!why().await.contains("not delivered")).then_some(())).await;
    let said = site.app.cli(&["notify", "test", "git/app"]).await.expect(0).stdout;
    assert!(said.contains("answered: 250"), "{said}");
    site.mailer(&mail, MAIL_PASSWORD, &["to=nobody@example.org, ann@example.org"]).await;
    let said = site.test().await.expect(1).stdout;
    assert!(said.contains("answered: 250") && said.contains("failed: nobody@example.org: 550"), "{said}");
}

#[tokio::test]
async fn what_a_server_owed_when_it_died_is_sent() {
    let mut site = Site::new(Setup::NoWorker, &[("OCELOT_CRASH_AT", "something-owed")]).await;
    let hook = Receiver::webhook().await;
    site.credential("sign", WEBHOOK_KEY, &["type=webhook", &format!("url={}", hook.url()), "on=error"]).await;
    let repo = GitRepo::with("nonsense: true\n");
    let handle = site.app.add_repo(&repo, "app").await;
    // It dies right after the build is there, and has told nobody.
    site.app.cli(&["build", &handle]).await.expect(69);
    wait_for("the end of the server", async || site.app.server().ended()).await;
    assert!(hook.taken().is_empty());
    site.app.restart().await;
    let told = wait_for("what was owed", async || Some(hook.taken()).filter(|all| !all.is_empty())).await;
    assert_eq!((&told[0]["type"], &told[0]["data"]["number"]), (&"build.error".into(), &1.into()));
    let reason = told[0]["data"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("ocelot.yml:1:1: `nonsense` is no key"), "{reason}");
    assert_eq!(told.len(), 1);
}
