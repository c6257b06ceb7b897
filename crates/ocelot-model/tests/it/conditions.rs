//! `when` and `triggers`: which stages run on which build, and in which words.

use ocelot_model::EventKind;
use ocelot_model::pipeline::{Decided, Facts, Files, Judge, Verdict, decide};

use crate::load;

/// A build of `branch` with these commits: `message` for the newest, and the files that changed.
pub(crate) fn facts(branch: &str) -> Facts {
    Facts {
        author_id: "42".to_owned(),
        messages: vec!["Add a page\n\nwith force_build".to_owned(), "schema_changed".to_owned()],
        files: Files::these(vec!["src/main.rs".to_owned(), "docs/a/b.md".to_owned()]),
        upstream: vec!["pogo".to_owned()],
        aliases: vec!["pogo".to_owned(), "lib".to_owned()],
        ..Facts::of_branch(EventKind::Push, branch)
    }
}

fn judged(stage: &str, facts: &Facts) -> Verdict {
    let text = format!(
        "image: a\nenv: {{TARGET: prod, A: job}}\nstages:\n- name: s\n  script: x\n  env: {{A: own}}\n{stage}\n"
    );
    let pipeline = load(&text);
    let job = &pipeline.jobs[0];
    Judge::new(facts).stage(job, &job.stages[0])
}

pub(crate) fn when(text: &str, facts: &Facts) -> Verdict {
    judged(&format!("  when: >-\n    {text}"), facts)
}

fn trigger(line: &str, facts: &Facts) -> Verdict {
    judged(&format!("  triggers:\n  - >-\n    {line}"), facts)
}

/// `Some(true)` to run, `Some(false)` to skip, `None` when it cannot be told.
pub(crate) fn truth(verdict: &Verdict) -> Option<bool> {
    match verdict {
        Verdict::Free | Verdict::Holds(_) => Some(true),
        Verdict::Fails(_) => Some(false),
        Verdict::Unsure(_) => None,
    }
}

#[test]
fn when_says_yes_or_no() {
    let check = |text: &str, want: bool| {
        let verdict = when(text, &facts("feature/x"));
        assert_eq!(truth(&verdict), Some(want), "{text}: {verdict:?}");
    };
    check("true", true);
    check("not true", false);
    check("branch == \"feature/x\"", true);
    check("'feature/x' == branch", true);
    check("branch != \"feature/x\"", false);
    check("branch in [\"main\", 'feature/x',]", true);
    check("branch not in [\"main\"]", true);
    check("branch =~ \"^feature/\"", true);
    check("branch =~ \"ature\"", true);
    check("branch =~ \"^ature\"", false);
    check("branch =~ '\\w+/x$'", true);
    check("branch =~ \"(?i)FEATURE\"", true);
    check("tag == \"\"", true);
    check("tag =~ \"^v\"", false);
    check("event == \"push\"", true);
    check("event in [\"tag\", \"manual\"]", false);
    check("author_id == \"42\"", true);
    check("message =~ \"^Add\"", true);
    check("message =~ \"schema_changed\"", false);
    check("env.A == \"own\"", true);
    check("env.TARGET == \"prod\"", true);
    check("env.NONE == \"\"", true);
    check("env.TARGET == branch", false);
    check("changed(\"src/**\")", true);
    check("changed(\"*.md\")", false);
    check("changed(\"*.rs\", \"docs/**/*.md\")", true);
    check("changed(\"src\")", false);
    check("upstream(\"other\", \"pogo\")", true);
    // `and` goes before `or`, `not` before both, comparison before all.
    check("true or true and false", true);
    check("(true or true) and false", false);
    check("not false and false", false);
    check("not (false and false)", true);
    check("! branch == \"main\" && ! (event == \"tag\" || false)", true);
    check("(branch) == (\"feature/x\")", true);
    check("\"a \\\"b\\\" \\\\ c\" == branch", false);
}

