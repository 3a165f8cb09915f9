//! Settings of the generations before 1.0.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::ConfigError;
use super::setters::setters;
use crate::codec::{Codec, Framing, MessageLimits};

/// Settings of the 0.6 family (docs/protocol/legacy-0.6.md §4, §6, §13).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Legacy06 {
    /// Time between heartbeats on websocket and streams, unless the codec has its own. Default 10
    /// s. Genuine clients give up after 15 s of silence.
    pub heartbeat_interval: Duration,
    /// How long an echo may take. Default 8 s.
    pub heartbeat_timeout: Duration,
    /// How long a poll is held before it is answered without messages. Default 20 s. Genuine
    /// clients give up after 25 s.
    pub poll_duration: Duration,
    /// How long a session without a transport waits to be resumed by its id. Default 10 s.
    pub reconnect_timeout: Duration,
    /// Most messages kept for a session that has no transport. Every polling session has none
    /// between two polls. Default 1 024. Beyond it, a send is refused as full, and a broadcast ends
    /// the session.
    pub max_pending_messages: usize,
    /// The codec of the payloads under [`Config::path`](crate::Config::path). Default [`Framing`],
    /// the `~m~` of 0.5 and 0.6. Nothing in a request names the wire of its client. So another wire
    /// needs a path of its own, or has to take this one (docs/protocol/detection.md §4).
    pub codec: Codec,
    /// Further paths, each with a codec. Default none. A session of one path is unknown under all
    /// other paths. There can be at most [`Legacy06::MAX_CODECS`] less one.
    pub mounts: Vec<Mount>,
    /// Most bytes of an unfinished message that a codec may hold back, per session and per
    /// websocket. Default 1 000 000. A codec that holds back more ends the session.
    pub max_buffered_bytes: usize,
    /// Most messages in one payload from a client. Default 65 536. The rest of the payload is
    /// dropped.
    pub max_messages_per_payload: usize,
}

/// A path with its own codec for plain messages ([`Legacy06::mounts`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path prefix, without a trailing slash: `/streaming` serves `/streaming/websocket`,
    /// `/streaming/xhr-polling/…` and so on.
    pub path: String,
    /// The codec of the payloads.
    pub codec: Codec,
}

impl Default for Legacy06 {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(10),
            heartbeat_timeout: Duration::from_secs(8),
            poll_duration: Duration::from_secs(20),
            reconnect_timeout: Duration::from_secs(10),
            max_pending_messages: 1024,
            codec: Codec::new(Framing),
            mounts: Vec::new(),
            max_buffered_bytes: 1_000_000,
            max_messages_per_payload: 65_536,
        }
    }
}

impl Legacy06 {
    /// Most codecs of one server: the codec of its path, and the codecs of mounts. While a codec is
    /// in use, every broadcast is encoded once for it.
    pub const MAX_CODECS: usize = 8;

    /// Sets [`Legacy06::codec`](#structfield.codec).
    #[must_use]
    pub fn codec(mut self, codec: impl Into<Codec>) -> Self {
        self.codec = codec.into();
        self
    }

    /// Adds a path to [`Legacy06::mounts`](#structfield.mounts).
    #[must_use]
    pub fn mount(mut self, path: impl Into<String>, codec: impl Into<Codec>) -> Self {
        self.mounts.push(Mount {
            path: path.into(),
            codec: codec.into(),
        });
        self
    }

    /// All codecs by their numbers: first the codec of the server's path, then the codecs of the
    /// mounts in their order.
    pub fn codecs(&self) -> impl Iterator<Item = &Codec> {
        core::iter::once(&self.codec).chain(self.mounts.iter().map(|mount| &mount.codec))
    }

    /// The codec with this number.
    pub(crate) fn codec_at(&self, number: u8) -> &Codec {
        match usize::from(number).checked_sub(1) {
            None => &self.codec,
            Some(mount) => self.mounts.get(mount).map_or(&self.codec, |mount| &mount.codec),
        }
    }

