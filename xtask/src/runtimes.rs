//! The runtimes that can drive the servers under test, and the programs that are built for them.

use crate::arguments::assert_known;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{build_examples, output};
use crate::workspace::Workspace;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const SERVER: &str = "conformance-server";
const PROBE: &str = "sioc-probe";

/// One way to run a server.
#[derive(Debug, PartialEq)]
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    /// The server's own name for the runtime.
    pub(crate) word: &'static str,
    /// The runtime of our client in suites that have both.
    pub(crate) client: &'static str,
    /// The program that serves the chat on this runtime, if there is one.
    chat: Option<&'static str>,
    /// Set if the runtime is chosen when the server is built: the name in the text of `--help`.
    built_in: Option<&'static str>,
    /// Suites that cannot run on this runtime, and why. Each run says that they are left out.
    pub(crate) without: &'static [(&'static str, &'static str)],
}

/// The suite `tls` runs only once.
const TLS: (&str, &str) = ("tls", "it has a program of its own, which is on two runtimes at once");
/// The suite `client` runs once for each runtime of our client.
const CLIENT: (&str, &str) = ("client", "it has servers of its own");
/// An event loop of one's own cannot be in a cluster.
const CLUSTER: (&str, &str) = ("cluster", "the event loop opens no connections, so it has no broker");
const ANYWHERE: (&str, &str) = (
    "cluster-anywhere",
    "requests are passed on by servers that own their connections and have a broker",
);

const RUNTIMES: &[Runtime] = &[
    Runtime {
        name: "tokio",
        word: "tokio",
        client: "tokio",
        chat: Some("chat"),
        built_in: None,
        without: &[],
    },
    Runtime {
        name: "axum",
        word: "axum",
        client: "tokio",
        chat: None,
        built_in: None,
        without: &[
            ("hixie", "hyper cannot read handshakes of 2010"),
            (
                "streams",
                "hyper writes chunks of its own; the genuine clients in `htmlfile` stay",
            ),
            TLS,
            CLIENT,
            ANYWHERE,
        ],
    },
    Runtime {
        name: "loop",
        word: "loop",
        client: "tokio",
        chat: Some("own-event-loop"),
        built_in: None,
        without: &[TLS, CLIENT, CLUSTER, ANYWHERE],
    },
    Runtime {
        name: "async-std",
        word: "async-std",
        client: "async-std",
        chat: None,
        built_in: None,
        without: &[TLS],
    },
    Runtime {
        name: "smol",
        word: "async-std",
        client: "async-std",
        chat: None,
        built_in: Some("smol"),
        without: &[TLS],
    },
];

/// Returns the runtimes with these names. `all` means all runtimes, and no name means the first.
pub(crate) fn chosen(names: &[String]) -> Outcome<Vec<&'static Runtime>> {
    if names == ["all"] {
        return Ok(RUNTIMES.iter().collect());
    }
    let known: Vec<&str> = RUNTIMES.iter().map(|runtime| runtime.name).collect();
    assert_known("runtime", names, &known)?;
    let default = |runtime: &Runtime| names.is_empty() && runtime.name == known[0];
    Ok(RUNTIMES
        .iter()
        .filter(|runtime| default(runtime) || names.iter().any(|name| name == runtime.name))
        .collect())
}

impl Runtime {
    /// Builds the conformance server for this runtime. It counts the bytes that it has from its
    /// allocator: what it has of the system is never given back to the last byte.
    pub(crate) fn build_server(&self, tree: &Workspace) -> Outcome<PathBuf> {
        let built = self.build(tree, SERVER, &["counted-memory"])?;
        let Some(feature) = self.built_in else {
            return Ok(built);
        };
        let help = output(Command::new(&built).arg("--help"))?;
        if help.contains(&format!("built into this program is {feature}\n")) {
            Ok(built)
        } else {
            Err(Failure::new(format!(
                "{SERVER} was to be built for {feature}, and says:\n{help}"
            )))
        }
    }

    /// Builds our client for this runtime.
    pub(crate) fn build_probe(&self, tree: &Workspace) -> Outcome<PathBuf> {
        self.build(tree, PROBE, &[])
    }

    fn build(&self, tree: &Workspace, program: &str, features: &[&str]) -> Outcome<PathBuf> {
        let named = [self.built_in.as_slice(), features].concat().join(",");
        let chosen = ["--features", &named];
        let Some(feature) = self.built_in else {
            return build(tree, program, if named.is_empty() { &[] } else { &chosen });
        };
        let built = build(tree, program, &["--no-default-features", chosen[0], chosen[1]])?;
        // The next build would replace the program.
        let kept = built.with_file_name(format!("{program}-{feature}"));
        fs::copy(&built, &kept).when(kept.display())?;
        Ok(kept)
    }

    /// Builds the chat for this runtime. Returns `None` if the runtime has none.
    pub(crate) fn build_chat(&self, tree: &Workspace) -> Outcome<Option<PathBuf>> {
        self.chat.map(|program| build(tree, program, &[])).transpose()
    }
}

/// Builds a program of the examples with these features.
pub(crate) fn build(tree: &Workspace, program: &str, features: &[&str]) -> Outcome<PathBuf> {
    build_examples(tree, &[program], features)?;
    Ok(tree.target.join("release").join(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_runtimes() {
        let pick = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            chosen(&names).map(|found| found.iter().map(|runtime| runtime.name).collect::<Vec<_>>())
        };
        assert_eq!(pick(&[]).ok().unwrap(), ["tokio"]);
        assert_eq!(pick(&["smol", "loop"]).ok().unwrap(), ["loop", "smol"]);
        assert_eq!(pick(&["all"]).ok().unwrap().len(), RUNTIMES.len());
        assert!(pick(&["glib"]).is_err());
    }
}
