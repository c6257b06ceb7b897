//! Git against real repositories on this machine's disk.

use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use ocelot_forge::git::FILE_MAX;
use ocelot_forge::{CloneUrl, Git, GitError};
use ocelot_testkit::{Manners, SmallDisk, WebHost};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

struct Room {
    folder: TempDir,
    git: Git,
    url: CloneUrl,
}

fn git(folder: &Path, args: &[&str]) -> String {
    let out = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn commit(folder: &Path, file: &str, text: &str) -> String {
    std::fs::write(folder.join(file), text).unwrap();
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "-q", "-m", &format!("change {file}\n\nand more")]);
    git(folder, &["rev-parse", "HEAD"])
}

fn room() -> Room {
    let folder = tempfile::tempdir().unwrap();
    let repo = folder.path().join("app");
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    let client = Git::new(&folder.path().join("data"), true);
    let url = client.check_url(repo.to_str().unwrap()).unwrap();
    Room { folder, git: client, url }
}

impl Room {
    fn repo(&self) -> std::path::PathBuf {
        self.folder.path().join("app")
    }

    /// The newest commit of `branch` and its file.
    async fn head(&self, branch: &str) -> Result<(String, Option<String>), GitError> {
        let (commit, found) = self.git.head(&self.url, branch, "ocelot.yml").await?;
        Ok((commit, found.file.map(|file| String::from_utf8(file).unwrap())))
    }

    /// The folder where the server keeps what it has read.
    fn cache(&self) -> std::path::PathBuf {
        let caches = std::fs::read_dir(self.folder.path().join("data/mirrors-server")).unwrap();
        caches.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap()
    }
}

#[tokio::test]
async fn the_file_of_a_branch_and_of_a_commit() {
    let room = room();
    let first = commit(&room.repo(), "ocelot.yml", "one");
    assert_eq!(room.git.default_branch(&room.url).await.unwrap(), "main");
    assert_eq!(room.head("main").await.unwrap(), (first.clone(), Some("one".to_owned())));
    let second = commit(&room.repo(), "ocelot.yml", "two");
    assert_eq!(room.head("main").await.unwrap(), (second.clone(), Some("two".to_owned())));
    for (id, text) in [(&second, "two"), (&first, "one"), (&second, "two")] {
        let found = room.git.read(&room.url, id, "main", "ocelot.yml").await.unwrap();
        assert_eq!(found.file.as_deref(), Some(text.as_bytes()));
        assert_eq!((found.author.as_str(), found.message.as_str()), ("Ann", "change ocelot.yml\n\nand more"));
    }
    assert_eq!(room.git.read(&room.url, &second, "main", "none.yml").await.unwrap().file, None);
}

#[tokio::test]
async fn what_a_crash_left_in_the_cache_holds_up_nobody() {
    let room = room();
    let first = commit(&room.repo(), "ocelot.yml", "one");
    room.head("main").await.unwrap();
    let second = commit(&room.repo(), "ocelot.yml", "two");
    std::fs::write(room.cache().join("shallow.lock"), "").unwrap();
    assert_eq!(room.head("main").await.unwrap().0, second);
    std::fs::write(room.cache().join("refs/ocelot/newest"), "").unwrap();
    assert_eq!(room.head("main").await.unwrap().0, second);
    std::fs::remove_dir_all(room.cache().join("objects")).unwrap();
    let found = room.git.read(&room.url, &first, "main", "ocelot.yml").await.unwrap();
    assert_eq!(found.file.as_deref(), Some(b"one".as_slice()));
}

