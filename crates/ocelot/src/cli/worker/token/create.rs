//! `ocelot worker token create`.

use clap::Args;
use ocelot_api::body::NewWorkerToken;

use crate::cli::account::Remote;
use crate::cli::show;
use crate::roles::read::{Age, age, label};
use crate::roles::work::one_of_each;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Workers that may come with it, or `any` number of them.
    #[arg(long, value_name = "N", default_value = "1", value_parser = uses)]
    uses: Uses,
    /// How long new workers may come with it: 12h, 7d, 2w, forever. Who has come stays.
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = age)]
    expires: Age,
    /// A label of every worker that comes with it, which it cannot drop or change; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// How many workers; `None` for any number.
#[derive(Debug, Clone, Copy)]
struct Uses(Option<u32>);

fn uses(text: &str) -> Result<Uses, String> {
    if text == "any" {
        return Ok(Uses(None));
    }
    let number = text.parse().ok().filter(|number| *number > 0);
    number.map(|number| Uses(Some(number))).ok_or_else(|| "write a number from 1 on, or `any`".to_owned())
}

pub(crate) async fn create(options: Options) -> anyhow::Result<u8> {
    let labels = one_of_each(options.labels)?;
    let client = options.remote.client()?;
    let (Uses(uses), Age(life)) = (options.uses, options.expires);
    let expires_ms = life.map(|life| life.as_millis() as u64);
    let new = NewWorkerToken { labels, uses, expires_ms };
    let created = client.create_worker_token(&new).await?;
    if options.json {
        show::json(&created)?;
        return Ok(0);
    }
    // The secret alone on stdout, so that scripts can take it.
    show::line(&created.secret)?;
    show::note(format_args!(
        "This is the only time that the secret is shown. On the new machine: \
         OCELOT_TOKEN=… ocelot worker --server {}",
        client.url()
    ));
    Ok(0)
}
