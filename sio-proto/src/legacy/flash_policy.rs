//! The Flash policy file. The Flash plugin asks for it before it opens a socket
//! (docs/protocol/legacy-0.6.md §11, docs/protocol/legacy-0.9.md §9).
//!
//! The request is 23 bytes on a bare TCP connection, to the policy port or to the main port. It is
//! not HTTP:
//!
//! ```text
//! <policy-file-request/> 00
//! ```
//!
//! The answer is an XML text. After it the server closes the connection.

use bytes::{BufMut, BytesMut};

/// The request, its NUL included.
pub const REQUEST: &[u8] = b"<policy-file-request/>\0";

/// Whether the first bytes of a connection are a policy request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniff {
    /// They are a policy request: answer with the policy and close.
    Policy,
    /// They may become a policy request.
    Undecided,
    /// They are something else. No HTTP request begins with `<`, so one byte is enough to decide.
    Other,
}

/// Looks at the first bytes of a connection.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniff {
    if bytes.starts_with(REQUEST) {
        Sniff::Policy
    } else if REQUEST.starts_with(bytes) {
        Sniff::Undecided
    } else {
        Sniff::Other
    }
}

/// The policy of 0.7-0.9: everybody may connect to every port. No line breaks.
pub const OPEN_POLICY: &str = concat!(
    "<?xml version=\"1.0\"?>",
    "<!DOCTYPE cross-domain-policy SYSTEM \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">",
    "<cross-domain-policy><allow-access-from domain=\"*\" to-ports=\"*\"/></cross-domain-policy>",
);

/// Appends the policy of 0.6: one line per origin, each `domain:port` with `*` for any.
///
/// A missing port means any port. Characters that have a meaning in XML are dropped from origins,
/// because no domain has them.
pub fn write_policy<'a>(origins: impl IntoIterator<Item = &'a str>, out: &mut BytesMut) {
    out.put_slice(b"<?xml version=\"1.0\"?>\n<!DOCTYPE cross-domain-policy SYSTEM ");
    out.put_slice(b"\"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n<cross-domain-policy>\n");
    for origin in origins {
        let (domain, port) = origin.rsplit_once(':').unwrap_or((origin, "*"));
        out.put_slice(b"<allow-access-from domain=\"");
        put_attribute(domain, out);
        out.put_slice(b"\" to-ports=\"");
        put_attribute(port, out);
        out.put_slice(b"\"/>\n");
    }
    out.put_slice(b"</cross-domain-policy>\n");
}

fn put_attribute(text: &str, out: &mut BytesMut) {
    text.bytes()
        .filter(|b| !matches!(b, b'"' | b'<' | b'>' | b'&'))
        .for_each(|b| out.put_u8(b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_of_the_request_is_recognised() {
        assert_eq!(REQUEST.len(), 23);
        for n in 0..REQUEST.len() {
            assert_eq!(sniff(&REQUEST[..n]), Sniff::Undecided);
        }
        assert_eq!(sniff(REQUEST), Sniff::Policy);
        assert_eq!(sniff(b"GET / HTTP/1.1"), Sniff::Other);
        assert_eq!(sniff(b"<policy-file-request/>x"), Sniff::Other);
    }

    #[test]
    fn the_policy_of_0_6() {
        let mut out = BytesMut::new();
        write_policy(["*:*", "good.example:8080", "other.example", "\"><x:1"], &mut out);
        let expected = "<?xml version=\"1.0\"?>\n\
            <!DOCTYPE cross-domain-policy SYSTEM \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n\
            <cross-domain-policy>\n\
            <allow-access-from domain=\"*\" to-ports=\"*\"/>\n\
            <allow-access-from domain=\"good.example\" to-ports=\"8080\"/>\n\
            <allow-access-from domain=\"other.example\" to-ports=\"*\"/>\n\
            <allow-access-from domain=\"x\" to-ports=\"1\"/>\n\
            </cross-domain-policy>\n";
        assert_eq!(out, expected.as_bytes());
    }
}
