//! What single texts must look like: addresses, URLs, host names, field names. Messages never quote the text they
//! judge, because it may contain the value of a variable.

use super::super::ServerUrl;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A kind of text.
pub(super) struct Text {
    /// For the reference, e.g. `IP:PORT`.
    pub label: &'static str,
    /// One that is right, as it would stand in the file.
    pub example: &'static str,
    /// Regular expression for the JSON Schema; may accept more than `check`.
    pub pattern: &'static str,
    /// Whole check; `Err` is what is wrong and what to write instead.
    pub check: fn(&str) -> Result<(), Wrong>,
}

/// Why a text is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub problem: String,
    pub remedy: String,
}

fn wrong<T>(problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { problem: problem.into(), remedy: remedy.into() })
}

/// Longest text anywhere in a configuration; far above any honest one.
pub(super) const TEXT_BYTES_MAX: usize = 65_536;

pub(super) const ANY: Text = Text { label: "text", example: "\"text\"", pattern: "^", check: |_| Ok(()) };

pub(super) const ADDRESS: Text = Text {
    label: "IP:PORT",
    example: "127.0.0.1:8080",
    pattern: r"^.+:[0-9]{1,5}$",
    check: |s| address(s).map(drop),
};

pub(super) const ADDRESS_OR_OFF: Text = Text {
    label: "IP:PORT or off",
    example: "127.0.0.1:9090",
    pattern: r"^(off|.+:[0-9]{1,5})$",
    check: |s| if s == "off" { Ok(()) } else { address(s).map(drop) },
};

pub(super) const HOST: Text = Text {
    label: "host name",
    example: "gw.example.com",
    pattern: r"^(\*|[A-Za-z0-9._:\[\]-]+)$",
    check: |s| allowed_host(s).map(drop),
};

pub(super) const ORIGIN: Text = Text {
    label: "scheme://host[:port]",
    example: "https://app.example.com",
    pattern: r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+$",
    check: |s| origin(s).map(drop),
};

pub(super) const SERVER_URL: Text = Text {
    label: "URL",
    example: "http://127.0.0.1:3001/mcp",
    pattern: r"^[Hh][Tt][Tt][Pp][Ss]?://",
    check: |s| server_url(s).map(drop),
};

pub(super) const SERVER_NAME: Text = Text {
    label: "NAME",
    example: "crm",
    pattern: r"^[a-z0-9][a-z0-9_-]{0,62}$",
    check: |s| {
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        form(s, 63, |b| b.is_ascii_lowercase() || b.is_ascii_digit(), rest).or_else(|()| {
            wrong(
                "a server name is 1 to 63 of a-z, 0-9, - and _, and begins with a letter or digit",
                "write e.g. crm",
            )
        })
    },
};

pub(super) const RULE_ID: Text = Text {
    label: "rule id",
    example: "account-number",
    pattern: r"^[a-z0-9-]{1,64}$",
    check: |s| {
        let any = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        form(s, 64, any, any)
            .or_else(|()| wrong("must be 1 to 64 of a-z, 0-9 and -", "write e.g. account-number"))
    },
};

pub(super) const FINDING_TYPE: Text = Text {
    label: "TYPE",
    example: "EMAIL_ADDRESS",
    pattern: r"^[A-Z][A-Z0-9_]{0,63}$",
    check: |s| {
        let rest = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        form(s, 64, |b| b.is_ascii_uppercase(), rest).or_else(|()| {
            wrong(
                "a finding type is 1 to 64 of A-Z, 0-9 and _, and begins with a letter",
                "write e.g. EMAIL_ADDRESS",
            )
        })
    },
};

pub(super) const PATTERN: Text = Text {
    label: "regular expression",
    example: "'ACCT-\\d{6,10}'",
    pattern: "^.+$",
    check: |s| if s.is_empty() { wrong("is empty", r"write e.g. 'ACCT-\d{6,10}'") } else { Ok(()) },
};

pub(super) const FILE_PATH: Text = Text {
    label: "path",
    example: "/etc/ssl/certs/ca.pem",
    pattern: "^.+$",
    check: |s| {
        if s.is_empty() || s.contains('\0') {
            wrong("is not a path", "write e.g. /etc/ssl/certs/ca.pem")
        } else {
            Ok(())
        }
    },
};

pub(super) const RULE_FILE: Text = Text {
    label: "path",
    example: "rules.toml",
    pattern: "^.+$",
    check: |s| {
        if s.is_empty() || s.contains('\0') {
            wrong("is not a path", "write e.g. rules.toml")
        } else {
            Ok(())
        }
    },
};

