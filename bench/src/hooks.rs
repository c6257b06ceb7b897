//! Webhooks under load: 200 signed ones a second for a minute, every tenth a copy of an earlier one; and what a wrong signature
//! costs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use ocelot_model::{Approvals, ForgeKind};
use ocelot_store::{LogStoreOptions, NewForge, NewRepo, Options, Store};
use ocelot_testkit::forge::{Scene, Told, Webhook};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::report::{Figure, median, ms, write};
use crate::server::{self, Server};

const A_SECOND: usize = 200;
const SECONDS: usize = 60;
/// Webhooks with a wrong signature.
const WRONG: usize = 5_000;
const AT_ONCE: usize = 250;
const SECRET: &str = "the-forge-s-own";

/// See the module.
pub(crate) async fn measure(ocelot: &Path, times: usize) -> Result<bool> {
    let mut late = Vec::new();
    let mut settled = Vec::new();
    let mut wrong = Vec::new();
    for _ in 0..times {
        let room = Room::new(ocelot).await?;
        late.push(room.storm().await?);
        settled.push(room.settled(A_SECOND * SECONDS / 10 * 9).await?);
        wrong.push(room.wrong().await?);
    }
    let figures = [
        Figure { name: "answer_p99", value: median(&late), target: 100.0, more_is_better: false, unit: "ms" },
        Figure {
            name: "wrong_signature_cpu",
            value: median(&wrong),
            target: 1.0,
            more_is_better: false,
            unit: "ms",
        },
    ];
    write(
        "hooks",
        &figures,
        &json!({"p99_ms": late, "settled_after_s": settled, "wrong_cpu_ms": wrong, "lost_or_doubled": 0}),
    )
}

struct Room {
    up: Server,
    client: reqwest::Client,
    token: String,
    head: String,
    folder: tempfile::TempDir,
}

impl Room {
    async fn new(ocelot: &Path) -> Result<Room> {
        let folder = tempfile::tempdir()?;
        let yml = "image: none\nlabels: {nobody: serves}\nstages:\n  - name: s\n    script: ['true']\n";
        let repo = server::repository(folder.path(), "app", yml)?;
        let head =
            std::process::Command::new("git").args(["rev-parse", "HEAD"]).current_dir(&repo).output()?.stdout;
        let data = folder.path().join("data");
        std::fs::create_dir_all(&data)?;
        known(&data, &repo).await?;
        let up = server::up(ocelot, &data, &["--slots", "0", "--trusted-proxy", "127.0.0.1/32"]).await?;
        let token = std::fs::read_to_string(data.join("admin-token"))?.trim().to_owned();
        let head = String::from_utf8(head)?.trim().to_owned();
        Ok(Room { up, client: reqwest::Client::new(), token, head, folder })
    }

    /// The push that makes a branch.
    fn push(&self, number: usize) -> Result<Webhook> {
        let scene = Scene { name: format!("b{number}"), after: self.head.clone(), ..Scene::default() };
        let mut webhook =
            Webhook::new(ForgeKind::Github, Told::BranchCreated, &scene).context("a webhook")?;
        webhook.delivery = format!("d{number}");
        Ok(webhook)
    }

    fn request(&self, webhook: &Webhook, secret: &str, from: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/hooks/github", self.up.url());
        let mut request = self.client.post(url).body(webhook.body.clone()).header("X-Forwarded-For", from);
        for (name, value) in webhook.headers(secret) {
            request = request.header(name, value);
        }
        request
    }

