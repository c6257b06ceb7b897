//! Exit codes. Scripts depend on them: 0 passed or skipped, 1 failed, 2 error, 3 cancelled,
//! 4 timed out, 64 usage, 69 server unreachable; 130 when Ctrl-C ended a command before its end.

use std::io::Write as _;
use std::process::ExitCode;

use ocelot_api::client::ClientError;
use ocelot_model::Status;

/// Everything is well.
pub(crate) const PASSED: u8 = 0;
/// The script, or the file that was checked, said no.
pub(crate) const FAILED: u8 = 1;
/// Something else went wrong.
pub(crate) const ERROR: u8 = 2;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 64;
/// No server answers.
pub(crate) const UNREACHABLE: u8 = 69;
/// Ctrl-C ended the watching (128 + SIGINT, as shells say it).
pub(crate) const INTERRUPTED: u8 = 130;

/// The options contradict each other or lack something.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// A [`Usage`] error.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Ctrl-C ended a question.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The code for a build that stands so. One that is not over yet is no fault.
pub(crate) const fn of_status(status: Status) -> u8 {
    match status {
        Status::Blocked | Status::Queued | Status::Running | Status::Passed | Status::Skipped => PASSED,
        Status::Failed => FAILED,
        Status::Error => ERROR,
        Status::Cancelled => 3,
        Status::TimedOut => 4,
    }
}

/// Prints what clap has to say; help is no error.
fn from_clap(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { USAGE.into() } else { PASSED.into() }
}

/// Says the error, in one sentence on stderr, and finds its code.
pub(crate) fn from_result(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(error) if is_broken_pipe(&error) => PASSED.into(),
        Err(error) => {
            if let Some(error) = error.downcast_ref() {
                return from_clap(error);
            }
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr(), "ocelot: {error:#}{}", advice(&error));
            code(&error).into()
        }
    }
}

pub(crate) fn code(error: &anyhow::Error) -> u8 {
    let unreachable = |e: &ClientError| {
        matches!(
            e,
            ClientError::Unreachable { .. } | ClientError::CutOff { .. } | ClientError::Strange { .. }
        )
    };
    if error.is::<Usage>()
        || error.is::<clap::Error>()
        || matches!(
            client(error),
            Some(ClientError::BadUrl(_) | ClientError::BadToken(_) | ClientError::BadCa(_))
        )
    {
        USAGE
    } else if error.is::<Interrupted>() {
        INTERRUPTED
    } else if client(error).is_some_and(unreachable) {
        UNREACHABLE
    } else {
        ERROR
    }
}

fn advice(error: &anyhow::Error) -> &'static str {
    match client(error) {
        // Then the cause itself says what to do.
        Some(ClientError::Unreachable { cause, .. }) if cause.contains('\n') => "",
        Some(ClientError::Unreachable { .. }) => {
            "\nIs it running? Set OCELOT_URL, or name it once with `ocelot login URL`; `ocelot up` starts one here."
        }
        Some(ClientError::Refused(problem)) if problem.status == 401 => {
            "\nSet OCELOT_TOKEN, or store a token with `ocelot login URL`."
        }
        _ => "",
    }
}

fn client(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The reader of our output (`| head`) has gone: it has what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_statuses() {
        let codes: Vec<u8> = Status::ALL.into_iter().map(of_status).collect();
        assert_eq!(codes, [0, 0, 0, 0, 1, 2, 4, 3, 0], "{:?}", Status::ALL);
    }

    #[test]
    fn codes_of_errors() {
        let away = ClientError::Unreachable { url: "http://h".to_owned(), cause: "refused".to_owned() };
        assert_eq!(code(&anyhow::Error::new(away).context("while asking")), UNREACHABLE);
        assert_eq!(code(&usage("--slots must be 1 or more")), USAGE);
        assert_eq!(code(&anyhow::anyhow!("odd")), ERROR);
    }
}
