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
use std::process::{Child, Command, Stdio};
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

/// A planted bug that is looked for.
struct Hunt {
    name: String,
    child: Child,
    /// What the simulator writes.
    log: PathBuf,
    built_in: Duration,
    begun: Instant,
}

/// What has become of a planted bug.
struct Found {
    name: String,
    /// The line that names the seed and the promise by which it was found.
    line: Option<String>,
}

/// Each patch is built behind the other, because they share what does not differ. Meanwhile the
/// programs that are built already look for their bugs, one on each processor.
fn find_planted(tree: &Workspace, seeds: &str, limit: Duration, only: &[String]) -> Outcome {
    let mut patches = patches(tree)?;
    patches.retain(|path| only.is_empty() || only.iter().any(|word| name_of(path).contains(word.as_str())));
    let (copy, target) = (tree.target.join("planted"), tree.target.join("planted-target"));
    let hunting = target.join("hunts");
    fs::create_dir_all(&hunting).when(hunting.display())?;
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut hunts, mut found) = (Vec::new(), Vec::new());
    for patch in &patches {
        let start = Instant::now();
        copy_tree(tree, &copy)?;
        if !applying(patch, &copy).status().when("patch")?.success() {
            return Err(Failure::new(format!(
                "{} does not fit the tree any more",
                patch.display()
            )));
        }
        let (name, words) = (name_of(patch), fs::read_to_string(patch).when(patch.display())?);
        let is_of_application = words.contains("+++ b/sio-app/");
        let built = match is_of_application {
            true => build_application(&copy, &target)?,
            false => build_copy(&copy, &target)?,
        };
        // The next build must not replace a program that runs.
        let program = hunting.join(&name);
        fs::copy(&built, &program).when(built.display())?;
        let mut command = Command::new(program);
        match is_of_application {
            true => command.env("SIO_APPLICATION_SEEDS", seeds),
            false => command.args(["--seeds", seeds, "--shrink", "0"]),
        };
        while hunts.len() >= most {
            collect(&mut hunts, &mut found, limit)?;
        }
        let log = hunting.join(format!("{name}.log"));
        let file = fs::File::create(&log).when(log.display())?;
        let errors = file.try_clone().when(log.display())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        hunts.push(Hunt {
            child: command.spawn().when(&name)?,
            name,
            log,
            built_in: start.elapsed(),
            begun: Instant::now(),
        });
    }
    while !hunts.is_empty() {
        collect(&mut hunts, &mut found, limit)?;
    }
    found.sort_by(|one: &Found, other| one.name.cmp(&other.name));
    println!("\n| planted bug | promise | seed |\n|---|---|---|");
    for Found { name, line } in &found {
        let (promise, seed) = line.as_deref().and_then(parts).unwrap_or(("nothing", ""));
        println!("| {name} | {promise} | {seed} |");
    }
    let all = found.len();
    let known = found.iter().filter(|found| found.line.is_some()).count();
    println!("{known} of {all} planted bugs found");
    match known == all {
        true => Ok(()),
        false => Err(Failure::new("a planted bug was not found")),
    }
}

/// Waits a moment, and takes out the hunts that have ended, or whose time is over. The first line
/// of a failure is `seed N: promise N (Name): words`.
fn collect(hunts: &mut Vec<Hunt>, found: &mut Vec<Found>, limit: Duration) -> Outcome {
    std::thread::sleep(Duration::from_millis(50));
    for mut hunt in std::mem::take(hunts) {
        let is_over = hunt.begun.elapsed() > limit;
        let status = match hunt.child.try_wait().when(&hunt.name)? {
            Some(status) => status,
            None if is_over => {
                hunt.child.kill().when(&hunt.name)?;
                hunt.child.wait().when(&hunt.name)?
            }
            None => {
                hunts.push(hunt);
                continue;
            }
        };
        let text = fs::read(&hunt.log).when(hunt.log.display())?;
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.starts_with("seed "));
        let line = line.map(|line| line.chars().take(110).collect::<String>());
        println!(
            "{:<44} built in {:>3.0} s, run for {:>3.0} s  {}",
            hunt.name,
            hunt.built_in.as_secs_f32(),
            hunt.begun.elapsed().as_secs_f32(),
            // A simulator that crashes has found nothing, and it is the patch that is wrong.
            line.clone().unwrap_or_else(|| format!("NOT FOUND, {status}"))
        );
        let name = hunt.name;
        found.push(Found { name, line });
    }
    Ok(())
}

/// The promise and the seed of `seed N: promise N (Name): words`.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(": promise ")?;
    Some((rest.split_once(':')?.0, seed))
}

/// Builds the seeds of the application, for a bug of `sio-app`.
fn build_application(root: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut command = cargo(root);
    command.args([
        "test",
        "--no-run",
        "--profile",
        "sim",
        "-p",
        "sio-sim",
        "--test",
        "application",
    ]);
    quicken(&mut command, target);
    let built = command.stdin(Stdio::null()).output().when("cargo test")?;
    // `  Executable tests/application.rs (/target/sim/deps/application-0123456789abcdef)`
    let words = String::from_utf8_lossy(&built.stderr);
    let line = words.lines().find(|line| line.trim_start().starts_with("Executable "));
    let path = line.and_then(|line| Some(line.split_once('(')?.1.trim_end().trim_end_matches(')')));
    match path.filter(|_| built.status.success()) {
        Some(path) => Ok(root.join(path)),
        None => Err(Failure::new(format!(
            "the seeds of the application are not built:\n{words}"
        ))),
    }
}

fn name_of(patch: &Path) -> String {
    patch.file_stem().unwrap_or_default().to_string_lossy().into_owned()
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
