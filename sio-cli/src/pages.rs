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
    let text = page_of(page)?;
    out.line(text.trim_end())?;
    Ok(Ending::Good)
}

fn page_of(page: Option<&str>) -> Result<String, Failed> {
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
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes the completions for a shell.
pub(crate) fn completions(shell: Shell, out: &mut Output) -> Result<Ending, Failed> {
    let text = completions_for(shell);
    out.line(text.trim_end())?;
    Ok(Ending::Good)
}

fn completions_for(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sio", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page for users.
    const DOCS: &str = include_str!("../../docs/cli.md");

    /// All options, with their commands.
    fn options() -> Vec<(String, String)> {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        for sub in command.get_subcommands() {
            let longs = sub.get_arguments().filter_map(|argument| argument.get_long());
            found.extend(longs.map(|long| (sub.get_name().to_owned(), long.to_owned())));
        }
        assert!(found.len() > 50, "{found:?}");
        found
    }

    /// Whether a text has this word, and not only a longer one that begins with it.
    fn has(text: &str, word: &str) -> bool {
        text.match_indices(word).any(|(at, _)| {
            let rest = &text[at + word.len()..];
            // A man page writes a hyphen as `\-`.
            !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-') && !rest.starts_with("\\-")
        })
    }

    #[test]
    fn the_help_and_the_man_pages_name_every_option() {
        let mut command = Cli::command();
        command.build();
        for (name, option) in options() {
            let sub = command.find_subcommand_mut(&name).unwrap();
            let help = sub.render_long_help().to_string();
            assert!(has(&help, &format!("--{option}")), "sio {name} --help: {option}");
            let page = page_of(Some(&name)).unwrap();
            let escaped = format!("--{option}").replace('-', "\\-");
            assert!(has(&page, &escaped), "sio man {name}: {option}");
            for (what, text) in [("help", &help), ("man page", &page)] {
                let has_codes = text.contains("Exit codes") || ["man", "completions"].contains(&name.as_str());
                assert!(has_codes, "{name}: the {what} has no exit codes");
            }
        }
        let page = page_of(None).unwrap();
        for sub in command.get_subcommands() {
            assert!(page.contains(sub.get_name()), "sio man: {}", sub.get_name());
        }
    }

    #[test]
    fn the_completions_name_every_option_of_each_command() {
        let bash = completions_for(Shell::Bash);
        let zsh = completions_for(Shell::Zsh);
        let fish = completions_for(Shell::Fish);
        for (name, option) in options() {
            let long = format!("--{option}");
            // Each of them has a part for each command.
            let part = between(&bash, &format!("        sio__subcmd__{name})"), ";;");
            assert!(has(part, &long), "bash, {name}: {option} in {part}");
            let part = between(&zsh, &format!("({name})\n_arguments"), ";;");
            assert!(has(part, &long), "zsh, {name}: {option} in {part}");
            let begin = format!("complete -c sio -n \"__fish_sio_using_subcommand {name}\"");
            let mut lines = fish.lines().filter(|line| line.starts_with(&begin));
            assert!(
                lines.any(|line| has(line, &format!("-l {option}"))),
                "fish, {name}: {option}"
            );
        }
    }

    /// The part of a text from here to there.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let Some((_, rest)) = text.split_once(from) else {
            panic!("there is no {from:?}");
        };
        rest.split(to).next().unwrap_or_default()
    }

    #[test]
    fn the_page_for_users_names_every_option() {
        for (name, option) in options() {
            if option != "help" {
                assert!(has(DOCS, &format!("--{option}")), "docs/cli.md, {name}: {option}");
            }
        }
    }
}
