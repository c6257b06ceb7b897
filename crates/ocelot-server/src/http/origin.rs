//! Where a request comes from: the client's address, and the page that made a browser send it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};

use super::problem::{Answer, Refusal};

/// Sign-ins that one address may try within [`WINDOW`].
pub(super) const SIGN_INS: u32 = 10;
/// Webhooks of one address that are wrong, within [`WINDOW`], before it is told so in other words.
pub(super) const BAD_WEBHOOKS: u32 = 30;
const WINDOW: Duration = Duration::from_mins(1);
/// The most addresses that are counted at once.
const ADDRESSES: usize = 10_000;

/// A network of proxies: an address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Net {
    base: u128,
    bits: u32,
}

impl Net {
    /// Reads `10.0.0.0/8`, `::1` and the like.
    pub(super) fn parse(text: &str) -> Option<Net> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim().parse().ok()?;
        let own = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(own), |b| b.trim().parse().ok().filter(|b| *b <= own))?;
        Some(Net { base: number(address), bits: bits + 128 - own })
    }

    /// Reads all; an entry that is none is an error, so that a slip does not quietly switch a proxy off.
    pub(super) fn parse_all(texts: &[String]) -> Result<Vec<Net>, String> {
        let read = |text: &String| {
            Net::parse(text).ok_or_else(|| format!("`{text}` is no address and no network like 10.0.0.0/8"))
        };
        texts.iter().map(read).collect()
    }

    fn holds(self, address: IpAddr) -> bool {
        // Both sides as IPv6, so that a mapped IPv4 address is the same one.
        self.bits == 0 || (number(address) ^ self.base) >> (128 - self.bits) == 0
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The client's address. `X-Forwarded-For` is read from its end for as long as trusted proxies wrote it.
pub(super) fn address(extensions: &Extensions, headers: &HeaderMap, trusted: &[Net]) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    let is_trusted = |address| trusted.iter().any(|net| net.holds(address));
    let mut client = peer.ip();
    let hops: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in hops.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        let Ok(address) = hop.trim().parse() else { break };
        client = address;
    }
    Some(client)
}

/// 403 for what a browser sends on behalf of another site's page. Programs send neither header.
pub(super) fn same_origin(headers: &HeaderMap, public_url: &str) -> Answer<()> {
    let foreign = || Refusal::forbidden("This request comes from another site's page.");
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if let Some(site) = site {
        return if matches!(site, b"same-origin" | b"none") { Ok(()) } else { Err(foreign()) };
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| foreign())?;
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let own =
        origin == public_url || (origin.split_once("://").map(|(_, host)| host) == host && host.is_some());
    if own { Ok(()) } else { Err(foreign()) }
}

/// Counts per address what few of should come.
#[derive(Debug)]
pub(super) struct Tries {
    seen: Mutex<HashMap<IpAddr, (Instant, u32)>>,
    most: u32,
}

impl Tries {
    /// So many of one address, within [`WINDOW`].
    pub(super) fn new(most: u32) -> Tries {
        Tries { seen: Mutex::default(), most }
    }

    /// One more try of this address. An error says how long it has to wait.
    pub(super) fn count(&self, address: Option<IpAddr>) -> Result<(), Duration> {
        let Some(address) = address.map(household) else { return Ok(()) };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if seen.len() >= ADDRESSES {
            seen.retain(|_, (begin, _)| now.duration_since(*begin) < WINDOW);
        }
        if seen.len() >= ADDRESSES && !seen.contains_key(&address) {
            return Err(WINDOW);
        }
        let entry = seen.entry(address).or_insert((now, 0));
        if now.duration_since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        if entry.1 > self.most { Err(WINDOW.saturating_sub(now.duration_since(entry.0))) } else { Ok(()) }
    }

    /// The last try was a good one: it does not count.
    pub(super) fn forgive(&self, address: Option<IpAddr>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tries)) = address.and_then(|address| seen.get_mut(&household(address))) {
            *tries = tries.saturating_sub(1);
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them: they count as one.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

/// 429 for a program.
pub(super) fn too_many(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + 1;
    let words = format!("Too many tries from this address that came to nothing. Try again in {seconds} s.");
    Refusal::new(axum::http::StatusCode::TOO_MANY_REQUESTS, "too_many_requests", words)
        .with(header::RETRY_AFTER, seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &str, trusted: &[&str]) -> String {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().expect("an address"), 1)));
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", forwarded.parse().expect("a header"));
        let trusted: Vec<Net> = trusted.iter().filter_map(|text| Net::parse(text)).collect();
        address(&extensions, &headers, &trusted).map(|a| a.to_string()).unwrap_or_default()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("10.0.0.1", "1.2.3.4", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", "1.2.3.4", &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", &["10.0.0.0/8"]), "1.2.3.4");
        assert_eq!(client("11.0.0.1", "1.2.3.4", &["10.0.0.0/8"]), "11.0.0.1");
        assert_eq!(client("10.0.0.1", "nonsense", &["10.0.0.1"]), "10.0.0.1");
        assert_eq!(client("::1", "1.2.3.4", &["::1"]), "1.2.3.4");
    }

    #[test]
    fn a_proxy_that_is_none_is_named() {
        let read =
            |text: &str| Net::parse_all(&["10.0.0.0/8".to_owned(), text.to_owned()]).map(|nets| nets.len());
        assert_eq!(read("fd00::/8"), Ok(2));
        for text in ["10.0.0.0/33", "nginx", "", "10.0.0"] {
            assert!(read(text).is_err_and(|words| words.contains(&format!("`{text}`"))), "{text}");
        }
    }

    fn foreign(name: &'static str, value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "ci.example".parse().expect("a header"));
        headers.insert(name, value.parse().expect("a header"));
        same_origin(&headers, "https://ci.example").is_err()
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        assert!(!foreign("origin", "https://ci.example"));
        assert!(!foreign("sec-fetch-site", "same-origin"));
        assert!(!foreign("x-other", "1"));
        assert!(foreign("origin", "null"));
        assert!(foreign("origin", "https://evil.example"));
        assert!(foreign("origin", "https://ci.example.evil"));
        assert!(foreign("sec-fetch-site", "cross-site"));
        assert!(foreign("sec-fetch-site", "same-site"));
    }

    #[test]
    fn the_eleventh_try_waits() {
        let tries = Tries::new(SIGN_INS);
        let one = Some("1.2.3.4".parse().expect("an address"));
        assert!((0..10).all(|_| tries.count(one).is_ok()));
        assert!(tries.count(one).is_err());
        // What was refused counts as well; two good ones would give one try back.
        tries.forgive(one);
        tries.forgive(one);
        assert!(tries.count(one).is_ok() && tries.count(one).is_err());
        assert!(tries.count(Some("1.2.3.5".parse().expect("an address"))).is_ok());
        let neighbours = (0..11).map(|n| format!("2001:db8::{n}:1").parse().expect("an address"));
        assert_eq!(neighbours.filter(|address| tries.count(Some(*address)).is_ok()).count(), 10);
        assert!(tries.count(Some("2001:db8:0:1::1".parse().expect("an address"))).is_ok());
    }
}
