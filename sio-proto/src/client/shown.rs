//! What `Debug` shows of a client and of its settings: no header fields, cookies, `auth`, ids or
//! arguments. They may be secrets, and what `Debug` shows stands in logs.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::config::ClientConfig;
use super::event::Credentials;
use super::manager::Client;
use super::session::Session;
use super::socket::Socket;

/// The names of header fields, or of parameters of a query.
fn names(pairs: &[(String, String)]) -> Vec<&str> {
    pairs.iter().map(|(name, _)| &**name).collect()
}

/// Writes `Debug` of a struct of settings. A field that is not named does not compile.
macro_rules! show {
    ($settings:ident { $($name:ident)* } names of { $($secret:ident)* }) => {
        impl fmt::Debug for $settings {
            /// Shows no values of header fields and of the query: they may be secrets.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($name,)* $($secret,)* } = self;
                f.debug_struct(stringify!($settings))
                    $(.field(stringify!($secret), &names($secret)))*
                    $(.field(stringify!($name), $name))*
                    .finish()
            }
        }
    };
}

show!(ClientConfig {
    transports upgrade remember_upgrade try_all_transports generation provider on_refused
    connect_timeout join_timeout upgrade_timeout upgrade_pause close_timeout wake_timeout clock_jump
    max_silence reconnection reconnection_delay reconnection_delay_max randomization_factor
    reconnection_attempts max_attempts_per_minute max_retry_after close_with_last ack_timeout
    retries retry_window confirm_events max_unconfirmed max_queued_bytes max_answer_bytes
    max_queue_age drain_per_second max_in_flight max_body_bytes max_message_bytes
    max_packets_per_payload max_packets_per_post max_early_bytes max_cookie_bytes max_redirects
    max_namespaces max_idle packet parser
} names of { headers query });

impl fmt::Debug for Credentials {
    /// Shows no values: they are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("headers", &names(&self.headers))
            .field("query", &names(&self.query))
            .field("auth", &self.auth.len())
            .finish()
    }
}

impl fmt::Debug for Client {
    /// Shows the state of the connection and of the namespaces, and no credentials, ids or
    /// arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("stage", &self.stage)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("protocol", &self.protocol)
            .field("transport", &self.transport)
            .field("is_open", &self.is_open())
            .field("is_closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.namespace)
            .field("state", &self.state)
            .field("queue", &self.queue.len())
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}
