//! `sio connect`: a client at a prompt, or for a script.

mod command;
mod obeying;
mod prompt;
mod report;
mod session;
mod terminal;

use crate::arguments::{Colour, Connect};
use crate::ending::{Ending, Failed};

/// Runs the command.
pub(crate) fn run(arguments: &Connect, colour: Colour) -> Result<Ending, Failed> {
    crate::run::block_on(session::run(arguments, colour))
}
