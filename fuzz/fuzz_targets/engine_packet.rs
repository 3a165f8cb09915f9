//! See `src/engine_packet.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::engine_packet::engine_packet(data));

#[cfg(not(fuzzing))]
fn main() {}
