//! See `src/engine_payload_v4.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::engine_payload_v4::engine_payload_v4(data));

#[cfg(not(fuzzing))]
fn main() {}
