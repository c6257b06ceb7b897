//! Where a name of the network leads. A name is looked up once, and what was looked at is what is connected to: one that
//! answers differently the second time gains nothing.

use std::net::{IpAddr, SocketAddr};

use url::Host;

use super::public::is_public;

/// The addresses behind a host. Unless `own` networks are allowed, a single private one is enough to refuse them all.
pub(super) async fn addresses(host: &str, port: u16, own: bool) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| unknown(host, &error.to_string()))?;
    check(host, found.collect(), own)
}

/// The words for a name that nobody knows.
pub(super) fn unknown(host: &str, cause: &str) -> String {
    let cause = cause.strip_prefix("failed to lookup address information: ").unwrap_or(cause);
    format!(
        "there is no host {host}, as far as this machine can tell ({cause}): check how it is written, and the DNS"
    )
}

fn check(host: &str, found: Vec<SocketAddr>, own: bool) -> Result<Vec<SocketAddr>, String> {
    if found.is_empty() {
        return Err(format!("the name {host} has no address"));
    }
    if !own && found.iter().any(|address| !is_public(address.ip())) {
        return Err(private(host));
    }
    Ok(found)
}

/// Refuses a host that is written as an address of a private network; names are looked at when they are looked up.
pub(super) fn check_host(host: &Host<&str>) -> Result<(), String> {
    let written: Option<IpAddr> = match host {
        Host::Domain(_) => None,
        Host::Ipv4(v4) => Some((*v4).into()),
        Host::Ipv6(v6) => Some((*v6).into()),
    };
    match written {
        Some(address) if !is_public(address) => Err(private(&host.to_string())),
        Some(_) | None => Ok(()),
    }
}

fn private(host: &str) -> String {
    format!(
        "{host} is an address of a private network: only a credential that an admin of the whole server keeps may lead there"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_private_address_is_enough() {
        let at = |texts: &[&str]| texts.iter().map(|text| format!("{text}:443").parse().unwrap()).collect();
        let check = |texts: &[&str], own: bool| check("h", at(texts), own).is_ok();
        assert!(check(&["8.8.8.8", "[2606:4700::1111]"], false));
        assert!(!check(&["8.8.8.8", "10.0.0.1"], false));
        assert!(check(&["8.8.8.8", "10.0.0.1"], true));
        assert!(!check(&[], true));
    }

    #[tokio::test]
    async fn names_of_this_machine_are_private() {
        for name in ["localhost", "127.0.0.1", "2130706433"] {
            assert!(addresses(name, 1, false).await.is_err(), "{name}");
        }
        assert!(addresses("localhost", 1, true).await.is_ok());
    }
}
