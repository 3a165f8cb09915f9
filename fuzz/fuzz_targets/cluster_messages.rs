//! See `src/cluster_messages.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::cluster_messages::cluster_messages(data));

#[cfg(not(fuzzing))]
fn main() {}