/// What does not fit is refused in these words and leaves nothing behind; what fits is fetched as ever.
#[tokio::test]
async fn a_full_disk_is_said_and_not_made_fuller() {
    let disk = SmallDisk::new(4);
    let repo = tempfile::tempdir().unwrap();
    let repo = repo.path();
    git(repo, &["init", "-q", "-b", "main"]);
    commit(repo, "ocelot.yml", "one");
    let client = Git::new(disk.path(), true);
    let url = client.check_url(repo.to_str().unwrap()).unwrap();
    let head = async || client.head(&url, "main", "ocelot.yml").await.map(|(id, _)| id);
    let is_full = |told: Result<String, GitError>| matches!(told, Err(GitError::DiskFull(_)));
    head().await.unwrap();
    disk.fill();
    commit(repo, "ocelot.yml", "two");
    assert!(is_full(head().await));
    // Nor is there room for a new cache when others take what the old one had.
    disk.fill();
    assert!(is_full(head().await));
    disk.free();
    // Random, so that it stays as large as it is.
    let mut large = vec![0; 8 << 20];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut large).unwrap();
    std::fs::write(repo.join("large"), large).unwrap();
    let id = commit(repo, "ocelot.yml", "three");
    for told in [
        head().await,
        client.read(&url, &id, "main", "ocelot.yml").await.map(|_| String::new()),
        client.contains(&url, &id[..39].replace(&id[..1], "0"), "main").await.map(|_| String::new()),
    ] {
        assert!(is_full(told));
        let caches = std::fs::read_dir(disk.path().join("mirrors-server")).unwrap();
        let left: Vec<_> = caches.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    std::fs::remove_file(repo.join("large")).unwrap();
    let small = commit(repo, "ocelot.yml", "four");
    assert_eq!(head().await.unwrap(), small);
}

/// What is known of a repository stays known while its host is away.
#[tokio::test]
async fn a_host_that_is_away_costs_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let client = Git::with_http(folder.path(), true, true);
    let repo = folder.path().join("app");
    std::fs::create_dir(&repo).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    let id = commit(&repo, "ocelot.yml", "one");
    client.head(&client.check_url(repo.to_str().unwrap()).unwrap(), "main", "ocelot.yml").await.unwrap();
    // The same repository under an address where nobody listens.
    let away = client.check_url("http://127.0.0.1:1/app").unwrap();
    let caches = folder.path().join("mirrors-server");
    let known =
        std::fs::read_dir(&caches).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let hex =
        Sha256::digest(away.as_str()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    std::fs::rename(known.unwrap(), caches.join(hex)).unwrap();
    let error = client.head(&away, "main", "ocelot.yml").await.unwrap_err();
    assert!(matches!(error, GitError::Failed(_)), "{error:?}");
    let found = client.read(&away, &id, "main", "ocelot.yml").await.unwrap();
    assert_eq!(found.file.as_deref(), Some(b"one".as_slice()));
}

#[tokio::test]
async fn a_server_that_starts_again_writes_its_git_configuration() {
    let room = room();
    let id = commit(&room.repo(), "ocelot.yml", "one");
    room.head("main").await.unwrap();
    let file = room.folder.path().join("data/mirrors-server/gitconfig");
    let wanted = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "[core]\n\thooksPath = /tmp\n").unwrap();
    let again = Git::new(&room.folder.path().join("data"), true);
    assert_eq!(again.head(&room.url, "main", "ocelot.yml").await.unwrap().0, id);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), wanted);
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let room = room();
    let error = room.git.default_branch(&room.url).await.unwrap_err().to_string();
    assert!(error.contains("push a first commit"), "{error}");
    let error = room.head("main").await.unwrap_err();
    assert!(matches!(error, GitError::NoBranch { .. }), "{error:?}");
    commit(&room.repo(), "ocelot.yml", "one");
    let error = room.head("mai").await.unwrap_err();
    assert!(matches!(error, GitError::NoBranch { .. }), "{error:?}");
    let error = room.git.read(&room.url, &"0".repeat(40), "main", "x").await.unwrap_err();
    assert!(matches!(error, GitError::NoCommit { .. }), "{error:?}");
    let gone = room.git.check_url("/nowhere/at/all").unwrap();
    let error = room.git.default_branch(&gone).await.unwrap_err();
    assert!(matches!(error, GitError::NotFound(_)), "{error:?}");
}

