//! See `src/legacy_envelope.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::legacy_envelope::legacy_envelope(data));

#[cfg(not(fuzzing))]
fn main() {}
