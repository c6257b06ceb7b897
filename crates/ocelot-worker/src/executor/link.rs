//! The connection to a shim: questions with answers, and word of output and ends. Reads no files.
//! What comes in may be a stage's invention, so nothing of it is kept but for stages that were asked about.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::ExecutorError;
use super::shim::wire::{Ask, MAX_TELL, Tell, split};

/// An answer takes microseconds; a shim that is silent for so long is not there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection; closed when dropped, which ends nothing in the room.
#[derive(Debug)]
pub(crate) struct Link {
    out: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next: AtomicU32,
    news: watch::Sender<News>,
    reader: AbortHandle,
}

type Waiting = Arc<Mutex<HashMap<u32, oneshot::Sender<Tell>>>>;

/// What was heard so far. Watchers look at the files after each change.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// True when the exit was announced.
    stages: HashMap<String, bool>,
    /// The other end is gone.
    pub(crate) lost: bool,
}

impl News {
    pub(crate) fn ended(&self, key: &str) -> bool {
        self.stages.get(key).copied().unwrap_or(false)
    }
}

impl Link {
    pub(crate) fn new(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Link {
        let (out, orders) = mpsc::channel(16);
        let news = watch::Sender::new(News::default());
        let waiting = Waiting::default();
        tokio::spawn(write_all(write, orders));
        let reader = tokio::spawn(listen(read, news.clone(), Arc::clone(&waiting))).abort_handle();
        Link { out, waiting, next: AtomicU32::new(1), news, reader }
    }

    /// A link that was never there: for a room whose container has ended.
    pub(crate) fn lost() -> Link {
        Link::new(tokio::io::empty(), tokio::io::sink())
    }

    /// News of this stage are kept from now on.
    pub(crate) fn follow(&self, key: &str) -> watch::Receiver<News> {
        self.news.send_if_modified(|news| {
            news.stages.entry(key.to_owned()).or_default();
            false
        });
        self.news.subscribe()
    }

    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Tell, ExecutorError> {
        let gone = || ExecutorError::Lost("the container or its first process is gone".into());
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, answer);
        let reply = async {
            if self.news.borrow().lost {
                return Err(gone());
            }
            self.out.send(ask.encode(id)).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())
        };
        let reply = tokio::time::timeout(PATIENCE, reply).await;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        match reply {
            Ok(Ok(Tell::Refused(why))) => Err(ExecutorError::Lost(why)),
            Ok(reply) => reply,
            Err(_) => Err(ExecutorError::Lost("the container's first process does not answer".into())),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn write_all(mut write: impl AsyncWrite + Unpin, mut orders: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = orders.recv().await {
        if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
            return;
        }
    }
}

async fn listen(mut read: impl AsyncRead + Unpin, news: watch::Sender<News>, waiting: Waiting) {
    let mut buffer = bytes::BytesMut::with_capacity(64 << 10);
    'open: loop {
        loop {
            match split(&buffer, MAX_TELL) {
                Ok(Some((message, used))) => {
                    let Some((id, tell)) = Tell::decode(message) else { break 'open };
                    hear(id, tell, &news, &waiting);
                    bytes::Buf::advance(&mut buffer, used);
                }
                Ok(None) => break,
                Err(()) => break 'open,
            }
        }
        match read.read_buf(&mut buffer).await {
            Ok(1..) => {}
            Ok(_) | Err(_) => break,
        }
    }
    news.send_modify(|news| news.lost = true);
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

fn hear(id: u32, tell: Tell, news: &watch::Sender<News>, waiting: &Waiting) {
    match tell {
        Tell::Data(key) => {
            news.send_if_modified(|news| news.stages.contains_key(&key));
        }
        Tell::Ended(key) => {
            news.send_if_modified(|news| news.stages.get_mut(&key).map(|ended| *ended = true).is_some());
        }
        Tell::Done | Tell::Refused(_) | Tell::Bytes(_) | Tell::Absent => {
            let waiter = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            if let Some(waiter) = waiter {
                let _ = waiter.send(tell);
            }
        }
    }
}
