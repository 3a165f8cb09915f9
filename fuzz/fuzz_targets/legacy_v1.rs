//! See `src/legacy_v1.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::legacy_v1::legacy_v1(data));

#[cfg(not(fuzzing))]
fn main() {}
