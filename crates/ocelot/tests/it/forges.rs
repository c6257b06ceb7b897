//! A forge from the command line: added, looked through, watched, and removed again.

use ocelot_model::ForgeKind;
use ocelot_testkit::forge::TOKEN;
use ocelot_testkit::{FakeForge, Setup, TestApp};

use super::OCELOT;

#[tokio::test]
async fn a_forge_is_added_watched_and_removed() {
    let app = TestApp::start(OCELOT, Setup::NoWorker).await;
    let fake = FakeForge::start(ForgeKind::Gitea).await;
    for (number, name, file) in [(1, "acme/app", "ocelot.yml"), (2, "acme/lib", "README")] {
        fake.add_repo(number, name);
        fake.commit(name, "main", "one", &[(file, Some("image: a\n"))]);
    }
    let (good, bad) = (app.home().join("good"), app.home().join("bad"));
    std::fs::write(&good, format!("{TOKEN}\n")).unwrap();
    std::fs::write(&bad, "wrong").unwrap();
    let url = fake.url();
    let add = async |file: &std::path::Path, code: i32| {
        let file = file.to_str().unwrap();
        let kind = ["forge", "add", "codes", "--kind", "forgejo", "--at", &url, "--insecure-http"];
        let args: Vec<&str> = kind.into_iter().chain(["--token-file", file]).collect();
        app.cli(&args).await.expect(code)
    };
    assert!(add(&bad, 2).await.stderr.contains("does not take the token"));
    assert!(add(&good, 0).await.stdout.contains("Added codes"));
    let list = app.cli(&["forge", "list"]).await.expect(0).stdout;
    assert!(list.contains("codes") && list.contains("gitea") && !list.contains(TOKEN), "{list}");
    let change = ["forge", "change", "codes", "--hook-secret-file", good.to_str().unwrap()];
    app.cli(&change).await.expect(0);
    assert_eq!(app.cli(&["forge", "list", "--json"]).await.expect(0).json()[0]["hook_secret"], true);

    let found = app.cli(&["repo", "discover", "codes", "acme"]).await.expect(0).stdout;
    assert!(found.contains("acme/app") && found.contains("acme/lib"), "{found}");
    let said = app.cli(&["repo", "discover", "codes", "--watch"]).await.expect(0).stdout;
    assert_eq!(said, "Watching codes/acme/app.\n");
    assert_eq!((fake.hooks("acme/app").len(), fake.hooks("acme/lib").len()), (1, 0));
    assert!(app.cli(&["repo", "show", "app"]).await.expect(0).stdout.contains("watched: yes"));
    app.cli(&["watch", "app"]).await.expect(0);
    app.cli(&["unwatch", "app"]).await.expect(0);
    assert_eq!(fake.hooks("acme/app").len(), 0);
    app.cli(&["repo", "add", "acme/lib", "--forge", "codes", "--ssh"]).await.expect(0);
    app.cli(&["forge", "remove", "codes"]).await.expect(2);

    app.cli(&["watch", "app"]).await.expect(0);
    fake.set_down(true);
    let said = app.cli(&["repo", "remove", "app", "--yes"]).await.expect(0);
    assert!(said.stderr.contains("could not be removed"), "{}", said.stderr);
    app.cli(&["repo", "remove", "lib", "--yes"]).await.expect(0);
    app.cli(&["forge", "remove", "codes"]).await.expect(0);
}
