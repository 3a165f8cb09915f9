//! What a client speaks on one connection, and what it cannot say in it.

use super::config::{ClientConfig, Generation};
use super::emit::Emit;
use crate::engine::Revision;
use crate::socket::Args;

/// The protocol of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Engine(Revision),
    /// docs/protocol/legacy-0.9.md
    Legacy09,
    /// docs/protocol/legacy-0.6.md
    Legacy06,
    /// docs/protocol/legacy-streaming.md
    Streaming,
}

/// What only some generations have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Feature {
    /// Bytes as arguments: not before 1.0.
    #[error("bytes as arguments")]
    Binary,
    /// Acknowledgements, and with them [`ClientConfig::retries`]: not before 0.7.
    #[error("acknowledgements")]
    Acknowledgements,
    /// Events with a name: not before 0.7. Only the event `message`, with at least one argument,
    /// can be sent, and each argument is a message of its own.
    #[error("events with a name")]
    EventNames,
    /// Namespaces: not before 0.7. In 0.9, the name of a namespace has neither `:` nor `?`.
    #[error("a namespace with this name")]
    Namespace,
    /// [`ClientConfig::parser`]: not before 1.0.
    #[error("another parser of packets")]
    Parser,
}

impl Protocol {
    /// The protocols of a generation, in the order in which they are tried.
    pub(super) const fn candidates(config: &ClientConfig) -> &'static [Self] {
        const ALL: &[Protocol] = &[
            Protocol::Engine(Revision::V4),
            Protocol::Engine(Revision::V3),
            Protocol::Legacy09,
        ];
        match config.generation {
            Generation::Four => ALL.split_at(1).0,
            Generation::Two => ALL.split_at(1).1.split_at(1).0,
            Generation::V0_9 => ALL.split_at(2).1,
            Generation::V0_6 => &[Self::Legacy06],
            Generation::Streaming => &[Self::Streaming],
            // A parser writes Engine.IO messages.
            Generation::Auto if config.parser.is_some() => ALL.split_at(2).0,
            Generation::Auto => ALL,
        }
    }

    pub(super) const fn generation(self) -> Generation {
        match self {
            Self::Engine(Revision::V4) => Generation::Four,
            Self::Engine(Revision::V3) => Generation::Two,
            Self::Legacy09 => Generation::V0_9,
            Self::Legacy06 => Generation::V0_6,
            Self::Streaming => Generation::Streaming,
        }
    }

    /// Whether a polling session can move to websocket. Where it cannot, websocket is tried first.
    pub(super) const fn has_upgrade(self) -> bool {
        matches!(self, Self::Engine(_))
    }

    /// Whether a session outlives its connections (docs/protocol/legacy-0.6.md §18).
    pub(super) const fn resumes(self) -> bool {
        matches!(self, Self::Legacy06 | Self::Streaming)
    }

    /// Whether this protocol has a name for the namespace.
    pub(super) fn check_namespace(self, namespace: &str) -> Result<(), Feature> {
        let is_known = match self {
            Self::Engine(_) => true,
            Self::Legacy09 => !namespace.contains([':', '?']),
            Self::Legacy06 | Self::Streaming => namespace == "/",
        };
        is_known.then_some(()).ok_or(Feature::Namespace)
    }

    /// Whether this protocol can carry the arguments.
    pub(super) fn check_args(self, args: &Args) -> Result<(), Feature> {
        match self {
            Self::Engine(_) => Ok(()),
            Self::Legacy09 | Self::Legacy06 | Self::Streaming => {
                args.attachments.is_empty().then_some(()).ok_or(Feature::Binary)
            }
        }
    }

    /// Whether this protocol can carry the event.
    pub(super) fn check_emit(self, emit: &Emit) -> Result<(), Feature> {
        self.check_args(&emit.args)?;
        match self {
            Self::Engine(_) | Self::Legacy09 => Ok(()),
            Self::Legacy06 | Self::Streaming if emit.ack => Err(Feature::Acknowledgements),
            Self::Legacy06 | Self::Streaming if &*emit.name != "message" || emit.args.is_empty() => {
                Err(Feature::EventNames)
            }
            Self::Legacy06 | Self::Streaming => Ok(()),
        }
    }
}
