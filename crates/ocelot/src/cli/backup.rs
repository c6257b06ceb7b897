//! `ocelot backup` and `ocelot restore`: a whole Ocelot as one file. They work on the database itself, not by way of
//! a server: whoever may do that is the one who runs it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use ocelot_store::{LogPlace, Store};

use super::show;
use crate::exit::usage;
use crate::roles::options::log_store;
use crate::roles::{self, read::database};

/// Which database.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// `sqlite:///path/ocelot.db` or `postgres://…` [default: ocelot.db in the folder of --data].
    #[arg(
        long,
        value_name = "URL",
        env = "OCELOT_DATABASE_URL",
        hide_env_values = true,
        value_parser = database
    )]
    database_url: Option<String>,
    /// The server's data folder [default: ./data].
    #[arg(long, value_name = "DIR", env = "OCELOT_DATA")]
    data: Option<PathBuf>,
    /// Where the server's finished logs are, as it was told [default: log-store in --data].
    #[arg(long, value_name = "URL", env = "OCELOT_LOG_STORE")]
    log_store: Option<LogPlace>,
}

impl Place {
    fn data(&self) -> anyhow::Result<PathBuf> {
        let data = self.data.clone().unwrap_or_else(|| PathBuf::from("data"));
        std::path::absolute(&data).with_context(|| format!("`{}` is no folder", data.display()))
    }

    /// Of a database that is there.
    pub(crate) fn existing(&self) -> anyhow::Result<ocelot_store::Options> {
        if self.database_url.is_none() && !self.data()?.join("ocelot.db").exists() {
            return Err(usage(format!(
                "there is no ocelot.db in {}: say where the database is with --data or --database-url",
                self.data()?.display()
            )));
        }
        self.options()
    }

    fn options(&self) -> anyhow::Result<ocelot_store::Options> {
        let data = self.data()?;
        let own = || format!("sqlite://{}", data.join("ocelot.db").display());
        let database_url = self.database_url.clone().unwrap_or_else(own);
        Ok(ocelot_store::Options {
            database_url,
            log_store: log_store(self.log_store.clone(), &data),
            data,
            key_file: None,
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// File to write; `-` for standard output.
    file: PathBuf,
    /// Leave out what the stages wrote.
    #[arg(long)]
    without_logs: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `ocelot backup` wrote.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

pub(crate) async fn backup(options: Backup) -> anyhow::Result<u8> {
    let place = options.place.existing()?;
    if options.file == Path::new("-") {
        Store::back_up(&place, !options.without_logs, std::io::stdout())
            .await
            .context("nothing is backed up")?;
        return Ok(0);
    }
    check_target(&options.file)?;
    let beside = beside(&options.file);
    let rows = write(&place, !options.without_logs, &beside).await.inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })?;
    std::fs::rename(&beside, &options.file)
        .with_context(|| format!("cannot write {}", options.file.display()))?;
    show::line(format_args!("Backed up {rows} rows into {}.", options.file.display()))?;
    Ok(0)
}

/// Only a file, or nothing yet: a link, a pipe or a device in its place is not what was meant, and would be replaced.
fn check_target(file: &Path) -> anyhow::Result<()> {
    match std::fs::symlink_metadata(file) {
        Ok(about) if !about.is_file() => Err(usage(format!(
            "{} is no plain file: name a new file, or one that is to be replaced; `-` is standard output",
            file.display()
        ))),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Where the file grows: under its own name it is whole or the earlier one.
pub(super) fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn write(place: &ocelot_store::Options, logs: bool, path: &Path) -> anyhow::Result<u64> {
    let cannot = || format!("cannot write {}", path.display());
    // Hashes of tokens and the logs of all repositories are in it.
    // What another one left half way, whoever may read it.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(cannot),
        Ok(()) | Err(_) => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = std::io::BufWriter::with_capacity(1 << 20, file.with_context(cannot)?);
    let rows = Store::back_up(place, logs, &mut file).await.context("nothing is backed up")?;
    file.flush().with_context(cannot)?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|file: File| file.sync_all())?;
    Ok(rows)
}

async fn restore_into(place: &ocelot_store::Options, file: &Path) -> anyhow::Result<ocelot_store::About> {
    // No server may be at work there.
    let _locks = if place.database_url.starts_with("sqlite:") {
        Some((roles::lock::lock(&place.data)?, roles::lock::database(&place.database_url)?))
    } else {
        None
    };
    Store::restore(place, file).await.context("nothing is restored")
}

pub(crate) async fn restore(options: Restore) -> anyhow::Result<u8> {
    if options.file == Path::new("-") {
        return Err(usage("give the name of a file: it is read twice, first to see whether it is whole"));
    }
    let place = options.place.options()?;
    let is_new = !place.data.exists();
    let sqlite = place.database_url.starts_with("sqlite:");
    let restored = restore_into(&place, &options.file).await;
    // A folder that nobody asked for, and that has nothing of theirs in it.
    if is_new && (restored.is_err() || (!sqlite && options.place.data.is_none())) {
        for made in ["lock", "ocelot.db.lock", "server-id"] {
            let _ = std::fs::remove_file(place.data.join(made));
        }
        let _ = std::fs::remove_dir(place.data.join("log-store"));
        let _ = std::fs::remove_dir(&place.data);
    }
    let about = restored?;
    show::line(format_args!("Restored the backup of {}.", about.taken_at.strftime("%Y-%m-%d %H:%M:%S UTC")))?;
    if !about.logs {
        show::line("It had no logs; a note stands in their place.")?;
    }
    show::line("Start the server now. What ran when the backup was made is tried again.")?;
    Ok(0)
}
