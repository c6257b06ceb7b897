//! `ocelot approve BUILD [JOB]`.

use clap::Args;
use ocelot_api::body::ApproveBuild;

use super::account::Remote;
use super::{number, show, which};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of the build.
    #[arg(value_parser = number::build)]
    build: i64,
    /// Name of one of its jobs, which its ocelot.yml wants a person to let start [default: all of them, where the commit waits
    /// for nobody].
    job: Option<String>,
    /// Print the build as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn approve(options: Options) -> anyhow::Result<u8> {
    let client = options.remote.client()?;
    let what = ApproveBuild { job: options.job };
    let build =
        which::named(format_args!("build {}", options.build), client.approve(options.build, &what).await)?;
    if options.json {
        show::json(&build)?;
        return Ok(0);
    }
    let jobs =
        build.jobs.iter().flatten().filter(|job| what.job.as_ref().is_none_or(|name| *name == job.name));
    let approved = jobs.filter_map(|job| Some((format!("Job {}", job.name), job.approved_by.as_deref()?)));
    let whole = build.approved_by.as_deref().filter(|_| what.job.is_none());
    let whole = whole.map(|by| (format!("Commit {}", build.commit), by));
    for (what, by) in whole.into_iter().chain(approved) {
        show::line(format_args!(
            "{} of build {} is approved by {}.",
            show::plain(&what),
            build.number,
            show::plain(by)
        ))?;
    }
    if build.status.is_terminal() {
        show::note(format_args!(
            "Build {} is over ({}): that changes nothing any more.",
            build.number, build.status
        ));
    }
    Ok(0)
}
