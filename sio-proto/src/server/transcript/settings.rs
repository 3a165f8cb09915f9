//! The config in the head of a transcript: a line for each setting that does not have its default
//! value.
//!
//! Numbers, durations, flags and texts are written so that they can be read. A parser, a codec or a
//! list of patterns cannot be read: only the text of its `Debug` is written, and a replay needs a
//! config in which this text is equal.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::Problem;
use super::line::Line;
use super::words::Words;
use crate::Config;

/// A value that is written in a line and read back.
trait Setting: Sized + PartialEq {
    fn put(&self, line: &mut Line<'_>);
    fn read(words: &mut Words<'_>) -> Result<Self, Problem>;
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl Setting for $kind {
            fn put(&self, line: &mut Line<'_>) {
                line.word(self);
            }

            fn read(words: &mut Words<'_>) -> Result<Self, Problem> {
                words.number("the value of a setting")
            }
        }
    )*};
}

numbers!(bool u32 usize);

impl Setting for Duration {
    fn put(&self, line: &mut Line<'_>) {
        line.duration(*self);
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Problem> {
        words.duration("the value of a setting")
    }
}

impl Setting for String {
    fn put(&self, line: &mut Line<'_>) {
        line.payload(self.as_bytes());
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Problem> {
        Ok(words.text("the value of a setting")?.to_string())
    }
}

impl Setting for Option<String> {
    fn put(&self, line: &mut Line<'_>) {
        line.optional(self.as_deref());
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Problem> {
        Ok(words
            .optional_text("the value of a setting")?
            .map(|text| text.to_string()))
    }
}

impl Setting for Vec<String> {
    fn put(&self, line: &mut Line<'_>) {
        line.word(self.len());
        for text in self {
            line.payload(text.as_bytes());
        }
    }

