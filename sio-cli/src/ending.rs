//! How the program ends.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// An end that is no mistake of the user and no failure of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything is good.
    Good,
    /// The answer is no: the input is malformed, a check has failed, the server has refused.
    Bad,
    /// The server cannot be reached.
    Unreachable,
    /// The user has pressed Ctrl-C.
    Interrupted,
}

/// Why a command could not be carried out.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The arguments or the input cannot be used.
    Usage(String),
    /// Nobody reads the output any more.
    Pipe,
    /// The output cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Pipe,
            _ => Self::Output(error),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(words) => f.write_str(words),
            Self::Pipe => f.write_str("nobody reads the output"),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Good => 0,
            Ending::Bad => 1,
            Ending::Unreachable => 3,
            Ending::Interrupted => 130,
        })
    }
}

impl Failed {
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => 2,
            Self::Output(_) => 4,
            // What a shell says of a program that SIGPIPE has ended.
            Self::Pipe => 141,
        })
    }
}
