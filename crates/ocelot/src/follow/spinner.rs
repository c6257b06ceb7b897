//! The sign of life while a build waits. Only on a terminal; elsewhere each reason is said once.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::cli::show;

pub(super) struct Spinner {
    bar: Option<ProgressBar>,
    said: String,
}

impl Spinner {
    pub(super) fn new() -> Spinner {
        Spinner { bar: None, said: String::new() }
    }

    pub(super) fn say(&mut self, text: &str) {
        if self.said == text {
            return;
        }
        text.clone_into(&mut self.said);
        if !std::io::stderr().is_terminal() {
            show::note(text);
            return;
        }
        let bar = self.bar.get_or_insert_with(ProgressBar::new_spinner);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_message(text.to_owned());
    }

    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}
