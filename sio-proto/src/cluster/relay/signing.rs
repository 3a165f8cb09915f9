//! Signatures of the messages of relays, with the secret of the cluster
//! (docs/protocol/cluster-redis.md §12).
//!
//! ```text
//!   02  kind  sender  line  …  token 56        signed: the channel, the stamp, and all in front of the token
//! ```
//! The signature binds a message to its channel, which is that of its receiver, to its sender and
//! its relay, which stand in it, and to the moment. Each message has a number, which counts once.
//!
//! A signature costs the work of hashing all bytes of its message, and anybody who can publish can
//! ask for that. So messages are read and verified by a [`RelayReader`], which needs no lock; the
//! relays only look at the numbers.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Relays;
use super::message::{MOST_OVERHEAD, Message, SIGNED};
use crate::broker::Event;
use crate::cluster::delivery::Medium;
use crate::cluster::seal::{self, Doubt, Guard, Old, Signer, Stamp, TOKEN_BYTES};
use crate::{ClusterConfig, Entropy, RelayConfig, Secret, Time};

/// Reads the messages of relays, and verifies their signatures, for [`Relays::handle_message`]. It
/// never changes, so any number of threads can use it, under no lock.
#[derive(Debug)]
pub struct RelayReader {
    secrets: Vec<Secret>,
    accept_unsigned: bool,
    /// The largest message that is looked at.
    max_bytes: usize,
    /// The channel of all nodes, and that of this node.
    all: Bytes,
    own: Bytes,
}

/// What a [`RelayReader`] has made of a message.
#[derive(Debug)]
pub struct RelayMessage {
    pub(super) is_for_all: bool,
    pub(super) content: Result<Content, Refused>,
}

/// A message that is believed if its number is a new one.
#[derive(Debug)]
pub(super) struct Content {
    /// `None` if it cannot be read.
    message: Option<Message>,
    stamp: Option<Stamp>,
}

/// Why a message is refused without a look at its number.
#[derive(Debug)]
pub(super) enum Refused {
    Malformed,
    Doubted(Doubt),
}

impl RelayReader {
    pub(super) fn new(config: &RelayConfig, cluster: &ClusterConfig, (all, own): (&Bytes, &Bytes)) -> Self {
        Self {
            secrets: cluster.secrets.clone(),
            accept_unsigned: cluster.accept_unsigned,
            // No other node may send more at once, and no signature of more is looked at.
            max_bytes: MOST_OVERHEAD + TOKEN_BYTES + config.max_waiting_bytes as usize,
            all: all.clone(),
            own: own.clone(),
        }
    }

    /// Reads what the broker brings. `None` if it is no message for the relays: then it is one for
    /// [`Relays::handle_event`], or for nobody.
    #[must_use]
    pub fn read(&self, event: &Event) -> Option<RelayMessage> {
        let Event::Message { channel, payload, .. } = event else {
            return None;
        };
        let is_for_all = *channel == self.all;
        (is_for_all || *channel == self.own).then(|| RelayMessage {
            is_for_all,
            content: self.verify(channel, payload),
        })
    }

    fn verify(&self, channel: &[u8], payload: &Bytes) -> Result<Content, Refused> {
        if payload.len() > self.max_bytes {
            return Err(Refused::Malformed);
        }
        let (message, token) = match payload.first() {
            Some(&SIGNED) => {
                let at = payload.len().checked_sub(TOKEN_BYTES).ok_or(Refused::Malformed)?;
                (payload.slice(..at), payload.get(at..))
            }
            _ => (payload.clone(), None),
        };
        let mut stamp = None;
        if !self.secrets.is_empty() {
            let token = token.and_then(|token| token.first_chunk());
            stamp = match seal::verify_raw(&self.secrets, token, Medium::Channel, channel, &message) {
                Ok(stamp) => Some(stamp),
                Err(Doubt::Unsigned) if self.accept_unsigned => None,
                Err(doubt) => return Err(Refused::Doubted(doubt)),
            };
        }
        let message = Message::decode(&message);
        Ok(Content { message, stamp })
    }
}

/// What a node of a cluster with a secret needs for its relays.
pub(super) struct Signing {
    secret: Secret,
    max_age: Duration,
    signer: Signer,
    guard: Guard,
}

impl Signing {
    pub(super) fn new(cluster: &ClusterConfig, entropy: &mut dyn Entropy) -> Option<Self> {
        let secret = cluster.secrets.first()?.clone();
        let mut sender = [0; 8];
        entropy.fill(&mut sender);
        Some(Self {
            secret,
            max_age: cluster.signature_age,
            signer: Signer::new(u64::from_be_bytes(sender)),
            guard: Guard::default(),
        })
    }

    /// Writes a message for this channel.
    pub(super) fn sign(&self, now: Time, channel: &[u8], message: &Message) -> Bytes {
        let mut out = message.encode_signed();
        let token = self.signer.seal(now, self.secret.clone()).raw_token(channel, &out);
        out.extend_from_slice(&token);
        out.freeze()
    }
}

impl Relays {
    /// Says what time it is: `now` is so long after the beginning of 1970. If the cluster has a
    /// secret, this has to be said at the beginning, and again every few seconds, because clocks
    /// are set. Otherwise nobody needs it.
    pub const fn set_unix_time(&mut self, now: Time, time: Duration) {
        if let Some(signing) = &mut self.signing {
            signing.signer.set_unix_time(now, time);
        }
    }

    /// Returns a message, or counts why it is not believed. A node without a secret believes
    /// everybody.
    pub(super) fn believe(&mut self, now: Time, content: Result<Content, Refused>) -> Option<Message> {
        let Content { message, stamp } = match content {
            Ok(content) => content,
            Err(refused) => {
                match refused {
                    Refused::Malformed => self.counters.malformed += 1,
                    Refused::Doubted(Doubt::Unsigned) => self.counters.unsigned += 1,
                    Refused::Doubted(Doubt::Forged) => self.counters.forged += 1,
                }
                return None;
            }
        };
        if let (Some(stamp), Some(signing)) = (stamp, &mut self.signing) {
            let moment = signing.signer.milliseconds(now);
            // All nodes that are remembered, each of them twice: a node that was started again is a
            // new sender, and the old one is kept for a while. And this node: its words to all come
            // back.
            let max_senders = self.config.max_nodes.saturating_mul(2).saturating_add(1);
            let max_age = signing.max_age;
            let taken = signing.guard.take(stamp, Medium::Channel, moment, max_age, max_senders);
            match taken {
                Ok(()) => {}
                Err(old) => {
                    match old {
                        Old::Stale => self.counters.stale += 1,
                        Old::Replayed => self.counters.replayed += 1,
                        Old::TooMany => self.counters.forgotten += 1,
                    }
                    return None;
                }
            }
        }
        if message.is_none() {
            self.counters.malformed += 1;
        }
        message
    }
}
