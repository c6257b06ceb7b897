//! Watching a build until it is over: what `build --follow`, `retry --follow` and `logs --follow` do.
//!
//! The events say what is new. Bytes that they did not bring (a lost connection, a build that was over
//! before we came) are fetched from the stored log, so that the output is always whole.

mod clean;
mod printer;
mod spinner;
pub(crate) mod stored;

use anyhow::bail;
use futures_util::StreamExt as _;
use ocelot_api::body::{Build, Event};
use ocelot_api::client::{Client, Happened, LogQuery};
use ocelot_model::{Status, duration};
use owo_colors::OwoColorize as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::show;
use crate::exit;
use printer::Printer;
use spinner::Spinner;

/// How to look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    /// Only this stage: name, `job/stage` or id.
    pub(crate) only: Option<String>,
    /// Bytes as they are, without headings.
    pub(crate) raw: bool,
    /// No log; the finished build as JSON.
    pub(crate) json: bool,
}

/// Watches; answers the exit code of how the build ended. Ctrl-C ends the watching, not the build.
pub(crate) async fn follow(client: &Client, number: i64, look: Look) -> anyhow::Result<u8> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let watching = async {
        let mut watch = Watch::new(client, number, look).await?;
        let build = watch.until_the_end().await?;
        watch.spinner.clear();
        watch.say_end(&build)?;
        Ok(exit::of_status(build.status))
    };
    tokio::select! {
        done = watching => done,
        _ = interrupts.recv() => {
            show::note(format_args!(
                "\nBuild {number} goes on. `ocelot logs {number} --follow` watches it again, `ocelot cancel {number}` ends it."
            ));
            Ok(exit::INTERRUPTED)
        }
    }
}

struct Watch<'a> {
    client: &'a Client,
    number: i64,
    look: Look,
    printer: Printer,
    spinner: Spinner,
}

impl<'a> Watch<'a> {
    async fn new(client: &'a Client, number: i64, look: Look) -> anyhow::Result<Watch<'a>> {
        let build = client.build(number).await?;
        let mut printer = Printer::new(&look);
        printer.learn(&build);
        if let Some(only) = look.only.as_ref().filter(|_| !printer.is_any_wanted() && build.jobs.is_some()) {
            bail!("build {number} has no stage `{only}`; `ocelot status {number}` shows its stages");
        }
        let watch = Watch { client, number, look, printer, spinner: Spinner::new() };
        watch.greet(&build)?;
        Ok(watch)
    }

    fn greet(&self, build: &Build) -> anyhow::Result<()> {
        if self.look.json || self.look.raw {
            return Ok(());
        }
        let commit = show::plain(show::short(&build.commit));
        let (repo, branch) = (show::plain(&build.repo), show::plain(&build.branch));
        let text = format!("Build {} of {repo}, {branch} at {commit}", build.number);
        show::line(text.bold())?;
        Ok(())
    }

    async fn until_the_end(&mut self) -> anyhow::Result<Build> {
        let mut events = self.client.events(self.number, None);
        while let Some(happened) = events.next().await {
            match happened? {
                Happened::Event { event: Event::End { .. }, .. } => break,
                Happened::Event { event, .. } => self.take(event).await?,
                Happened::Lost { cause } => show::note(format_args!("{cause}; trying again")),
                Happened::Connected => {}
            }
        }
        let build = self.client.build(self.number).await?;
        self.printer.learn(&build);
        if !self.look.json {
            for (stage, have, want) in self.printer.missing(&build) {
                if have < want {
                    self.fetch(stage).await?;
                }
            }
        }
        self.printer.end()?;
        Ok(build)
    }

    async fn take(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Build { status, .. } => {
                if matches!(status, Status::Queued | Status::Blocked) {
                    self.spinner.say(&self.why_it_waits().await);
                } else {
                    self.spinner.clear();
                }
            }
            Event::Job { name, status: Status::Queued, attempt, reason: Some(reason), .. } if attempt > 1 => {
                let text = show::plain(&format!("Job {name} is tried again (attempt {attempt}): {reason}"));
                show::note(text);
            }
            Event::Stage { stage, status, .. } if !self.look.json => {
                self.know(stage).await?;
                self.stage(stage, status).await?;
            }
            Event::Log { stage, offset, bytes, text, .. } if !self.look.json => {
                self.know(stage).await?;
                let have = self.printer.have(stage);
                if !self.printer.has_begun(stage) {
                    // The stage before it may not be over yet; what was passed over is fetched when it begins.
                    self.printer.owe(stage);
                } else if offset == have {
                    self.spinner.clear();
                    self.printer.text(stage, text.as_bytes(), bytes)?;
                } else if offset + bytes > have {
                    self.fetch(stage).await?;
                }
            }
            Event::Job { .. } | Event::Stage { .. } | Event::Log { .. } | Event::End { .. } => {}
        }
        Ok(())
    }

    /// A status may arrive before the bytes that were written until then: all lines of a stage come first, its end
    /// after them.
    async fn stage(&mut self, stage: i64, status: Status) -> anyhow::Result<()> {
        if matches!(status, Status::Queued | Status::Blocked) || self.printer.is_over(stage) {
            return Ok(());
        }
        self.spinner.clear();
        self.printer.begin(stage, status)?;
        if status.is_terminal() {
            if status != Status::Skipped && self.printer.is_wanted(stage) {
                self.fetch(stage).await?;
            }
            self.printer.end_stage(stage, status)?;
        } else if self.printer.is_owed(stage) {
            self.fetch(stage).await?;
        }
        Ok(())
    }

    /// A stage of a new attempt is not known yet.
    async fn know(&mut self, stage: i64) -> anyhow::Result<()> {
        if !self.printer.knows(stage) {
            let build = self.client.build(self.number).await?;
            self.printer.learn(&build);
        }
        Ok(())
    }

    /// Prints what the stored log has beyond what was printed.
    async fn fetch(&mut self, stage: i64) -> anyhow::Result<()> {
        let from = u64::try_from(self.printer.have(stage)).unwrap_or(0);
        let query = LogQuery { from, ..LogQuery::default() };
        let mut pieces = std::pin::pin!(self.client.stage_log(self.number, stage, query).await?);
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            self.printer.text(stage, &piece, piece.len() as i64)?;
        }
        Ok(())
    }

    async fn why_it_waits(&self) -> String {
        let queue = self.client.queue_of(self.number).await.unwrap_or_default();
        let reason = queue.into_iter().next().map(|item| item.reason);
        let reason = reason.unwrap_or_else(|| "it is in the queue".to_owned());
        show::plain(&format!("Build {} waits: {reason}", self.number))
    }

    fn say_end(&self, build: &Build) -> anyhow::Result<()> {
        if self.look.json {
            return show::json(build);
        }
        if self.look.raw {
            return Ok(());
        }
        if let Some(reason) = show::reason(build) {
            show::line(reason)?;
        }
        let after = build.duration_ms.map_or_else(String::new, |ms| format!(" after {}", duration::took(ms)));
        let status = show::status(build.status);
        show::line(format_args!(
            "Build {}: {status}{after}  {}",
            build.number,
            self.client.page(build.number)
        ))?;
        Ok(())
    }
}