#[tokio::test]
async fn branch_names_are_only_names() {
    let room = room();
    let id = commit(&room.repo(), "ocelot.yml", "one");
    for name in ["--upload-pack=touch", "$(id)", "<script>", "feature/a"] {
        git(&room.repo(), &["update-ref", &format!("refs/heads/{name}"), &id]);
        assert_eq!(room.head(name).await.unwrap().0, id, "{name}");
    }
    std::fs::write(room.cache().join("mark"), "").unwrap();
    for name in ["../main", "*", "main*", "heads/main", "", "a\nb", "a..b", "a.lock"] {
        let error = room.head(name).await.unwrap_err();
        assert!(matches!(error, GitError::NoBranch { .. }), "{name:?}: {error:?}");
    }
    assert!(room.cache().join("mark").exists(), "a bad name has cost the cache");
}

#[tokio::test]
async fn a_commit_is_found_on_its_branch_or_on_none() {
    let room = room();
    let old = commit(&room.repo(), "a", "1");
    let head = commit(&room.repo(), "a", "2");
    git(&room.repo(), &["checkout", "-q", "-b", "side"]);
    let side = commit(&room.repo(), "a", "3");
    git(&room.repo(), &["checkout", "-q", "--detach", "main"]);
    let loose = commit(&room.repo(), "a", "4");
    for (id, prefer, want) in [
        (&head, "main", Some("main")),
        (&old, "main", Some("main")),
        (&old, "side", Some("side")),
        (&side, "main", Some("side")),
        (&loose, "main", None),
    ] {
        assert_eq!(room.git.contains(&room.url, id, prefer).await.unwrap().as_deref(), want);
    }
}

#[tokio::test]
async fn a_large_file_is_cut_one_byte_past_the_limit() {
    let room = room();
    let id = commit(&room.repo(), "ocelot.yml", &"x".repeat(FILE_MAX * 4));
    let found = room.git.read(&room.url, &id, "main", "ocelot.yml").await.unwrap();
    assert_eq!(found.file.unwrap().len(), FILE_MAX + 1);
}

/// An address on a web host; what is read of it, or why nothing.
async fn over_http(
    manners: Manners,
    change: impl Fn(&str) -> String,
    branch: &str,
) -> Result<String, GitError> {
    let room = room();
    let id = commit(&room.repo(), "ocelot.yml", "one");
    let host = WebHost::start(room.folder.path(), manners);
    let url = room.git.check_url(&change(&host.url("app"))).unwrap();
    assert_eq!(room.git.default_branch(&url).await?, "main");
    let (head, found) = room.git.head(&url, branch, "ocelot.yml").await?;
    assert_eq!(head, id);
    assert!(room.git.contains(&url, &id, "main").await?.is_some());
    room.git.read(&url, &"0".repeat(40), "main", "ocelot.yml").await.unwrap_err();
    Ok(String::from_utf8(found.file.unwrap()).unwrap())
}

#[tokio::test]
async fn over_http_with_and_without_a_password() {
    assert_eq!(over_http(Manners::Open, str::to_owned, "main").await.unwrap(), "one");
    assert_eq!(over_http(Manners::Old, str::to_owned, "main").await.unwrap(), "one");
    let check = async |manners, change: fn(&str) -> String, branch: &str, want: &str| {
        let error = over_http(manners, change, branch).await.unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    };
    let same = str::to_owned;
    check(Manners::Closed, same, "main", "asks for a user and a password, and takes none that Ocelot has")
        .await;
    check(Manners::Open, |url| url.replace("/app", "/none"), "main", "repository not found").await;
    check(Manners::Open, same, "none", "there is no branch `none`").await;
    let closed_port = |url: &str| {
        let (_, path) = url.rsplit_once('/').unwrap();
        format!("http://127.0.0.1:1/{path}")
    };
    check(Manners::Open, closed_port, "main", "Failed to connect to 127.0.0.1").await;
}

