//! Checks that the settings make sense together.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::time::Duration;

use super::Config;
use crate::{http, socket, websocket};

/// Why a [`Config`] was refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A path does not start with `/`, or ends with one.
    #[error("path {0:?} must start with '/' and must not end with one")]
    Path(String),
    /// The two paths would serve the same requests.
    #[error("path and engine_path are the same")]
    SamePath,
    /// A duration is zero, or is longer than a day, and this makes no sense for it.
    #[error("{0} must be longer than zero and at most a day")]
    Duration(&'static str),
    /// The settings of the connections to the broker of a cluster are not valid.
    #[error("the broker of the cluster: {0}")]
    Broker(String),
    /// A secret of a cluster is so short that it could be guessed.
    #[error("{0}: a secret has at least 16 bytes")]
    Secret(&'static str),
    /// A limit that follows another setting has a value of its own.
    #[error("{0} follows {1}: set that, and leave {0} at its default")]
    Follows(&'static str, &'static str),
    /// A limit of zero would refuse every peer.
    #[error("{0} must not be zero")]
    ZeroLimit(&'static str),
    /// There are more of something than make sense.
    #[error("{0} must be at most {1}")]
    TooMany(&'static str, u32),
    /// A rate is zero or too large, or its bucket takes too long to fill.
    #[error("{0}: a rate and its burst are 1 to 2^40, and the burst is at most 3600 times the rate")]
    Rate(&'static str),
    /// More shards than a session id can name.
    #[error("{0} shards: a session id can name 1 to 256")]
    Shards(usize),
    /// The source of unpredictable bytes has filled the key of the session ids with zeros.
    #[error("the source of random bytes gives zeros")]
    Entropy,
    /// A cookie's name, path or domain is empty, or has characters that a header cannot carry.
    #[error("cookie name, path or domain is empty, or holds characters a header cannot carry; a path starts with '/'")]
    Cookie,
    /// Browsers would discard the cookie.
    #[error("browsers throw away a cookie with {0}")]
    CookieLost(&'static str),
    /// `*` and credentials are not allowed together.
    #[error(
        "credentials with `Cors::any()`: list the origins, or say `Cors::any_with_credentials()` if every page may act for its visitors"
    )]
    CorsCredentials,
    /// No browser sends such an origin.
    #[error(
        "CORS origin {0:?}: an origin is `scheme://host[:port]`, without `*` or a slash at its end; all pages are `Cors::any()`"
    )]
    CorsOrigin(String),
    /// A method, or the name of a header field, has characters that no such name has.
    #[error("CORS: {0:?} is no name of a method or of a header field")]
    CorsName(String),
    /// The prefix of the application's ids for sockets could begin an id that the server draws, has
    /// other characters, or leaves no room for an id.
    #[error(
        "prefix {0:?} of ids: it has ASCII letters, digits, and `-_.:@~`, one of `.:@~`, and is shorter than an id"
    )]
    SocketIdPrefix(String),
    /// A mount's path is in use, or lies below or above a path that is in use.
    #[error("mount {0:?} would answer requests of another path")]
    Mount(String),
    /// More codecs than a server can have at once.
    #[error("{0} codecs: a server can have 8, that of the path and 7 mounts")]
    Codecs(usize),
    /// A 0.7-0.9 client would give up the server: the client has to receive something before its
    /// timeouts end.
    #[error(
        "legacy09: heartbeat_interval and poll_duration must be shorter than close_timeout, and heartbeat_interval than heartbeat_timeout"
    )]
    Impatient,
}

crate::readable::says_why!(ConfigError);

impl Config {
    /// Checks that the settings make sense together. Copies each setting that limits follow to the
    /// places where the limits are enforced.
    ///
    /// # Errors
    /// The first setting that does not make sense.
    pub fn validate(mut self) -> Result<Self, ConfigError> {
        for path in self.paths() {
            if !path.starts_with('/') || path.len() < 2 || path.ends_with('/') {
                return Err(ConfigError::Path(path.to_owned()));
            }
        }
        if self.engine_path.as_ref() == Some(&self.path) {
            return Err(ConfigError::SamePath);
        }
        self.legacy06.check_mounts(&self.path, self.engine_path.as_deref())?;
        self.check_durations()?;
        self.check_limits()?;
        self.session_rate.validate("session_rate")?;
        self.socket_rate.validate("socket_rate")?;
        self.check_socket_id_prefix()?;
        if let Some(cookie) = &self.cookie {
            cookie.check(cookie.secure || self.behind_tls)?;
        }
        if let Some(cors) = &self.cors {
            cors.check()?;
        }
        if !self.legacy09.is_patient() {
            return Err(ConfigError::Impatient);
        }
        self.follow()?;
        Ok(self)
    }

