//! See `src/client_proxy.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::client_proxy::client_proxy(data));

#[cfg(not(fuzzing))]
fn main() {}
