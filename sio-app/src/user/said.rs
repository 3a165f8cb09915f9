//! What a client has said for itself when it connected: its `auth`.

use std::sync::OnceLock;

use bytestring::ByteString;
use sio_proto::server::{Auth, Handshake};

/// What the client has said for itself.
pub(crate) enum Said {
    Nothing,
    Payload(Box<str>),
    /// In the query of the handshake alone.
    AtHandshake,
    /// In that and in the query of a CONNECT: made one object when somebody asks, because clients
    /// may ask for namespaces as often as they like.
    Later(Box<(ByteString, OnceLock<Option<ByteString>>)>),
}

impl Said {
    /// A copy: the original is part of a read buffer.
    pub(crate) fn new(auth: Auth) -> Self {
        match auth {
            Auth::None => Self::Nothing,
            Auth::Payload(payload) => Self::Payload(Box::from(&*payload)),
            Auth::Query(own) if own.is_empty() => Self::AtHandshake,
            Auth::Query(own) => Self::Later(Box::new((ByteString::from(&*own), OnceLock::new()))),
        }
    }

    /// What is kept of it beside the handshake, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Nothing | Self::AtHandshake => 0,
            Self::Payload(payload) => payload.len(),
            Self::Later(later) => later.0.len() + later.1.get().and_then(Option::as_ref).map_or(0, |made| made.len()),
        }
    }

    pub(crate) fn json<'a>(&'a self, handshake: &'a Handshake) -> Option<&'a str> {
        match self {
            Self::Nothing => None,
            Self::Payload(payload) => Some(payload),
            Self::AtHandshake => handshake.query_object().map(|object| &**object),
            Self::Later(later) => {
                let (own, made) = &**later;
                made.get_or_init(|| Auth::Query(own.clone()).to_json(handshake))
                    .as_deref()
            }
        }
    }
}
