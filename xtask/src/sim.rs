//! `cargo xtask sim`: the simulator (`docs/simulator.md`).
//!
//! The program `sio-sim` does the work: it is built with a profile of its own, which has all
//! assertions and is built in seconds. So this program does not depend on `sio-proto`.
//!
//! With `--planted`, each patch in `sim/planted` is applied to a copy of the tree, one at a time,
//! and the simulator has to find the bug that it plants.

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, run as execute};
use crate::workspace::Workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// How many seeds are run if nobody says how many.
const SEEDS: &str = "1000";

/// How many seeds a planted bug may live.
const MOST_SEEDS: &str = "10000";

const PATCHES: &str = "sim/planted";

/// The arguments that are passed on to the simulator.
const PASSED_ON: &[&str] = &[
    "--from",
    "--stop-after",
    "--trace",
    "--shrink",
    "--clients",
    "--ops",
    "--skip",
    "--without",
];

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let only = arguments.take_list("--only");
    let planted = arguments.take("--planted").is_some();
    let seeds = arguments.take("--seeds");
    let mut words = Vec::new();
    for name in PASSED_ON {
        if let Some(value) = arguments.take(name) {
            words.extend([(*name).to_owned(), value]);
        }
    }
    arguments.finish()?;
    if planted {
        return find_planted(tree, seeds.as_deref().unwrap_or(MOST_SEEDS), &only);
    }
    let program = build(&tree.root, &tree.target)?;
    let seeds = seeds.unwrap_or_else(|| SEEDS.to_owned());
    execute(Command::new(program).args(["--seeds", &seeds]).args(words))
}

/// Builds the simulator of a tree.
fn build(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--quiet", "--profile", "sim", "-p", "sio-sim"]);
    execute(command.env("CARGO_TARGET_DIR", target))?;
    Ok(target.join("sim").join("sio-sim"))
}

/// Builds the simulator of a copy of the tree. Only a line has changed since the last build, and
/// few seeds are run: so it is built anew in parts, and without optimizations.
fn build_copy(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--quiet", "--profile", "sim", "-p", "sio-sim"]);
    command.env("CARGO_TARGET_DIR", target);
    command.env("CARGO_PROFILE_SIM_INCREMENTAL", "true");
    command.env("CARGO_PROFILE_SIM_OPT_LEVEL", "0");
    execute(&mut command)?;
    Ok(target.join("sim").join("sio-sim"))
}

/// What has become of a planted bug.
struct Hunt {
    name: String,
    /// The seed and the promise by which it was found.
    found: Option<String>,
}

fn find_planted(tree: &Workspace, seeds: &str, only: &[String]) -> Outcome {
    let mut patches: Vec<PathBuf> = fs::read_dir(tree.root.join(PATCHES))
        .when(PATCHES)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .collect();
    patches.sort();
    patches.retain(|path| only.is_empty() || only.iter().any(|word| name_of(path).contains(word.as_str())));
    let copy = tree.target.join("planted");
    let mut hunts = Vec::new();
    for patch in &patches {
        let start = Instant::now();
        copy_tree(tree, &copy)?;
        let applied = Command::new("patch")
            .args(["--quiet", "-p1", "--input"])
            .arg(patch)
            .current_dir(&copy)
            .stdin(Stdio::null())
            .status()
            .when("patch")?;
        if !applied.success() {
            return Err(Failure::new(format!(
                "{} does not fit the tree any more",
                patch.display()
            )));
        }
        let program = build_copy(&copy, &tree.target.join("planted-target"))?;
        let hunt = hunt(&program, &name_of(patch), seeds)?;
        let found = hunt.found.as_deref().unwrap_or("NOT FOUND");
        println!("{:<42} {:>4.0} s  {found}", hunt.name, start.elapsed().as_secs_f32());
        hunts.push(hunt);
    }
    println!("\n| planted bug | found by |\n|---|---|");
    for hunt in &hunts {
        println!("| {} | {} |", hunt.name, hunt.found.as_deref().unwrap_or("nothing"));
    }
    let found = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    println!("{found} of {} planted bugs found", hunts.len());
    match found == hunts.len() {
        true => Ok(()),
        false => Err(Failure::new("a planted bug was not found")),
    }
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs the simulator until it finds something.
fn hunt(program: &Path, name: &str, seeds: &str) -> Outcome<Hunt> {
    let output = Command::new(program)
        .args(["--seeds", seeds, "--shrink", "0"])
        .stdin(Stdio::null())
        .output()
        .when(program.display())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The first line of a failure is `seed N: promise N (Name): words`.
    let found = text.lines().find(|line| line.starts_with("seed "));
    Ok(Hunt {
        name: name.to_owned(),
        found: found.map(|line| line.chars().take(110).collect()),
    })
}

/// Copies the files of git into a folder, without changing files that are equal, so that Cargo
/// builds again only what differs.
fn copy_tree(tree: &Workspace, copy: &Path) -> Outcome {
    for file in tree.files()? {
        let (from, to) = (tree.root.join(&file), copy.join(&file));
        let bytes = fs::read(&from).when(from.display())?;
        if fs::read(&to).is_ok_and(|known| known == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).when(folder.display())?;
        }
        fs::write(&to, bytes).when(to.display())?;
    }
    Ok(())
}