/// MCP names no alphabet for tools; what is longer is cut in audit records, and so could not be told apart there.
pub(super) const TOOL_NAME: Text = Text {
    label: "TOOL",
    example: "read_file",
    pattern: "^.{1,128}$",
    check: |s| {
        if (1..=128).contains(&s.len()) {
            Ok(())
        } else {
            wrong("a tool name has 1 to 128 bytes", "write the name as in tools/list")
        }
    },
};

pub(super) const HEADER_NAME: Text = Text {
    label: "NAME",
    example: "x-api-key",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    check: |s| header_name(s, FORBIDDEN),
};

pub(super) const FORWARD_HEADER_NAME: Text = Text {
    label: "field name",
    example: "x-tenant",
    pattern: r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
    check: |s| header_name(s, FORBIDDEN).and_then(|()| header_name(s, FORBIDDEN_TO_FORWARD)),
};

pub(super) const LOG_LEVEL: Text =
    Text { label: "level", example: "info", pattern: "^.+$", check: log_level };

/// True when `s` has 1 to `max` bytes, the first and the others each as said.
fn form(s: &str, max: usize, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> Result<(), ()> {
    let mut bytes = s.bytes();
    let ok = s.len() <= max && bytes.next().is_some_and(first) && bytes.all(rest);
    if ok { Ok(()) } else { Err(()) }
}

/// `IP:PORT`.
pub(super) fn address(s: &str) -> Result<SocketAddr, Wrong> {
    s.parse().or_else(|_| {
        if s.strip_prefix("localhost:").is_some() {
            wrong("must be an IP address and a port, not a name", "write 127.0.0.1 in place of localhost")
        } else {
            wrong("must be an IP address and a port", "write e.g. 127.0.0.1:8080 or [::1]:8080")
        }
    })
}

/// A `Host` value to accept, in the form requests are compared with: lower case, no port, IPv6 in brackets.
pub(super) fn allowed_host(s: &str) -> Result<String, Wrong> {
    if s == "*" {
        return Ok(s.to_owned());
    }
    if s.contains("://") || s.contains('/') {
        return wrong("must be a host name, not a URL", "write e.g. gw.example.com");
    }
    if s.contains('*') {
        return wrong(
            "wildcards inside a name are not supported",
            "list every name, or accept all with a single \"*\"",
        );
    }
    if let Ok(ip) = s.parse::<Ipv6Addr>() {
        return Ok(format!("[{ip}]"));
    }
    if !s.starts_with('[') && s.contains(':') {
        return wrong(
            "must not have a port; every port is accepted",
            "write the name alone, e.g. gw.example.com",
        );
    }
    let (host, port) = host_and_port(s)?;
    if port.is_some() {
        return wrong("must not have a port; every port is accepted", "write the address alone, e.g. [::1]");
    }
    Ok(if host.contains(':') { format!("[{host}]") } else { host })
}

/// A web origin as browsers write it: lower case, without a default port.
pub(super) fn origin(s: &str) -> Result<String, Wrong> {
    const EXAMPLE: &str = "write e.g. https://app.example.com";
    if s == "*" || s == "null" {
        return wrong(
            "would accept every web page",
            "list the origins of the pages that may call, e.g. https://app.example.com",
        );
    }
    let Some((scheme, rest)) = s.split_once("://") else {
        return wrong("must be scheme://host[:port]", EXAMPLE);
    };
    let scheme_rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-');
    if form(scheme, 64, |b| b.is_ascii_alphabetic(), scheme_rest).is_err() {
        return wrong("has a bad scheme", EXAMPLE);
    }
    if rest.contains(['/', '?', '#']) {
        return wrong("must end after the host or port; an origin has no path and no final slash", EXAMPLE);
    }
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = host_and_port(rest)?;
    Ok(format!("{scheme}://{}", authority(&host, port, default_port(&scheme))))
}

/// An upstream's URL.
pub(super) fn server_url(s: &str) -> Result<ServerUrl, Wrong> {
    const EXAMPLE: &str = "write e.g. http://127.0.0.1:3001/mcp";
    let scheme = s.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let tls = match scheme.as_deref() {
        Some("http") => false,
        Some("https") => true,
        _ => return wrong("must begin with http:// or https://", EXAMPLE),
    };
    let default = if tls { 443 } else { 80 };
    let rest = &s[if tls { 8 } else { 7 }..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    if host.contains('@') {
        return wrong(
            "must not contain a user or password",
            "send credentials with headers: { Authorization: \"${NAME}\" }",
        );
    }
    if path.contains('#') {
        return wrong("must not have a fragment", "remove everything from # on");
    }
    let visible = |b: u8| {
        b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
    };
    if !path.bytes().all(visible) {
        return wrong(
            "has a character in its path that URLs cannot have",
            "percent-encode it, e.g. %20 for a space",
        );
    }
    let (host, port) = host_and_port(host)?;
    if port == Some(0) {
        return wrong("must not have port 0", EXAMPLE);
    }
    let authority = authority(&host, port, Some(default));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(ServerUrl { tls, host, port: port.unwrap_or(default), authority, path })
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn authority(host: &str, port: Option<u16>, default: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match port.filter(|p| Some(*p) != default) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Splits `host[:port]`; the host comes back in lower case and without brackets.
fn host_and_port(s: &str) -> Result<(String, Option<u16>), Wrong> {
    let (host, port) = if let Some(rest) = s.strip_prefix('[') {
        let Some((ip, after)) = rest.split_once(']') else {
            return wrong("has [ without ]", "write IPv6 addresses like [::1]");
        };
        let Ok(ip) = ip.parse::<Ipv6Addr>() else {
            return wrong(
                "has no IPv6 address between [ and ]",
                "write IPv6 addresses like [::1], without a zone",
            );
        };
        match after.strip_prefix(':') {
            Some(port) => (ip.to_string(), Some(port)),
            None if after.is_empty() => (ip.to_string(), None),
            None => return wrong("has text after ]", "write e.g. [::1]:3001"),
        }
    } else {
        match s.split_once(':') {
            Some((host, port)) => (dns_name(host)?, Some(port)),
            None => (dns_name(s)?, None),
        }
    };
    let port = match port {
        None => None,
        Some(p) if !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok() => {
            p.parse().ok()
        }
        Some(_) => {
            return wrong(
                "has a bad port",
                "write a number up to 65535 after the colon, or no colon; IPv6 addresses go in brackets",
            );
        }
    };
    Ok((host, port))
}

/// A DNS name or IPv4 address in lower case.
fn dns_name(s: &str) -> Result<String, Wrong> {
    const EXAMPLE: &str = "write e.g. crm.example.com or 10.0.0.7";
    if s.is_empty() {
        return wrong("has no host", EXAMPLE);
    }
    if !s.is_ascii() {
        return wrong("has a host name with characters outside ASCII", "write the name in its xn-- form");
    }
    let label = |l: &str| {
        form(
            l,
            63,
            |b| b.is_ascii_alphanumeric() || b == b'_',
            |b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-',
        )
        .is_ok()
    };
    let name = s.strip_suffix('.').unwrap_or(s);
    if s.len() > 253 || !name.split('.').all(label) {
        return wrong("has a bad host name", EXAMPLE);
    }
    let numeric = name.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if numeric && s.parse::<Ipv4Addr>().is_err() {
        return wrong("has a host that looks like an IPv4 address but is none", EXAMPLE);
    }
    Ok(s.to_ascii_lowercase())
}

/// True when only this machine can reach the address.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// Field names the gateway writes itself, each group with the reason.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "belongs to one connection and is never passed on",
        &[
            "connection",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "expect",
        ],
    ),
    ("is made from the server's url", &["host"]),
    (
        "describes the body and is set by the gateway",
        &["content-length", "content-type", "content-encoding", "accept", "accept-encoding"],
    ),
    ("is never passed on: MCP has no use for it", &["cookie", "set-cookie"]),
    ("is part of MCP and handled by the gateway", &["last-event-id"]),
];

/// Field names that carry a client's own credentials.
const FORBIDDEN_TO_FORWARD: &[(&str, &[&str])] = &[(
    "is the client's credential for this gateway and must not reach a server",
    &["authorization", "dpop"],
)];

fn header_name(s: &str, forbidden: &[(&str, &[&str])]) -> Result<(), Wrong> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if form(s, 128, token, token).is_err() {
        return wrong("is not the name of a header field", "write e.g. x-tenant");
    }
    let lower = s.to_ascii_lowercase();
    if lower.starts_with("mcp-") {
        return wrong("is part of MCP and handled by the gateway", "remove it");
    }
    for (reason, names) in forbidden {
        if names.contains(&lower.as_str()) {
            let remedy = match lower.as_str() {
                "authorization" => {
                    "remove it; the server's own credential goes into headers: { Authorization: … }"
                }
                _ => "remove it",
            };
            return wrong(*reason, remedy);
        }
    }
    Ok(())
}

/// The value of a header field that is sent to servers.
pub(super) fn header_value(s: &str) -> Result<(), Wrong> {
    if s.is_empty() {
        wrong("the value is empty", "set the variable or fill the file it comes from, or remove the field")
    } else if s.len() > 8192 {
        wrong("the value has more than 8192 bytes", "check that the right file or variable is named")
    } else if s.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        wrong(
            "the value contains a line break or NUL",
            "keep it on one line; one final line break of a file is removed",
        )
    } else if !s.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\t') {
        wrong(
            "the value contains a character that is not visible ASCII",
            "encode it, e.g. as base64, if the server expects that",
        )
    } else if s.trim() != s {
        wrong("the value begins or ends with a space", "remove the space")
    } else {
        Ok(())
    }
}

