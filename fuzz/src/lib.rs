//! Fuzz targets: one plain function per decoder, and one for the whole server.
//!
//! A target takes any bytes, gives them to the code under test, and panics if something that must
//! always hold does not. So the same function serves a coverage-guided fuzzer (`fuzz_targets/`,
//! nightly) and the replay of a corpus in CI (`tests/replay.rs`, stable).
//!
//! What is asserted beside "no panic": `decode(encode(x)) == x`, the same result however the bytes
//! are cut, nothing beyond the limits, agreement with another implementation where there is one,
//! and for the server what its documentation promises ([`server`]).
//!
//! Inputs of decoders are the wire's own bytes, so that the examples of `docs/protocol/` are seeds
//! as they stand. How an input is cut into pieces is derived from the input itself ([`pieces`]).
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
    server,
    socket_packet,
    socket_reassembly,
    websocket_decoder,
    websocket_handshake,
}
