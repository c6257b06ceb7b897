//! `ocelot health`: for images without a program that speaks HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use url::Url;

use super::account::Remote;
use super::show;
use crate::roles::read::{address, web_address};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    remote: Remote,
    // What the server in the same container has.
    #[arg(long, env = "OCELOT_TLS_CERT", hide = true)]
    tls_cert: Option<PathBuf>,
    #[arg(long, env = "OCELOT_PUBLIC_URL", hide = true, value_parser = web_address)]
    public_url: Option<String>,
    #[arg(long, env = "OCELOT_LISTEN", hide = true, value_parser = address)]
    listen: Option<SocketAddr>,
}

pub(crate) async fn health(options: Options) -> anyhow::Result<u8> {
    let near = options.near().filter(|_| !options.remote.names_server());
    let client = options.remote.client_by(near)?;
    client.ready().await?;
    show::line(format_args!("{} is ready.", client.url()))?;
    Ok(0)
}

impl Options {
    /// A server with TLS in the same container: its certificate is for the host of its public address, and it is here,
    /// whatever that name leads to elsewhere. Answers the address, the host and where that is.
    fn near(&self) -> Option<(String, String, SocketAddr)> {
        self.tls_cert.as_ref()?;
        let host = Url::parse(self.public_url.as_deref()?).ok()?.host_str()?.to_owned();
        let port = self.listen.map_or(8080, |listen| listen.port());
        let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Some((format!("https://{host}:{port}"), host, here))
    }
}
