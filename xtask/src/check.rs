//! `cargo xtask check`: all checks of the tree that need nothing but Rust.

use crate::arguments::{Arguments, assert_known};
use crate::failure::{Failure, Outcome};
use crate::programs::{cargo, output, run as execute};
use crate::workspace::Workspace;
use crate::{dependencies, floors, hardening, mutants, sim, tidy};
use std::process::Command;
use std::time::Instant;

type Step = (&'static str, fn(&Workspace) -> Outcome);

/// The packages as users build them without any feature. In a build of the whole workspace they
/// would get the features that the examples need.
const PLAIN: &[&str] = &["-p", "sio-app", "-p", "sio-tokio", "-p", "sio-async-std"];

/// The adapter whose features choose a runtime, with the runtime that is not the default, and no
/// other.
const SMOL: &[&str] = &["-p", "sio-async-std", "--no-default-features", "--features", "smol"];

/// The quick steps come first, so that a mistake shows early.
const STEPS: &[Step] = &[
    ("tidy", tidy::run),
    ("hardening", hardening::run),
    ("dependencies", dependencies::run),
    ("floors", floors::run),
    ("planted", sim::check_patches),
    ("format", |tree| {
        execute(cargo(&tree.root).args(["fmt", "--all", "--check"]))
    }),
    ("clippy", |tree| {
        let every = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ];
        execute(cargo(&tree.root).args(every))?;
        let lints = ["--all-targets", "--", "-D", "warnings"];
        execute(cargo(&tree.root).arg("clippy").args(PLAIN).args(lints))?;
        execute(cargo(&tree.root).arg("clippy").args(SMOL).args(lints))
    }),
    ("doc", |tree| {
        execute(
            cargo(&tree.root)
                .args(["doc", "--workspace", "--no-deps", "--all-features"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )
    }),
    ("test", |tree| {
        execute(cargo(&tree.root).args(["test", "--workspace", "--all-features"]))?;
        execute(cargo(&tree.root).arg("test").args(PLAIN))?;
        execute(cargo(&tree.root).arg("test").args(SMOL))
    }),
    ("examples", |tree| {
        execute(cargo(&tree.root).args(["build", "--workspace", "--examples", "--bins"]))
    }),
    ("corpus", corpus),
    ("against", against),
    ("mutants", mutants::check),
    ("bare-metal", bare_metal),
];

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let (only, skip) = (arguments.take_list("--only"), arguments.take_list("--skip"));
    arguments.finish()?;
    let names: Vec<&str> = STEPS.iter().map(|(name, _)| *name).collect();
    assert_known("step", &only, &names)?;
    assert_known("step", &skip, &names)?;

    let mut failed = Vec::new();
    for (name, step) in STEPS {
        if skip.iter().any(|left_out| left_out == name)
            || !(only.is_empty() || only.iter().any(|wanted| wanted == name))
        {
            println!("-- {name}: left out, as asked");
            continue;
        }
        println!("\n== {name}");
        let start = Instant::now();
        let outcome = step(tree);
        let seconds = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("== {name}: good, {seconds:.1} s"),
            Err(failure) => {
                println!("{failure}\n== {name}: FAILED, {seconds:.1} s");
                failed.push(*name);
            }
        }
    }
    if failed.is_empty() {
        println!("\ncheck: all good");
        Ok(())
    } else {
        Err(Failure::new(format!("check failed in: {}", failed.join(", "))))
    }
}

/// Replays the committed fuzz corpus through the fuzz targets, as an ordinary test.
fn corpus(tree: &Workspace) -> Outcome {
    let manifest = tree.root.join("fuzz/Cargo.toml");
    if !manifest.is_file() {
        return Err(Failure::new("fuzz/Cargo.toml is missing: there is no corpus to replay"));
    }
    execute(cargo(&tree.root).args(["test", "--manifest-path", "fuzz/Cargo.toml"]))
}

/// Checks the programs that measure servers against each other. They are a workspace of their own.
/// The load generator and the floor need hardly any dependencies, so they are built and tested; the
/// other server needs tokio and axum, so only its format is checked.
fn against(tree: &Workspace) -> Outcome {
    const MANIFEST: &[&str] = &["--manifest-path", "bench/against/Cargo.toml"];
    const CHEAP: &[&str] = &["--locked", "-p", "against-load", "-p", "against-floor"];
    // What this leaves in a common target folder would not fit the main workspace.
    let folder = tree.target.join("against");
    let own = |name: &str| {
        let mut command = cargo(&tree.root);
        command.arg(name).args(MANIFEST).env("CARGO_TARGET_DIR", &folder);
        command
    };
    execute(own("fmt").args(["--all", "--check"]))?;
    execute(
        own("clippy")
            .args(CHEAP)
            .args(["--all-targets", "--", "-D", "warnings"]),
    )?;
    execute(own("test").args(CHEAP))
}

/// Builds the core for a target without an operating system, on machines where such a target is
/// installed. `#![no_std]` checks the core itself on every machine; this step also checks the
/// crates that the core uses.
fn bare_metal(tree: &Workspace) -> Outcome {
    const TARGETS: &[&str] = &[
        "thumbv7em-none-eabihf",
        "thumbv7em-none-eabi",
        "x86_64-unknown-none",
        "riscv32imac-unknown-none-elf",
    ];
    let sysroot = output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(&tree.root),
    )?;
    let installed = |name: &&&str| {
        std::path::Path::new(sysroot.trim())
            .join("lib/rustlib")
            .join(name)
            .join("lib")
            .is_dir()
    };
    match TARGETS.iter().find(installed) {
        Some(target) => execute(cargo(&tree.root).args(["check", "-p", "sio-proto", "--lib", "--target", target])),
        None => {
            println!(
                "not built: none of {} is installed (rustup target add …)",
                TARGETS.join(", ")
            );
            Ok(())
        }
    }
}
