//! `ocelot secret rotate-key` and `ocelot secret reset-key`. They work on the database and the key file themselves, not by way
//! of a server: whoever may do that is the one who runs it.

use std::path::PathBuf;

use clap::Args;
use ocelot_store::Store;

use crate::cli::backup::Place;
use crate::cli::show;
use crate::exit::usage;

/// Who does it, in the audit: there is no token that could say.
const BY: &str = "the command line";

/// Which database, and which key.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// File with the key, as the server was told [default: secret-key in --data].
    #[arg(long, value_name = "FILE", env = "OCELOT_KEY_FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Reset {
    /// Forget them: nothing brings them back.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    options: Options,
}

impl Options {
    fn store(&self) -> anyhow::Result<ocelot_store::Options> {
        Ok(ocelot_store::Options { key_file: self.key_file.clone(), ..self.place.existing()? })
    }
}

pub(crate) async fn rotate(options: Options) -> anyhow::Result<u8> {
    let sealed = Store::rotate_key(&options.store()?, BY).await?;
    show::line(format_args!(
        "Sealed {sealed} values with a new key; the old key is gone from the key file."
    ))?;
    show::note("Other servers of this database need this key file, too, before they start again.");
    Ok(0)
}

pub(crate) async fn reset(Reset { yes, options }: Reset) -> anyhow::Result<u8> {
    if !yes {
        let words = "this forgets every secret, credential and webhook of the database, for when its key is lost; \
                     say --yes when that is meant";
        return Err(usage(words));
    }
    let lost = Store::forget_sealed(&options.store()?, BY).await?;
    for what in &lost {
        show::line(format_args!("Forgot the {}.", show::plain(what)))?;
    }
    show::note(format_args!(
        "Forgot {} values. Start the server; the next secret makes a new key.",
        lost.len()
    ));
    Ok(0)
}
