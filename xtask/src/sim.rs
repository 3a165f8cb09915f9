//! `cargo xtask sim`: the simulator (`docs/simulator.md`).
//!
//! The program `sio-sim` does the work: it is built with a profile of its own, which has all
//! assertions and is built in seconds. So this program does not depend on `sio-proto`.
//!
//! With `--planted`, each patch in `sim/planted` is applied to a copy of the tree, one at a time,
//! and the simulator has to find the bug that it plants, by the promise that the patch names. The
//! seed that has found it has to hold without the patch.

mod quick;

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

/// In how many seeds the quick form looks for a bug, and for how long.
const QUICK: (&str, Duration) = ("200", Duration::from_secs(120));

/// How much the simulator of a planted bug is optimized. The quick form looks at few seeds, so it
/// is not: its build takes most of the time.
const LEVELS: (&str, &str) = ("1", "0");

/// The line of a patch that names the promise which has to catch its bug, as the simulator prints
/// it: `promise: 9 (Upgrade)`. It stands in front of the patch, where it is not part of it.
const PROMISE: &str = "promise: ";

/// The promises of the simulator, by their numbers (`sim/src/violation.rs`).
const PROMISES: &[&str] = &[
    "Order",
    "Recovery",
    "Acknowledgement",
    "Broadcast",
    "Disconnect",
    "Leftover",
    "Price",
    "Heartbeat",
    "Upgrade",
    "Liveness",
    "Conduct",
    "Admission",
    "Release",
];

/// The arguments that are passed on to the simulator.
const PASSED_ON: &[&str] = &[
    "--from",
    "--stop-after",
    "--promise",
    "--trace",
    "--shrink",
    "--clients",
    "--ops",
    "--skip",
    "--without",
];

