//! See `src/socket_reassembly.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::socket_reassembly::socket_reassembly(data));

#[cfg(not(fuzzing))]
fn main() {}