#[test]
fn every_line_of_the_original_keeps_its_meaning() {
    let check = |line: &str, branch: &str, want: bool| {
        let verdict = trigger(line, &facts(branch));
        assert_eq!(truth(&verdict), Some(want), "{line} on {branch}: {verdict:?}");
    };
    check(r"\branch master", "master", true);
    check(r"\branch master", "master-2", false);
    check(r"\branch ALL", "anything", true);
    check(r"\branch all", "anything", false);
    check(r"\BRANCH master||develop", "develop", true);
    check(r"\branch master || develop|| release.*", "release/1", true);
    check(r"\branch master|develop", "develop", true);
    check(r"\branch master|develop", "master-x", false);
    // A branch is only one: && was, and is, or.
    check(r"\branch master&&develop", "develop", true);
    check(r"\branch (main|dev)", "dev", true);
    check(r"\branch v\d+", "v12", true);
    check(r"\text force_build", "x", true);
    check(r"\text FORCE_BUILD", "x", false);
    // In different messages.
    check(r"\text force_build && schema_changed", "x", true);
    check(r"\text force_build && nothing", "x", false);
    check(r"\text nothing || other||force", "x", true);
    // Blanks alone are "or"; beside a sign they are that sign.
    check(r"\text nothing force_build", "x", true);
    check(r"\text nothing force_build && schema_changed", "x", false);
    check(r"\text it's :)", "x", false);
    check(r"\filepath src/main && docs/", "x", true);
    check(r"\filepath src/test && src/main", "x", false);
    check(r"\filepath main.rs", "x", true);
    check(r"\filepath src/**", "x", false);
    check(r"\upstream pogo", "x", true);
    check(r"\upstream other && pogo", "x", true);
    check(r"\upstream other", "x", false);
    check(r"\branch master||develop|| release.* and \text schema_changed", "develop", true);
    check(r"\branch master||develop|| release.* and \text schema_changed", "x", false);
    check(r"\branch master||develop and \filepath src/test && src/main", "master", false);
    check(r"\branch master or \text force_build || other", "x", true);
    check(r"\branch master OR \text nothing", "x", false);
}

#[test]
fn directives_have_precedence_parentheses_not_and_quotes() {
    let check = |line: &str, branch: &str, want: bool| {
        let verdict = trigger(line, &facts(branch));
        assert_eq!(truth(&verdict), Some(want), "{line} on {branch}: {verdict:?}");
    };
    check(r"\branch main and \text nothing or \filepath src", "x", true);
    check(r"\filepath src or \branch main and \text nothing", "x", true);
    check(r"\branch main and (\text nothing or \filepath src)", "x", false);
    check(r"(\branch main||x) and (not \text nothing)", "x", true);
    check(r"not \branch main", "x", true);
    check(r"NOT (\branch main or \branch x)", "x", false);
    check(r"not \text :)", "x", true);
    check(r"not(\text nothing)and(\branch x)", "x", true);
    check(r"(\branch (x|y)) and \text force", "y", true);
    check(r"(\branch x\)) or \text force", "y", true);
    check("\\text \"Add a page\"", "x", true);
    check("\\text 'Add a page' && \"with force_build\"", "x", true);
    check("\\text \"a and b or c\"||'Add'", "x", true);
    check("(\\text \"a)\" or \\text 'Add')", "x", true);
    check("\\branch \"x\"", "x", true);
}

#[test]
fn conditions_stand_together() {
    let check = |stage: &str, branch: &str, want: bool| {
        let verdict = judged(stage, &facts(branch));
        assert_eq!(truth(&verdict), Some(want), "{stage} on {branch}: {verdict:?}");
    };
    check("", "x", true);
    check("  triggers: []", "x", true);
    check("  when: true", "x", true);
    check("  when: false", "x", false);
    check("  triggers: ['\\branch main', '\\text force']", "x", true);
    check("  triggers: ['\\branch main', '\\text nothing']", "x", false);
    check("  trigger: {branches: [main]}", "x", false);
    check("  trigger: {branches: []}", "x", true);
    // As in the original, the old form counts only without the new one.
    check("  trigger: {branches: [main]}\n  triggers: ['\\branch x']", "x", true);
    check("  trigger: {branches: [main]}\n  triggers: []", "x", false);
    check("  triggers: ['\\branch x']\n  when: event == \"tag\"", "x", false);
    check("  triggers: ['\\branch y']\n  when: event == \"push\"", "x", false);
    check("  trigger: {branches: [x]}\n  when: event == \"push\"", "x", true);
}

