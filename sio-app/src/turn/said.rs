//! What the client of a socket has said when it asked for it, and how it knows itself.

use std::sync::OnceLock;

use bytestring::ByteString;
use sio_proto::server::{Auth, Handshake};

/// What the client of a socket has said and knows.
pub(super) struct Client {
    /// The id by which the client knows itself, if it differs from the public id. It is a secret.
    pub(super) wire_id: Option<sio_proto::WireId>,
    pub(super) auth: Said,
}

impl Client {
    pub(super) fn new(wire_id: Option<sio_proto::WireId>, auth: Auth) -> Option<Box<Self>> {
        if wire_id.is_none() && matches!(auth, Auth::None) {
            return None;
        }
        let auth = Said::new(auth);
        Some(Box::new(Self { wire_id, auth }))
    }
}

/// The `auth` that the client has sent.
pub(super) enum Said {
    Nothing,
    Payload(Box<str>),
    /// Only the query of the handshake.
    AtHandshake,
    /// The query of the handshake and the query of a CONNECT. They are combined only when somebody
    /// asks, because clients may send CONNECTs as often as they like.
    Later(Box<(ByteString, OnceLock<Option<ByteString>>)>),
}

impl Said {
    /// Copies `auth`, because the original is part of a read buffer.
    fn new(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::Nothing,
            Auth::Payload(payload) => Self::Payload(Box::from(&*payload)),
            Auth::Query(own) if own.is_empty() => Self::AtHandshake,
            Auth::Query(own) => Self::Later(Box::new((ByteString::from(&*own), OnceLock::new()))),
        }
    }

    /// Returns how many bytes it keeps in addition to the handshake.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Nothing | Self::AtHandshake => 0,
            Self::Payload(payload) => payload.len(),
            Self::Later(later) => later.0.len() + later.1.get().and_then(Option::as_ref).map_or(0, |made| made.len()),
        }
    }

    pub(super) fn json<'a>(&'a self, handshake: &'a Handshake) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Payload(payload) => Some(payload),
            Self::AtHandshake => handshake.query_object(),
            Self::Later(later) => {
                let (own, made) = &**later;
                made.get_or_init(|| Auth::Query(own.clone()).to_json(handshake))
                    .as_deref()
            }
        }
    }
}
