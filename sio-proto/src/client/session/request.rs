//! The requests of a session: target, header fields, and what a refusal says.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;
use core::time::Duration;

use bytes::BytesMut;
use bytestring::ByteString;
use serde::Deserialize;

use super::{Context, End, Instead, Session};
use crate::client::config::Transport;
use crate::client::event::{ClientError, DisconnectReason, ErrorClass};
use crate::client::line::Purpose;
use crate::client::protocol::Protocol;
use crate::engine::Revision;
use crate::http::{EncodeError, Method, Response, encode_request};

/// The body of a refusal (docs/protocol/engine-io.md §4.5).
#[derive(Deserialize)]
struct Refusal {
    code: Option<u64>,
    message: Option<String>,
}

/// A body, or the payload of a CONNECT_ERROR, that is longer than this is not read as a refusal.
pub(in crate::client) const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// The longest reason of a server of 0.9.
const MAX_REASON_BYTES: usize = 512;

impl Session {
    /// Appends a request of this session to `out`.
    pub(super) fn put_request(
        &self,
        out: &mut BytesMut,
        method: Method,
        transport: Transport,
        own: &[(&str, &str)],
        body: Option<&[u8]>,
        cx: &mut Context<'_>,
    ) -> Result<(), EncodeError> {
        let endpoint = &self.opening.endpoint;
        let given = || cx.config.headers.iter().chain(&self.opening.credentials.headers);
        let is_cookie = |name: &str| name.eq_ignore_ascii_case("cookie");
        let cookies = self.cookies(cx);
        let mut headers: Vec<(&str, &str)> = own.to_vec();
        let others = given().filter(|(name, _)| !is_cookie(name));
        headers.extend(others.map(|(name, value)| (&**name, &**value)));
        if !cookies.is_empty() {
            headers.push(("Cookie", &cookies));
        }
        let host = endpoint.authority();
        let target = self.target(method, transport, cx);
        encode_request(out, method, &target, &host, &headers, body)
    }

    /// The cookies of a request: those that the server has set, then those of the settings, then
    /// those of the credentials. A cookie that is given later takes the place of one with the same
    /// name, because servers read the first one only.
    fn cookies(&self, cx: &Context<'_>) -> String {
        let endpoint = &self.opening.endpoint;
        let provided = cookie_fields(&self.opening.credentials.headers);
        let is_provided = |name: &str| provided.iter().any(|pair| name_of(pair) == name);
        let settled = cookie_fields(&cx.config.headers);
        let is_given = |name: &str| is_provided(name) || settled.iter().any(|pair| name_of(pair) == name);
        let stored = cx.jar.header(cx.now, &endpoint.path, endpoint.tls, is_given);
        let settled = settled.iter().filter(|pair| !is_provided(name_of(pair)));
        let all = stored
            .as_deref()
            .into_iter()
            .chain(settled.copied())
            .chain(provided.iter().copied());
        all.collect::<Vec<_>>().join("; ")
    }

    fn target(&self, method: Method, transport: Transport, cx: &mut Context<'_>) -> String {
        let mut target = match self.protocol {
            Protocol::Engine(revision) => self.target_of_engine(revision, transport, cx),
            Protocol::Legacy09 => self.target09(transport, cx),
            Protocol::Legacy06 | Protocol::Streaming => self.target06(method, transport, cx),
        };
        for (key, value) in cx.config.query.iter().chain(&self.opening.credentials.query) {
            put_parameter(&mut target, key, value);
        }
        target
    }

    fn target_of_engine(&self, revision: Revision, transport: Transport, cx: &mut Context<'_>) -> String {
        let revision = match revision {
            Revision::V3 => '3',
            Revision::V4 => '4',
        };
        let mut target = format!(
            "{}?EIO={revision}&transport={}",
            self.opening.endpoint.path,
            transport.as_str()
        );
        if transport == Transport::Polling {
            let mut random = [0; 8];
            cx.entropy.fill(&mut random);
            target.push_str("&t=");
            target.extend(random.iter().map(|byte| {
                let digit = u32::from(byte % 36);
                char::from_digit(digit, 36).unwrap_or('0')
            }));
        }
        if !self.sid.is_empty() {
            put_parameter(&mut target, "sid", &self.sid);
        }
        target
    }

