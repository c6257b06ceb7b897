//! One port for HTTP/1.1, HTTP/2 and gRPC, plain or with TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::heads::{Connection, Heard};
use crate::tls::Certificates;

/// Open requests get so long to end when the server stops.
pub(crate) const GOODBYE: Duration = Duration::from_secs(20);
/// A connection that was just made gets so long to say what it wants when the server stops.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A client must send its headers within this time.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Bytes that wait in the kernel for who does not take them: without a bound it gathers some megabytes of what a viewer
/// that has stopped reading will never see, all of it read and packed for nothing. It holds up nobody who reads.
const UNSENT: u32 = 128 << 10;
/// The first byte of a connection with TLS: a record of its handshake.
const HANDSHAKE: u8 = 22;
/// What a client gets that does not know of TLS.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n\
    This port speaks https. Write https:// instead of http:// in the address.\n";

/// Serves until the server stops; with TLS when there are certificates.
pub(crate) async fn accept(
    listener: TcpListener,
    router: Router,
    certificates: Option<Arc<Certificates>>,
    shutdown: CancellationToken,
) -> Result<()> {
    let graceful = GracefulShutdown::new();
    let builder = builder();
    loop {
        let (socket, peer) = tokio::select! {
            // Those that stand in line when the server stops are not sent away.
            biased;
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: it passes.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let _ = socket.set_nodelay(true);
        let _ = socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT);
        let line =
            Line { peer, router: router.clone(), builder: builder.clone(), watcher: graceful.watcher() };
        let (certificates, shutdown) = (certificates.clone(), shutdown.clone());
        tokio::spawn(async move {
            let last_words = async {
                shutdown.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            };
            let begun = tokio::select! {
                () = last_words => return,
                begun = timeout(HEADERS_WITHIN, begin(socket, certificates.as_deref(), peer)) => begun,
            };
            match begun {
                Ok(Ok(Begun::Plain(socket, protocol))) => line.serve(socket, protocol).await,
                Ok(Ok(Begun::Encrypted(socket, protocol))) => {
                    line.only(protocol).serve(socket, protocol).await;
                }
                Ok(Ok(Begun::Over)) | Err(_) => {}
                Ok(Err(error)) => tracing::debug!(%error, %peer, "a connection cannot begin"),
            }
        });
    }
    drop(listener);
    let _ = timeout(GOODBYE, graceful.shutdown()).await;
    Ok(())
}

/// A connection that has said its first word.
enum Begun {
    Plain(TcpStream, Protocol),
    Encrypted(Box<BufReader<TlsStream<TcpStream>>>, Protocol),
    /// It is of no use.
    Over,
}

async fn begin(
    socket: TcpStream,
    certificates: Option<&Certificates>,
    peer: SocketAddr,
) -> std::io::Result<Begun> {
    let Some(certificates) = certificates else {
        let protocol = says_something(&socket).await?;
        return Ok(protocol.map_or(Begun::Over, |protocol| Begun::Plain(socket, protocol)));
    };
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Ok(Begun::Over);
    }
    if first[0] != HANDSHAKE {
        tracing::info!(%peer, "a connection without TLS was refused: the address to use begins with https://");
        refuse_plain(socket).await;
        return Ok(Begun::Over);
    }
    let socket = certificates.acceptor().accept(socket).await?;
    let protocol = match socket.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let mut socket = Box::new(BufReader::new(socket));
    let silent = socket.fill_buf().await?.is_empty();
    Ok(if silent { Begun::Over } else { Begun::Encrypted(socket, protocol) })
}

async fn refuse_plain(mut socket: TcpStream) {
    // Who is gone has no use for the answer.
    let _ = socket.write_all(NOT_PLAIN).await;
    let _ = socket.shutdown().await;
    // What is not read would take the answer away again.
    let mut rest = socket.take(64 << 10);
    let _ = timeout(Duration::from_secs(1), tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// What serves one connection.
struct Line {
    peer: SocketAddr,
    router: Router,
    builder: Builder<TokioExecutor>,
    watcher: Watcher,
}

impl Line {
    /// Both sides have agreed on what they speak, so nothing needs to be waited for to find out.
    fn only(mut self, protocol: Protocol) -> Line {
        self.builder = match protocol {
            Protocol::Http1 => self.builder.http1_only(),
            Protocol::Http2 => self.builder.http2_only(),
        };
        self
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, socket: S, protocol: Protocol) {
        let Line { peer, router, builder, watcher } = self;
        let heard = Heard::default();
        let hears = heard.clone();
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            hears.mark(&mut request);
            request
        });
        // Frames of HTTP/2 say themselves how long they are.
        let heard = (protocol == Protocol::Http1).then_some(heard);
        let connection = TokioIo::new(Connection::new(socket, heard));
        let connection = builder.serve_connection(connection, TowerToHyperService::new(service));
        if let Err(error) = watcher.watch(connection.into_owned()).await {
            tracing::debug!(%error, %peer, "a connection ended badly");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(1000)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20);
    builder
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Waits until it is certain which protocol a connection speaks, without taking anything from it: what comes after this
/// has limits of its own. `None` when it was closed.
async fn says_something(socket: &TcpStream) -> std::io::Result<Option<Protocol>> {
    const HTTP2: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; HTTP2.len()];
    loop {
        let have = socket.peek(&mut seen).await?;
        if have == 0 {
            return Ok(None);
        }
        if seen[..have] != HTTP2[..have] {
            return Ok(Some(Protocol::Http1));
        }
        if have == seen.len() {
            return Ok(Some(Protocol::Http2));
        }
        // A half greeting stays readable, so there is nothing to be woken by.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As much as a server writes to who reads nothing.
    #[tokio::test]
    async fn who_stops_reading_is_sent_little() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let endless = move || {
            let count = Arc::clone(&count);
            async move {
                let pieces = futures_util::stream::repeat_with(move || {
                    count.fetch_add(32 << 10, std::sync::atomic::Ordering::Relaxed);
                    Ok::<_, std::io::Error>(vec![b'x'; 32 << 10])
                });
                axum::body::Body::from_stream(pieces)
            }
        };
        let router = Router::new().route("/", axum::routing::get(endless));
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(accept(listener, router, None, shutdown.clone()));
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a request");
        // It comes to rest.
        let mut last = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = sent.load(std::sync::atomic::Ordering::Relaxed);
            if now > 0 && now == last {
                break;
            }
            last = now;
        }
        assert!(last <= 1 << 20, "{last} bytes were made for nobody");
        drop(socket);
        shutdown.cancel();
        server.await.expect("no panic").expect("an end");
    }
}
