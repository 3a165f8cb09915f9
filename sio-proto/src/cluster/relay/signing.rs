//! Signatures of the messages of relays, with the secret of the cluster
//! (docs/protocol/cluster-redis.md §12).
//!
//! ```text
//!   02  kind  sender  line  …  token 56        signed: the channel, the stamp, and all in front of the token
//! ```
//! The signature binds a message to its channel, which is that of its receiver, to its sender and
//! its relay, which stand in it, and to the moment. Each message has a number, which counts once.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::Relays;
use super::message::{MOST_OVERHEAD, Message, SIGNED};
use crate::cluster::delivery::Medium;
use crate::cluster::seal::{self, Doubt, Guard, Old, Signer, TOKEN_BYTES};
use crate::{ClusterConfig, Entropy, Secret, Time};

/// What a node of a cluster with a secret needs for its relays.
pub(super) struct Signing {
    secrets: Vec<Secret>,
    accept_unsigned: bool,
    max_age: Duration,
    signer: Signer,
    guard: Guard,
}

impl Signing {
    pub(super) fn new(cluster: &ClusterConfig, entropy: &mut dyn Entropy) -> Option<Self> {
        if cluster.secrets.is_empty() {
            return None;
        }
        let mut sender = [0; 8];
        entropy.fill(&mut sender);
        Some(Self {
            secrets: cluster.secrets.clone(),
            accept_unsigned: cluster.accept_unsigned,
            max_age: cluster.signature_age,
            signer: Signer::new(u64::from_be_bytes(sender)),
            guard: Guard::default(),
        })
    }

    /// Writes a message for this channel.
    pub(super) fn sign(&self, now: Time, channel: &[u8], message: &Message) -> Bytes {
        let mut out = message.encode_signed();
        if let Some(secret) = self.secrets.first() {
            let token = self.signer.seal(now, secret.clone()).raw_token(channel, &out);
            out.extend_from_slice(&token);
        }
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

    /// Returns a message without its signature, or counts why it is not believed. A node without a
    /// secret believes everybody.
    pub(super) fn believe(&mut self, now: Time, channel: &[u8], payload: &Bytes) -> Option<Bytes> {
        // No other node may send more at once, and no signature of more is looked at.
        if payload.len() > MOST_OVERHEAD + TOKEN_BYTES + self.config.max_waiting_bytes as usize {
            self.counters.malformed += 1;
            return None;
        }
        let (message, token) = match payload.first() {
            Some(&SIGNED) => {
                let Some(at) = payload.len().checked_sub(TOKEN_BYTES) else {
                    self.counters.malformed += 1;
                    return None;
                };
                (payload.slice(..at), payload.get(at..))
            }
            _ => (payload.clone(), None),
        };
        let Some(signing) = &mut self.signing else {
            return Some(message);
        };
        let token = token.and_then(|token| token.first_chunk());
        let stamp = match seal::verify_raw(&signing.secrets, token, Medium::Channel, channel, &message) {
            Ok(stamp) => stamp,
            Err(Doubt::Unsigned) if signing.accept_unsigned => return Some(message),
            Err(Doubt::Unsigned) => {
                self.counters.unsigned += 1;
                return None;
            }
            Err(Doubt::Forged) => {
                self.counters.forged += 1;
                return None;
            }
        };
        let moment = signing.signer.milliseconds(now);
        // All nodes that are remembered, each of them twice: a node that was started again is a new
        // sender, and the old one is kept for a while. And this node: its words to all come back.
        let max_senders = self.config.max_nodes.saturating_mul(2).saturating_add(1);
        match signing
            .guard
            .take(stamp, Medium::Channel, moment, signing.max_age, max_senders)
        {
            Ok(()) => return Some(message),
            Err(Old::Stale) => self.counters.stale += 1,
            Err(Old::Replayed) => self.counters.replayed += 1,
            Err(Old::TooMany) => self.counters.forgotten += 1,
        }
        None
    }
}
