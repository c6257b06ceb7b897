//! Measures what the README claims, each figure against the bare thing in the same process and minute.
//!
//! `ocelot-bench --ocelot target/release/ocelot start host live log large viewers idle claims offer fleet two novel hooks history` writes `bench/out/*.json` and ends with 1 when a
//! figure is below 0.7 of its target.

mod claims;
mod docker;
mod fleet;
mod generate;
mod history;
mod hooks;
mod host;
mod idle;
mod large;
mod live;
mod log;
mod novel;
mod offer;
mod report;
mod server;
mod start;
mod two;
mod viewers;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Options {
    /// The executable to measure; a release build.
    #[arg(long, default_value = "target/release/ocelot")]
    ocelot: PathBuf,
    /// Repetitions; medians are reported.
    #[arg(long, default_value_t = 7)]
    times: usize,
    /// Builds of the history.
    #[arg(long, default_value_t = 1_000_000)]
    builds: i64,
    /// What to measure; everything when absent.
    which: Vec<Which>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Which {
    /// A build of one `true` stage in Docker against the bare Docker API; the cost of a further stage.
    Start,
    /// Trigger to command on the host executor against a bare git fetch and checkout.
    Host,
    /// Idle memory with 1,000 builds; time to ready.
    Idle,
    /// Claims on both databases against a bare claim transaction, with short and long queues.
    Claims,
    /// From a queued job to its offer to an idle worker.
    Offer,
    /// 1,000 connected workers without work, and their return after a restart of the server.
    Fleet,
    /// Two servers, 50 workers, 5,000 builds, and one server dies; a lost worker's job is tried again.
    Two,
    /// A year of 1,000,000 builds on both databases: lists, statistics, and lists a second beside nginx.
    History,
    /// How late a follower has a line.
    Live,
    /// A log of 1 GB: its last page, and the server's memory.
    Large,
    /// A viewer that stops reading, and 200 followers of one log.
    Viewers,
    /// 200 webhooks a second, and those with a wrong signature.
    Hooks,
    /// New lines of failed logs.
    Novel,
    /// 200 MB of log through a Docker stage against the engine's attach stream.
    Log,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let options = Options::parse();
    let all = [
        Which::Start,
        Which::Host,
        Which::Live,
        Which::Log,
        Which::Large,
        Which::Viewers,
        Which::Idle,
        Which::Claims,
        Which::Offer,
        Which::Fleet,
        Which::Two,
        Which::Novel,
        Which::Hooks,
        Which::History,
    ];
    let which = if options.which.is_empty() { all.to_vec() } else { options.which.clone() };
    let mut good = true;
    for one in which {
        good &= match one {
            Which::Start => start::measure(&options.ocelot, options.times).await?,
            Which::Host => host::measure(&options.ocelot, options.times).await?,
            Which::Claims => claims::measure().await?,
            Which::Offer => offer::measure(&options.ocelot).await?,
            Which::Fleet => fleet::measure(&options.ocelot).await?,
            Which::Two => two::measure(&options.ocelot).await?,
            Which::Novel => novel::measure()?,
            Which::Hooks => hooks::measure(&options.ocelot, options.times.min(5)).await?,
            Which::History => history::measure(&options.ocelot, options.builds, options.times.min(5)).await?,
            Which::Live => live::measure(&options.ocelot).await?,
            Which::Idle => idle::measure(&options.ocelot, options.times).await?,
            Which::Large => large::measure(&options.ocelot).await?,
            Which::Viewers => viewers::measure(&options.ocelot, options.times).await?,
            Which::Log => log::measure(&options.ocelot, options.times.min(5)).await?,
        };
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
