//! See `src/form.rs`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sio_fuzz::form::form(data));

#[cfg(not(fuzzing))]
fn main() {}
