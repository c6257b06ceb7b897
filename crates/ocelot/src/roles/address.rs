//! Where a server that listens can be reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use ocelot_server::Server;

/// For a program on the same machine.
pub(crate) fn local_url(scheme: &str, address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// Tells a program that started us with port 0 which port it became: whole or not at all.
pub(crate) fn write_address(file: &Path, server: &Server) -> std::io::Result<()> {
    let scheme = if server.is_encrypted() { "https" } else { "http" };
    let new = file.with_extension("new");
    std::fs::write(&new, local_url(scheme, server.address))?;
    std::fs::rename(new, file)
}
