//! See `src/broker.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::broker::broker(data));

#[cfg(not(fuzzing))]
fn main() {}
