//! A wire between two programs that can be cut, stalled, slowed down and reset: a TCP proxy that does badly what it is
//! told to do badly.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// How often a wire looks whether it is still to do what it does.
const LOOK: Duration = Duration::from_millis(10);

/// A direction on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who connects to who listens.
    There,
    /// The other one.
    Back,
}

/// See the module. Gone when dropped, with all of its connections.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    target: Option<SocketAddr>,
    /// Connections of an earlier number are to be reset.
    number: u64,
    /// Whoever connects is sent away.
    cut: bool,
    stalled_there: bool,
    stalled_back: bool,
    delay: Duration,
    every: Option<Duration>,
    resets: u64,
    carried: u64,
    over: bool,
}

impl State {
    fn goal(&self) -> Option<SocketAddr> {
        self.target.filter(|_| !self.cut)
    }
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wire {
    /// A good one to `target`, at a free port of 127.0.0.1.
    pub fn to(target: SocketAddr) -> Wire {
        Wire::between(IpAddr::V4(Ipv4Addr::LOCALHOST), target)
    }

    /// The same at a free port of this address.
    pub fn between(here: IpAddr, target: SocketAddr) -> Wire {
        let listener = TcpListener::bind((here, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let state = Shared::new(Mutex::new(State { target: Some(target), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if lock(&shared).over {
                    return;
                }
                let target = lock(&shared).goal();
                match target.map(TcpStream::connect) {
                    Some(Ok(server)) => carry(client, server, &shared),
                    Some(Err(_)) | None => reset(&client),
                }
            }
        });
        Wire { address, state }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an address of a server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whoever connects from now on comes out there.
    pub fn lead_to(&self, target: SocketAddr) {
        lock(&self.state).target = Some(target);
    }

    /// Resets every connection, once.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.number += 1;
        state.resets += 1;
    }

    /// Resets every connection, and sends away who comes.
    pub fn cut(&self) {
        self.reset();
        lock(&self.state).cut = true;
    }

    /// Carries nothing in this direction any more; connections stay, and new ones are taken.
    pub fn stall(&self, way: Way) {
        *stalled(&mut lock(&self.state), way) = true;
    }

    /// Carries everything again, also what has waited.
    pub fn mend(&self) {
        let mut state = lock(&self.state);
        (state.cut, state.stalled_there, state.stalled_back) = (false, false, false);
        (state.delay, state.every) = (Duration::ZERO, None);
    }

    /// What is carried comes so much later.
    pub fn delay(&self, delay: Duration) {
        lock(&self.state).delay = delay;
    }

    /// Resets each connection when it has lived for so long.
    pub fn reset_every(&self, time: Duration) {
        lock(&self.state).every = Some(time);
    }

    /// How often connections were reset.
    pub fn resets(&self) -> u64 {
        lock(&self.state).resets
    }

    /// Bytes that were carried, both ways.
    pub fn carried(&self) -> u64 {
        lock(&self.state).carried
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        (state.over, state.number) = (true, state.number + 1);
        drop(state);
        // Wakes the listener up.
        let _ = TcpStream::connect(self.address);
    }
}

fn stalled(state: &mut State, way: Way) -> &mut bool {
    match way {
        Way::There => &mut state.stalled_there,
        Way::Back => &mut state.stalled_back,
    }
}

fn carry(client: TcpStream, server: TcpStream, state: &Shared) {
    let number = lock(state).number;
    let begin = Instant::now();
    for socket in [&client, &server] {
        socket.set_nodelay(true).expect("a socket");
        socket.set_read_timeout(Some(LOOK)).expect("a socket");
    }
    let (client_too, server_too) =
        (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
    for (from, to, way) in [(client, server, Way::There), (server_too, client_too, Way::Back)] {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            let lives = || {
                let mut state = lock(&state);
                if state.every.is_some_and(|every| begin.elapsed() > every) && state.number == number {
                    // Its other half, and all that are as old, see it as well.
                    state.number += 1;
                    state.resets += 1;
                }
                state.number == number
            };
            if !pump(from, &to, way, &state, lives) {
                reset(&to);
            }
        });
    }
}

/// Carries one direction until its end; false when the connection is to be reset.
fn pump(mut from: TcpStream, mut to: &TcpStream, way: Way, state: &Shared, lives: impl Fn() -> bool) -> bool {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let (stalled, delay) = {
            let mut state = lock(state);
            (*stalled(&mut state, way), state.delay)
        };
        if !lives() {
            reset(&from);
            return false;
        }
        if stalled {
            std::thread::sleep(LOOK);
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return true;
            }
            Ok(count) => {
                std::thread::sleep(delay);
                lock(state).carried += count as u64;
                if to.write_all(&bytes[..count]).is_err() {
                    return false;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return false,
        }
    }
}

/// Its end will be a reset rather than a goodbye.
fn reset(socket: &TcpStream) {
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}