    fn read(words: &mut Words<'_>) -> Result<Self, Problem> {
        let texts = words.texts("the value of a setting")?;
        Ok(texts.iter().map(ToString::to_string).collect())
    }
}

macro_rules! settings {
    (
        values: $($value:literal $($field:ident).+;)*
        others: $($other:literal $($part:ident).+;)*
    ) => {
        /// Writes a line for each setting that does not have its default value.
        pub(super) fn put_settings(config: &Config, mut begin: impl FnMut(&mut dyn FnMut(&mut Line<'_>))) {
            let default = Config::default();
            $(if config.$($field).+ != default.$($field).+ {
                begin(&mut |line| config.$($field).+.put(line.word($value)));
            })*
            $({
                let (ours, usual) = (format!("{:?}", config.$($part).+), format!("{:?}", default.$($part).+));
                if ours != usual {
                    begin(&mut |line| _ = line.word($other).payload(ours.as_bytes()));
                }
            })*
        }

        /// Sets the settings that can be read to their default values.
        pub(super) fn reset(config: &mut Config) {
            let default = Config::default();
            $(config.$($field).+ = default.$($field).+;)*
        }

        /// Reads the rest of a setting's line. A setting that can only be compared must already
        /// have its value.
        pub(super) fn read_setting(config: &mut Config, words: &mut Words<'_>) -> Result<(), Problem> {
            match words.word("the name of a setting")? {
                $($value => config.$($field).+ = Setting::read(words)?,)*
                $($other => {
                    let wanted = words.text("the words of a setting")?;
                    if *wanted != *format!("{:?}", config.$($part).+) {
                        return Err(Problem::OtherSetting($other));
                    }
                })*
                _ => return Err(Problem::Invalid("the name of a setting")),
            }
            words.end()
        }

        /// The settings of a config that can only be compared.
        pub(super) fn others(config: &Config) -> Vec<(&'static str, String)> {
            alloc::vec![$(($other, format!("{:?}", config.$($part).+)),)*]
        }
    };
}

settings! {
    values:
    "path" path;
    "engine_path" engine_path;
    "add_trailing_slash" add_trailing_slash;
    "ping_interval" ping_interval;
    "ping_timeout" ping_timeout;
    "connect_timeout" connect_timeout;
    "crowded_connect_timeout" crowded_connect_timeout;
    "upgrade_timeout" upgrade_timeout;
    "crossing_timeout" crossing_timeout;
    "max_upgrade_packets" max_upgrade_packets;
    "close_timeout" close_timeout;
    "max_payload" max_payload;
    "allow_upgrades" allow_upgrades;
    "transports.polling" transports.polling;
    "transports.websocket" transports.websocket;
    "transports.jsonp" transports.jsonp;
    "transports.htmlfile" transports.htmlfile;
    "generations.engine4" generations.engine4;
    "generations.engine3" generations.engine3;
    "generations.legacy09" generations.legacy09;
    "generations.legacy06" generations.legacy06;
    "engine3_connect_at_once" engine3_connect_at_once;
    "engine3_binary_polls" engine3_binary_polls;
    "max_packets_per_poll" max_packets_per_poll;
    "max_bytes_per_poll" max_bytes_per_poll;
    "behind_tls" behind_tls;
    "flash_policy" flash_policy;
    "http.max_head_bytes" http.max_head_bytes;
    "http.max_target_bytes" http.max_target_bytes;
    "http.max_headers" http.max_headers;
    "http.max_chunks" http.max_chunks;
    "http.max_chunk_extra_bytes" http.max_chunk_extra_bytes;
    "http.max_remembered_head_bytes" http.max_remembered_head_bytes;
    "websocket.max_fragments" websocket.max_fragments;
    "packet.max_attachments" packet.max_attachments;
    "packet.max_attachment_bytes" packet.max_attachment_bytes;
    "packet.max_depth" packet.max_depth;
    "packet.max_namespace_bytes" packet.max_namespace_bytes;
    "packet.max_query_bytes" packet.max_query_bytes;
    "packet.max_event_name_bytes" packet.max_event_name_bytes;
    "max_sessions" max_sessions;
    "max_sessions_per_address" max_sessions_per_address;
    "max_kept_bytes" max_kept_bytes;
    "max_kept_bytes_per_address" max_kept_bytes_per_address;
    "max_handshake_bytes" max_handshake_bytes;
    "handshake_headers" handshake_headers;
    "max_auth_bytes" max_auth_bytes;
    "max_connects_per_second" max_connects_per_second;
    "max_packets_per_payload" max_packets_per_payload;
    "max_queued_bytes" max_queued_bytes;
    "max_queued_packets" max_queued_packets;
    "max_total_queued_bytes" max_total_queued_bytes;
    "max_blocked_bytes" max_blocked_bytes;
    "max_namespaces_per_session" max_namespaces_per_session;
    "max_namespaces" max_namespaces;
    "max_rooms_per_socket" max_rooms_per_socket;
    "max_room_name_bytes" max_room_name_bytes;
    "max_room_bytes_per_socket" max_room_bytes_per_socket;
    "socket_id_prefix" socket_id_prefix;
    "max_socket_id_bytes" max_socket_id_bytes;
    "max_pending_acks" max_pending_acks;
    "attachment_timeout" attachment_timeout;
    "legacy06.heartbeat_interval" legacy06.heartbeat_interval;
    "legacy06.heartbeat_timeout" legacy06.heartbeat_timeout;
    "legacy06.poll_duration" legacy06.poll_duration;
    "legacy06.reconnect_timeout" legacy06.reconnect_timeout;
    "legacy06.max_pending_messages" legacy06.max_pending_messages;
    "legacy06.max_buffered_bytes" legacy06.max_buffered_bytes;
    "legacy06.max_messages_per_payload" legacy06.max_messages_per_payload;
    "legacy09.heartbeat_interval" legacy09.heartbeat_interval;
    "legacy09.heartbeat_timeout" legacy09.heartbeat_timeout;
    "legacy09.close_timeout" legacy09.close_timeout;
    "legacy09.poll_duration" legacy09.poll_duration;
    "legacy09.flashsocket" legacy09.flashsocket;
    "legacy09.open_timeout" legacy09.open_timeout;
    "legacy09.max_pending_messages" legacy09.max_pending_messages;
    "legacy09.max_unjoined_packets" legacy09.max_unjoined_packets;
    "legacy09.line_breaks_as_json" legacy09.line_breaks_as_json;
    others:
    "dialect" dialect;
    "parser" parser;
    "cookie" cookie;
    "cors" cors;
    "origins" origins;
    "hosts" hosts;
    "legacy06.codec" legacy06.codec;
    "legacy06.mounts" legacy06.mounts;
    "session_rate" session_rate;
    "socket_rate" socket_rate;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::transcript::Detail;
    use alloc::collections::BTreeSet;

    /// The names of the fields of a value, taken from its `Debug`.
    fn names(debug: &str) -> BTreeSet<&str> {
        let fields = debug
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        fields
            .map(|(name, _)| name)
            .filter(|name| !name.starts_with(' '))
            .collect()
    }

    /// Settings that are written part by part.
    const WITH_PARTS: &[&str] = &[
        "transports",
        "generations",
        "http",
        "websocket",
        "packet",
        "legacy06",
        "legacy09",
    ];

    /// Settings that follow others.
    const FOLLOWING: &[&str] = &[
        "http.max_body_bytes",
        "websocket.max_frame_bytes",
        "websocket.max_message_bytes",
        "packet.max_auth_bytes",
    ];

    #[test]
    fn no_setting_is_forgotten() {
        let (table, config) = (include_str!("settings.rs"), Config::default());
        let has_line = |name: &str| table.contains(&format!("\n    \"{name}\" {name};"));
        let whole = format!("{config:#?}");
        for name in names(&whole).difference(&WITH_PARTS.iter().copied().collect()) {
            assert!(has_line(name), "{name} has no line");
        }
        let parts = [
            format!("{:#?}", config.transports),
            format!("{:#?}", config.generations),
            format!("{:#?}", config.http),
            format!("{:#?}", config.websocket),
            format!("{:#?}", config.packet),
            format!("{:#?}", config.legacy06),
            format!("{:#?}", config.legacy09),
        ];
        for (whole, debug) in WITH_PARTS.iter().zip(&parts) {
            for name in names(debug) {
                let name = format!("{whole}.{name}");
                assert!(FOLLOWING.contains(&&*name) || has_line(&name), "{name} has no line");
            }
        }
    }

    #[test]
    fn settings_are_read_as_they_were_written() {
        let mut config = Config::default()
            .max_payload(7)
            .ping_interval(Duration::from_millis(1_250));
        config.engine_path = Some("/engine \"io\"".into());
        config.flash_policy = alloc::vec!["a:1".into(), "b".into()];
        config.generations.legacy06 = false;
        config.path = "/other.io".into();
        config.behind_tls = true;
        config.legacy09.max_pending_messages = 3;
        let mut lines = String::new();
        put_settings(&config, |write| {
            let mut line = Line::of_head(&mut lines, Detail::Full, "set");
            write(&mut line);
            line.end();
        });
        let mut read = Config::default();
        for line in lines.lines() {
            let rest = line.strip_prefix("set ").unwrap();
            read_setting(&mut read, &mut Words::new(rest)).unwrap();
        }
        assert_eq!(format!("{read:?}"), format!("{config:?}"));
        assert_eq!(lines.lines().count(), 8, "{lines}");
    }
}
