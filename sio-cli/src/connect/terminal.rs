//! The mode of the terminal. The prompt changes it while a line is edited, in a thread that nobody
//! can stop. A program that ends meanwhile gives the mode back that it has found.

use std::io::{self, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Ends the bracketed paste that the prompt has asked the terminal for.
const NO_BRACKETS: &[u8] = b"\x1b[?2004l\r\n";

/// Gives the terminal of the standard input its mode back when it is dropped.
pub(super) struct Terminal(Termios);

impl Terminal {
    /// Remembers the mode. There is none if the standard input is no terminal.
    pub(super) fn now() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let was_changed = tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != self.0.local_modes);
        if was_changed {
            let _ = io::stdout().write_all(NO_BRACKETS).and_then(|()| io::stdout().flush());
            // A terminal that is gone needs no mode.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        }
    }
}
