//! Where to send: a URL, taken apart and resolved.

use rustls::pki_types::ServerName;
use std::net::{SocketAddr, ToSocketAddrs as _};

#[derive(Debug)]
pub(super) struct Endpoint {
    pub addr: SocketAddr,
    pub authority: String,
    pub target: String,
    /// The name to check, if it is https.
    pub tls: Option<ServerName<'static>>,
}

impl Endpoint {
    pub fn parse(url: &str) -> Result<Endpoint, String> {
        let (rest, port, secure) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, 80, false),
            (_, Some(rest)) => (rest, 443, true),
            _ => return Err("must start with http:// or https://".to_owned()),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !path.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'#') || authority.contains('@') {
            return Err("must be plain http://host:port/path".to_owned());
        }
        let host = match authority.rsplit_once(':') {
            Some((host, p)) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        };
        let with_port =
            if host.len() < authority.len() { authority.to_owned() } else { format!("{authority}:{port}") };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|e| format!("cannot resolve {authority:?}: {e}"))?
            .next()
            .ok_or_else(|| format!("{authority:?} has no address"))?;
        let name = || {
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                .map_err(|_| format!("{host:?} is no name that a certificate can have"))
        };
        let tls = if secure { Some(name()?) } else { None };
        Ok(Endpoint { addr, authority: authority.to_owned(), target: format!("/{path}"), tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let e = Endpoint::parse("https://127.0.0.1/mcp?x=1").expect("valid");
        assert_eq!((e.addr.port(), e.target.as_str(), e.tls.is_some()), (443, "/mcp?x=1", true));
        let e = Endpoint::parse("https://[::1]:8443").expect("valid");
        assert_eq!((e.addr.port(), e.authority.as_str(), e.target.as_str()), (8443, "[::1]:8443", "/"));
        assert!(Endpoint::parse("http://127.0.0.1:8080/mcp").expect("valid").tls.is_none());
        for url in
            ["127.0.0.1", "ftp://127.0.0.1", "http://a@127.0.0.1/", "http://127.0.0.1/a b", "http:///x"]
        {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }
}
