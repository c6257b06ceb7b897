//! Commands at a terminal: what they ask, and what they show only there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use ocelot_testkit::Output;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::json;

use super::OCELOT;
use super::fake::{Answer, Fake, build, job};

/// A command at a terminal of its own.
struct Terminal {
    keyboard: File,
    screen: File,
    child: Child,
    seen: String,
    folder: tempfile::TempDir,
}

impl Terminal {
    fn start(url: &str, args: &[&str], env: &[(&str, &str)]) -> Terminal {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let side = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(OCELOT);
        command.args(args).env("OCELOT_URL", url).env("HOME", folder.path()).env("TERM", "xterm");
        command.env_remove("NO_COLOR").envs(env.iter().copied());
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        drop(command);
        let screen = File::from(controller);
        let keyboard = screen.try_clone().unwrap();
        Terminal { keyboard, screen, child, seen: String::new(), folder }
    }

    /// Reads until this stands on the screen.
    fn shows(&mut self, text: &str) -> &mut Terminal {
        while !self.seen.contains(text) {
            assert!(self.read(), "it ended without {text:?}: {}", self.seen);
        }
        self
    }

    fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        // A terminal that nobody else holds open any more is an error to read.
        let count = self.screen.read(&mut piece).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&piece[..count]));
        count > 0
    }

    fn types(&mut self, text: &str) -> &mut Terminal {
        self.keyboard.write_all(text.as_bytes()).unwrap();
        self
    }

    fn ends(&mut self) -> Output {
        while self.read() {}
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Output { code, stdout: std::mem::take(&mut self.seen), stderr: String::new() }
    }
}

/// A server with one repository of 12 builds, and what was deleted there.
fn repository() -> (Fake, Arc<Mutex<Vec<String>>>) {
    let deleted = Arc::new(Mutex::new(Vec::new()));
    let log = deleted.clone();
    let fake = Fake::start(move |request| {
        let repo = json!({"repo": "git/app", "forge": "git", "owner": "", "name": "app", "clone_url": "/srv/app",
            "default_branch": "main", "public": false});
        let number = |number: i64| {
            let mut build = build("passed", &json!([]));
            build["number"] = number.into();
            build
        };
        match request.split('?').next().unwrap() {
            "GET /api/v1/repos" => Answer::Json(json!({"items": [repo], "next": null})),
            "GET /api/v1/repos/git/app" => Answer::Json(repo),
            "GET /api/v1/builds" => {
                let builds: Vec<_> = (23..=34).rev().map(number).collect();
                Answer::Json(json!({"items": builds, "next": null}))
            }
            "DELETE /api/v1/repos/git/app" => {
                log.lock().unwrap().push(request.to_owned());
                Answer::Json(json!(null))
            }
            _ => Answer::Missing,
        }
    });
    (fake, deleted)
}

#[test]
fn removing_a_repository_asks_for_its_name() {
    let (fake, deleted) = repository();
    let mut wrong = Terminal::start(&fake.url, &["repo", "remove", "app"], &[]);
    wrong
        .shows("12 builds")
        .shows("the newest is 34")
        .shows("and their logs")
        .shows("Type git/app to go on: ");
    let said = wrong.types("yes\n").ends().expect(2).stdout;
    assert!(said.contains("nothing was removed"), "{said}");
    let mut gone = Terminal::start(&fake.url, &["repo", "remove", "app"], &[]);
    gone.shows("Type git/app").types("\u{4}").ends().expect(2);
    assert!(deleted.lock().unwrap().is_empty());

    let mut right = Terminal::start(&fake.url, &["repo", "remove", "app"], &[]);
    right.shows("Type git/app to go on: ").types("git/app\n").shows("Removed git/app.").ends().expect(0);
    assert_eq!(deleted.lock().unwrap().len(), 1);
}

#[test]
fn without_a_terminal_removing_needs_yes() {
    let (fake, deleted) = repository();
    let folder = tempfile::tempdir().unwrap();
    let call = |args: &[&str]| {
        let url = [("OCELOT_URL", fake.url.as_str())];
        ocelot_testkit::ocelot(std::path::Path::new(OCELOT), folder.path(), &url, args, "git/app\n")
    };
    let said = call(&["repo", "remove", "git/app"]).expect(64).stderr;
    assert!(said.contains("12 builds") && said.contains("--yes"), "{said}");
    assert!(deleted.lock().unwrap().is_empty());
    call(&["repo", "remove", "git/app", "--yes"]).expect(0);
    assert_eq!(deleted.lock().unwrap().len(), 1);
}

#[test]
fn a_token_is_not_shown_while_it_is_typed_and_stored_only_when_it_is_good() {
    let fake = Fake::start(|request| match request {
        "GET /api/v1/whoami" => Answer::Json(json!({"name": "me", "role": "admin", "repos": []})),
        _ => Answer::Missing,
    });
    let mut login = Terminal::start(&fake.url, &["login", &fake.url], &[]);
    let said = login.shows("Token: ").types("s3cret\n").ends().expect(0).stdout;
    assert!(!said.contains("s3cret") && said.contains("as me (admin)"), "{said}");
    let stored = std::fs::read_to_string(login.folder.path().join(".config/ocelot/login.json")).unwrap();
    assert!(stored.contains("s3cret"), "{stored}");

    let stranger = Fake::start(|_| Answer::Missing);
    let mut login = Terminal::start(&stranger.url, &["login", &stranger.url], &[]);
    login.shows("Token: ").types("wrong\n").ends().expect(2);
    assert!(!login.folder.path().join(".config").exists());
}

#[test]
fn ctrl_c_at_a_hidden_question_gives_the_terminal_back() {
    let fake = Fake::start(|_| Answer::Missing);
    let mut login = Terminal::start(&fake.url, &["login", &fake.url], &[]);
    login.shows("Token: ");
    assert!(!tcgetattr(&login.screen).unwrap().local_modes.contains(LocalModes::ECHO));
    kill_process(Pid::from_raw(login.child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    login.shows("interrupted");
    assert!(tcgetattr(&login.screen).unwrap().local_modes.contains(LocalModes::ECHO));
    login.ends().expect(130);
}

#[test]
fn a_build_that_waits_shows_a_spinner_and_ctrl_c_takes_it_away() {
    let waits = json!({"kind": "build", "build": 1, "repo": "git/app", "status": "queued"});
    let fake = Fake::start(move |request| match request {
        "GET /api/v1/builds/1" => Answer::Json(build("queued", &json!([]))),
        "GET /api/v1/builds/1/events" => Answer::Silence(vec![waits.clone()]),
        _ => Answer::Missing,
    });
    let mut follow = Terminal::start(&fake.url, &["logs", "1", "--follow"], &[]);
    // It is drawn over and over on one line.
    follow.shows("Build 1 waits").shows("\u{1b}[2K");
    kill_process(Pid::from_raw(follow.child.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    follow.shows("Build 1 goes on").ends().expect(130);
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let jobs = json!([job("default", "failed", &[(1, "one", "failed", 0)])]);
    let fake = Fake::start(move |request| match request {
        "GET /api/v1/builds/1" => Answer::Json(build("failed", &jobs)),
        _ => Answer::Missing,
    });
    let coloured = Terminal::start(&fake.url, &["status", "1"], &[]).ends().expect(0).stdout;
    assert!(coloured.contains('\u{1b}'), "{coloured}");
    let plain = Terminal::start(&fake.url, &["status", "1"], &[("NO_COLOR", "1")]).ends().expect(0).stdout;
    assert!(!plain.contains('\u{1b}'), "{plain}");
}
