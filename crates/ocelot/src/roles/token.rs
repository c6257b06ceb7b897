//! A worker's token that stands in a file, which a server beside it may still have to write.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use secrecy::SecretString;

/// How often a missing file is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A token is much shorter than this.
const LONGEST: u64 = 4096;

/// The token in `file`, as soon as it is there.
pub(crate) async fn wait_for(file: &Path) -> anyhow::Result<SecretString> {
    let mut said = false;
    loop {
        match std::fs::metadata(file) {
            Ok(about) if about.len() > LONGEST => bail!("{} is too long to be a token", file.display()),
            Ok(_) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("{} cannot be read", file.display()))?;
                // The server writes it in one piece; what is empty is still to be filled by someone else.
                if !text.trim().is_empty() {
                    return Ok(text.trim().into());
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        }
        if !said {
            tracing::info!("waiting for the token in {}", file.display());
            said = true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
