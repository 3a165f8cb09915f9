//! See `src/msgpack_packet.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::msgpack_packet::msgpack_packet(data));

#[cfg(not(fuzzing))]
fn main() {}
