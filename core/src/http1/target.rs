//! Request targets and `Host` (RFC 9112 3.2, RFC 9110 4.2): only forms that no two readers take for different things.

/// A request target, split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Authority of an absolute-form target.
    pub authority: Option<&'a [u8]>,
    /// Path; `*` for the asterisk form.
    pub path: &'a [u8],
    /// Query without `?`.
    pub query: Option<&'a [u8]>,
}

/// Splits and checks a request target. `None`: refuse with 400.
pub fn parse(target: &[u8]) -> Option<Target<'_>> {
    let plain = |b: &u8| matches!(b, 0x21..=0x7e) && !b"#\\\"<>^`{|}".contains(b);
    if target.is_empty() || !target.iter().all(plain) || !percent_ok(target) {
        return None;
    }
    if target == b"*" {
        return Some(Target { authority: None, path: target, query: None });
    }
    let (authority, rest) = if target[0] == b'/' { (None, target) } else { absolute(target)? };
    let (path, query) = match memchr::memchr(b'?', rest) {
        Some(q) => (&rest[..q], Some(&rest[q + 1..])),
        None => (rest, None),
    };
    path_ok(path).then_some(Target { authority, path, query })
}

fn absolute(target: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let rest = strip_prefix_ignore_case(target, b"http://")
        .or_else(|| strip_prefix_ignore_case(target, b"https://"))?;
    let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    host_ok(authority).then_some((Some(authority), path))
}

fn strip_prefix_ignore_case<'a>(s: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = s.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn percent_ok(s: &[u8]) -> bool {
    memchr::memchr_iter(b'%', s)
        .all(|i| s.get(i + 1..i + 3).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)))
}

/// No encoded NUL, CR, LF, slash or backslash, and no dot segment in any spelling.
fn path_ok(path: &[u8]) -> bool {
    let encoded_ok = memchr::memchr_iter(b'%', path).all(|i| {
        let hex = [path[i + 1].to_ascii_lowercase(), path[i + 2].to_ascii_lowercase()];
        ![*b"00", *b"0a", *b"0d", *b"2f", *b"5c"].contains(&hex)
    });
    encoded_ok && !path.split(|b| *b == b'/').any(is_dot_segment)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let (mut i, mut dots) = (0, 0);
    while i < segment.len() {
        if segment[i] == b'.' {
            i += 1;
        } else if segment[i..].len() >= 3 && segment[i..i + 3].eq_ignore_ascii_case(b"%2e") {
            i += 3;
        } else {
            return false;
        }
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// `uri-host [":" port]` (RFC 9110 7.2): a name of DNS labels, an IPv4 address or a bracketed IPv6 address.
pub fn host_ok(v: &[u8]) -> bool {
    let Some((host, port)) = split_port(v) else { return false };
    let port_ok = port.is_empty()
        || (port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && port.iter().fold(0u32, |n, d| n * 10 + u32::from(d - b'0')) <= 65535);
    let host_ok = match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|s| s.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => name_ok(host),
    };
    port_ok && host_ok
}

/// Host and port digits of a `Host` value; the port is empty when there is none. Not validated.
pub fn split_port(v: &[u8]) -> Option<(&[u8], &[u8])> {
    let host_end = if v.first() == Some(&b'[') { memchr::memchr(b']', v)? + 1 } else { 0 };
    match memchr::memchr(b':', &v[host_end..]) {
        Some(c) if host_end == 0 || c == 0 => Some((&v[..host_end + c], &v[host_end + c + 1..])),
        Some(_) => None,
        None if host_end == 0 || host_end == v.len() => Some((v, &[])),
        None => None,
    }
}

fn name_ok(host: &[u8]) -> bool {
    let host = host.strip_suffix(b".").unwrap_or(host);
    !host.is_empty()
        && host.len() <= 253
        && host.split(|b| *b == b'.').all(|label| {
            matches!(label.len(), 1..=63)
                && label[0] != b'-'
                && label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (target, path) in [
            ("/", "/"),
            ("/mcp/a?x=%00", "/mcp/a"),
            ("//gw.test/mcp", "//gw.test/mcp"),
            ("http://h:80/p", "/p"),
            ("HTTPS://h", ""),
            ("*", "*"),
            ("/a..b/.c", "/a..b/.c"),
        ] {
            let got = parse(target.as_bytes()).unwrap_or_else(|| panic!("{target}"));
            assert_eq!(got.path, path.as_bytes(), "{target}");
        }
        for bad in [
            "",
            "mcp",
            "/a b",
            "/a#b",
            "/%",
            "/%0",
            "/%zz",
            "/%00",
            "/%0d%0a",
            "/a%2Fb",
            "/a%5cb",
            "/.",
            "/a/..",
            "/a/../b",
            "/%2e%2E/b",
            "/.%2e/",
            "htt:p//",
            "http://u:p@h/",
            "http:///p",
            "/caf\u{e9}",
            "/a\"b",
            "/a\\b",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for ok in ["localhost", "a.b.", "a_b", "1.2.3.4:", "h:65535", "[::1]", "[::1]:8", "xn--"] {
            assert!(host_ok(ok.as_bytes()), "{ok}");
        }
        for bad in [
            "", ".", "a..b", "-a", "h:65536", "h:+1", "h:1:2", "[::1", "[::1].", "[x]", "a b", "a/b", "u@h",
            "h%00", "h,h",
        ] {
            assert!(!host_ok(bad.as_bytes()), "{bad}");
        }
    }
}
