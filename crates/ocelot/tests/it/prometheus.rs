//! What the distribution's real Prometheus reads from a real server, and what the dashboard and the alerts make of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ocelot_model::access::Role;
use ocelot_model::{ForgeKind, Status};
use ocelot_testkit::forge::{Scene, TOKEN, Told, Webhook};
use ocelot_testkit::{FakeForge, GitRepo, Manners, Process, Setup, TestApp, WebHost, wait_for};
use serde_json::{Value, json};

use super::OCELOT;

const YML: &str = "machineTag: here\nstages:\n- {name: test, script: [echo hello]}\n- {name: after, script: [echo after]}\n";

/// A branch that no label may know.
const BRANCH: &str = "canary-branch";

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

/// A Prometheus that asks a server each second.
struct Prometheus {
    address: String,
    client: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    async fn start(app: &TestApp) -> Prometheus {
        let folder = app.home().join("prometheus");
        std::fs::create_dir(&folder).unwrap();
        let token = folder.join("token");
        std::fs::write(&token, app.token(Role::Metrics, &[]).await).unwrap();
        let target = app.url().strip_prefix("http://").unwrap();
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
             - job_name: ocelot\n  authorization: {{credentials_file: '{token}'}}\n  static_configs: [{{targets: ['{target}']}}]\n\
             - job_name: other\n  authorization: {{credentials_file: '{token}'}}\n  static_configs: [{{targets: ['{target}']}}]\n",
            deploy("prometheus/alerts.yml").display(),
            token = token.display()
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let bin = find("prometheus");
        let args = [
            format!("--config.file={}", folder.join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            "--web.listen-address=127.0.0.1:0".to_owned(),
        ];
        let process = Process::start(&bin, &folder, &[], &args, &folder.join("log"));
        let address = wait_for("Prometheus", async || {
            let said = process.said();
            let line = said.lines().find(|line| line.contains("msg=\"Listening on\""))?;
            Some(line.split_once("address=")?.1.split_whitespace().next()?.to_owned())
        })
        .await;
        Prometheus { address, client: reqwest::Client::new(), _process: process }
    }

    async fn get(&self, path: &str, pairs: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let url = url::Url::parse_with_params(&url, pairs).unwrap();
        let answer = self.client.get(url).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["status"], "success", "{pairs:?}: {body}");
        body["data"].clone()
    }

    /// The values that this gives now.
    async fn query(&self, expr: &str) -> Vec<f64> {
        let data = self.get("query", &[("query", expr)]).await;
        let value = |row: &Value| row["value"][1].as_str().unwrap().parse().unwrap();
        data["result"].as_array().unwrap().iter().map(value).collect()
    }

    /// Waits until this holds: a query that gives something.
    async fn holds(&self, expr: &str) {
        wait_for(expr, async || (!self.query(expr).await.is_empty()).then_some(())).await;
    }

    /// Names of all metrics.
    async fn names(&self) -> BTreeSet<String> {
        let names = self.get("label/__name__/values", &[]).await;
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }
}

fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{program} is missing: `apt-get install -y prometheus`"))
}