    /// What a response that is no success means.
    pub(super) fn refused(&self, purpose: Purpose, response: &Response, cx: &Context<'_>) -> End {
        let class = match response.status {
            401 | 403 | 407 => ErrorClass::Refused,
            408 | 425 | 429 | 500.. => ErrorClass::Unreachable,
            _ => ErrorClass::Protocol,
        };
        step!(bulk response.body.len());
        let is_short = response.body.len() <= MAX_REFUSAL_BYTES;
        let said: Option<Refusal> = Some(&response.body)
            .filter(|_| is_short)
            .and_then(|body| serde_json::from_slice(body).ok());
        let code = said.as_ref().and_then(|said| said.code);
        let message = said.as_ref().and_then(|said| said.message.as_deref());
        // Servers of 0.9 answer in plain text. A page of something else is no reason.
        let plain = core::str::from_utf8(&response.body).ok();
        let is_reason = |text: &&str| !text.is_empty() && text.len() <= MAX_REASON_BYTES && !text.starts_with('<');
        let plain = plain.filter(|text| self.protocol == Protocol::Legacy09 && is_reason(text));
        let text = message.or(plain).map_or_else(
            || {
                format!(
                    "the server answered {}{}",
                    response.status,
                    self.not_followed(purpose, response, cx)
                )
            },
            ToString::to_string,
        );
        // "Unsupported protocol version", or an answer that is none of Engine.IO. To the handshake
        // of 0.9, a server of Engine.IO says "Transport unknown" (docs/protocol/engine-io.md §4.5).
        let is_other = code == Some(0) && self.protocol == Protocol::Legacy09;
        let is_strange = matches!(response.status, 400 | 404) && (is_other || matches!(code, None | Some(5)));
        // A server of today answers this to the handshake of 0.9, too.
        let is_handshake = self.protocol.has_upgrade() || self.protocol == Protocol::Legacy09 && self.sid.is_empty();
        let instead = is_strange && !self.opened && is_handshake;
        let data = said
            .as_ref()
            // The client keeps it, and the read buffer must not stay with it.
            .and_then(|_| core::str::from_utf8(&response.body).ok().map(ByteString::from));
        End {
            reason: DisconnectReason::TransportError,
            error: ClientError {
                class,
                status: Some(response.status),
                message: text.into(),
                data,
            },
            retry_after: retry_after(response, cx),
            instead: instead.then_some(Instead::Next),
            is_unanswered: false,
        }
    }

    /// Why the redirect of a request is not followed, as the end of a sentence. Other answers have
    /// no words.
    fn not_followed(&self, purpose: Purpose, response: &Response, cx: &Context<'_>) -> String {
        if !is_redirect(response.status) {
            return String::new();
        }
        if purpose == Purpose::WebSocket {
            return ", and a websocket follows no redirects".into();
        }
        if self.opened || !self.protocol.has_upgrade() {
            return ", and only the handshakes of Engine.IO follow redirects".into();
        }
        let location = response.headers.text("location").unwrap_or_default();
        let max = cx.config.max_redirects;
        match self.opening.endpoint.redirected(&location) {
            _ if location.is_empty() => " without a Location".into(),
            None => ", and redirects that leave its origin are not followed".into(),
            Some(to) if to.is_same(&self.opening.endpoint) => {
                format!(": it redirects in a circle, and at most {max} redirects are followed")
            }
            Some(_) => format!(" once more: at most {max} redirects are followed"),
        }
    }
}

/// Whether an answer is a redirect that keeps the method (RFC 9110 §15.4).
pub(super) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 307 | 308)
}

/// The pairs in the `Cookie` fields among header fields.
fn cookie_fields(headers: &[(String, String)]) -> Vec<&str> {
    step!(each headers.len());
    let fields = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let pairs = fields.flat_map(|(_, value)| value.split(';'));
    pairs.map(str::trim).filter(|pair| !pair.is_empty()).collect()
}

fn name_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name.trim_end())
}

/// How long the server asks to be left alone (RFC 9110 §10.2.3), if it says so in seconds.
pub(super) fn retry_after(response: &Response, cx: &Context<'_>) -> Option<Duration> {
    let seconds = response.headers.text("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(cx.config.max_retry_after))
}

fn put_parameter(target: &mut String, key: &str, value: &str) {
    target.push(if target.contains('?') { '&' } else { '?' });
    put_encoded(target, key);
    target.push('=');
    put_encoded(target, value);
}

/// Percent-encoding of everything but the unreserved characters (RFC 3986 §2.3).
pub(in crate::client) fn put_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        step!();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// The milliseconds of a genuine client only keep caches away. A client has no date.
pub(super) fn timestamp(cx: &mut Context<'_>) -> String {
    let mut random = [0; 13];
    cx.entropy.fill(&mut random);
    // A number with 13 digits is a time of this century.
    let digits = random.iter().map(|byte| char::from(b'0'.saturating_add(byte % 10)));
    core::iter::once('1').chain(digits.skip(1)).collect()
}
