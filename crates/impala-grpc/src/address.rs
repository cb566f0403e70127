//! Reads the addresses of environment servers: `grpc://HOST:PORT,HOST:PORT`.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::PREFIX;

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// The addresses that a name of environments has; in words what is wrong with it.
    pub(super) fn all_of(id: &str) -> Result<Vec<Self>, String> {
        let list = id.strip_prefix(PREFIX).unwrap_or(id);
        list.split(',').map(|part| Self::of(part.strip_prefix(PREFIX).unwrap_or(part))).collect()
    }

    fn of(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!("{what}: write {PREFIX}HOST:PORT, such as {PREFIX}127.0.0.1:50051"))
        };
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong(&format!("'{text}' has no port"));
        };
        let Some(port) = port.parse().ok().filter(|&port: &u16| port != 0) else {
            return wrong(&format!("'{port}' is not a port number"));
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        let known = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let is_name = bare.is_none() && !host.is_empty() && host.chars().all(known);
        let is_v6 = bare.is_some() && host.parse::<std::net::Ipv6Addr>().is_ok();
        if !is_name && !is_v6 {
            return wrong(&format!("'{host}' is not a host name"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// Where it is now: the first of its addresses.
    pub(super) fn resolved(&self) -> io::Result<SocketAddr> {
        let mut found = (self.host.as_str(), self.port).to_socket_addrs()?;
        found.next().ok_or_else(|| io::Error::other("the host has no address"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lists_of_hosts_and_ports() {
        let shown = |id: &str| -> Vec<String> {
            Address::all_of(id).expect("valid").iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown("grpc://127.0.0.1:50051"), ["127.0.0.1:50051"]);
        assert_eq!(shown("grpc://a:1,b-c.d:2,grpc://[::1]:3"), ["a:1", "b-c.d:2", "[::1]:3"]);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (id, part) in [
            ("grpc://", "'' has no port"),
            ("grpc://host", "'host' has no port"),
            ("grpc://host:", "'' is not a port number"),
            ("grpc://host:0", "'0' is not a port number"),
            ("grpc://host:70000", "'70000' is not a port number"),
            ("grpc://:5", "'' is not a host name"),
            ("grpc://a b:5", "'a b' is not a host name"),
            ("grpc://a:5/path", "is not a port number"),
            ("grpc://user@a:5", "'user@a' is not a host name"),
            ("grpc://::1:5", "'::1' is not a host name"),
            ("grpc://[nope]:5", "'nope' is not a host name"),
            ("grpc://a:5,", "'' has no port"),
        ] {
            let problem = Address::all_of(id).expect_err(id);
            assert!(problem.contains(part) && problem.contains("grpc://HOST:PORT"), "{problem}");
        }
    }
}
