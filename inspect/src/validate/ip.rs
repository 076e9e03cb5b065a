//! IP addresses that say something about somebody: not loopback, not unspecified, not a version number or OID.

use super::{Verdict, after, before, follows_escape};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Judges the span as an IPv4 address.
pub(super) fn judge_v4(text: &str, start: usize, end: usize) -> Verdict {
    let Ok(ip) = text[start..end].parse::<Ipv4Addr>() else { return Verdict::Reject };
    let b = text.as_bytes();
    let touches = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    let longer = matches!(before(text, start), Some(b'.' | b'-'))
        || (touches(before(text, start)) && !follows_escape(text, start))
        || touches(after(text, end))
        || (matches!(after(text, end), Some(b'.' | b'-'))
            && b.get(end + 1).is_some_and(u8::is_ascii_alphanumeric));
    let [first, .., last] = ip.octets();
    // Ranges (10.0.0.0/8), masks and broadcast name networks, nobody's machine.
    let network = ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_broadcast()
        || first == 0
        || first == 255
        || (last == 0 && after(text, end) == Some(b'/'));
    if longer || network { Verdict::Reject } else { Verdict::Accept }
}

/// Judges the span as an IPv6 address.
pub(super) fn judge_v6(text: &str, start: usize, end: usize) -> Verdict {
    let Ok(ip) = text[start..end].parse::<Ipv6Addr>() else { return Verdict::Reject };
    let touches = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b':'));
    let longer = (touches(before(text, start)) && !follows_escape(text, start))
        || touches(after(text, end))
        || before(text, start) == Some(b'.');
    // `::` needs company: `a::b` is a path in several languages, and addresses have at least two filled groups.
    let groups = ip.segments().iter().filter(|g| **g != 0).count();
    let digits = text[start..end].bytes().filter(u8::is_ascii_digit).count();
    // The stage before looks for uncompressed addresses only where digits are dense.
    let too_few = digits < if text[start..end].contains("::") { 1 } else { 12 };
    if longer || ip.is_loopback() || ip.is_unspecified() || groups < 2 || too_few {
        return Verdict::Reject;
    }
    Verdict::Accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v4() {
        let whole = |t: &str| judge_v4(t, 0, t.len());
        for ok in ["192.168.1.7", "8.8.8.8", "203.0.113.254"] {
            assert_eq!(whole(ok), Verdict::Accept, "{ok}");
        }
        for bad in ["127.0.0.1", "0.0.0.0", "255.255.255.0", "256.1.1.1", "1.2.3", "01.2.3.4"] {
            assert_eq!(whole(bad), Verdict::Reject, "{bad}");
        }
        for (text, start, end) in [
            ("1.2.3.4.5", 0, 7),
            ("1.2.3.4.5", 2, 9),
            ("v1.2.3.4", 1, 8),
            ("10.0.0.0/8", 0, 8),
            ("1.2.3.4-rc1", 0, 7),
        ] {
            assert_eq!(judge_v4(text, start, end), Verdict::Reject, "{text}");
        }
        assert_eq!(judge_v4("at 8.8.8.8.", 3, 10), Verdict::Accept);
    }

    #[test]
    fn v6() {
        let whole = |t: &str| judge_v6(t, 0, t.len());
        for ok in [
            "2001:db8::1",
            "fd00:12::34",
            "fe80::1ff:fe23:4567:890a",
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        ] {
            assert_eq!(whole(ok), Verdict::Accept, "{ok}");
        }
        for bad in ["::1", "::", "12:34:56", "beef::face", "1:2:3:4:5:6:7:8:9"] {
            assert_eq!(whole(bad), Verdict::Reject, "{bad}");
        }
        assert_eq!(judge_v6("a2001:db8::1", 1, 12), Verdict::Reject);
    }
}
