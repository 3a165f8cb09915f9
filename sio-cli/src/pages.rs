//! The man page and the completions of the shell. Both are made from the definition of the
//! arguments.

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Cli;
use crate::ending::{Ending, Failed};
use crate::output::Output;

/// Writes the man page of `sio`, or of one of its commands.
pub(crate) fn man(page: Option<&str>, out: &mut Output) -> Result<Ending, Failed> {
    let mut command = Cli::command();
    command.build();
    let command = match page {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name);
            let found = found.ok_or_else(|| Failed::Usage(format!("there is no command {name}")))?;
            found.clone()
        }
    };
    let mut text = Vec::new();
    let title = page.map_or_else(|| "sio".to_owned(), |page| format!("sio-{page}"));
    Man::new(command).title(title).render(&mut text)?;
    out.line(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Ending::Good)
}

/// Writes the completions for a shell.
pub(crate) fn completions(shell: Shell, out: &mut Output) -> Result<Ending, Failed> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sio", &mut text);
    out.line(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Ending::Good)
}
