//! Hears what a connection says, to find requests that say in two ways how long they are.
//!
//! With `Transfer-Encoding` and `Content-Length` in one request, hyper obeys the first, removes the second and closes
//! the connection afterwards. That is safe here, but whoever sent it wanted a proxy before us to see other requests
//! than we do, or made a mistake: it is refused in words. Since a handler does not get to see both, the bytes are
//! looked at as they come. Nothing here decides where a request ends.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::{Request, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much of what was said last as the headers of a request may have.
const HEAD_MAX: usize = 64 << 10;

/// Put into requests that have both lengths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TwoLengths;

/// What a connection has said since its last request began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn add(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(bytes);
        if heard.len() > 2 * HEAD_MAX {
            let old = heard.len() - HEAD_MAX;
            heard.drain(..old);
        }
    }

    /// Marks a request that came with both lengths. To be called when its headers were read.
    pub(crate) fn mark<B>(&self, request: &mut Request<B>) {
        let heard = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if request.headers().contains_key(header::TRANSFER_ENCODING) && names_a_length(&heard) {
            request.extensions_mut().insert(TwoLengths);
        }
    }
}

/// True when a line is the header `Content-Length`. The bodies that are taken here have no such lines.
fn names_a_length(heard: &[u8]) -> bool {
    const NAME: &[u8] = b"content-length:";
    heard
        .split(|byte| *byte == b'\n')
        .any(|line| line.get(..NAME.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(NAME)))
}

/// A connection that is heard.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    socket: S,
    heard: Option<Heard>,
}

impl<S> Connection<S> {
    /// Without `heard`, nobody listens.
    pub(crate) fn new(socket: S, heard: Option<Heard>) -> Connection<S> {
        Connection { socket, heard }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Some(heard) = &self.heard {
            heard.add(&buf.filled()[before..]);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
