//! See `src/legacy_hixie.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::legacy_hixie::legacy_hixie(data));

#[cfg(not(fuzzing))]
fn main() {}
