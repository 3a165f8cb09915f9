//! The ids by which clients older than Socket.IO 3 know themselves.

use alloc::string::String;
use core::fmt;

use super::text::SessionId;

/// The separator in the id that a client of Socket.IO 1 and 2 has in a namespace other than `/`:
/// namespace, separator, session id (docs/protocol/socket-io.md §3.2).
const DERIVED: char = '#';

/// The namespace and the session id that such an id consists of; `None` for any other text.
pub(crate) fn derived_from(id: &str) -> Option<(&str, &str)> {
    id.starts_with('/').then(|| id.rsplit_once(DERIVED))?
}

/// The id by which a client older than Socket.IO 3 knows itself. **It is a secret**: it contains
/// the id of the client's session, and whoever has it can read and send as the client.
///
/// | client | its id |
/// |---|---|
/// | 1.x, 2.x | the session's id in `/`, else the namespace, `#` and the session's id (docs/protocol/socket-io.md §3.2) |
/// | 0.7-0.9 | the session's id, in all namespaces (docs/protocol/legacy-0.9.md §2.2) |
/// | 0.6 and before | the session's id (docs/protocol/legacy-0.6.md §3) |
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireId {
    session: SessionId,
    spelling: Spelling,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Base64,
    Base32,
    /// The namespace, the separator, and then base64.
    Derived,
}

impl WireId {
    pub(crate) const fn base64(session: SessionId) -> Self {
        let spelling = Spelling::Base64;
        Self { session, spelling }
    }

    pub(crate) const fn base32(session: SessionId) -> Self {
        let spelling = Spelling::Base32;
        Self { session, spelling }
    }

    pub(crate) const fn derived(session: SessionId) -> Self {
        let spelling = Spelling::Derived;
        Self { session, spelling }
    }

    /// The secret, in the form that the client has in this namespace.
    #[must_use]
    pub fn reveal(&self, namespace: &str) -> String {
        let (base64, base32) = (self.session.base64(), self.session.base32());
        let id = match self.spelling {
            Spelling::Base64 | Spelling::Derived => &base64[..],
            Spelling::Base32 => &base32[..],
        };
        let id = core::str::from_utf8(id).unwrap_or_default();
        match self.spelling {
            Spelling::Derived if namespace != "/" => alloc::format!("{namespace}{DERIVED}{id}"),
            Spelling::Base64 | Spelling::Base32 | Spelling::Derived => id.into(),
        }
    }
}

impl fmt::Debug for WireId {
    /// Shows nothing of the id, because a secret does not belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WireId(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_text() {
        let session = SessionId::new(&[7; 16], 0, 0, [9; 16]);
        let (base64, base32) = (session.base64(), session.base32());
        let text = |bytes: &[u8]| core::str::from_utf8(bytes).unwrap().into();
        let (base64, base32): (String, String) = (text(&base64), text(&base32));
        for namespace in ["/", "/a"] {
            assert_eq!(WireId::base64(session).reveal(namespace), base64);
            assert_eq!(WireId::base32(session).reveal(namespace), base32);
        }
        assert_eq!(WireId::derived(session).reveal("/"), base64);
        let derived = WireId::derived(session).reveal("/a");
        assert_eq!(derived_from(&derived), Some(("/a", &*base64)));
        assert_eq!(alloc::format!("{:?}", WireId::derived(session)), "WireId(…)");
    }
}
