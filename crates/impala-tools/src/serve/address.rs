//! The address that the server listens on, and which `Host` headers it accepts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use hyper::http::uri::Authority;

/// The port where none is named.
pub(crate) const PORT: u16 = 6170;

/// An address to listen on: `IP:PORT`, `PORT` or `IP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let text = text.strip_prefix("localhost:").unwrap_or(text);
        let address = text.parse().ok();
        let address = address.or_else(|| Some(SocketAddr::new(HERE, text.parse().ok()?)));
        let address = address.or_else(|| Some(SocketAddr::new(text.parse().ok()?, PORT)));
        address.map(Self).ok_or_else(|| {
            "an address is IP:PORT, PORT or IP, as 127.0.0.1:6170; name run folders before --serve"
                .to_owned()
        })
    }
}

/// Whether a request may be answered that is for `host`. A page of another site whose name leads here would have that
/// name in it, and be allowed to read what it gets. Who listens on this machine alone has no such name.
pub(super) fn is_own_host(listening: IpAddr, host: &str) -> bool {
    if !listening.is_loopback() {
        return true;
    }
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let ip = name.trim_start_matches('[').trim_end_matches(']');
    !host.contains('@')
        && (name.eq_ignore_ascii_case("localhost")
            || ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_port_an_ip_or_both() {
        for (text, means) in [
            ("6170", "127.0.0.1:6170"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("10.0.0.7", "10.0.0.7:6170"),
            ("localhost:99", "127.0.0.1:99"),
            ("[::1]:99", "[::1]:99"),
            ("::1", "[::1]:6170"),
        ] {
            assert_eq!(text.parse::<Address>().map(|a| a.0.to_string()).as_deref(), Ok(means));
        }
        for text in ["", "runs/A-001", "65536", "127.0.0.1:", "example.org:80", "-1"] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains("IP:PORT"), "{error}");
        }
    }

    #[test]
    fn on_loopback_only_its_own_names_are_answered() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for host in [
            "127.0.0.1",
            "127.0.0.1:6170",
            "localhost:9000",
            "LOCALHOST",
            "[::1]:6170",
            "127.9.9.9",
        ] {
            assert!(is_own_host(here, host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:6170",
            "localhost.evil.example",
            "127.0.0.1.evil.example:6170",
            "evil@127.0.0.1",
            "10.0.0.7",
            "local host",
            "127.0.0.1/evil",
        ] {
            assert!(!is_own_host(here, host), "{host}");
            assert!(is_own_host(IpAddr::V4(Ipv4Addr::UNSPECIFIED), host), "asked for by name");
        }
    }
}