/// What the contract promises, with a query that says that its value is a true one.
const PROMISED: &[&str] = &[
    "ocelot_builds_total{status=\"passed\", event=\"push\"} == 1",
    "ocelot_builds_total{status=\"failed\", event=\"manual\"} == 1",
    // What never happened.
    "ocelot_builds_total{status=\"timed_out\", event=\"subscription\"} == 0",
    "ocelot_webhooks_total{forge=\"codes\", event=\"pull_request\", outcome=\"waiting\"} == 0",
    "ocelot_forge_requests_total{forge=\"codes\", outcome=\"limited\"} == 0",
    "ocelot_build_duration_seconds_count == 2",
    "ocelot_build_duration_seconds_sum > 0",
    // Setup of both, and what was not skipped.
    "ocelot_stage_duration_seconds_count == 5",
    "ocelot_queue_wait_seconds_count == 2",
    "ocelot_queue_depth == 1",
    "ocelot_queue_oldest_seconds > 0",
    "ocelot_jobs_running == 0",
    "ocelot_workers{state=\"idle\"} == 1",
    "ocelot_workers{state=\"busy\"} == 0",
    "ocelot_workers_unwell == 0",
    "ocelot_worker_slots{state=\"free\"} == 2",
    "ocelot_worker_slots{state=\"busy\"} == 0",
    "ocelot_worker_disk_free_ratio > 0 and ocelot_worker_disk_free_ratio < 1",
    "ocelot_disk_free_bytes < ocelot_disk_size_bytes",
    "ocelot_leases_lost_total == 0",
    "ocelot_webhooks_total{forge=\"codes\", event=\"push\", outcome=\"waiting\"} == 1",
    "ocelot_webhooks_total{forge=\"codes\", event=\"none\", outcome=\"unauthorized\"} == 1",
    "ocelot_webhooks_total{forge=\"codes\", event=\"none\", outcome=\"error\"} == 0",
    "ocelot_webhook_duration_seconds_count == 2",
    "ocelot_deliveries_given_up_total == 0",
    "ocelot_log_bytes_total > 10",
    "ocelot_log_lag_seconds_count > 0",
    "ocelot_log_viewers == 0",
    "sum(ocelot_forge_requests_total{forge=\"codes\", outcome=\"ok\"}) >= 1",
    "ocelot_subscription_builds_total == 0",
    "ocelot_notifications_total{kind=\"slack\", outcome=\"sent\"} == 0",
    "ocelot_http_request_duration_seconds_count{route=\"/api/v1/builds/{number}\", status=\"200\"} > 0",
    "ocelot_db_query_duration_seconds_count{query=\"find_build_detail\"} > 0",
    "process_resident_memory_bytes > 1000000",
    "process_cpu_seconds_total > 0",
    "process_open_fds > 5",
    "up{job=\"ocelot\"} == 1",
];

/// A server on which something of everything has happened.
async fn busy(app: &TestApp) {
    let fake = FakeForge::start(ForgeKind::Gitea).await;
    let work = GitRepo::with(YML);
    let served = app.home().join("served");
    let bare = served.join("acme/app.git");
    work.git(&["checkout", "--quiet", "-b", BRANCH]);
    work.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    let host = WebHost::start(&served, Manners::Open);
    fake.clones_from(&host.url(""));
    fake.add_repo(11, "acme/app");
    let token = app.home().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let (url, token) = (fake.url(), token.to_str().unwrap().to_owned());
    let add =
        ["forge", "add", "codes", "--kind", "gitea", "--at", &url, "--insecure-http", "--token-file", &token];
    app.cli(&add).await.expect(0);
    app.cli(&["repo", "add", "acme/app", "--forge", "codes"]).await.expect(0);
    app.cli(&["watch", "app"]).await.expect(0);
    let after = work.git(&["rev-parse", "HEAD"]).trim().to_owned();
    let scene = Scene { name: BRANCH.into(), after, ..Scene::default() };
    let push = Webhook::new(ForgeKind::Gitea, Told::BranchCreated, &scene).unwrap();
    let answers = fake.tell("acme/app", &push).await;
    assert!(answers.iter().all(|status| (200..300).contains(status)) && answers.len() == 1, "{answers:?}");
    wait_for("the build", async || app.admin().build(1).await.ok()).await;
    assert_eq!(app.finished(1).await.status, Status::Passed);
    // One that nobody of the forge signed.
    let hook = fake.hooks("acme/app").remove(0).url;
    let mut wrong = reqwest::Client::new().post(hook).body(push.body.clone());
    for (name, value) in push.headers("another secret") {
        wrong = wrong.header(name, value);
    }
    assert_eq!(wrong.send().await.unwrap().status().as_u16(), 401);
    let failed = app.build("fails", &YML.replace("echo hello", "exit 1")).await;
    assert_eq!(app.finished(failed.number).await.status, Status::Failed);
    app.build("waits", &YML.replace("here", "nowhere")).await;
}

