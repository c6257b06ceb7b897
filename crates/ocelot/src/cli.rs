//! The commands, one file each, and the table that leads to them.

mod account;
mod approve;
mod ask;
mod audit;
mod backup;
mod build;
mod cancel;
mod checkout;
mod completions;
pub(crate) mod config;
mod deliveries;
mod explain;
mod export;
mod forge;
mod health;
mod init;
mod login;
mod logs;
mod notify;
mod number;
mod pause;
mod poll;
mod queue;
mod repo;
mod retry;
mod schedule;
mod secret;
mod server;
pub(crate) mod show;
mod stats;
mod status;
mod subscriptions;
mod summary;
mod token;
mod up;
mod validate;
mod version;
mod watch;
mod when;
mod which;
mod why;
mod worker;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Ocelot builds what you push: a server, workers that run builds in Docker containers, and the commands
/// to look and act.
///
/// Options come from flags, then from OCELOT_* variables, then from ocelot.toml (each key named as its flag,
/// with `_` for `-`).
#[derive(Debug, Parser)]
#[command(name = "ocelot", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Read options from this file [default for up, server and worker: ./ocelot.toml, else
    /// /etc/ocelot/ocelot.toml].
    #[arg(long, global = true, value_name = "FILE", env = "OCELOT_CONFIG", display_order = 900)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[expect(clippy::doc_markdown, reason = "the text is shown as help, where marks would stand in the way")]
#[derive(Debug, Subcommand)]
enum Command {
    /// Start a server and one worker, with SQLite: all that one machine needs.
    Up(up::Options),
    /// Start a server alone; several may share one PostgreSQL.
    Server(server::Options),
    /// Start a worker, or look at workers.
    Worker(worker::Options),
    /// Store a server's address and a token for the commands below.
    Login(login::Options),
    /// Add, list, change and remove forges: GitHub, GitLab, Bitbucket, Gitea, Forgejo.
    #[command(subcommand)]
    Forge(forge::Verb),
    /// Add, list, show, discover, change and remove repositories.
    #[command(subcommand)]
    Repo(repo::Verb),
    /// Let a repository's forge tell of pushes and pull requests (a webhook); mends one that is broken.
    Watch(watch::Options),
    /// Remove that webhook.
    Unwatch(watch::Undo),
    /// List the webhooks that came and what became of them, or work on one again.
    Deliveries(deliveries::Options),
    /// List who changed what: settings, tokens, approvals, secrets.
    Audit(audit::Options),
    /// Look at repositories from time to time, and build what is new.
    #[command(subcommand)]
    Poll(poll::Verb),
    /// Build branches at set times.
    #[command(subcommand)]
    Schedule(schedule::Verb),
    /// List who is built after whom, and what came of it.
    Subscriptions(subscriptions::Options),
    /// Queue a build.
    Build(build::Options),
    /// Show how a build stands.
    Status(status::Options),
    /// List the newest builds, all or those that are asked for.
    Summary(summary::Options),
    /// Count how builds, jobs and stages ended, how long they took and how long they waited.
    Stats(stats::Options),
    /// Write all history as CSV or as lines of JSON.
    Export(export::Options),
    /// Print the log of a build.
    Logs(logs::Options),
    /// End a build; asking again ends its clean-up (`always` stages) too.
    #[command(visible_alias = "kill")]
    Cancel(cancel::Options),
    /// Let a build start that waits for approval because its commit is not the repository's own, or one of its jobs.
    Approve(approve::Options),
    /// Build the same commit again, as a new build.
    Retry(retry::Options),
    /// Say why a build waits, or what became of it.
    Why(why::Options),
    /// Check an ocelot.yml without a server.
    Validate(validate::Options),
    /// Write a first ocelot.yml that fits the repository.
    Init(init::Options),
    /// List the waiting jobs and why each one waits.
    Queue(queue::Options),
    /// Hand out no more jobs, on any server; running ones go on.
    Pause(pause::Options),
    /// Hand out jobs again.
    Unpause(pause::Undo),
    /// Keep secrets for builds, list and remove them.
    #[command(subcommand)]
    Secret(secret::Verb),
    /// Keep credentials of a kind for builds and for cloning, list and remove them.
    Creds(secret::Creds),
    /// Try whether notifications of builds arrive, and list those that do not.
    #[command(subcommand)]
    Notify(notify::Verb),
    /// Create, list and revoke tokens.
    #[command(subcommand)]
    Token(token::Verb),
    /// Write all that a server keeps into one file, while it runs.
    Backup(backup::Backup),
    /// Fill an empty database with what `ocelot backup` wrote, of either kind of database.
    Restore(backup::Restore),
    /// Ask a server whether it is ready.
    Health(health::Options),
    /// Print the version.
    Version(version::Options),
    /// Print a completion script for a shell.
    Completions(completions::Options),
}

/// Runs the command; answers its exit code.
pub(crate) async fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Up(options) => up::up(options).await,
        Command::Server(options) => server::server(options).await,
        Command::Worker(options) => worker::worker(options).await,
        Command::Login(options) => login::login(options).await,
        Command::Forge(verb) => forge::dispatch(verb).await,
        Command::Repo(verb) => repo::dispatch(verb).await,
        Command::Watch(options) => watch::watch(options).await,
        Command::Unwatch(options) => watch::unwatch(options).await,
        Command::Deliveries(options) => deliveries::deliveries(options).await,
        Command::Audit(options) => audit::audit(options).await,
        Command::Poll(verb) => poll::dispatch(verb).await,
        Command::Schedule(verb) => schedule::dispatch(verb).await,
        Command::Subscriptions(options) => subscriptions::subscriptions(options).await,
        Command::Build(options) => build::build(options).await,
        Command::Status(options) => status::status(options).await,
        Command::Summary(options) => summary::summary(options).await,
        Command::Stats(options) => stats::stats(options).await,
        Command::Export(options) => export::export(options).await,
        Command::Logs(options) => logs::logs(options).await,
        Command::Secret(verb) => secret::dispatch(verb).await,
        Command::Creds(creds) => secret::creds(creds).await,
        Command::Cancel(options) => cancel::cancel(options).await,
        Command::Approve(options) => approve::approve(options).await,
        Command::Retry(options) => retry::retry(options).await,
        Command::Why(options) => why::why(options).await,
        Command::Validate(options) => validate::validate(&options),
        Command::Init(options) => init::init(&options),
        Command::Queue(options) => queue::queue(options).await,
        Command::Pause(options) => pause::pause(options).await,
        Command::Unpause(options) => pause::unpause(options).await,
        Command::Notify(verb) => notify::dispatch(verb).await,
        Command::Token(verb) => token::dispatch(verb).await,
        Command::Backup(options) => backup::backup(options).await,
        Command::Restore(options) => backup::restore(options).await,
        Command::Health(options) => health::health(options).await,
        Command::Version(options) => version::version(&options),
        Command::Completions(options) => completions::completions(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