#[test]
fn reasons_are_in_words() {
    let check = |stage: &str, want: &str| {
        let said = match judged(stage, &facts("feature/x")) {
            Verdict::Free => String::new(),
            Verdict::Holds(why) | Verdict::Unsure(why) | Verdict::Fails(why) => why,
        };
        assert_eq!(said, want, "{stage}");
    };
    check("", "");
    check("  when: branch == \"main\"", "when: branch is feature/x, not main");
    check("  when: branch != \"feature/x\"", "when: branch is feature/x");
    check("  when: branch in [\"main\", \"dev\"]", "when: branch is feature/x, none of main, dev");
    check("  when: tag != \"\"", "when: there is no tag");
    check("  when: tag == \"v1\"", "when: there is no tag, not v1");
    check("  when: event == \"tag\" and branch == \"main\"", "when: event is push, not tag");
    check("  when: env.A == \"x\"", "when: env.A is own, not x");
    check("  when: env.B =~ \"x\"", "when: env.B (empty) does not match x");
    check("  when: changed(\"web/**\")", "when: no file that matches web/** has changed");
    check("  when: changed(\"src/**\")", "when: src/main.rs has changed");
    check(
        "  when: branch == \"main\" or changed(\"web/**\", \"x\")",
        "when: branch is feature/x, not main, and no file that matches web/**, x has changed",
    );
    check(
        "  triggers: ['\\branch main||dev', '\\text zzz']",
        "triggers: branch is feature/x, none of main, dev, and no message has zzz in it",
    );
    check("  triggers: ['\\filepath web']", "triggers: no file with web in its path has changed");
    check("  triggers: ['\\upstream lib']", "triggers: it follows no build of lib");
    check(
        "  when: upstream(\"LIB\", \"libs\")",
        "when: it follows no build of LIB, libs (no subscription of this file is called libs)",
    );
    check("  when: upstream(\"Pogo\")", "when: it follows a build of Pogo");
    check("  trigger: {branches: main}", "trigger: branch is feature/x, not main");
    let long = format!("  when: branch == \"{}\"", "é\u{202e}".repeat(500));
    let Verdict::Fails(why) = judged(&long, &facts("x")) else { panic!("not skipped") };
    assert!(why.chars().count() < 120 && !why.contains('\u{202e}'), "{why}");
}

#[test]
fn a_stage_runs_when_it_cannot_be_told() {
    let unknown = Facts { files: Files::unknown("the branch is new"), ..facts("main") };
    let many = (0..4_000).map(|n| format!("gen/{n}")).chain(["src/last".to_owned()]).collect();
    let cut = Facts { files: Files::these(many), ..facts("main") };
    let check = |text: &str, facts: &Facts, want: Option<bool>| {
        let verdict = when(text, facts);
        assert_eq!(truth(&verdict), want, "{text}: {verdict:?}");
    };
    check("changed(\"src/**\")", &unknown, None);
    check("not changed(\"src/**\")", &unknown, None);
    check("branch == \"main\" and changed(\"src/**\")", &unknown, None);
    check("branch == \"dev\" and changed(\"src/**\")", &unknown, Some(false));
    check("branch == \"main\" or changed(\"src/**\")", &unknown, Some(true));
    check("branch == \"dev\" or changed(\"src/**\")", &unknown, None);
    check("changed(\"src/**\")", &cut, None);
    check("changed(\"gen/*\")", &cut, Some(true));
    check("not changed(\"gen/*\")", &cut, Some(false));
    assert_eq!(truth(&trigger(r"\filepath src", &unknown)), None);
    assert_eq!(truth(&trigger(r"\branch dev and \filepath src", &unknown)), Some(false));
    let Verdict::Unsure(why) = when("changed(\"src/**\")", &cut) else { panic!("known") };
    assert_eq!(why, "when: which files have changed is not known (more than 3000 files have changed)");
    // Known to be none is not unknown.
    let none = Facts { files: Files::these(Vec::new()), ..facts("main") };
    check("changed(\"**\")", &none, Some(false));
}

#[test]
fn decisions_are_written_down() {
    let stage = |rest: &str| format!("{{script: x, {rest}}}");
    let text = format!(
        "image: a\njobs:\n  one:\n    stages: [{}, {}, {}]\n  two:\n    stages: [{}]\n",
        stage("name: a"),
        stage("name: b, when: 'branch == \"main\"'"),
        stage("name: c, when: 'changed(\"x\")'"),
        stage("name: d, triggers: ['\\branch main']"),
    );
    let mut pipeline = load(&text);
    assert!(pipeline.asks_for_files());
    decide(&mut pipeline.jobs, &Facts::of_branch(EventKind::Push, "dev"));
    let [one, two] = pipeline.jobs.as_slice() else { panic!("two jobs") };
    let decided: Vec<_> = one.stages.iter().map(|stage| stage.decided.clone()).collect();
    let run = "when: which files have changed is not known (nobody said which), so it runs";
    let skip = "when: branch is dev, not main";
    assert_eq!(decided, [None, Some(Decided::Skip(skip.to_owned())), Some(Decided::Run(run.to_owned()))]);
    assert_eq!((one.skipped(), two.skipped()), (None, Some("triggers: branch is dev, not main".to_owned())));
    // The decision is stored with the job; what it was made of is not.
    let stored: ocelot_model::pipeline::Job =
        serde_json::from_str(&serde_json::to_string(one).unwrap()).unwrap();
    let stored: Vec<_> = stored.stages.into_iter().map(|stage| stage.decided).collect();
    assert_eq!(stored, decided);
}