    /// The limits that decoders get.
    pub(crate) const fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            max_buffered_bytes: self.max_buffered_bytes,
            max_messages: self.max_messages_per_payload,
        }
    }

    pub(super) fn check_mounts(&self, path: &str, engine_path: Option<&str>) -> Result<(), ConfigError> {
        if self.mounts.len() >= Self::MAX_CODECS {
            return Err(ConfigError::Codecs(self.mounts.len() + 1));
        }
        let is_below = |path: &str, other: &str| {
            path.strip_prefix(other)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        for (at, mount) in self.mounts.iter().enumerate() {
            let before = self.mounts[..at].iter().map(|other| &*other.path);
            let mut others = core::iter::once(path).chain(engine_path).chain(before);
            if others.any(|other| is_below(other, &mount.path) || is_below(&mount.path, other)) {
                return Err(ConfigError::Mount(mount.path.clone()));
            }
        }
        Ok(())
    }
}

/// Settings of the 0.7-0.9 generation (docs/protocol/legacy-0.9.md §2.3, §6, §10).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Legacy09 {
    /// Time between heartbeats on websocket and htmlfile. Default 25 s.
    pub heartbeat_interval: Duration,
    /// How long an echo may take. Default 60 s. It is announced to clients. A client gives up if it
    /// receives nothing from the server for as long.
    pub heartbeat_timeout: Duration,
    /// How long a polling session lives without a poll. Default 60 s. It is announced to clients. A
    /// client gives up if it receives nothing from the server for as long.
    pub close_timeout: Duration,
    /// How long a poll is held before it is answered without packets. Default 20 s.
    pub poll_duration: Duration,
    /// Whether a handshake offers flashsocket. Genuine servers do not offer it. Default false:
    /// otherwise clients with Flash would ask for the plugin's file, which the application would
    /// have to serve. A client that uses flashsocket is served in either case.
    pub flashsocket: bool,
    /// How long a client may take from the handshake to the opening of a transport. Default 30 s.
    pub open_timeout: Duration,
    /// Most messages kept for a session that has no transport. Every polling session has none
    /// between two polls. Default 1 024. Beyond it, a send is refused as full, and a broadcast ends
    /// the session.
    pub max_pending_messages: usize,
    /// Most packets kept for namespaces that a session has not joined yet. Together they may be as
    /// large as [`Config::max_payload`](crate::Config::max_payload). Default 64. Further packets
    /// are dropped (docs/protocol/legacy-0.9.md §11).
    pub max_unjoined_packets: usize,
    /// Whether a text with a line break is written as JSON, which has no raw line breaks. Default
    /// false: it is a text packet, as from genuine servers, and clients of 0.8.3 and later read it.
    /// Clients of 0.7.0 to 0.8.2 do not recognise such a packet, and nothing on the wire
    /// distinguishes these clients. If true, they are served, but some clients of other authors
    /// accept no JSON where they expect text (docs/protocol/legacy-0.9.md §13, §15).
    pub line_breaks_as_json: bool,
}

impl Default for Legacy09 {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(25),
            heartbeat_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(60),
            poll_duration: Duration::from_secs(20),
            flashsocket: false,
            open_timeout: Duration::from_secs(30),
            max_pending_messages: 1024,
            max_unjoined_packets: 64,
            line_breaks_as_json: false,
        }
    }
}

impl Legacy09 {
    /// Whether a client receives something from the server before it gives up.
    pub(super) fn is_patient(&self) -> bool {
        self.heartbeat_interval < self.heartbeat_timeout
            && self.heartbeat_interval < self.close_timeout
            && self.poll_duration < self.close_timeout
    }
}

setters! {
    Legacy06 {
        heartbeat_interval: Duration,
        heartbeat_timeout: Duration,
        poll_duration: Duration,
        reconnect_timeout: Duration,
        max_pending_messages: usize,
        max_buffered_bytes: usize,
        max_messages_per_payload: usize,
    }
    by hand { codec, mounts }
}

setters! {
    Legacy09 {
        heartbeat_interval: Duration,
        heartbeat_timeout: Duration,
        close_timeout: Duration,
        poll_duration: Duration,
        flashsocket: bool,
        open_timeout: Duration,
        max_pending_messages: usize,
        max_unjoined_packets: usize,
        line_breaks_as_json: bool,
    }
}
