//! See `src/url.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::url::url(data));

#[cfg(not(fuzzing))]
fn main() {}
