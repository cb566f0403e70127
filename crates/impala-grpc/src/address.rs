//! Reads the addresses of environment servers: `grpc://HOST:PORT,HOST:PORT`, and `grpcs://` likewise.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::{PREFIX, TLS_PREFIX};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
    /// Whether a server there is spoken to over TLS.
    tls: bool,
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
    /// The addresses that a name of environments has, all with TLS or none; in words what is wrong with it.
    pub(super) fn all_of(id: &str) -> Result<Vec<Self>, String> {
        let tls = id.starts_with(TLS_PREFIX);
        let prefix = if tls { TLS_PREFIX } else { PREFIX };
        let list = id.strip_prefix(prefix).unwrap_or(id);
        let bare = |part| str::strip_prefix(part, prefix).unwrap_or(part);
        list.split(',').map(|part| Self::of(bare(part), tls, prefix)).collect()
    }

    fn of(text: &str, tls: bool, prefix: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!("{what}: write {prefix}HOST:PORT, such as {prefix}127.0.0.1:50051"))
        };
        if super::is_remote(text) {
            return wrong("servers with TLS and without are not one environment");
        }
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
        Ok(Self { host: host.to_owned(), port, tls })
    }

    /// As it must stand in the certificate of a server there.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether what is sent there can be read by others than this machine. One that is not found is none of it.
    pub(super) fn is_overheard(&self) -> bool {
        !self.tls && self.resolved().is_ok_and(|at| !at.ip().is_loopback())
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
        assert_eq!(shown("grpcs://a:1,[::1]:2,grpcs://c:3"), ["a:1", "[::1]:2", "c:3"]);
    }

    #[test]
    fn the_first_prefix_says_whether_there_is_tls() {
        let all = |id: &str| Address::all_of(id).expect("valid");
        assert!(all("grpcs://a:1,b:2,grpcs://c:3").iter().all(Address::is_tls));
        assert!(!all("grpc://a:1,b:2,grpc://c:3").iter().any(Address::is_tls));
        for id in ["grpcs://a:1,grpc://b:2", "grpc://a:1,grpcs://b:2"] {
            let problem = Address::all_of(id).expect_err("both");
            assert!(problem.contains("with TLS and without"), "{problem}");
        }
        let problem = Address::all_of("grpcs://a").expect_err("no port");
        assert!(problem.contains("write grpcs://HOST:PORT"), "{problem}");
    }

    #[test]
    fn only_plain_text_that_leaves_the_machine_is_overheard() {
        for (id, overheard) in [
            ("grpc://192.0.2.1:1", true),
            ("grpc://[2001:db8::1]:1", true),
            ("grpcs://192.0.2.1:1", false),
            ("grpc://127.0.0.1:1", false),
            ("grpc://[::1]:1", false),
        ] {
            assert_eq!(Address::all_of(id).expect("valid")[0].is_overheard(), overheard, "{id}");
        }
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
