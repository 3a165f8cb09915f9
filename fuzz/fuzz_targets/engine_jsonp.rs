//! See `src/engine_jsonp.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::engine_jsonp::engine_jsonp(data));

#[cfg(not(fuzzing))]
fn main() {}
