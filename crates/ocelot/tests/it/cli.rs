//! Commands that need no server, and what the others say without one.

use std::path::Path;

use ocelot_testkit::{Output, ocelot};

use super::OCELOT;

const GOOD: &str = "image: busybox\nstages:\n  - name: test\n    script: [echo hello]\n";

fn call(folder: &Path, args: &[&str], input: &str) -> Output {
    ocelot(Path::new(OCELOT), folder, &[("OCELOT_URL", "http://127.0.0.1:1")], args, input)
}

fn check(args: &[&str], code: i32) -> Output {
    let folder = tempfile::tempdir().unwrap();
    call(folder.path(), args, "").expect(code)
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    check(&[], 64);
    check(&["bulid"], 64);
    check(&["status", "--no-such-flag"], 64);
    check(&["build", "git/x", "--param", "novalue"], 64);
    check(&["worker"], 64);
    check(&["server"], 64);
    check(&["server", "--database-url", "mysql://h/d"], 64);
    check(&["up", "--listen", "nowhere"], 64);
    check(&["health", "--url", "ftp://host"], 64);
    check(&["token", "create", "x", "--role", "king"], 64);
}

#[test]
fn help_and_version_are_no_errors() {
    let help = check(&["--help"], 0).stdout;
    for word in ["up", "server", "worker", "build", "status", "logs", "validate", "init"] {
        assert!(help.contains(word), "{word} in {help}");
    }
    for words in ["version", "--version", "-V"] {
        let want = format!("ocelot {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(check(&[words], 0).stdout, want, "{words}");
    }
    assert_eq!(check(&["version", "--json"], 0).json()["version"], env!("CARGO_PKG_VERSION"));
    assert!(check(&["completions", "bash"], 0).stdout.contains("_ocelot"));
}

#[test]
fn a_server_that_is_away_has_a_code_of_its_own() {
    for args in [&["health"][..], &["status", "1"], &["build", "git/x"], &["summary"], &["worker", "list"]] {
        let said = check(args, 69).stderr;
        assert!(said.contains("http://127.0.0.1:1") && said.contains("ocelot up"), "{args:?}: {said}");
    }
}

#[test]
fn a_token_in_the_environment_does_not_hinder_looking_at_workers() {
    let folder = tempfile::tempdir().unwrap();
    let env = [("OCELOT_URL", "http://127.0.0.1:1"), ("OCELOT_TOKEN", "x"), ("OCELOT_SLOTS", "3")];
    ocelot(Path::new(OCELOT), folder.path(), &env, &["worker", "list"], "").expect(69);
}

#[test]
fn validate_reads_a_file_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    call(folder.path(), &["validate", "-"], GOOD).expect(0);
    std::fs::write(folder.path().join("ocelot.yml"), GOOD).unwrap();
    call(folder.path(), &["validate"], "").expect(0);
    call(folder.path(), &["validate", "missing.yml"], "").expect(2);
}

#[test]
fn validate_shows_every_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bad = "image: busybox\nstagse: []\nstages:\n  - name: test\n    scirpt: [echo]\n";
    std::fs::write(folder.path().join("my.yml"), bad).unwrap();
    let said = call(folder.path(), &["validate", "my.yml"], "").expect(1).stdout;
    for part in ["my.yml:2:1", "stagse", "my.yml:5:5", "scirpt"] {
        assert!(said.contains(part), "{part} in:\n{said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours where nobody sees them");
    let json = call(folder.path(), &["validate", "my.yml", "--json"], "").expect(1).json();
    assert_eq!((&json[0]["line"], &json[0]["column"]), (&2.into(), &1.into()), "{json}");
}

#[test]
fn validate_takes_several_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    std::fs::write(folder.path().join("good.yml"), GOOD).unwrap();
    std::fs::write(folder.path().join("sub/ocelot.yml"), "imag: a\nstages: []\n").unwrap();
    call(folder.path(), &["validate", "good.yml", "good.yml"], "").expect(0);
    let said = call(folder.path(), &["validate", "good.yml", "sub", "-"], "image: A\n").expect(1).stdout;
    for part in ["good.yml is good.", "sub/ocelot.yml:1:1", "sub/ocelot.yml:2:9", "<stdin>:1:8"] {
        assert!(said.contains(part), "{part} in:\n{said}");
    }
    let json = call(folder.path(), &["validate", "good.yml", "sub", "--json"], "").expect(1).json();
    assert!(json.as_array().unwrap().iter().all(|problem| problem["file"] == "sub/ocelot.yml"), "{json}");
    call(folder.path(), &["validate", "good.yml", "missing.yml"], "").expect(2);
    call(folder.path(), &["validate", "good.yml", "--schema"], "").expect(64);
}

