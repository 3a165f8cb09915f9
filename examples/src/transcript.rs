//! Writes the transcripts of a server into files (feature `transcript`).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sio_app::Io;
use sio_app::transcript::{Detail, RecorderOptions};

/// The environment variable with the name of the files.
const VARIABLE: &str = "SIO_TRANSCRIPT";

/// The pause between two writes.
const EVERY: Duration = Duration::from_millis(100);

/// The files of a server's transcripts. When this value is dropped, the rest of the text is
/// written.
#[derive(Debug)]
pub struct Transcripts {
    io: Io,
    /// One for each shard.
    files: Arc<Mutex<Vec<File>>>,
}

impl Transcripts {
    /// Writes full transcripts if the environment variable `SIO_TRANSCRIPT` is set to a name:
    /// `NAME.0.txt` for the first shard, `NAME.1.txt` for the second. Call this before the server
    /// accepts clients. Only the owner can read the files, because they contain the ids of sessions
    /// and everything that clients send.
    ///
    /// # Errors
    /// If a file cannot be created, for example because it exists already.
    #[expect(clippy::disallowed_methods, reason = "a thread of its own waits until there is text")]
    pub fn write_if_asked(io: &Io) -> io::Result<Option<Self>> {
        let Some(name) = std::env::var_os(VARIABLE) else {
            return Ok(None);
        };
        io.start_transcripts(RecorderOptions::default().detail(Detail::Full));
        let mut files = Vec::new();
        for (shard, text) in io.take_transcripts().into_iter().enumerate() {
            let mut file = create(&format!("{}.{shard}.txt", name.to_string_lossy()))?;
            file.write_all(text.as_bytes())?;
            files.push(file);
        }
        let files = Arc::new(Mutex::new(files));
        let transcripts = Self {
            io: io.clone(),
            files: Arc::clone(&files),
        };
        let io = io.clone();
        let write = move || {
            while append(&io, &files).is_ok() {
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new().name("transcripts".to_owned()).spawn(write)?;
        Ok(Some(transcripts))
    }
}

impl Drop for Transcripts {
    #[expect(
        clippy::print_stderr,
        reason = "whoever wants the files has to know that they are not whole"
    )]
    fn drop(&mut self) {
        if let Err(error) = append(&self.io, &self.files) {
            eprintln!("the transcripts are not whole: {error}");
        }
    }
}

fn create(name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(name)
}

/// Writes the text that is new since the last call.
fn append(io: &Io, files: &Mutex<Vec<File>>) -> io::Result<()> {
    // The lock is taken first, so that the text of two callers keeps its order.
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    for (file, text) in files.iter_mut().zip(io.take_transcripts()) {
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}
