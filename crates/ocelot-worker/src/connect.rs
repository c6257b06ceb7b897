//! The way to the server: an address, a channel that notices a dead network, the token in every call.

use std::time::Duration;

use ocelot_api::proto::worker_api_client::WorkerApiClient;
use ocelot_api::tls;
use ocelot_model::causes;
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::config::Config;
use crate::error::WorkerError;

/// Calls to the server. Cheap to clone; clones share one connection.
pub(crate) type Client = WorkerApiClient<InterceptedService<Channel, Bearer>>;

/// Puts the token into every call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Checks the address and the token, connects at the first call. Must be called within a tokio runtime;
/// the connection lives in that runtime.
pub(crate) fn client(config: &Config, token: &SecretString) -> Result<Client, WorkerError> {
    let server = config.server.as_str();
    let unusable = |why: String| WorkerError::Address { address: server.to_owned(), why };
    let https = server.starts_with("https://");
    if !https && !server.starts_with("http://") {
        return Err(unusable("it must begin with http:// or https://".into()));
    }
    let words = |error: tonic::transport::Error| unusable(causes::deepest(&error));
    let mut endpoint = Endpoint::from_shared(server.to_owned())
        .map_err(words)?
        .connect_timeout(Duration::from_secs(10))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .tcp_nodelay(true);
    if https {
        let mut trust = ClientTlsConfig::new().with_enabled_roots();
        if let Some(path) = &config.ca_cert {
            trust = trust.ca_certificate(Certificate::from_pem(tls::read_ca(path).map_err(WorkerError::Ca)?));
        }
        endpoint = endpoint.tls_config(trust).map_err(words)?;
    }
    let value = format!("Bearer {}", token.expose_secret());
    let mut value =
        MetadataValue::try_from(value).map_err(|_| WorkerError::Token("it is not text".into()))?;
    value.set_sensitive(true);
    Ok(WorkerApiClient::with_interceptor(endpoint.connect_lazy(), Bearer(value)))
}

/// True when `status` says that nobody listens there, or that a proxy found nobody: the server is down,
/// rather than the network in between.
pub(crate) fn is_server_down(status: &tonic::Status) -> bool {
    if let Some(io) = causes::all(status).find_map(|error| error.downcast_ref::<std::io::Error>()) {
        use std::io::ErrorKind as Kind;
        return matches!(io.kind(), Kind::ConnectionRefused | Kind::ConnectionReset | Kind::BrokenPipe);
    }
    let text = status.message();
    ["502", "503", "504"].iter().any(|code| text.contains(code))
}

/// Why a call failed, and what to do about it where that is known.
pub(crate) fn why(status: &tonic::Status) -> String {
    let deepest = causes::deepest(status);
    if let Some(advice) = tls::advice(status) {
        return format!("{deepest}: {advice}");
    }
    // How the answer of a server looks that speaks TLS, or no HTTP/2, to one that expects frames.
    if deepest.contains("frame with invalid size") || deepest.contains("FRAME_SIZE_ERROR") {
        return format!("{deepest}: the other side may speak TLS, then its address begins with https://");
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> Config {
        Config::new(server, SecretString::default(), "/".into(), "w")
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_means_that_the_server_is_down() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut client = client(&config(&format!("http://{address}")), &"secret".to_owned().into()).unwrap();
        let status = client.finish_attempt(ocelot_api::proto::AttemptResult::default()).await.unwrap_err();
        assert!(is_server_down(&status), "{status:?}");
        assert!(causes::deepest(&status).contains("refused"), "{status:?}");
    }

    #[tokio::test]
    async fn addresses() {
        let check = |server: &str, want: bool| {
            assert_eq!(client(&config(server), &"secret".to_owned().into()).is_ok(), want, "{server}");
        };
        check("http://localhost:8080", true);
        check("localhost:8080", false);
        check("ftp://localhost", false);
        check("http://", false);
    }

    #[test]
    fn a_proxy_without_a_server_behind_it() {
        let check =
            |text: &str, want: bool| assert_eq!(is_server_down(&tonic::Status::unavailable(text)), want);
        check("grpc-status header missing, mapped from HTTP status code 503", true);
        check("the database is away", false);
    }
}
