//! A rule that a peer has broken: the kind of the rule, the mistake, and its position.
//!
//! The formats have their own typed errors. A [`Breach`] is the part of such an error that travels:
//! from the decoder of a connection to the session, and from there to the log, to a counter and to
//! the code that is told of the end of a socket. It holds no payload: its text consists of the
//! words of the error and of numbers. Only the error of a user's codec can bring in other text.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};

/// The kind of rule that was broken. There is one counter for each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreachKind {
    /// A rule of HTTP: the bytes are no request, or the body is too large.
    Http,
    /// A rule of the framing of WebSockets, RFC 6455 or older.
    WebSocket,
    /// A rule of a transport: a second GET beside one that is held (Engine.IO), two POSTs at once,
    /// a wrong packet during an upgrade.
    Transport,
    /// A body, or a message of a plain-message transport, that cannot be split into packets.
    Payload,
    /// Bytes that are no packet of Engine.IO.
    EnginePacket,
    /// Bytes that are no packet of Socket.IO, in any generation, also for the operator's parser.
    SocketPacket,
    /// A binary attachment that was not announced, or an attachment that is missing.
    Attachment,
    /// A packet for a namespace that the client is not in, or packets in an order that the
    /// namespace does not allow.
    Namespace,
    /// A limit of the server was exceeded.
    Limit,
    /// The client was too late.
    Late,
    /// The client has sent faster than it may ([`RateLimit`](crate::RateLimit)).
    Rate,
}

impl BreachKind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Http,
        Self::WebSocket,
        Self::Transport,
        Self::Payload,
        Self::EnginePacket,
        Self::SocketPacket,
        Self::Attachment,
        Self::Namespace,
        Self::Limit,
        Self::Late,
        Self::Rate,
    ];

    /// The kind in one word, for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Transport => "transport",
            Self::Payload => "payload",
            Self::EnginePacket => "engine_packet",
            Self::SocketPacket => "socket_packet",
            Self::Attachment => "attachment",
            Self::Namespace => "namespace",
            Self::Limit => "limit",
            Self::Late => "late",
            Self::Rate => "rate",
        }
    }
}

impl fmt::Display for BreachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule that a peer has broken, with a text for people: the mistake and its position.
///
/// It has the size of one pointer, and is made only when a rule is broken. Copies share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Breach(Arc<Told>);

#[derive(Clone, PartialEq, Eq)]
struct Told {
    kind: BreachKind,
    /// At most [`Breach::MAX_TEXT_BYTES`], and no control character.
    text: String,
}

impl Breach {
    /// The most bytes of [`Breach::text`]. A longer text is cut. Only the error of a user's codec
    /// can be longer.
    pub const MAX_TEXT_BYTES: usize = 256;

    /// A broken rule and its mistake. Control characters are left out of the text, and text beyond
    /// [`Breach::MAX_TEXT_BYTES`] is cut. So the text is one line of a log, whatever the peer has
    /// sent.
    #[must_use]
    pub fn new(kind: BreachKind, what: impl fmt::Display) -> Self {
        let mut line = Line(String::new());
        // A full line accepts no more text and returns an error. The text so far stays.
        let _ = write!(line, "{what}");
        Self(Arc::new(Told { kind, text: line.0 }))
    }

    /// The kind of the rule.
    #[must_use]
    pub fn kind(&self) -> BreachKind {
        self.0.kind
    }

    /// The mistake and its position, in one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Told>() + self.0.text.capacity()
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Breach({}: {:?})", self.0.kind, self.0.text)
    }
}

/// Text in one line of limited length.
struct Line(String);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars().filter(|c| !c.is_control()) {
            if self.0.len() + c.len_utf8() > Breach::MAX_TEXT_BYTES {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn the_text_is_one_line_of_limited_length() {
        let told = |what: &str| Breach::new(BreachKind::Http, what).text().to_string();
        assert_eq!(told("invalid head"), "invalid head");
        assert_eq!(told("a\r\nb\u{1b}[31mc\u{85}"), "ab[31mc");
        assert_eq!(told(&"é".repeat(1_000)), "é".repeat(Breach::MAX_TEXT_BYTES / 2));
    }

    #[test]
    fn every_kind_has_a_number_and_a_word_of_its_own() {
        for (at, kind) in BreachKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, at);
            let same = BreachKind::ALL.iter().filter(|other| other.as_str() == kind.as_str());
            assert_eq!(same.count(), 1, "{kind}");
        }
    }
}
