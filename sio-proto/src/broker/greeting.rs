//! The first commands of a connection, one after the other.
//!
//! ```text
//!   HELLO 3 [AUTH user password] SETNAME name ──► [SELECT n] ──► [CLIENT INFO] ──► [CLUSTER SLOTS] ──► [ROLE] ──► ready
//!        └─ unknown ─► [AUTH] ─► CLIENT SETNAME ──┘
//! ```
//! `HELLO` is new in Redis 6; a server that does not know it speaks RESP 2. Connections that write
//! ask how the server knows them (`abandoned.rs`). Only the main connection asks for slots. The
//! role is asked where the server may be a replica.
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

use alloc::string::ToString;

use super::abandoned::Identity;
use super::config::Credentials;
use super::connection::{Expect, Role, Stage, Step};
use super::error::{BrokerError, Refusal};
use super::machine::{Broker, MAIN};
use crate::Time;
use crate::resp::Value;

impl Broker {
    /// A TCP connection stands.
    pub(super) fn greet(&mut self, now: Time, at: usize) {
        self.ask_step(now, at, Step::Hello);
    }

    fn role(&self, at: usize) -> Option<&Role> {
        let connection = self.connections.get(at)?.as_ref()?;
        Some(&connection.role)
    }

    fn credentials(&self, at: usize) -> Option<Credentials> {
        match self.role(at) == Some(&Role::Sentinel) {
            true => self.config.sentinel_credentials.clone(),
            false => self.config.credentials.clone(),
        }
    }

    fn ask_step(&mut self, now: Time, at: usize, step: Step) {
        let credentials = self.credentials(at);
        let (name, database) = (self.config.client_name.clone(), self.config.database.to_string());
        let Some(connection) = self.connection(at) else { return };
        let user = credentials.as_ref().and_then(|known| known.user.as_deref());
        let password = credentials.as_ref().map(|known| known.password.as_bytes());
        let parts: &[&[u8]] = match (step, password, user) {
            (Step::Hello, Some(password), user) => {
                let user = user.unwrap_or("default").as_bytes();
                &[b"HELLO", b"3", b"AUTH", user, password, b"SETNAME", name.as_bytes()]
            }
            (Step::Hello, None, _) => &[b"HELLO", b"3", b"SETNAME", name.as_bytes()],
            (Step::Auth, password, Some(user)) => &[b"AUTH", user.as_bytes(), password.unwrap_or_default()],
            (Step::Auth, password, None) => &[b"AUTH", password.unwrap_or_default()],
            (Step::Name, ..) => &[b"CLIENT", b"SETNAME", name.as_bytes()],
            (Step::Select, ..) => &[b"SELECT", database.as_bytes()],
            (Step::Identity, ..) => &[b"CLIENT", b"INFO"],
            (Step::Slots, ..) => &[b"CLUSTER", b"SLOTS"],
            (Step::Role, ..) => &[b"ROLE"],
        };
        connection.ask(now, parts, Expect::Step(step));
    }

    /// A step was answered: the next one follows.
    pub(super) fn step_answered(&mut self, now: Time, at: usize, step: Step, reply: &Value) {
        let error = match reply {
            Value::Error(text) => Some(BrokerError::refused(text)),
            _ => None,
        };
        if let Some(error) = &error
            // A server that is busy need not say how it knows a connection.
            && (Self::is_fatal(error) && step != Step::Identity || matches!(step, Step::Auth | Step::Select))
        {
            return self.lose(now, at, error.clone());
        }
        let next = match step {
            Step::Hello => match error {
                // An unknown command, or a version that the server does not speak.
                Some(BrokerError::Refused {
                    kind: Refusal::Other, ..
                }) => match self.credentials(at) {
                    Some(_) => Some(Step::Auth),
                    None => Some(Step::Name),
                },
                Some(error) => return self.lose(now, at, error),
                None => {
                    if let Some(connection) = self.connection(at) {
                        connection.speaks_resp3 = true;
                    }
                    self.after_name(at)
                }
            },
            Step::Auth => Some(Step::Name),
            // The name is of use for people only.
            Step::Name => self.after_name(at),
            Step::Select => self.after_select(at),
            Step::Identity => {
                if let Some(connection) = self.connection(at) {
                    connection.identity = Identity::read(reply);
                }
                self.after_identity(at)
            }
            Step::Slots => {
                if !self.learn_slots(now, at, reply) {
                    return self.lose(now, at, BrokerError::unexpected());
                }
                match self.cluster.is_none() && self.config.servers.len() > 1 {
                    true => Some(Step::Role),
                    false => None,
                }
            }
            Step::Role => {
                let role = reply.items().and_then(|items| items.first()?.text().cloned());
                // A user that may not ask has to know what it is connected to.
                if error.is_none() && role.as_deref() != Some(b"master") {
                    let text = "READONLY this server is not a master";
                    return self.lose(now, at, BrokerError::refused(text.as_bytes()));
                }
                None
            }
        };
        match next {
            Some(step) => self.ask_step(now, at, step),
            None => self.greeted(now, at),
        }
    }

    fn after_name(&self, at: usize) -> Option<Step> {
        let selects = matches!(self.role(at), Some(Role::Main | Role::Reader(_)));
        match selects && self.config.database > 0 {
            true => Some(Step::Select),
            false => self.after_select(at),
        }
    }

    fn after_select(&self, at: usize) -> Option<Step> {
        let writes = matches!(self.role(at), Some(Role::Main | Role::Node));
        match writes {
            true => Some(Step::Identity),
            false => self.after_identity(at),
        }
    }

    fn after_identity(&self, at: usize) -> Option<Step> {
        match (at == MAIN, self.config.sentinel_master.is_some()) {
            (true, true) => Some(Step::Role),
            (true, false) => Some(Step::Slots),
            (false, _) => None,
        }
    }

    /// The connection can be used. What waits for it is written behind the bytes that are being
    /// read.
    fn greeted(&mut self, now: Time, at: usize) {
        let Some(connection) = self.connection(at) else { return };
        connection.stage = Stage::Ready { since: now };
        let role = connection.role.clone();
        self.end_abandoned(now, at);
        match role {
            Role::Main => self.main_ready(now),
            Role::Subscriber | Role::NodeSubscriber => self.subscriber_ready(now, at),
            Role::Node => {}
            Role::Reader(stream) => self.reader_ready(now, at, &stream),
            Role::Sentinel => self.ask_for_master(now, at),
        }
    }
}
