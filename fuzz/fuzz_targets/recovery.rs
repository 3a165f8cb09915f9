//! See `src/recovery/mod.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::recovery::recovery(data));

#[cfg(not(fuzzing))]
fn main() {}