#[tokio::test]
async fn a_real_prometheus_reads_what_is_promised() {
    let app = TestApp::start(OCELOT, Setup::Host).await;
    busy(&app).await;
    let prometheus = Prometheus::start(&app).await;
    for expr in PROMISED {
        prometheus.holds(expr).await;
    }
    let names = prometheus.names().await;
    for (file, exprs) in [("alerts.yml", alerts()), ("ocelot.json", dashboard())] {
        assert!(exprs.len() > 10, "{file}");
        for expr in exprs {
            for name in metrics(&expr) {
                assert!(names.contains(&name), "{file}: nobody has {name}");
            }
            // Whatever it comes to, it is no nonsense.
            prometheus.get("query", &[("query", &expr.replace("$__rate_interval", "1m"))]).await;
        }
    }
    // Other programs have the same numbers of their processes; the second job of this Prometheus stands for them.
    for expr in dashboard().iter().filter(|expr| expr.contains("process_")) {
        let expr = expr.replace("$__rate_interval", "1m");
        assert!(prometheus.query(&expr).await.len() <= 1, "{expr} is of every program");
    }
    // Labels are from closed sets and routes, never what people or forges named.
    let series = prometheus.get("series", &[("match[]", "{__name__=~\"ocelot_.*\"}")]).await.to_string();
    for free in [BRANCH, "acme", "git/fails", "/builds/1", "Ann"] {
        assert!(!series.contains(free), "{free} is in a label");
    }
    // The rules are there and none fails.
    let rules = prometheus.get("rules", &[]).await;
    let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["health"] != "err"), "{rules:#?}");
}

#[tokio::test]
async fn promtool_finds_no_fault_with_the_numbers() {
    let app = TestApp::start(OCELOT, Setup::Host).await;
    let number = app.build("app", YML).await.number;
    app.finished(number).await;
    let token = app.token(Role::Metrics, &[]).await;
    let answer = reqwest::Client::new().get(format!("{}/metrics", app.url())).bearer_auth(token).send().await;
    let text = answer.unwrap().error_for_status().unwrap().text().await.unwrap();
    let file = app.home().join("metrics");
    std::fs::write(&file, &text).unwrap();
    let mut promtool = Command::new(find("promtool"));
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap());
    let out = promtool.output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}

#[test]
fn alerts_fire_when_they_should() {
    for args in [["check", "rules", "prometheus/alerts.yml"], ["test", "rules", "prometheus/alerts.test.yml"]]
    {
        let out = Command::new(find("promtool")).current_dir(deploy("")).args(args).output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        assert!(out.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&said));
    }
    // Each of them is tested.
    let tested = std::fs::read_to_string(deploy("prometheus/alerts.test.yml")).unwrap();
    let rules = std::fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let untested: Vec<&str> = names.filter(|name| !tested.contains(*name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

fn alerts() -> Vec<String> {
    let rules = std::fs::read_to_string(deploy("prometheus/alerts.yml")).unwrap();
    rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect()
}

/// What Grafana needs to draw each panel in its own place: it takes a file that lacks it without a word.
#[test]
fn each_panel_of_the_dashboard_can_be_drawn() {
    let board = board();
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    let variables: Vec<&str> = variables.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(variables, ["datasource"]);
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{panel}");
        for (x, y) in
            (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "two panels at {x}, {y}: {panel}");
        }
        if panel["type"] != "row" {
            drawn(panel);
        }
    }
}

/// Its data, units and legends are such as Grafana knows.
fn drawn(panel: &Value) {
    assert_eq!(panel["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{panel}");
    let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
    assert!(["short", "s", "bytes", "Bps", "reqps"].contains(&unit), "{panel}");
    let mut names = BTreeSet::new();
    for target in panel["targets"].as_array().unwrap() {
        assert!(names.insert(target["refId"].as_str().unwrap()), "{panel}");
        let expr = target["expr"].as_str().unwrap();
        let rest = expr.replace("$__rate_interval", "");
        assert!(!rest.contains('$'), "a variable that is not there: {expr}");
        // A legend speaks of labels that the expression leaves.
        let kept = expr.split_once("by (").map(|(_, rest)| rest.split(')').next().unwrap());
        for part in target["legendFormat"].as_str().unwrap().split("{{").skip(1) {
            let label = part.split_once("}}").unwrap().0;
            let known = kept.map_or(label == "instance", |kept| kept.split(", ").any(|one| one == label));
            assert!(known, "{label} is no label of {expr}");
        }
    }
}

fn board() -> Value {
    let text = std::fs::read_to_string(deploy("grafana/ocelot.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn dashboard() -> Vec<String> {
    let board = board();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Names of metrics in an expression.
fn metrics(expr: &str) -> BTreeSet<String> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("ocelot_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}