    /// Copies the settings that limits follow. A limit that follows a setting must have its default
    /// value, or the value of the setting. Any other value would have no effect.
    fn follow(&mut self) -> Result<(), ConfigError> {
        let (payload, auth) = (self.max_payload, self.max_auth_bytes);
        let (http, websocket, packet) = (
            http::Limits::default(),
            websocket::Limits::default(),
            socket::text::Limits::default(),
        );
        let Self {
            http: its_http,
            websocket: its_websocket,
            packet: its_packet,
            ..
        } = self;
        for (names, default, value, limit) in [
            (
                ("http.max_body_bytes", "max_payload"),
                http.max_body_bytes,
                payload,
                &mut its_http.max_body_bytes,
            ),
            (
                ("websocket.max_frame_bytes", "max_payload"),
                websocket.max_frame_bytes,
                payload,
                &mut its_websocket.max_frame_bytes,
            ),
            (
                ("websocket.max_message_bytes", "max_payload"),
                websocket.max_message_bytes,
                payload,
                &mut its_websocket.max_message_bytes,
            ),
            (
                ("packet.max_auth_bytes", "max_auth_bytes"),
                packet.max_auth_bytes,
                auth,
                &mut its_packet.max_auth_bytes,
            ),
        ] {
            if *limit != default && *limit != value {
                return Err(ConfigError::Follows(names.0, names.1));
            }
            *limit = value;
        }
        Ok(())
    }

    fn check_durations(&self) -> Result<(), ConfigError> {
        let day = Duration::from_secs(86_400);
        for (name, value) in [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("connect_timeout", self.connect_timeout),
            ("crowded_connect_timeout", self.crowded_connect_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("close_timeout", self.close_timeout),
            ("crossing_timeout", self.crossing_timeout),
            ("attachment_timeout", self.attachment_timeout),
            ("legacy06.heartbeat_interval", self.legacy06.heartbeat_interval),
            ("legacy06.heartbeat_timeout", self.legacy06.heartbeat_timeout),
            ("legacy06.poll_duration", self.legacy06.poll_duration),
            ("legacy06.reconnect_timeout", self.legacy06.reconnect_timeout),
            ("legacy09.heartbeat_interval", self.legacy09.heartbeat_interval),
            ("legacy09.heartbeat_timeout", self.legacy09.heartbeat_timeout),
            ("legacy09.close_timeout", self.legacy09.close_timeout),
            ("legacy09.poll_duration", self.legacy09.poll_duration),
            ("legacy09.open_timeout", self.legacy09.open_timeout),
        ] {
            if value.is_zero() || value > day {
                return Err(ConfigError::Duration(name));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("max_payload", self.max_payload),
            ("http.max_head_bytes", self.http.max_head_bytes),
            ("http.max_target_bytes", self.http.max_target_bytes),
            ("http.max_headers", self.http.max_headers),
            ("http.max_chunks", self.http.max_chunks),
            ("max_sessions", self.max_sessions),
            ("max_sessions_per_address", self.max_sessions_per_address),
            ("max_kept_bytes", self.max_kept_bytes),
            ("max_kept_bytes_per_address", self.max_kept_bytes_per_address),
            ("max_handshake_bytes", self.max_handshake_bytes),
            ("max_auth_bytes", self.max_auth_bytes),
            ("max_connects_per_second", self.max_connects_per_second),
            ("max_packets_per_payload", self.max_packets_per_payload),
            ("max_upgrade_packets", self.max_upgrade_packets),
            ("max_room_name_bytes", self.max_room_name_bytes),
            ("max_room_bytes_per_socket", self.max_room_bytes_per_socket),
            ("max_socket_id_bytes", self.max_socket_id_bytes),
            ("packet.max_query_bytes", self.packet.max_query_bytes),
            ("max_packets_per_poll", self.max_packets_per_poll),
            ("max_bytes_per_poll", self.max_bytes_per_poll),
            ("max_queued_bytes", self.max_queued_bytes),
            ("max_queued_packets", self.max_queued_packets),
            ("max_total_queued_bytes", self.max_total_queued_bytes),
            ("max_blocked_bytes", self.max_blocked_bytes),
            ("max_namespaces_per_session", self.max_namespaces_per_session),
            ("max_namespaces", self.max_namespaces),
            ("max_rooms_per_socket", self.max_rooms_per_socket),
            ("legacy06.max_pending_messages", self.legacy06.max_pending_messages),
            ("legacy06.max_buffered_bytes", self.legacy06.max_buffered_bytes),
            (
                "legacy06.max_messages_per_payload",
                self.legacy06.max_messages_per_payload,
            ),
            ("legacy09.max_pending_messages", self.legacy09.max_pending_messages),
            ("legacy09.max_unjoined_packets", self.legacy09.max_unjoined_packets),
        ] {
            if value == 0 {
                return Err(ConfigError::ZeroLimit(name));
            }
        }
        Ok(())
    }
}
