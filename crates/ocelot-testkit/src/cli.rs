//! The executable as people call it.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a command said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Panics with all that was said unless the command ended with this code.
    #[track_caller]
    #[expect(clippy::return_self_not_must_use, reason = "often the code is all that a test wants to know")]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in:\n{}", self.stdout))
    }
}

/// `ocelot` with these arguments in `folder`, its home too, with nothing of our own environment but `PATH`.
pub fn ocelot(bin: &Path, folder: &Path, env: &[(&str, &str)], args: &[&str], input: &str) -> Output {
    let mut command = Command::new(bin);
    command.args(args).current_dir(folder).env_clear().env("HOME", folder).envs(env.iter().copied());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", bin.display()));
    if let Some(mut stdin) = child.stdin.take() {
        // It may end without reading.
        let _ = std::io::Write::write_all(&mut stdin, input.as_bytes());
    }
    let output = child.wait_with_output().expect("the output of ocelot");
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
