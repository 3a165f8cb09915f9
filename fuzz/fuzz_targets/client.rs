//! See `src/client.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::client::client(data));

#[cfg(not(fuzzing))]
fn main() {}