/// As over ssh, where most hosts speak the older protocol.
#[tokio::test]
async fn a_commit_below_a_tag_on_a_host_that_gives_out_names_only() {
    let room = room();
    commit(&room.repo(), "ocelot.yml", "one");
    git(&room.repo(), &["checkout", "-q", "--detach"]);
    let below = commit(&room.repo(), "ocelot.yml", "below");
    commit(&room.repo(), "ocelot.yml", "tagged");
    git(&room.repo(), &["tag", "v1"]);
    git(&room.repo(), &["checkout", "-q", "main"]);
    let host = WebHost::start(room.folder.path(), Manners::Old);
    let url = room.git.check_url(&host.url("app")).unwrap();
    for branch in ["main", "v1"] {
        let found = room.git.read(&url, &below, branch, "ocelot.yml").await.unwrap();
        assert_eq!(found.file.as_deref(), Some(b"below".as_slice()));
    }
    let error = room.git.read(&url, &"0".repeat(40), "main", "ocelot.yml").await.unwrap_err();
    assert!(matches!(error, GitError::NoCommit { .. }), "{error:?}");
}

#[tokio::test]
async fn a_silent_host_keeps_no_process_of_ours() {
    use tokio::io::AsyncReadExt as _;

    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Git::new(folder.path(), false);
    let url = client.check_url(&format!("http://{}/app", listener.local_addr().unwrap())).unwrap();
    let mut asked = tokio::select! {
        accepted = listener.accept() => accepted.unwrap().0,
        answer = client.default_branch(&url) => panic!("{answer:?}"),
    };
    // The caller has given up. Who asked for it is gone as well: the connection ends.
    let mut words = Vec::new();
    let ended = asked.read_to_end(&mut words);
    tokio::time::timeout(std::time::Duration::from_secs(20), ended)
        .await
        .expect("git's helper lives on")
        .unwrap();
}

#[tokio::test]
async fn what_changed_between_two_commits() {
    let room = room();
    let repo = room.repo();
    let first = commit(&repo, "ocelot.yml", "one");
    std::fs::create_dir(repo.join("src")).unwrap();
    commit(&repo, "src/ä b", "x");
    git(&repo, &["mv", "ocelot.yml", "moved"]);
    let last = commit(&repo, "src/c", "y");
    room.head("main").await.unwrap();
    let changed = room.git.changed(&room.url, &first, &last).await.unwrap();
    assert_eq!(changed, ["moved", "ocelot.yml", "src/c", "src/ä b"]);
    assert_eq!(room.git.changed(&room.url, &last, &first).await.unwrap(), changed);
    assert_eq!(room.git.changed(&room.url, &last, &last).await.unwrap(), [""; 0]);
    let none = "0".repeat(40);
    assert!(room.git.changed(&room.url, &none, &last).await.is_err());
    assert!(matches!(room.git.changed(&room.url, "--output=x", &last).await, Err(GitError::NoCommit { .. })));
}

#[tokio::test]
async fn caches_that_take_too_much_or_are_old_go_and_come_back() {
    let room = room();
    commit(&room.repo(), "ocelot.yml", "one");
    room.head("main").await.unwrap();
    let (year, much) = (std::time::Duration::from_hours(365 * 24), u64::MAX);
    assert_eq!(room.git.tidy(year, much).await.unwrap(), 0);
    let cache = room.cache();
    assert_eq!(room.git.tidy(year, 1).await.unwrap(), 1);
    assert!(!cache.exists());
    assert_eq!(room.head("main").await.unwrap().1.as_deref(), Some("one"));
    assert_eq!(room.git.tidy(std::time::Duration::ZERO, much).await.unwrap(), 1);
    assert_eq!(room.head("main").await.unwrap().1.as_deref(), Some("one"));
}
