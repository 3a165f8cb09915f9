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
use std::time::{Duration, Instant};

/// How many seeds are run if nobody says how many.
const SEEDS: &str = "1000";

/// How many seeds a planted bug may live.
const MOST_SEEDS: &str = "10000";

/// How long a planted bug is looked for.
const LIMIT: Duration = Duration::from_secs(600);

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
    let limit = match arguments.take("--limit") {
        Some(seconds) => Duration::from_secs(seconds.parse().when("--limit")?),
        None => LIMIT,
    };
    let mut words = Vec::new();
    for name in PASSED_ON {
        if let Some(value) = arguments.take(name) {
            words.extend([(*name).to_owned(), value]);
        }
    }
    arguments.finish()?;
    if planted {
        return find_planted(tree, seeds.as_deref().unwrap_or(MOST_SEEDS), limit, &only);
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

/// Builds the simulator of a copy of the tree. Only a line has changed since the last build, so it
/// is built anew in parts, and with few optimizations.
fn build_copy(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--quiet", "--profile", "sim", "-p", "sio-sim"]);
    quicken(&mut command, target);
    execute(&mut command)?;
    Ok(target.join("sim").join("sio-sim"))
}

fn quicken(command: &mut Command, target: &Path) {
    command.env("CARGO_TARGET_DIR", target);
    command.env("CARGO_PROFILE_SIM_INCREMENTAL", "true");
    command.env("CARGO_PROFILE_SIM_CODEGEN_UNITS", "64");
    command.env("CARGO_PROFILE_SIM_OPT_LEVEL", "1");
}

/// All patches, by their names.
fn patches(tree: &Workspace) -> Outcome<Vec<PathBuf>> {
    let mut patches: Vec<PathBuf> = fs::read_dir(tree.root.join(PATCHES))
        .when(PATCHES)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "patch"))
        .collect();
    patches.sort();
    Ok(patches)
}

/// A command that applies a patch to the tree in this folder.
fn applying(patch: &Path, root: &Path) -> Command {
    let mut command = Command::new("patch");
    command.args(["--quiet", "--force", "-p1", "--input"]);
    command.arg(patch).current_dir(root).stdin(Stdio::null());
    command
}

/// Checks that all patches still fit the tree, without changing it.
pub(crate) fn check_patches(tree: &Workspace) -> Outcome {
    let patches = patches(tree)?;
    let mut bad = Vec::new();
    for patch in &patches {
        let tried = applying(patch, &tree.root).arg("--dry-run").output().when("patch")?;
        if !tried.status.success() {
            bad.push(name_of(patch));
        }
    }
    if bad.is_empty() && !patches.is_empty() {
        println!("{} patches fit the tree", patches.len());
        return Ok(());
    }
    Err(Failure::new(format!(
        "these patches of {PATCHES} do not fit the tree any more, make them anew: {}",
        bad.join(", ")
    )))
}

/// What has become of a planted bug.
struct Hunt {
    name: String,
    /// The line that names the seed and the promise by which it was found.
    found: Option<String>,
}

fn find_planted(tree: &Workspace, seeds: &str, limit: Duration, only: &[String]) -> Outcome {
    let mut patches = patches(tree)?;
    patches.retain(|path| only.is_empty() || only.iter().any(|word| name_of(path).contains(word.as_str())));
    let (copy, target) = (tree.target.join("planted"), tree.target.join("planted-target"));
    let mut hunts = Vec::new();
    for patch in &patches {
        let start = Instant::now();
        copy_tree(tree, &copy)?;
        if !applying(patch, &copy).status().when("patch")?.success() {
            return Err(Failure::new(format!(
                "{} does not fit the tree any more",
                patch.display()
            )));
        }
        let words = fs::read_to_string(patch).when(patch.display())?;
        let command = match words.contains("+++ b/sio-app/") {
            true => application(&copy, &target, seeds),
            false => {
                let mut command = Command::new(build_copy(&copy, &target)?);
                command.args(["--seeds", seeds, "--shrink", "0"]);
                command
            }
        };
        let found = hunt(command, limit)?;
        let name = name_of(patch);
        let shown = found.as_deref().unwrap_or("NOT FOUND");
        println!("{name:<44} {:>4.0} s  {shown}", start.elapsed().as_secs_f32());
        hunts.push(Hunt { name, found });
    }
    println!("\n| planted bug | promise | seed |\n|---|---|---|");
    for hunt in &hunts {
        let (promise, seed) = hunt.found.as_deref().and_then(parts).unwrap_or(("nothing", ""));
        println!("| {} | {promise} | {seed} |", hunt.name);
    }
    let found = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    println!("{found} of {} planted bugs found", hunts.len());
    match found == hunts.len() {
        true => Ok(()),
        false => Err(Failure::new("a planted bug was not found")),
    }
}

/// The promise and the seed of `seed N: promise N (Name): words`.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(": promise ")?;
    Some((rest.split_once(':')?.0, seed))
}

/// The seeds of the application, for a bug of `sio-app`.
fn application(root: &Path, target: &Path, seeds: &str) -> Command {
    let mut command = cargo(root);
    command.args([
        "test",
        "--quiet",
        "--profile",
        "sim",
        "-p",
        "sio-sim",
        "--test",
        "application",
    ]);
    command.env("SIO_APPLICATION_SEEDS", seeds);
    quicken(&mut command, target);
    command
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Runs a simulator until it finds something, or the time is over. The first line of a failure is
/// `seed N: promise N (Name): words`.
fn hunt(mut command: Command, limit: Duration) -> Outcome<Option<String>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let streams = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = streams.spawn().when(&name)?;
    let begun = Instant::now();
    while child.try_wait().when(&name)?.is_none() {
        if begun.elapsed() > limit {
            child.kill().when(&name)?;
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().when(&name)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let found = text.lines().find(|line| line.starts_with("seed "));
    Ok(found.map(|line| line.chars().take(110).collect()))
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
