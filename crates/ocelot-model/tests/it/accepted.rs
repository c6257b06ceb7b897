//! Good files, and what they mean.

use ocelot_model::notify::{Occasion, Rule, Target};
use ocelot_model::pipeline::{AllowFailure, Checkout, Pull, Retry, Run};

use crate::{check_stage, check_top, load};

fn script(lines: &[&str], shell: &[&str], block: bool) -> Run {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Run::Script { shell: owned(shell), lines: owned(lines), block }
}

const SMALLEST: &str = "image: busybox\nstages:\n  - name: test\n    script: [echo hello]\n";

#[test]
fn the_smallest_file() {
    let pipeline = load(SMALLEST);
    assert_eq!(pipeline.checkout, Checkout { depth: 50, tags: true });
    assert!(pipeline.branches.is_empty());
    let [job] = pipeline.jobs.as_slice() else { panic!("one job") };
    assert_eq!((job.name.as_str(), job.image.as_deref()), ("default", Some("busybox")));
    assert_eq!(job.timeout_ms, 3_600_000);
    assert_eq!(job.retry, Retry { infrastructure: 2, script: 0 });
    assert_eq!(job.stages[0].run, script(&["echo hello"], &["/bin/sh", "-e"], false));
    assert_eq!(job.stages[0].workdir, ".");
}

#[test]
fn the_same_file_in_other_clothes() {
    let want = load(SMALLEST);
    assert_eq!(load(&format!("\u{feff}{SMALLEST}")), want);
    assert_eq!(load(&SMALLEST.replace('\n', "\r\n")), want);
    assert_eq!(load(&format!("---\n{SMALLEST}...\n")), want);
    assert_eq!(
        load(&format!("{SMALLEST}cancel_superseded: true\nclone: {{submodules: false, lfs: false}}\n")),
        want
    );
    assert!(
        want.cancel_superseded && !load(&format!("{SMALLEST}cancel_superseded: false\n")).cancel_superseded
    );
}

#[test]
fn the_original_file() {
    let pipeline = load(
        "image: maven:3\nbuildTool: maven\npackages: [a]\nbranches: [ALL]\nenv: [A=1, B=x=y]\n\
         stages:\n- name: Build It\n  script:\n  - make\n  - make check\n  env: [\"C=\"]\n  trigger: {branches: [main, rc-.*]}\n",
    );
    let job = &pipeline.jobs[0];
    assert_eq!(pipeline.branches, ["ALL"]);
    assert_eq!(job.env, [("A".into(), "1".into()), ("B".into(), "x=y".into())]);
    assert_eq!(job.stages[0].env, [("C".into(), String::new())]);
    assert_eq!(job.stages[0].branches, ["main", "rc-.*"]);
    assert_eq!(job.stages[0].run, script(&["make", "make check"], &["/bin/sh", "-e"], false));
}

#[test]
fn jobs_take_the_top_as_default() {
    let pipeline = load(
        "image: busybox\ntimeout: 10m\nenv: {A: 3.10, B: yes}\nclone: {depth: 0, tags: false}\njobs:\n\
         \x20 linux:\n    env: {B: own, PATH: /x}\n    stages: &s [{name: a, script: x}]\n\
         \x20 mac:\n    machineTag: mac\n    timeout: 1h\n    needs: [linux, linux]\n    stages: *s\n\
         \x20 host:\n    labels: {executor: host, arch: amd64}\n    stages: *s\n",
    );
    let [linux, mac, host] = pipeline.jobs.as_slice() else { panic!("three jobs") };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(linux.env, [pair("A", "3.10"), pair("B", "own"), pair("PATH", "/x")]);
    assert_eq!((linux.image.as_deref(), linux.timeout_ms), (Some("busybox"), 600_000));
    assert_eq!(linux.labels, [pair("executor", "docker")].into());
    assert_eq!(linux.checkout, Checkout { depth: 0, tags: false });
    assert_eq!((mac.image.as_deref(), mac.timeout_ms), (None, 3_600_000));
    assert_eq!(mac.labels, [pair("executor", "host"), pair("tag", "mac")].into());
    assert_eq!(mac.needs, ["linux"]);
    assert_eq!(mac.env, [pair("A", "3.10"), pair("B", "yes")]);
    assert_eq!(host.image, None);
    assert_eq!(host.labels, [pair("executor", "host"), pair("arch", "amd64")].into());
}

#[test]
fn all_that_a_job_can_say() {
    let pipeline = load(
        "jobs:\n  a:\n    image: rust:1.95\n    user: \"1000\"\n    pull: always\n    labels: {arch: amd64}\n    priority: -3\n\
         \x20   always: true\n    allow_failure: true\n    retry: {script: 1}\n    resources: {cpu: 0.5, memory: 512MiB}\n\
         \x20   approval: true\n    matrix: {}\n    services: {}\n    cache: []\n    secrets: []\n\
         \x20   stages: [{name: b, script: x}]\n",
    );
    let job = &pipeline.jobs[0];
    assert_eq!((job.user.as_deref(), job.pull, job.priority), (Some("1000:1000"), Pull::Always, -3));
    assert!(job.always && job.allow_failure && job.approval);
    assert_eq!(job.retry, Retry { infrastructure: 2, script: 1 });
    assert_eq!((job.resources.cpu, job.resources.memory), (Some(0.5), Some(512 << 20)));
}

