//! Fuzz targets: one plain function per decoder, and one for each machine.
//!
//! A target takes any bytes, gives them to the code under test, and panics if a rule that must
//! always hold is broken. So the same function serves a coverage-guided fuzzer (`fuzz_targets/`,
//! nightly) and the replay of a corpus in CI (`tests/replay.rs`, stable).
//!
//! The targets assert more than "no panic": `decode(encode(x)) == x`; the result does not depend on
//! how the bytes are cut; nothing exceeds the limits; the result agrees with another
//! implementation, if there is one; and the server, the client, both together, and recovery keep
//! the promises of their documentation ([`server`], [`client`], [`client_server`], [`recovery`]).
//!
//! The input of a decoder is the bytes of the wire, so the examples of `docs/protocol/` can be
//! seeds without a change. The input itself decides how it is cut into pieces ([`pieces`]).
#![forbid(unsafe_code)]

pub mod cursor;
pub mod pieces;

macro_rules! targets {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub mod $name;)*

        /// Every target by its name, which is also the name of its file, of its corpus directory
        /// and of its binary.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::$name)),*];
    };
}

targets! {
    broker,
    client,
    client_proxy,
    client_server,
    cluster_messages,
    detect,
    engine_jsonp,
    engine_packet,
    engine_payload_v3,
    engine_payload_v4,
    form,
    http_request,
    http_response,
    json,
    legacy_envelope,
    legacy_framing,
    legacy_hixie,
    legacy_streaming,
    legacy_v1,
    msgpack_packet,
    recovery,
    server,
    socket_packet,
    socket_reassembly,
    url,
    websocket_decoder,
    websocket_handshake,
    websocket_tungstenite,
}