#[test]
fn validate_explains_what_would_run() {
    let folder = tempfile::tempdir().unwrap();
    let yml = "image: a\nstages:\n- {name: free, script: x}\n- {name: deploy, script: x, when: 'branch == \"main\"'}\n\
               - {name: docs, script: x, when: 'changed(\"docs/**\")'}\n- {name: asked, script: x, triggers: ['\\text \"do it\"']}\n";
    std::fs::write(folder.path().join("ocelot.yml"), yml).unwrap();
    let explain = |args: &[&str], code: i32| {
        let all: Vec<&str> = ["validate", "--explain"].iter().chain(args).copied().collect();
        call(folder.path(), &all, "").expect(code)
    };
    let said =
        explain(&["--branch", "feature/x", "--changed", "src/a", "--changed", "docs/b", "ocelot.yml"], 0)
            .stdout;
    for line in [
        "A build of feature/x by push",
        "free runs it has no condition",
        "deploy skipped when: branch is feature/x, not main",
        "docs runs when: docs/b has changed",
        "asked skipped triggers: no message has do it in it",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&said).contains(line), "{line} in:\n{said}");
    }
    let json = explain(&["--branch", "main", "--message", "please do it", "--json"], 0).json();
    let runs: Vec<_> =
        json.as_array().unwrap().iter().map(|stage| stage["runs"].as_bool().unwrap()).collect();
    assert_eq!(runs, [true; 4], "{json}");
    assert_eq!(
        json[2]["reason"],
        "when: which files have changed is not known (no --changed was given), so it runs"
    );
    explain(&["--event", "pushed"], 64);
    explain(&["--event", "tag", "--tag", "v1", "--author-id", "7", "--upstream", "a"], 0);
    call(folder.path(), &["validate", "--branch", "main"], "").expect(64);
    std::fs::write(folder.path().join("ocelot.yml"), format!("branches: [main]\n{yml}")).unwrap();
    let json = explain(&["--branch", "dev", "--json"], 0).json();
    assert_eq!(
        (&json[0]["runs"], &json[0]["reason"]),
        (&false.into(), &"`branches` leaves dev out: there is no build".into())
    );
    std::fs::write(folder.path().join("ocelot.yml"), yml.replace("branch ==", "brnch ==")).unwrap();
    assert!(explain(&[], 1).stdout.contains("did you mean `branch`?"));
}

#[test]
fn validate_and_init_find_the_top_of_the_checkout() {
    let repo = ocelot_testkit::GitRepo::with("imag: a\n");
    let below = repo.path().join("below");
    std::fs::create_dir(&below).unwrap();
    let said = call(&below, &["validate"], "").expect(1).stdout;
    assert!(said.contains("ocelot.yml:1:1"), "{said}");
    call(&below, &["init", "--force"], "").expect(0);
    call(&below, &["validate"], "").expect(0);
}

#[test]
fn completions_are_scripts_that_their_shells_can_read() {
    for shell in ["bash", "zsh", "fish"] {
        let script = check(&["completions", shell], 0).stdout;
        for word in ["follow", "validate", "remove", "kill"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    std::fs::write(&file, check(&["completions", "bash"], 0).stdout).unwrap();
    let read = "set -eu; source \"$1\"; COMP_WORDS=(ocelot re); COMP_CWORD=1; _ocelot ocelot re ocelot; echo \"${COMPREPLY[@]}\"";
    let said = std::process::Command::new("bash").args(["-c", read, "bash"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "repo retry restore\n", "{said:?}");
}

#[test]
fn the_schema_is_json() {
    assert!(check(&["validate", "--schema"], 0).json()["properties"]["stages"].is_object());
}

#[test]
fn init_writes_what_validate_takes_and_overwrites_nothing() {
    let kinds = ["Cargo.toml", "pom.xml", "package.json", "go.mod", "pyproject.toml", "Makefile", "README"];
    for files in kinds.map(|kind| vec![kind]).into_iter().chain([kinds.to_vec()]) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        call(folder.path(), &["init"], "").expect(0);
        call(folder.path(), &["validate"], "").expect(0);
        let said = call(folder.path(), &["init"], "").expect(2).stderr;
        assert!(said.contains("--force"), "{said}");
        call(folder.path(), &["init", "--force"], "").expect(0);
    }
}

#[test]
fn a_wrong_key_in_the_configuration_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ocelot.toml"), "slots = 1\nlissten = \"127.0.0.1:0\"\n").unwrap();
    let said = call(folder.path(), &["up"], "").expect(64).stderr;
    assert!(said.contains("ocelot.toml") && said.contains("line 2") && said.contains("lissten"), "{said}");
}

#[test]
fn a_wrong_value_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let start = |variables: &[(&str, &str)], args: &[&str]| {
        let said = ocelot(Path::new(OCELOT), folder.path(), variables, args, "").expect(64).stderr;
        let made: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(made.iter().all(|name| name == "ocelot.toml"), "{made:?} was made by {args:?}");
        said
    };
    let url = ["--database-url", "sqlite://d/o.db"];
    for role in [&["up"][..], &["server", url[0], url[1]], &["worker", "--server=http://h", "--token=t"]] {
        let wrong = if role[0] == "worker" { ("label", "novalue") } else { ("public-url", "nonsense") };
        let name = wrong.0.to_uppercase().replace('-', "_");
        let flag = format!("--{}={}", wrong.0, wrong.1);
        let said = start(&[], &[role, &[flag.as_str()]].concat());
        assert!(said.contains(&format!("--{}", wrong.0)), "{said}");
        let said = start(&[(&format!("OCELOT_{name}"), wrong.1)], role);
        assert!(said.contains(&format!("OCELOT_{name}")), "{said}");
        let key = name.to_lowercase();
        std::fs::write(folder.path().join("ocelot.toml"), format!("slots = 2\n{key} = \"{}\"\n", wrong.1))
            .unwrap();
        let said = start(&[], role);
        assert!(said.contains("ocelot.toml, line 2") && said.contains(&key), "{said}");
        std::fs::remove_file(folder.path().join("ocelot.toml")).unwrap();
    }
}

#[test]
fn a_file_in_a_checkout_does_not_say_where_a_token_goes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ocelot.toml"), "url = \"http://127.0.0.1:2\"\n").unwrap();
    let said = ocelot(Path::new(OCELOT), folder.path(), &[], &["health"], "").stderr;
    assert!(!said.contains("127.0.0.1:2"), "{said}");
}
