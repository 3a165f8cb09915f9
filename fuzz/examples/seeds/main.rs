//! Writes the inputs that are in recorded traffic where a fuzzer finds them.
//!
//! ```sh
//! cargo run --manifest-path fuzz/Cargo.toml --example seeds
//! ```
//! They go to `fuzz/target/corpus/TARGET/`, and are named by their content, so the command can be
//! repeated. `tests/replay.rs` replays them, too.
#![forbid(unsafe_code)]

mod recordings;

use std::path::Path;
use std::{fs, io};

use sio_fuzz::pieces::hash;

fn main() -> io::Result<()> {
    let (inputs, files) = recordings::read()?;
    let mut count = 0;
    for (target, inputs) in &inputs {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/corpus").join(target);
        fs::create_dir_all(&folder)?;
        for input in inputs {
            fs::write(folder.join(format!("{:016x}", hash(input))), input)?;
        }
        count += inputs.len();
        println!("{target}: {}", inputs.len());
    }
    println!("{count} inputs from {files} recordings");
    Ok(())
}
