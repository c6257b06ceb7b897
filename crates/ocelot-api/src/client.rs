//! The HTTP client of `/api/v1`, for the command line and the tests.
//!
//! One method per route, typed on both sides. It decides nothing: no printing, no exit codes, no
//! second try of a request that changes something.

mod error;
mod events;
mod http;
mod notify;
pub mod sse;

pub use error::ClientError;
pub use events::{Events, Happened};

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use jiff::Timestamp;
use reqwest::Method;

use crate::body::{
    ApproveBuild, Badge, Build, CreatedToken, CreatedWorkerToken, Delivery, Forge, ForgeChange, ForgeRepos,
    Insights, NewBadge, NewBuild, NewForge, NewPause, NewPoll, NewRepo, NewSchedule, NewSecret, NewToken,
    NewWorkerToken, Page, PauseState, Poll, Queue, QueueItem, Removed, Repo, RepoChange, RetryBuild,
    Schedule, Secret, Stats, Subscription, Token, Watch, WhoAmI, Worker, WorkerToken,
};

/// Answers of this module.
pub type Result<T> = std::result::Result<T, ClientError>;

/// A server, and the token to speak to it with. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: reqwest::Url,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// How to get to a server, beside its address.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// PEM file with a further authority whose certificates are believed.
    pub ca_cert: Option<PathBuf>,
    /// This host is at this address, whatever the resolver says.
    pub host_at: Option<(String, SocketAddr)>,
}

/// Which builds to list; all fields are optional.
#[derive(Debug, Clone, Default)]
pub struct BuildQuery {
    /// Handle of a repository.
    pub repo: Option<String>,
    /// Branch.
    pub branch: Option<String>,
    /// Commit, 7 characters or more.
    pub commit: Option<String>,
    /// Status word.
    pub status: Option<String>,
    /// What made it.
    pub event: Option<String>,
    /// Queued at this time or later.
    pub since: Option<Timestamp>,
    /// Queued before this time.
    pub until: Option<Timestamp>,
    /// Name of a worker.
    pub worker: Option<String>,
    /// Text in message, author, branch or commit.
    pub q: Option<String>,
    /// At most so many; the server's default is 50.
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

/// What is to be counted; all fields are optional.
#[derive(Debug, Clone, Default)]
pub struct StatsQuery {
    /// Handle of a repository.
    pub repo: Option<String>,
    /// Branch of it.
    pub branch: Option<String>,
    /// Job, instead of whole builds.
    pub job: Option<String>,
    /// Stage of that job.
    pub stage: Option<String>,
    /// Ended at this time or later.
    pub from: Option<Timestamp>,
    /// Ended before this time.
    pub to: Option<Timestamp>,
    /// `hour`, `day`, `week`, `repo`, `branch`, `job` or `stage`.
    pub by: Option<String>,
}

/// What is to be exported; all fields are optional.
#[derive(Debug, Clone, Default)]
pub struct ExportQuery {
    /// `csv` or `ndjson`.
    pub format: Option<String>,
    /// `builds`, `jobs` or `stages`.
    pub what: Option<String>,
    /// Handle of a repository.
    pub repo: Option<String>,
    /// Ended at this time or later.
    pub since: Option<Timestamp>,
    /// Ended before this time.
    pub until: Option<Timestamp>,
}

/// Which part of a stage's log to get.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogQuery {
    /// Byte to begin with; without timestamps only.
    pub from: u64,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail: Option<u32>,
}

impl Client {
    /// A client of the server at `url` (`http://host:port`, a path in front is fine).
    pub fn new(url: &str, token: Option<&str>) -> Result<Client> {
        Client::by(url, token, &Way::default())
    }

    /// The same, by a way of one's own.
    pub fn by(url: &str, token: Option<&str>, way: &Way) -> Result<Client> {
        http::client(url, token, way)
    }

