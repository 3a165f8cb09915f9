//! Connections that were given up before the server had answered everything.
//!
//! A server that stands still, or a network that is late, can still have their commands and carry
//! them out behind those of the next connection: then a message comes behind later ones, and an
//! entry that was written again is there twice. So the next connection to the same server ends the
//! old one there first (`CLIENT KILL`). What the server has carried out until then comes before
//! everything that the next connection writes; the rest it never carries out.
//!
//! A connection is known by its id and its address as the server sees them (`CLIENT INFO`, new in
//! Redis 6.2). The id alone would not do: a server that was started again begins to count again. A
//! server that does not know these commands, or a user that may not use them, goes without. So does
//! the main connection of a cluster that goes on with another server: that one cannot end it. A
//! server that is busy with a script refuses for now; then the connection behind the next one ends
//! the old one.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::config::Address;
use super::connection::{Expect, Role};
use super::machine::Broker;
use crate::Time;
use crate::resp::Value;

/// How long an id or an address may be.
const MAX_WORD_BYTES: usize = 128;

/// How a server knows a connection of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    id: Bytes,
    address: Bytes,
}

impl Identity {
    /// Reads the answer to `CLIENT INFO`: `id=3 addr=127.0.0.1:40000 laddr=…`.
    pub(super) fn read(reply: &Value) -> Option<Self> {
        let text = reply.text()?;
        let word = |name: &[u8]| {
            let mut words = text.split(u8::is_ascii_whitespace);
            let value = words.find_map(|word| word.strip_prefix(name))?;
            // Bytes of its own: the answer is not kept because of a word.
            let is_right = (1..=MAX_WORD_BYTES).contains(&value.len());
            is_right.then(|| Bytes::copy_from_slice(value))
        };
        Some(Self {
            id: word(b"id=")?,
            address: word(b"addr=")?,
        })
    }
}

/// A connection that was given up.
#[derive(Debug)]
pub(super) struct Abandoned {
    role: Role,
    server: Address,
    identity: Identity,
}

impl Broker {
    /// A connection has ended, and these answers had not come.
    pub(super) fn abandon(&mut self, at: usize, expects: &VecDeque<Expect>) {
        let matters = |expect: &Expect| {
            matches!(
                expect,
                Expect::Publish(_) | Expect::Sharded(_) | Expect::Part(_) | Expect::Queued(_)
            )
        };
        let Some(connection) = self.connection(at) else { return };
        let Some(identity) = connection.identity.take() else {
            return;
        };
        if !expects.iter().any(matters) {
            return;
        }
        let (role, server) = (connection.role.clone(), connection.address.clone());
        self.remember_abandoned(Abandoned { role, server, identity });
    }

    /// A connection is ended when its server stands again.
    pub(super) fn remember_abandoned(&mut self, old: Abandoned) {
        // There are few for each connection, and some for servers that have left the cluster.
        if self.abandoned.len() > self.config.max_nodes {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(old);
    }

    /// A connection stands: before anything else, it ends those before it.
    pub(super) fn end_abandoned(&mut self, now: Time, at: usize) {
        let Some(Some(connection)) = self.connections.get_mut(at) else {
            return;
        };
        for old in core::mem::take(&mut self.abandoned) {
            if old.role != connection.role || old.server != connection.address {
                self.abandoned.push_back(old);
                continue;
            }
            let Identity { id, address } = old.identity.clone();
            let parts: &[&[u8]] = &[b"CLIENT", b"KILL", b"ID", &id, b"ADDR", &address];
            // If this connection is given up as well, nobody knows whether the old one has ended.
            connection.ask(now, parts, Expect::Kill(old));
        }
    }
}
