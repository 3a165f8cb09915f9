//! See `src/http_request.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::http_request::http_request(data));

#[cfg(not(fuzzing))]
fn main() {}
