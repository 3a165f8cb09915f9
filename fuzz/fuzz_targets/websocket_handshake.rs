//! See `src/websocket_handshake.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::websocket_handshake::websocket_handshake(data));

#[cfg(not(fuzzing))]
fn main() {}
