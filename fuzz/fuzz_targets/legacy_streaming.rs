//! See `src/legacy_streaming.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::legacy_streaming::legacy_streaming(data));

#[cfg(not(fuzzing))]
fn main() {}