    /// Address of the server, without a slash at the end.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The page of a build.
    pub fn page(&self, build: i64) -> String {
        format!("{}/builds/{build}", self.url())
    }

    /// As many builds as are wanted, newest first, and where to go on. The server may need several answers for that.
    pub async fn builds(&self, query: &BuildQuery) -> Result<Page<Build>> {
        let wanted = query.limit.unwrap_or(50);
        let mut query = BuildQuery { limit: Some(wanted), ..query.clone() };
        let mut all = self.page_of_builds(&query).await?;
        while all.next.is_some() && all.items.len() < wanted as usize {
            query.limit = Some(wanted - all.items.len() as u32);
            query.cursor = all.next.take();
            let more = self.page_of_builds(&query).await?;
            all.items.extend(more.items);
            all.next = more.next;
        }
        Ok(all)
    }

    async fn page_of_builds(&self, query: &BuildQuery) -> Result<Page<Build>> {
        let limit = query.limit.map(|n| n.to_string());
        let [since, until] = [query.since, query.until].map(|at| at.map(|at| at.to_string()));
        let pairs = [
            ("repo", query.repo.as_deref()),
            ("branch", query.branch.as_deref()),
            ("commit", query.commit.as_deref()),
            ("status", query.status.as_deref()),
            ("event", query.event.as_deref()),
            ("since", since.as_deref()),
            ("until", until.as_deref()),
            ("worker", query.worker.as_deref()),
            ("q", query.q.as_deref()),
            ("limit", limit.as_deref()),
            ("cursor", query.cursor.as_deref()),
        ];
        self.get("builds", &pairs).await
    }

