//! See `src/detect.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::detect::detect(data));

#[cfg(not(fuzzing))]
fn main() {}
