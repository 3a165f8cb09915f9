//! See `src/websocket_tungstenite.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::websocket_tungstenite::websocket_tungstenite(data));

#[cfg(not(fuzzing))]
fn main() {}