    /// Sends them all; the time within which 99 of 100 were answered.
    async fn storm(&self) -> Result<f64> {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / A_SECOND as u32);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent: JoinSet<Result<f64>> = JoinSet::new();
        let mut next = 0;
        for i in 0..A_SECOND * SECONDS {
            tick.tick().await;
            // Every tenth comes again some time after the first of its kind.
            let webhook = if i % 10 == 9 {
                self.push(next / 2)?
            } else {
                next += 1;
                self.push(next - 1)?
            };
            let request = self.request(&webhook, SECRET, "192.0.2.1");
            sent.spawn(async move {
                let begin = Instant::now();
                let answer = request.send().await?;
                let time = ms(begin.elapsed());
                ensure!(answer.status().is_success(), "{}: {}", answer.status(), answer.text().await?);
                Ok(time)
            });
        }
        let mut times = Vec::new();
        while let Some(time) = sent.join_next().await {
            times.push(time??);
        }
        times.sort_by(f64::total_cmp);
        times.get(times.len() * 99 / 100).copied().context("no answers")
    }

    /// Waits until something became of each, and counts the builds; seconds.
    async fn settled(&self, want: usize) -> Result<f64> {
        let begin = Instant::now();
        while !self.get("deliveries?state=waiting&limit=1").await?["items"]
            .as_array()
            .context("a list")?
            .is_empty()
        {
            ensure!(begin.elapsed() < Duration::from_mins(10), "webhooks still wait after 10 minutes");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let seconds = begin.elapsed().as_secs_f64();
        let mut branches = std::collections::HashSet::new();
        let (mut builds, mut cursor) = (0, String::new());
        loop {
            let page = self.get(&format!("builds?limit=500{cursor}")).await?;
            for build in page["items"].as_array().context("a list")? {
                builds += 1;
                branches.insert(build["branch"].as_str().unwrap_or_default().to_owned());
            }
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        ensure!(
            builds == want && branches.len() == want,
            "{want} pushes made {builds} builds of {} branches",
            branches.len()
        );
        Ok(seconds)
    }

    /// CPU time of the server for one webhook that nobody signed, in ms; each comes from an address of its own.
    async fn wrong(&self) -> Result<f64> {
        let before = self.get("deliveries?limit=1").await?;
        let webhook = self.push(0)?;
        let bodies = std::fs::metadata(self.folder.path().join("data/ocelot.db"))?.len();
        let cpu = self.up.cpu_seconds()?;
        // A refusal comes late on purpose, which costs nothing: so many wait beside each other.
        for i in 0..WRONG / AT_ONCE {
            let one = |j| self.request(&webhook, "wrong", &format!("10.{i}.{j}.1")).send();
            for answer in join_all((0..AT_ONCE).map(one)).await {
                let status = answer?.status();
                ensure!(status == reqwest::StatusCode::UNAUTHORIZED, "{status}");
            }
        }
        let cost = (self.up.cpu_seconds()? - cpu) * 1e3 / WRONG as f64;
        ensure!(
            before == self.get("deliveries?limit=1").await?,
            "a webhook with a wrong signature left something"
        );
        ensure!(
            bodies == std::fs::metadata(self.folder.path().join("data/ocelot.db"))?.len(),
            "the database grew"
        );
        Ok(cost)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}/api/v1/{path}", self.up.url());
        let answer = self.client.get(url).bearer_auth(&self.token).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

/// A forge that signs, and a repository of it that is cloned from this machine.
async fn known(data: &Path, repo: &Path) -> Result<()> {
    let options = Options {
        database_url: format!("sqlite://{}/ocelot.db", data.display()),
        data: data.to_owned(),
        log_store: LogStoreOptions::default(),
        key_file: None,
    };
    let store = Store::open(&options).await?;
    let forge = NewForge {
        name: "github".to_owned(),
        kind: ForgeKind::Github,
        base_url: "https://forge.example".to_owned(),
        insecure_http: false,
        ca: None,
        access: None,
        hook_secret: Some(SECRET.into()),
    };
    store.add_forge(&forge, "bench").await?;
    let repo = NewRepo {
        name: "github/acme/app".parse().map_err(|error| anyhow::anyhow!("{error}"))?,
        remote_id: "11".to_owned(),
        clone_url: repo.display().to_string(),
        default_branch: "main".to_owned(),
        public: false,
        approvals: Approvals::default(),
    };
    store.add_repo(&repo, "bench").await?;
    store.close().await;
    Ok(())
}