/// A level, or comma-separated `target=level` directives.
fn log_level(s: &str) -> Result<(), Wrong> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |l: &str| LEVELS.iter().any(|k| l.eq_ignore_ascii_case(k));
    let good = |d: &str| match d.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(d),
    };
    if s.is_ascii() && s.split(',').all(|d| good(d.trim())) {
        Ok(())
    } else {
        wrong("is not a log level", "write error, warn, info, debug or trace, or e.g. info,tidegate=debug")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_urls() {
        let show = |s: &str| match server_url(s) {
            Ok(u) => format!("{} {} {} {} {}", u.tls, u.host, u.port, u.authority, u.path),
            Err(w) => format!("no: {}", w.problem),
        };
        for (input, expect) in [
            ("http://127.0.0.1:3001/mcp", "false 127.0.0.1 3001 127.0.0.1:3001 /mcp"),
            ("HTTPS://CRM.Example.com", "true crm.example.com 443 crm.example.com /"),
            ("https://crm:443/a?b=c", "true crm 443 crm /a?b=c"),
            ("http://crm:443", "false crm 443 crm:443 /"),
            ("http://[::1]:80/x", "false ::1 80 [::1] /x"),
            ("http://[0:0::1]:81", "false ::1 81 [::1]:81 /"),
            ("http://crm?x=1", "false crm 80 crm /?x=1"),
            ("http://crm./", "false crm. 80 crm. /"),
            ("ftp://x", "no: must begin with http:// or https://"),
            ("//x", "no: must begin with http:// or https://"),
            ("http://", "no: has no host"),
            ("http:///mcp", "no: has no host"),
            ("http://:80/", "no: has no host"),
            ("http://a:b@c/", "no: must not contain a user or password"),
            ("http://c/#f", "no: must not have a fragment"),
            ("http://c/a b", "no: has a character in its path that URLs cannot have"),
            ("http://c/a\r\nX: y", "no: has a character in its path that URLs cannot have"),
            ("http://c d/", "no: has a bad host name"),
            ("http://c:+80/", "no: has a bad port"),
            ("http://c:65536/", "no: has a bad port"),
            ("http://c:/", "no: has a bad port"),
            ("http://c:0/", "no: must not have port 0"),
            ("http://::1/", "no: has no host"),
            ("http://[::1/", "no: has [ without ]"),
            ("http://[::1]x/", "no: has text after ]"),
            ("http://[fe80::1%25eth0]/", "no: has no IPv6 address between [ and ]"),
            ("http://1.2.3/", "no: has a host that looks like an IPv4 address but is none"),
            ("http://b\u{fc}cher.example/", "no: has a host name with characters outside ASCII"),
            ("http://a..b/", "no: has a bad host name"),
            ("http://-a/", "no: has a bad host name"),
        ] {
            assert_eq!(show(input), expect, "{input}");
        }
    }

    #[test]
    fn hosts_and_origins_are_brought_into_the_form_requests_have() {
        let ok = |r: Result<String, Wrong>| r.unwrap_or_else(|w| format!("no: {}", w.problem));
        for (input, expect) in [
            ("GW.Example.com", "gw.example.com"),
            ("::1", "[::1]"),
            ("[0::1]", "[::1]"),
            ("*", "*"),
            ("10.0.0.1", "10.0.0.1"),
            ("*.example.com", "no: wildcards inside a name are not supported"),
            ("gw:80", "no: must not have a port; every port is accepted"),
            ("[::1]:80", "no: must not have a port; every port is accepted"),
            ("https://gw", "no: must be a host name, not a URL"),
            ("", "no: has no host"),
        ] {
            assert_eq!(ok(allowed_host(input)), expect, "{input}");
        }
        for (input, expect) in [
            ("https://App.Example.com:443", "https://app.example.com"),
            ("http://app:443", "http://app:443"),
            ("vscode-webview://abc", "vscode-webview://abc"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("https://app/", "no: must end after the host or port; an origin has no path and no final slash"),
            ("app.example.com", "no: must be scheme://host[:port]"),
            ("null", "no: would accept every web page"),
            ("1x://a", "no: has a bad scheme"),
        ] {
            assert_eq!(ok(origin(input)), expect, "{input}");
        }
    }

    #[test]
    fn log_levels() {
        for good in ["info", "WARN", "off", "info,tidegate=debug", "tidegate_net::control=trace"] {
            assert_eq!(log_level(good), Ok(()), "{good}");
        }
        for bad in ["", "inof", "info,", "tidegate=loud", "=info"] {
            assert!(log_level(bad).is_err(), "{bad}");
        }
    }
}
