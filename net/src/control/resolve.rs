//! Names to addresses, for the workers, which must never wait for a resolver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tidegate_core::config::ServerUrl;

/// Most addresses kept for one name; further ones are of no use for one gateway.
pub const ADDRESSES_MAX: usize = 16;

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The resolver did not answer in time.
    #[error("the resolver did not answer for {host} within {} ms", deadline.as_millis())]
    Timeout {
        /// The name.
        host: String,
        /// The time it had.
        deadline: Duration,
    },
    /// The resolver said no.
    #[error("{host} cannot be resolved: {why}")]
    Failed {
        /// The name.
        host: String,
        /// Its words.
        why: String,
    },
    /// The name exists, but has no address.
    #[error("{host} has no address")]
    Empty {
        /// The name.
        host: String,
    },
}

/// Addresses of a server in the resolver's order, without duplicates: one to [`ADDRESSES_MAX`]. IP literals answer at
/// once. After `deadline` the lookup goes on in a thread of its own, unobserved; do not call this in a tight loop.
pub async fn resolve(url: &ServerUrl, deadline: Duration) -> Result<Vec<SocketAddr>, ResolveError> {
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, url.port)]);
    }
    let host = || url.host.clone();
    let lookup = tokio::time::timeout(deadline, tokio::net::lookup_host((url.host.as_str(), url.port)));
    let found = match lookup.await {
        Err(_) => return Err(ResolveError::Timeout { host: host(), deadline }),
        Ok(Err(e)) => return Err(ResolveError::Failed { host: host(), why: e.to_string() }),
        Ok(Ok(found)) => found,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(ResolveError::Empty { host: host() }) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> ServerUrl {
        ServerUrl {
            tls: false,
            host: host.to_owned(),
            port: 3001,
            authority: host.to_owned(),
            path: "/".to_owned(),
        }
    }

    #[tokio::test]
    async fn literals_and_names() {
        let deadline = Duration::from_secs(10);
        let show = |r: Result<Vec<SocketAddr>, ResolveError>| format!("{:?}", r.expect("resolves"));
        assert_eq!(show(resolve(&url("127.0.0.1"), Duration::ZERO).await), "[127.0.0.1:3001]");
        assert_eq!(show(resolve(&url("::1"), Duration::ZERO).await), "[[::1]:3001]");
        let localhost = resolve(&url("localhost"), deadline).await.expect("is in the hosts file");
        assert!(localhost.iter().all(|a| a.ip().is_loopback() && a.port() == 3001), "{localhost:?}");
        let error = resolve(&url("no-such-host.invalid"), deadline).await.expect_err("reserved to not exist");
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
    }

    #[tokio::test]
    async fn a_silent_resolver_does_not_hold_up() {
        let error = resolve(&url("localhost"), Duration::ZERO).await;
        // The lookup may win against a deadline of nothing; it must not hang in either case.
        assert!(matches!(error, Err(ResolveError::Timeout { .. }) | Ok(_)), "{error:?}");
    }
}
