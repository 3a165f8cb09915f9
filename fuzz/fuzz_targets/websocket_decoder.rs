//! See `src/websocket_decoder.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::websocket_decoder::websocket_decoder(data));

#[cfg(not(fuzzing))]
fn main() {}
