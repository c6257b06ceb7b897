//! How a worker works: what `worker` and `up` have in common.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use ocelot_worker::{Config, ExecutorKind};

use crate::cli::config::File;
use crate::exit::usage;

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct WorkOptions {
    /// A label that jobs may ask for; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", env = "OCELOT_LABEL", value_delimiter = ',')]
    labels: Vec<String>,
    /// How jobs are done: in containers, or as processes of this machine [default: docker].
    #[arg(long, value_enum, env = "OCELOT_EXECUTOR")]
    executor: Option<Kind>,
    /// Most log that a stage may write, such as 500MiB; the rest is dropped with a marker [default: 100MiB].
    #[arg(long, value_name = "SIZE", env = "OCELOT_LOG_CAP", value_parser = size)]
    log_cap: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Docker,
    Host,
}

impl WorkOptions {
    /// Writes them into the worker's configuration.
    pub(crate) fn apply(&self, file: &File, config: &mut Config) -> anyhow::Result<()> {
        let named =
            if self.labels.is_empty() { file.label.as_deref().unwrap_or_default() } else { &self.labels };
        config.labels = labels(named)?;
        let kind = match (self.executor, &file.executor) {
            (Some(kind), _) => kind,
            (None, Some(word)) => Kind::from_str(word, false)
                .map_err(|_| usage(format!("executor `{word}` in ocelot.toml: write docker or host")))?,
            (None, None) => Kind::Docker,
        };
        config.executor = match kind {
            Kind::Docker => ExecutorKind::Docker,
            Kind::Host => ExecutorKind::Host,
        };
        config.log_cap_bytes = self.log_cap.unwrap_or(config.log_cap_bytes);
        Ok(())
    }
}

fn labels(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(usage(format!("label `{word}`: write KEY=VALUE"))),
    };
    words.iter().map(pair).collect()
}

/// `512KiB`, `100MiB`, `1GiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("write a number with KiB, MiB or GiB, such as 100MiB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a whole number before the unit".to_owned())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(|| "that is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        assert_eq!(size("100MiB"), Ok(100 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for bad in ["", "MiB", "1", "1MB", "0MiB", "-1MiB", "99999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
