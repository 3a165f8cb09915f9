//! A rule that a peer has broken: which kind of rule, what is wrong, and where.
//!
//! The formats have typed errors of their own. A [`Breach`] is what is left of such an error when
//! it has to travel: from the decoder of a connection to the session, and from there to the log, to
//! a counter and to whoever is told of the end of a socket. It holds no payload: its text is made
//! of the words of the error and of numbers. Only a codec of the user's own can put other text
//! there.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};

/// Which rule was broken. There are as many counters as kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreachKind {
    /// A rule of HTTP: the bytes are no request, or its body is too large.
    Http,
    /// A rule of the framing of WebSockets, RFC 6455 or older.
    WebSocket,
    /// A rule of what a transport may do: a second GET beside one that is held, two POSTs at once,
    /// a packet out of place during an upgrade.
    Transport,
    /// A body, or a message of a plain-message transport, that cannot be taken apart into packets.
    Payload,
    /// A packet of Engine.IO that is none.
    EnginePacket,
    /// A packet of Socket.IO that is none, in whatever generation, also to a parser of the
    /// operator's.
    SocketPacket,
    /// A binary attachment that nothing has announced, or one that is missing.
    Attachment,
    /// A packet for a namespace in which the client is not, or an order of packets that is not
    /// allowed there.
    Namespace,
    /// More than a limit of the server allows.
    Limit,
    /// The client has not done in time what it had to do.
    Late,
}

impl BreachKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
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
    ];

    /// One word for it, as logs and metrics have it.
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
        }
    }
}

impl fmt::Display for BreachKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule that a peer has broken, with a text for people: what is wrong, and where.
///
/// One pointer in size, and made only when a rule is broken. Copies share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Breach(Arc<Told>);

#[derive(Clone, PartialEq, Eq)]
struct Told {
    kind: BreachKind,
    /// At most [`Breach::MAX_TEXT_BYTES`], and no control character.
    text: String,
}

impl Breach {
    /// Most bytes of [`Breach::text`]. What is longer, which only the error of a codec of the
    /// user's own can be, is cut.
    pub const MAX_TEXT_BYTES: usize = 256;

    /// A broken rule, and what is wrong. Control characters are left out of the text and text
    /// beyond [`Breach::MAX_TEXT_BYTES`] is cut, so that it makes one line of a log, whatever the
    /// peer has had a part in.
    #[must_use]
    pub fn new(kind: BreachKind, what: impl fmt::Display) -> Self {
        let mut line = Line(String::new());
        // The line takes no more when it is full, and says so: what it has stands.
        let _ = write!(line, "{what}");
        Self(Arc::new(Told { kind, text: line.0 }))
    }

    /// The kind of the rule.
    #[must_use]
    pub fn kind(&self) -> BreachKind {
        self.0.kind
    }

    /// What is wrong, and where, in one line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What it takes in memory.
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
