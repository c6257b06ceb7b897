//! The two ends of a conversation between containers that should not be able to have one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes of a conversation.
const BYTES: usize = 10;
/// Time between two of them: longer than any short hole in a wall.
const PAUSE: Duration = Duration::from_millis(40);
/// Longest for all of it.
const LIMIT: Duration = Duration::from_secs(1);

/// Speaks slowly to whoever comes, for ever.
pub fn listen(port: u16) -> io::Result<()> {
    for stream in TcpListener::bind(("0.0.0.0", port))?.incoming() {
        std::thread::spawn(move || speak(&mut stream?));
    }
    Ok(())
}

fn speak(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for _ in 0..BYTES {
        stream.write_all(b".")?;
        sleep(PAUSE);
    }
    Ok(())
}

/// True when the other end could be heard from its first to its last byte.
pub fn knock(address: SocketAddr) -> bool {
    let begin = Instant::now();
    // The listener may have been started a moment ago only.
    while begin.elapsed() < LIMIT {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(stream) => return hear(stream).is_ok_and(|whole| whole),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => sleep(Duration::from_millis(10)),
            Err(_) => return false,
        }
    }
    false
}

fn hear(mut stream: TcpStream) -> io::Result<bool> {
    let end = Instant::now() + LIMIT;
    for _ in 0..BYTES {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        stream.read_exact(&mut [0])?;
    }
    Ok(Instant::now() < end)
}
