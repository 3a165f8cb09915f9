//! See `src/client_server/mod.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::client_server::client_server(data));

#[cfg(not(fuzzing))]
fn main() {}
