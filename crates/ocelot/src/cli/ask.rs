//! Questions to the person at the terminal. Whether there is one is for the caller to know.

use std::io::BufRead as _;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::show;
use crate::exit::Interrupted;

/// What is typed is much shorter than this.
const LONGEST: u64 = 4096;

/// Asks for a line.
pub(crate) async fn line(question: &str) -> anyhow::Result<String> {
    typed(&mut signal(SignalKind::interrupt())?, question).await
}

/// Asks for a line that the terminal does not show.
pub(crate) async fn secret(question: &str) -> anyhow::Result<String> {
    // Before the terminal is quiet: from then on Ctrl-C must not end us just like that.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let quiet = Quiet::begin()?;
    let answer = typed(&mut interrupts, question).await;
    drop(quiet);
    // The line feed was not shown either.
    show::note("");
    answer
}

async fn typed(interrupts: &mut Signal, question: &str) -> anyhow::Result<String> {
    show::question(question);
    tokio::select! {
        // Its own thread: Ctrl-C must be heard while it waits.
        line = tokio::task::spawn_blocking(read_line) => Ok(line??),
        _ = interrupts.recv() => Err(Interrupted.into()),
    }
}

/// A line of standard input.
pub(crate) fn read_line() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::Read::take(std::io::stdin().lock(), LONGEST).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// A terminal that shows nothing of what is typed, for as long as it lives.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> std::io::Result<Quiet> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Quiet { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.before);
    }
}