    /// How builds, jobs or stages ended.
    pub async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        let [from, to] = [query.from, query.to].map(|at| at.map(|at| at.to_string()));
        let periods = ["hour", "day", "week"];
        let (bucket, by): (Option<&str>, Option<&str>) = match query.by.as_deref() {
            Some(by) if periods.contains(&by) => (Some(by), None),
            other => (None, other),
        };
        let pairs = [
            ("repo", query.repo.as_deref()),
            ("branch", query.branch.as_deref()),
            ("job", query.job.as_deref()),
            ("stage", query.stage.as_deref()),
            ("from", from.as_deref()),
            ("to", to.as_deref()),
            ("bucket", bucket),
            ("by", by),
        ];
        self.get("stats", &pairs).await
    }

    /// All history, piece by piece as it arrives.
    pub async fn export(&self, query: &ExportQuery) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        let [since, until] = [query.since, query.until].map(|at| at.map(|at| at.to_string()));
        let pairs = [
            ("format", query.format.as_deref()),
            ("what", query.what.as_deref()),
            ("repo", query.repo.as_deref()),
            ("since", since.as_deref()),
            ("until", until.as_deref()),
        ];
        let client = self.clone();
        let answer = self.ask("export", &pairs, None).await?;
        Ok(answer.bytes_stream().map(move |piece| piece.map_err(|error| client.cut_off(&error))))
    }

    /// The badge of a repository.
    pub async fn badge(&self, handle: &str) -> Result<Badge> {
        self.get(&format!("badges/{handle}"), &[]).await
    }

    /// Makes the key of a badge, if it needs one.
    pub async fn make_badge(&self, handle: &str, new: &NewBadge) -> Result<Badge> {
        self.send(Method::POST, &format!("badges/{handle}"), Some(new)).await
    }

    /// Ends the key of a badge.
    pub async fn remove_badge(&self, handle: &str) -> Result<()> {
        self.delete(&format!("badges/{handle}")).await
    }

    /// A build with its jobs and stages.
    pub async fn build(&self, number: i64) -> Result<Build> {
        self.get(&format!("builds/{number}"), &[]).await
    }

    /// Queues a build.
    pub async fn start(&self, build: &NewBuild) -> Result<Build> {
        self.send(Method::POST, "builds", Some(build)).await
    }

    /// Asks for the end of a build.
    pub async fn cancel(&self, number: i64) -> Result<Build> {
        self.send(Method::POST, &format!("builds/{number}/cancel"), None::<&()>).await
    }

    /// Lets a build start that waits for approval, or one of its jobs.
    pub async fn approve(&self, number: i64, what: &ApproveBuild) -> Result<Build> {
        self.send(Method::POST, &format!("builds/{number}/approve"), Some(what)).await
    }

    /// Queues a new build of the same commit.
    pub async fn retry(&self, number: i64, how: &RetryBuild) -> Result<Build> {
        self.send(Method::POST, &format!("builds/{number}/retry"), Some(how)).await
    }

    /// The log of all stages, as plain text.
    pub async fn log(&self, number: i64) -> Result<String> {
        let answer = self.ask(&format!("builds/{number}/log"), &[], None).await?;
        let body = answer.bytes().await.map_err(|e| self.broken(&e))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The log of one stage, piece by piece as it arrives.
    pub async fn stage_log(
        &self,
        number: i64,
        stage: i64,
        query: LogQuery,
    ) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        let tail = query.tail.map(|n| n.to_string());
        let pairs = [("timestamps", query.timestamps.then_some("true")), ("tail", tail.as_deref())];
        let range = (query.from > 0).then(|| format!("bytes={}-", query.from));
        let path = format!("builds/{number}/stages/{stage}/log");
        let client = self.clone();
        let answer = match self.ask(&path, &pairs, range.as_deref()).await {
            Ok(answer) => Some(answer),
            // The range begins where the log ends: nothing more is there.
            Err(error) if error.status() == Some(416) => None,
            Err(error) => return Err(error),
        };
        let body = answer.map(reqwest::Response::bytes_stream);
        Ok(futures_util::stream::iter(body)
            .flatten()
            .map(move |piece| piece.map_err(|error| client.broken(&error))))
    }

    /// Deletes the log of one stage for good; a note stands in its place.
    pub async fn delete_log(&self, number: i64, stage: i64) -> Result<()> {
        self.delete(&format!("builds/{number}/stages/{stage}/log")).await
    }

    /// What happens to a build, from its beginning or after `last_id`, until its end. Reconnects by itself.
    pub fn events(&self, number: i64, last_id: Option<String>) -> Events {
        Events::new(self.clone(), format!("builds/{number}/events"), last_id)
    }

    /// All repositories that the token may read.
    pub async fn repos(&self) -> Result<Vec<Repo>> {
        self.all("repos").await
    }

    /// One repository.
    pub async fn repo(&self, handle: &str) -> Result<Repo> {
        self.get(&format!("repos/{handle}"), &[]).await
    }

    /// Adds a repository.
    pub async fn add_repo(&self, repo: &NewRepo) -> Result<Repo> {
        self.send(Method::POST, "repos", Some(repo)).await
    }

    /// Changes settings of a repository.
    pub async fn change_repo(&self, handle: &str, change: &RepoChange) -> Result<Repo> {
        self.send(Method::PATCH, &format!("repos/{handle}"), Some(change)).await
    }

    /// Forgets a repository with its builds; answers what could not be removed with it.
    pub async fn remove_repo(&self, handle: &str) -> Result<Option<Removed>> {
        self.send_for(Method::DELETE, &format!("repos/{handle}")).await
    }

    /// Lets a repository's forge send webhooks.
    pub async fn watch(&self, handle: &str) -> Result<Watch> {
        self.send(Method::POST, &format!("watch/{handle}"), None::<&()>).await
    }

    /// Ends that.
    pub async fn unwatch(&self, handle: &str) -> Result<()> {
        self.delete(&format!("watch/{handle}")).await
    }

    /// All forges.
    pub async fn forges(&self) -> Result<Vec<Forge>> {
        self.all("forges").await
    }

    /// Adds a forge.
    pub async fn add_forge(&self, forge: &NewForge) -> Result<Forge> {
        self.send(Method::POST, "forges", Some(forge)).await
    }

    /// Gives a forge other credentials.
    pub async fn change_forge(&self, name: &str, change: &ForgeChange) -> Result<Forge> {
        self.send(Method::PATCH, &format!("forges/{name}"), Some(change)).await
    }

    /// Forgets a forge that has no repositories here.
    pub async fn remove_forge(&self, name: &str) -> Result<()> {
        self.delete(&format!("forges/{name}")).await
    }

    /// The repositories that a forge has, of one account or of all.
    pub async fn forge_repos(&self, name: &str, owner: Option<&str>) -> Result<ForgeRepos> {
        self.get(&format!("forges/{name}/repos"), &[("owner", owner)]).await
    }

    /// Newest webhooks first, at most `limit`; of a repository, and in a state.
    pub async fn deliveries(
        &self,
        repo: Option<&str>,
        state: Option<&str>,
        limit: u32,
    ) -> Result<Page<Delivery>> {
        let limit = limit.to_string();
        self.get("deliveries", &[("repo", repo), ("state", state), ("limit", Some(&limit))]).await
    }

    /// Works on a webhook again.
    pub async fn replay_delivery(&self, id: i64) -> Result<Delivery> {
        self.send(Method::POST, &format!("deliveries/{id}/replay"), None::<&()>).await
    }

    /// What was done to settings, tokens and secrets, newest first. `filter`: names and values of the query.
    pub async fn audit(&self, filter: &[(&str, Option<&str>)]) -> Result<Page<crate::body::AuditRow>> {
        self.get("audit", filter).await
    }

    /// Polls of all repositories that the token may read.
    pub async fn polls(&self) -> Result<Vec<Poll>> {
        self.all("polls").await
    }

    /// Looks at a repository from time to time.
    pub async fn add_poll(&self, poll: &NewPoll) -> Result<Poll> {
        self.send(Method::POST, "polls", Some(poll)).await
    }

    /// Ends the poll of a repository.
    pub async fn remove_poll(&self, handle: &str) -> Result<()> {
        self.delete(&format!("polls/{handle}")).await
    }

    /// Schedules of all repositories that the token may read.
    pub async fn schedules(&self) -> Result<Vec<Schedule>> {
        self.all("schedules").await
    }

    /// Builds a branch at set times.
    pub async fn add_schedule(&self, schedule: &NewSchedule) -> Result<Schedule> {
        self.send(Method::POST, "schedules", Some(schedule)).await
    }

    /// Ends a schedule.
    pub async fn remove_schedule(&self, id: i64) -> Result<()> {
        self.delete(&format!("schedules/{id}")).await
    }

    /// Who is built after whom, as far as the token may read it.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>> {
        self.all("subscriptions").await
    }

    /// All workers.
    pub async fn workers(&self) -> Result<Vec<Worker>> {
        self.all("workers").await
    }

    /// Gives a worker no more jobs.
    pub async fn drain_worker(&self, id: i64) -> Result<Worker> {
        self.send(Method::POST, &format!("workers/{id}/drain"), None::<&()>).await
    }

    /// Gives a worker jobs again.
    pub async fn resume_worker(&self, id: i64) -> Result<Worker> {
        self.send(Method::POST, &format!("workers/{id}/resume"), None::<&()>).await
    }

    /// Ends a worker's identity, and takes back what it holds.
    pub async fn remove_worker(&self, id: i64) -> Result<()> {
        self.delete(&format!("workers/{id}")).await
    }

    /// All enrolment tokens, without their secrets.
    pub async fn worker_tokens(&self) -> Result<Vec<WorkerToken>> {
        self.all("worker-tokens").await
    }

    /// Makes an enrolment token; the answer holds its secret, once.
    pub async fn create_worker_token(&self, token: &NewWorkerToken) -> Result<CreatedWorkerToken> {
        self.send(Method::POST, "worker-tokens", Some(token)).await
    }

    /// Ends an enrolment token.
    pub async fn revoke_worker_token(&self, id: i64) -> Result<()> {
        self.delete(&format!("worker-tokens/{id}")).await
    }

    /// What earlier builds say about one; `None` when the server is too old to know.
    pub async fn insights(&self, number: i64) -> Result<Option<Insights>> {
        match self.get(&format!("builds/{number}/insights"), &[]).await {
            Err(error) if error.status() == Some(404) => Ok(None),
            told => told.map(Some),
        }
    }

    /// The first waiting jobs, in the order in which they would start.
    pub async fn queue(&self, limit: u32) -> Result<Queue> {
        self.get("queue", &[("limit", Some(&limit.to_string()))]).await
    }

    /// The waiting jobs of one build, in the order in which they would start.
    pub async fn queue_of(&self, build: i64) -> Result<Vec<QueueItem>> {
        self.all_of("queue", Some(("build", &build.to_string()))).await
    }

    /// Whether jobs are handed out.
    pub async fn paused(&self) -> Result<PauseState> {
        self.get("pause", &[]).await
    }

    /// Hands out no more jobs.
    pub async fn pause(&self, why: &NewPause) -> Result<PauseState> {
        self.send(Method::POST, "pause", Some(why)).await
    }

    /// Hands out jobs again.
    pub async fn unpause(&self) -> Result<PauseState> {
        self.send(Method::POST, "unpause", None::<&()>).await
    }

    /// All tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Vec<Token>> {
        self.all("tokens").await
    }

    /// Makes a token; the answer holds its secret, once.
    pub async fn create_token(&self, token: &NewToken) -> Result<CreatedToken> {
        self.send(Method::POST, "tokens", Some(token)).await
    }

    /// Ends a token.
    pub async fn revoke_token(&self, id: i64) -> Result<()> {
        self.delete(&format!("tokens/{id}")).await
    }

    /// Secrets and credentials that we may change, without their values.
    pub async fn credentials(&self) -> Result<Vec<Secret>> {
        self.all("credentials").await
    }

    /// Keeps a secret or credential; one of the same scope and name is changed.
    pub async fn put_credential(&self, new: &NewSecret) -> Result<Secret> {
        self.send(Method::POST, "credentials", Some(new)).await
    }

    /// Forgets a secret or credential.
    pub async fn remove_credential(&self, id: i64) -> Result<()> {
        self.delete(&format!("credentials/{id}")).await
    }

    /// Who the server takes us for.
    pub async fn whoami(&self) -> Result<WhoAmI> {
        self.get("whoami", &[]).await
    }

    /// Asks `/readyz`: fails with the server's own words when it is not ready.
    pub async fn ready(&self) -> Result<()> {
        let mut url = self.base.clone();
        let path = format!("{}/readyz", url.path().trim_end_matches('/'));
        url.set_path(&path);
        self.check(self.http.get(url)).await.map(drop)
    }

    /// Every page of a listing.
    async fn all<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        self.all_of(path, None).await
    }

    /// All rows, or those that such a parameter of the query lets through, in the largest pages there are: a server that makes one of
    /// a long queue looks at all of it.
    async fn all_of<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        filter: Option<(&str, &str)>,
    ) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = vec![("limit", Some("500")), ("cursor", cursor.as_deref())];
            query.extend(filter.map(|(name, value)| (name, Some(value))));
            let page: Page<T> = self.get(path, &query).await?;
            rows.extend(page.items);
            // The same cursor twice would go round for ever.
            if page.next.is_none() || page.next == cursor {
                return Ok(rows);
            }
            cursor = page.next;
        }
    }
}

/// Refuses what can be no token, such as two lines that were copied together.
pub fn check_token(token: &str) -> Result<()> {
    http::check_token(token)
}
