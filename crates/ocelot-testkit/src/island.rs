//! A network of its own for a process, joined to this machine by one cable on which packets can be lost.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Way;

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct Island {
    name: String,
    cable: String,
    net: [u8; 3],
}

impl Island {
    /// Makes it; needs root, `ip` and `iptables`.
    pub fn new() -> Island {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let place = pid.wrapping_mul(8).wrapping_add(number) % (1 << 14);
        let name = format!("oc{pid}-{number}");
        let island = Island {
            cable: format!("oc{place}"),
            net: [231, (place >> 6) as u8, ((place & 63) << 2) as u8],
            name,
        };
        let (here, there) = (island.address(1), island.address(2));
        let (name, cable, end) = (&island.name, &island.cable, format!("{}i", island.cable));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {cable} type veth peer name {end}"));
        ip(&format!("link set {end} netns {name}"));
        ip(&format!("addr add {here}/30 dev {cable}"));
        ip(&format!("link set {cable} up"));
        ip(&format!("-n {name} addr add {there}/30 dev {end}"));
        ip(&format!("-n {name} link set {end} up"));
        ip(&format!("-n {name} link set lo up"));
        island
    }

    /// This machine, as the island sees it.
    pub fn mainland(&self) -> Ipv4Addr {
        self.address(1)
    }

    /// Program and first arguments that start another one there.
    pub fn enter(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Packets in this direction are lost from now on: there is from the island to this machine.
    pub fn lose(&self, way: Way) {
        let chain = match way {
            Way::There => "OUTPUT",
            Way::Back => "INPUT",
        };
        let rule = format!("netns exec {} iptables -w -A {chain} -j DROP", self.name);
        ip(&rule);
    }

    /// No packet is lost any more.
    pub fn heal(&self) {
        ip(&format!("netns exec {} iptables -w -F", self.name));
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [b, c, d] = self.net;
        Ipv4Addr::new(10, b, c, d + last)
    }
}

impl Default for Island {
    fn default() -> Island {
        Island::new()
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // With its end the cable goes too.
        for words in [format!("link del {}", self.cable), format!("netns del {}", self.name)] {
            let _ = Command::new("ip").args(words.split(' ')).output();
        }
    }
}

fn ip(words: &str) {
    let help =
        "this test makes a network namespace: run it as root, with `apt-get install -y iproute2 iptables`";
    let output =
        Command::new("ip").args(words.split(' ')).output().unwrap_or_else(|e| panic!("{help} ({e})"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{help} (`ip {words}`: {})", said.trim());
}
