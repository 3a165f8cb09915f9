//! See `src/http_response.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::http_response::http_response(data));

#[cfg(not(fuzzing))]
fn main() {}