pub(crate) fn run(tree: &Workspace, mut arguments: Arguments) -> Outcome {
    let mut only = arguments.take_list("--only");
    let planted = arguments.take("--planted").is_some();
    let is_quick = arguments.take("--quick").is_some();
    let seeds = arguments.take("--seeds");
    let limit = match arguments.take("--limit") {
        Some(seconds) => Duration::from_secs(seconds.parse().when("--limit")?),
        None if is_quick => QUICK.1,
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
        let (most, level) = match is_quick {
            true => (QUICK.0, LEVELS.1),
            false => (MOST_SEEDS, LEVELS.0),
        };
        if is_quick && only.is_empty() {
            only.extend(quick::choose(tree, &patches(tree)?)?);
        }
        return find_planted(tree, seeds.as_deref().unwrap_or(most), limit, &only, level);
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
fn build_copy(root: &Path, target: &Path, level: &str) -> Outcome<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--quiet", "--profile", "sim", "-p", "sio-sim"]);
    quicken(&mut command, target, level);
    execute(&mut command)?;
    Ok(target.join("sim").join("sio-sim"))
}

fn quicken(command: &mut Command, target: &Path, level: &str) {
    command.env("CARGO_TARGET_DIR", target);
    command.env("CARGO_PROFILE_SIM_INCREMENTAL", "true");
    command.env("CARGO_PROFILE_SIM_CODEGEN_UNITS", "64");
    command.env("CARGO_PROFILE_SIM_OPT_LEVEL", level);
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

/// The number and the name of the promise that has to catch the bug of a patch.
fn promise_of(patch: &str) -> Option<(u8, &str)> {
    let promise = patch.lines().next()?.strip_prefix(PROMISE)?;
    let (number, name) = promise.strip_suffix(')')?.split_once(" (")?;
    let number: u8 = number.parse().ok()?;
    let known = PROMISES.get(usize::from(number).checked_sub(1)?)?;
    (*known == name).then_some((number, promise))
}

/// Checks that all patches still fit the tree, without changing it, and name their promise.
pub(crate) fn check_patches(tree: &Workspace) -> Outcome {
    let patches = patches(tree)?;
    let (mut bad, mut nameless) = (Vec::new(), Vec::new());
    for patch in &patches {
        let tried = applying(patch, &tree.root).arg("--dry-run").output().when("patch")?;
        if !tried.status.success() {
            bad.push(name_of(patch));
        }
        if promise_of(&fs::read_to_string(patch).when(patch.display())?).is_none() {
            nameless.push(name_of(patch));
        }
    }
    if !nameless.is_empty() {
        return Err(Failure::new(format!(
            "the first line of these patches of {PATCHES} does not name the promise that has to catch the bug, as in \
             `{PROMISE}9 (Upgrade)`: {}",
            nameless.join(", ")
        )));
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

/// A simulator that runs. It ends at the latest when nobody waits for it any more, also if the
/// search ends early because another bug cannot be built.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A planted bug that is looked for.
struct Hunt {
    name: String,
    /// The promise that has to catch it.
    promise: String,
    is_of_application: bool,
    child: Running,
    /// What the simulator writes.
    log: PathBuf,
    built_in: Duration,
    begun: Instant,
}

/// What has become of a planted bug.
struct Found {
    name: String,
    /// The promise that has to catch it.
    promise: String,
    /// The promises and seeds by which it was found: the first one, and the first one of its
    /// promise if this is another.
    by: Vec<(String, String)>,
    /// Whether it is a bug of `sio-app`.
    is_of_application: bool,
    /// Whether its seed also breaks a promise without the patch, so that nothing is found by it.
    breaks_without: bool,
}

impl Found {
    /// The seed at which the promise that has to catch the bug was broken.
    fn seed(&self) -> Option<&str> {
        let found = self.by.iter().find(|(promise, _)| *promise == self.promise);
        found.map(|(_, seed)| seed.as_str())
    }

    /// Whether the bug was found by its promise, with a seed that holds without it.
    fn is_caught(&self) -> bool {
        self.seed().is_some() && !self.breaks_without
    }

    /// A row of the table.
    fn row(&self) -> String {
        let (name, promise) = (&self.name, &self.promise);
        if let Some(seed) = self.seed().filter(|_| self.breaks_without) {
            return format!("| {name} | not {promise} | {seed} | ALSO BROKEN WITHOUT THE PATCH |");
        }
        match (self.seed(), self.by.first()) {
            (Some(seed), Some((first, _))) if first == promise => format!("| {name} | {promise} | {seed} | |"),
            (Some(seed), Some((first, at))) => format!("| {name} | {promise} | {seed} | {first}: {at} |"),
            (_, Some((other, at))) => format!("| {name} | not {promise} | | CAUGHT BY ANOTHER, {other}: {at} |"),
            (_, None) => format!("| {name} | not {promise} | | NOT FOUND |"),
        }
    }
}

/// Each patch is built behind the other, because they share what does not differ. Meanwhile the
/// programs that are built already look for their bugs, one on each processor.
fn find_planted(tree: &Workspace, seeds: &str, limit: Duration, only: &[String], level: &str) -> Outcome {
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
        let Some((number, promise)) = promise_of(&words) else {
            return Err(Failure::new(format!("{name} does not name its promise")));
        };
        let is_of_application = words.contains("+++ b/sio-app/");
        let built = match is_of_application {
            true => build_application(&copy, &target, level)?,
            false => build_copy(&copy, &target, level)?,
        };
        // The next build must not replace a program that runs.
        let program = hunting.join(&name);
        fs::copy(&built, &program).when(built.display())?;
        let mut command = Command::new(program);
        match is_of_application {
            true => command
                .args(["--nocapture"])
                .env("SIO_APPLICATION_SEEDS", seeds)
                .env("SIO_APPLICATION_PROMISE", number.to_string()),
            false => command.args(["--seeds", seeds, "--shrink", "0", "--promise", &number.to_string()]),
        };
        while hunts.len() >= most {
            collect(&mut hunts, &mut found, limit)?;
        }
        let log = hunting.join(format!("{name}.log"));
        let file = fs::File::create(&log).when(log.display())?;
        let errors = file.try_clone().when(log.display())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        hunts.push(Hunt {
            child: Running(command.spawn().when(&name)?),
            name,
            promise: promise.to_owned(),
            is_of_application,
            log,
            built_in: start.elapsed(),
            begun: Instant::now(),
        });
    }
    while !hunts.is_empty() {
        collect(&mut hunts, &mut found, limit)?;
    }
    copy_tree(tree, &copy)?;
    look_without(&copy, &target, level, &mut found)?;
    found.sort_by(|one: &Found, other| one.name.cmp(&other.name));
    println!("\n| planted bug | promise | seed | found before by |\n|---|---|---|---|");
    found.iter().for_each(|found| println!("{}", found.row()));
    let all = found.len();
    let caught = found.iter().filter(|found| found.is_caught()).count();
    let others = found
        .iter()
        .filter(|found| found.seed().is_none() && !found.by.is_empty());
    let others = others.count();
    println!("{caught} of {all} planted bugs found by their promise, {others} by another one only");
    match caught == all && all > 0 {
        true => Ok(()),
        false => Err(Failure::new(
            "a planted bug was not found by the promise that it has to break",
        )),
    }
}

/// Runs the seeds that have found bugs once more, without any patch. A seed that breaks a promise
/// there, too, has found nothing.
fn look_without(copy: &Path, target: &Path, level: &str, found: &mut [Found]) -> Outcome {
    for is_of_application in [false, true] {
        let these = found
            .iter_mut()
            .filter(|found| found.is_of_application == is_of_application);
        let mut these = these.filter(|found| found.seed().is_some()).peekable();
        if these.peek().is_none() {
            continue;
        }
        let program = match is_of_application {
            true => build_application(copy, target, level)?,
            false => build_copy(copy, target, level)?,
        };
        for found in these {
            let seed = found.seed().unwrap_or_default().to_owned();
            let mut command = Command::new(&program);
            match is_of_application {
                true => command
                    .env("SIO_APPLICATION_FROM", seed)
                    .env("SIO_APPLICATION_SEEDS", "1"),
                false => command.args(["--from", &seed, "--seeds", "1", "--shrink", "0"]),
            };
            let ran = command.stdin(Stdio::null()).output().when(program.display())?;
            found.breaks_without = !ran.status.success();
        }
    }
    Ok(())
}

/// Waits a moment, and takes out the hunts that have ended, or whose time is over. The first line
/// of a failure is `seed N: promise N (Name): words`.
fn collect(hunts: &mut Vec<Hunt>, found: &mut Vec<Found>, limit: Duration) -> Outcome {
    std::thread::sleep(Duration::from_millis(50));
    for mut hunt in std::mem::take(hunts) {
        let is_over = hunt.begun.elapsed() > limit;
        let status = match hunt.child.0.try_wait().when(&hunt.name)? {
            Some(status) => status,
            None if is_over => {
                hunt.child.0.kill().when(&hunt.name)?;
                hunt.child.0.wait().when(&hunt.name)?
            }
            None => {
                hunts.push(hunt);
                continue;
            }
        };
        let text = fs::read(&hunt.log).when(hunt.log.display())?;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.starts_with("seed "));
        let by = lines.clone().filter_map(parts);
        let by = by.map(|(promise, seed)| (promise.to_owned(), seed.to_owned()));
        let words = lines.map(|line| line.chars().take(110).collect::<String>());
        let words = words.collect::<Vec<_>>().join("; ");
        println!(
            "{:<44} built in {:>3.0} s, run for {:>3.0} s  {}",
            hunt.name,
            hunt.built_in.as_secs_f32(),
            hunt.begun.elapsed().as_secs_f32(),
            // A simulator that crashes has found nothing, and it is the patch that is wrong.
            if words.is_empty() {
                format!("NOT FOUND, {status}")
            } else {
                words
            }
        );
        found.push(Found {
            name: hunt.name,
            promise: hunt.promise,
            by: by.collect(),
            is_of_application: hunt.is_of_application,
            breaks_without: false,
        });
    }
    Ok(())
}

/// The promise and the seed of `seed N: promise N (Name): words`.
fn parts(line: &str) -> Option<(&str, &str)> {
    let (seed, rest) = line.strip_prefix("seed ")?.split_once(": promise ")?;
    Some((rest.split_once(':')?.0, seed))
}

/// Builds the seeds of the application, for a bug of `sio-app`.
fn build_application(root: &Path, target: &Path, level: &str) -> Outcome<PathBuf> {
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
    quicken(&mut command, target, level);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_its_promise_in_its_first_line() {
        let patch = "promise: 12 (Admission)\n--- a/x.rs\n+++ b/x.rs\n";
        assert_eq!(promise_of(patch), Some((12, "12 (Admission)")));
        for wrong in [
            "--- a/x.rs\npromise: 12 (Admission)\n",
            "promise: 12\n",
            "promise: 12 ()\n",
            "promise: 300 (Admission)\n",
            "promise: 0 (Admission)\n",
            "promise: 14 (Admission)\n",
            "promise: 9 (Heartbeat)\n",
            "promise: Admission (12)\n",
            "",
        ] {
            assert_eq!(promise_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_simulator_ends_with_the_search_for_it() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = PathBuf::from(format!("/proc/{}", child.id()));
        let running = Running(child);
        assert!(process.exists());
        drop(running);
        assert!(!process.exists());
    }

    #[test]
    fn only_its_own_promise_catches_a_bug() {
        let found = |by: &[&str]| Found {
            name: "a".to_owned(),
            promise: "9 (Upgrade)".to_owned(),
            by: by
                .iter()
                .filter_map(|line| parts(line))
                .map(|(promise, seed)| (promise.to_owned(), seed.to_owned()))
                .collect(),
            is_of_application: false,
            breaks_without: false,
        };
        let (own, other) = (
            "seed 7: promise 9 (Upgrade): words",
            "seed 3: promise 3 (Acknowledgement): words",
        );
        assert_eq!(found(&[own]).seed(), Some("7"));
        assert_eq!(found(&[own]).row(), "| a | 9 (Upgrade) | 7 | |");
        let mut broken = found(&[own]);
        assert!(broken.is_caught());
        broken.breaks_without = true;
        assert!(!broken.is_caught() && broken.row().contains("ALSO BROKEN WITHOUT"));
        assert_eq!(found(&[other, own]).seed(), Some("7"));
        assert_eq!(
            found(&[other, own]).row(),
            "| a | 9 (Upgrade) | 7 | 3 (Acknowledgement): 3 |"
        );
        assert_eq!(found(&[other]).seed(), None);
        assert!(found(&[other]).row().contains("CAUGHT BY ANOTHER"));
        assert_eq!(found(&[]).seed(), None);
        assert!(found(&[]).row().contains("NOT FOUND"));
    }
}
