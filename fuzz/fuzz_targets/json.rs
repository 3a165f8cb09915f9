//! See `src/json.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::json::json(data));

#[cfg(not(fuzzing))]
fn main() {}
