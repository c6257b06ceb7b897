//! A forge that remembers, over real HTTP: repositories, commits, branches, pull requests, statuses, comments, webhooks and
//! who may ask. It speaks GitHub, GitLab, Bitbucket Cloud or Gitea, each in its own file, and can be told to misbehave.
//!
//! It knows what the real one answers to what Ocelot asks, and nothing more: anything else is 404.

mod bitbucket;
mod bodies;
mod gitea;
mod github;
mod gitlab;
mod hooks;
pub(crate) mod server;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ocelot_model::ForgeKind;

pub use hooks::{Scene, Told, Webhook, sign};
pub use server::Fault;
use state::{App, Comment, Repo, State};
pub use state::{Hook, Pull, Status};

/// The token that every fake forge takes.
pub const TOKEN: &str = "good-token";
/// Key and secret of Bitbucket's OAuth consumer.
pub const CLIENT: (&str, &str) = ("the-key", "the-secret");
/// User and app password of Bitbucket.
pub const PASSWORD: (&str, &str) = ("ada", "app-password");

/// A private and a public key for a GitHub App, as PEM.
pub fn app_keys() -> (String, String) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    (pair.serialize_pem(), pair.public_key_pem())
}

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct FakeForge {
    kind: ForgeKind,
    url: String,
    state: Arc<Mutex<State>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeForge {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeForge {
    /// An empty one.
    pub async fn start(kind: ForgeKind) -> FakeForge {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State::new(url.clone())));
        let server = tokio::spawn(server::serve(kind, listener, Arc::clone(&state)));
        FakeForge { kind, url, state, server }
    }

    /// Which language it speaks.
    pub fn kind(&self) -> ForgeKind {
        self.kind
    }

    /// Its address, as a person would type it.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn repo<T>(&self, full_name: &str, work: impl FnOnce(&mut Repo) -> T) -> T {
        work(self.state().repo(full_name).expect("a repository of this name"))
    }

    /// A repository without commits; its default branch will be `main`.
    pub fn add_repo(&self, id: u64, full_name: &str) {
        self.state().repos.push(Repo::new(id, full_name));
    }

    /// A commit on `branch`, upon what is there: files that are written (`Some`) or removed (`None`). Answers its id.
    pub fn commit(&self, repo: &str, branch: &str, message: &str, files: &[(&str, Option<&str>)]) -> String {
        self.repo(repo, |repo| repo.commit(branch, message, files))
    }

    /// Lets a branch begin at a commit.
    pub fn branch(&self, repo: &str, branch: &str, commit: &str) {
        self.repo(repo, |repo| repo.branches.insert(branch.to_owned(), commit.to_owned()));
    }

    /// The newest commit of a branch has this id as well, which is that of a real one.
    pub fn alias(&self, repo: &str, branch: &str, id: &str) {
        self.repo(repo, |repo| {
            let newest = repo.commits[&repo.branches[branch]].clone();
            repo.commits.insert(id.to_owned(), newest);
        });
    }

    /// Opens a pull request; one of this number is now like this.
    pub fn open(&self, repo: &str, pull: Pull) {
        self.repo(repo, |repo| {
            repo.change(pull.number);
            repo.pulls.push(pull);
        });
    }

    /// Closes a pull request.
    pub fn close(&self, repo: &str, number: u64) {
        self.repo(repo, |repo| repo.change(number));
    }

    /// Gives an account a right: `read`, `write` or `admin`.
    pub fn allow(&self, repo: &str, account: u64, name: &str, right: &'static str) {
        self.repo(repo, |repo| repo.rights.push((account, name.to_owned(), right)));
    }

    /// A comment that somebody else wrote.
    pub fn say(&self, repo: &str, number: u64, text: &str) {
        let id = self.state().new_id();
        self.repo(repo, |repo| repo.comments.push(Comment { id, number, text: text.to_owned() }));
    }

    /// What was told it of commits, in the order in which it came.
    pub fn statuses(&self, repo: &str) -> Vec<Status> {
        self.repo(repo, |repo| repo.statuses.clone())
    }

    /// Texts of the comments of a pull request.
    pub fn comments(&self, repo: &str, number: u64) -> Vec<String> {
        self.repo(repo, |repo| {
            let of_it = repo.comments.iter().filter(|comment| comment.number == number);
            of_it.map(|comment| comment.text.clone()).collect()
        })
    }

    /// The webhooks of a repository.
    pub fn hooks(&self, repo: &str) -> Vec<Hook> {
        self.repo(repo, |repo| repo.hooks.clone())
    }

    /// Its repositories are cloned from below this address: what it shows itself are no real ones.
    pub fn clones_from(&self, base: &str) {
        self.state().clones = Some(base.trim_end_matches('/').to_owned());
    }

    /// Somebody gives a repository another name.
    pub fn rename(&self, repo: &str, to: &str) {
        self.repo(repo, |repo| to.clone_into(&mut repo.full_name));
    }

    /// Somebody removes all webhooks of a repository.
    pub fn drop_hooks(&self, repo: &str) {
        self.repo(repo, |repo| repo.hooks.clear());
    }

    /// Somebody, or the forge itself, switches them off.
    pub fn switch_hooks_off(&self, repo: &str) {
        self.repo(repo, |repo| repo.hooks.iter_mut().for_each(|hook| hook.active = false));
    }

    /// Sends a webhook to all that are registered at a repository, signed with their secrets; answers their statuses.
    pub async fn tell(&self, repo: &str, webhook: &Webhook) -> Vec<u16> {
        let answers = self.try_to_tell(repo, webhook).await;
        answers.into_iter().map(|status| status.expect("the receiver of a webhook answers")).collect()
    }

    /// The same; `None` for a receiver that does not answer.
    pub async fn try_to_tell(&self, repo: &str, webhook: &Webhook) -> Vec<Option<u16>> {
        let client = reqwest::Client::new();
        let mut answers = Vec::new();
        for hook in self.hooks(repo) {
            let mut request = client.post(&hook.url).body(webhook.body.clone());
            for (name, value) in webhook.headers(&hook.secret) {
                request = request.header(name, value);
            }
            answers.push(request.send().await.ok().map(|answer| answer.status().as_u16()));
        }
        answers
    }

    /// The next request is answered so.
    pub fn misbehave(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// From now on it answers nothing but 503, or is well again.
    pub fn set_down(&self, down: bool) {
        self.state().always = down.then(|| ("", Fault::Status(503, Vec::new(), "")));
    }

    /// From now on everything that has this in its path is answered so.
    pub fn always(&self, path: &'static str, fault: Fault) {
        self.state().always = Some((path, fault));
    }

    /// Lists come in pages of so many.
    pub fn pages_of(&self, count: usize) {
        self.state().page = count;
    }

    /// Tokens that were given out end after so many seconds.
    pub fn tokens_last(&self, seconds: u64) {
        self.state().life = seconds;
    }

    /// Takes back all tokens that were given out.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// A GitHub App, by its public key (PEM), installed at an account.
    pub fn install(&self, app: &str, public_key: &str, account: &str) {
        let mut state = self.state();
        let installation = state.new_id();
        state.app = Some(App { id: app.to_owned(), public_key: public_key.to_owned() });
        state.installations.push((installation, account.to_owned()));
    }

    /// Somebody removes the GitHub App from all accounts.
    pub fn uninstall(&self) {
        let mut state = self.state();
        state.installations.clear();
        state.tokens.clear();
    }

    /// What was asked, as `GET /path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }
}
