//! See `src/legacy_framing.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::legacy_framing::legacy_framing(data));

#[cfg(not(fuzzing))]
fn main() {}