#[test]
fn secrets_are_named_at_the_top_in_jobs_and_in_stages() {
    let pipeline = load(
        "image: a\nsecrets: [TOP, BOTH]\njobs:\n  a:\n    secrets: [BOTH, JOB]\n    stages:\n\
         \x20     - {name: one, script: x}\n      - {name: two, script: x, secrets: [STAGE, TOP]}\n",
    );
    let job = &pipeline.jobs[0];
    assert_eq!(job.secrets_of(&job.stages[0]), ["TOP", "BOTH", "JOB"]);
    assert_eq!(job.secrets_of(&job.stages[1]), ["TOP", "BOTH", "JOB", "STAGE"]);
    let alone = load("image: a\nsecrets: [A_B]\nstages: [{name: b, script: x, secrets: [C]}]\n");
    assert_eq!(alone.jobs[0].secrets_of(&alone.jobs[0].stages[0]), ["A_B", "C"]);
}

#[test]
fn a_concurrency_group() {
    let group = |text: &str| {
        let pipeline = load(&format!("{text}image: a\nstages: [{{name: b, script: x}}]\n"));
        pipeline.concurrency.map(|it| (it.group, it.limit, it.cancel_running))
    };
    assert_eq!(group(""), None);
    assert_eq!(group("concurrency: {group: a}\n"), Some(("a".to_owned(), 1, false)));
    let text = "concurrency: {group: \"a-${{ branch }}\", limit: 3, cancel_running: true}\n";
    assert_eq!(group(text), Some(("a-${{ branch }}".to_owned(), 3, true)));
}

#[test]
fn all_that_a_stage_can_say() {
    let pipeline = load(
        "image: a\nstages:\n- name: \"one: ü\"\n  image: b\n  isolated: true\n  script: |\n    cd x\n\n    make\n  shell: bash\n\
         \x20 workdir: ./a//b\n  timeout: 90s\n  allow_failure: [1, 77]\n  always: true\n\
         - name: two\n  command: [/bin/tool, --flag, \"\"]\n  allow_failure: true\n\
         - {name: three, script: make, shell: bash -eu -o pipefail}\n\
         - {name: four, script: print(1), shell: [python3]}\n",
    );
    let [one, two, three, four] = pipeline.jobs[0].stages.as_slice() else { panic!("four stages") };
    assert_eq!(one.run, script(&["cd x\n\nmake"], &["bash", "-e"], true));
    assert_eq!(
        (one.image.as_deref(), one.workdir.as_str(), one.timeout_ms),
        (Some("b"), "a/b", Some(90_000))
    );
    assert!(one.isolated && one.always);
    assert_eq!(one.allow_failure, AllowFailure::Codes(vec![1, 77]));
    assert_eq!(two.run, Run::Command(vec!["/bin/tool".into(), "--flag".into(), String::new()]));
    assert_eq!(two.allow_failure, AllowFailure::Yes);
    assert_eq!(three.run, script(&["make"], &["bash", "-eu", "-o", "pipefail"], false));
    assert_eq!(four.run, script(&["print(1)"], &["python3"], false));
}

#[test]
fn no_carriage_return_reaches_a_command() {
    let text = "image: a\r\nstages:\r\n- name: b\r\n  script: |\r\n    one\r\n    two\r\n- name: c\r\n  script:\r\n  - x\r\n";
    let pipeline = load(text);
    assert_eq!(pipeline.jobs[0].stages[0].run, script(&["one\ntwo"], &["/bin/sh", "-e"], true));
    assert_eq!(pipeline.jobs[0].stages[1].run, script(&["x"], &["/bin/sh", "-e"], false));
}

#[test]
fn a_merge_gives_what_is_not_there() {
    let pipeline = load(
        "jobs:\n  a: &a\n    image: x\n    timeout: 5m\n    stages: [{name: s, script: y}]\n  b:\n    <<: *a\n    timeout: 6m\n",
    );
    let [a, b] = pipeline.jobs.as_slice() else { panic!("two jobs") };
    assert_eq!((a.timeout_ms, b.timeout_ms), (300_000, 360_000));
    assert_eq!((b.image.as_deref(), &b.stages), (Some("x"), &a.stages));
}

#[test]
fn what_asks_for_nothing_is_harmless() {
    for text in ["matrix: {}", "notify: {}", "subscriptions: []", "pull_request: head", "params: {}"] {
        check_top(text, "");
    }
    check_stage("{name: a, script: x, needs: [], secrets: [], reports: {}}", "");
}

#[test]
fn who_is_told() {
    let rule =
        |identifier: &str, to, on: &[Occasion]| Rule { identifier: identifier.into(), to, on: on.to_vec() };
    let told = |text: &str| load(&format!("{SMALLEST}{text}\n")).notify;
    // As the original has it.
    let slack = Target::Slack(Some("#a".into()));
    assert_eq!(
        told("notify: {slack: {channel: '#a', identifier: b-c, on: [PASS, FAIL]}}"),
        [rule("b-c", slack, &[Occasion::Pass, Occasion::Fail])]
    );
    assert_eq!(
        told("notify: {slack: {channel: '', identifier: b}}"),
        [rule("b", Target::Slack(None), &Occasion::USUAL)]
    );
    assert_eq!(
        told(
            "notify:\n  webhook: {url: 'https://h/x', identifier: w}\n  email: [{to: a@b, identifier: m}, {to: [c@d, e@f], \
             identifier: m, on: [still_failing, blocked]}, {identifier: m}]"
        ),
        [
            rule("w", Target::Webhook(Some("https://h/x".into())), &Occasion::USUAL),
            rule("m", Target::Email(vec!["a@b".into()]), &Occasion::USUAL),
            rule(
                "m",
                Target::Email(vec!["c@d".into(), "e@f".into()]),
                &[Occasion::StillFailing, Occasion::Blocked]
            ),
            rule("m", Target::Email(Vec::new()), &Occasion::USUAL),
        ]
    );
    for one in Occasion::ALL {
        let file = format!("notify: {{slack: {{identifier: b, on: [{one}]}}}}");
        assert_eq!(told(&file)[0].on, [one]);
    }
}
