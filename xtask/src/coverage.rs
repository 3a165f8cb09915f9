//! `cargo xtask coverage`: which regions of `sio-proto` the tests reach, by rooms
//! (`docs/PROOF.md`).
//!
//! The tests of `sio-proto` and the replay of the fuzz corpora are built with the instrumentation
//! of rustc, in a target folder of their own, and run once. Then `llvm-profdata` and `llvm-cov`, of
//! the LLVM of rustc, say which regions were reached. A region of a generic function counts once,
//! whichever type has reached it. Tests do not count.

use crate::arguments::Arguments;
use crate::decoding::ROOMS;
use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output, run as execute};
use crate::workspace::Workspace;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SOURCES: &str = "sio-proto/src";

/// The page with the table of the rooms that decode, which has the reasons.
const PAGE: &str = "docs/PROOF.md";

/// How much of its regions a room that decodes has to reach, in tenths of a percent. The page has a
/// reason for each that does not.
const AIM: usize = 950;

/// A region: its file, and where it begins and ends.
type Region = (PathBuf, [u64; 4]);

/// The tests that were built: the arguments that build and run them. The tests have all features
/// but `steps`, which only the simulator has.
const TESTS: [&[&str]; 2] = [
    &["test", "-p", "sio-proto", "--lib", "--tests"],
    &["test", "--manifest-path", "fuzz/Cargo.toml"],
];

pub(crate) fn run(tree: &Workspace, arguments: Arguments) -> Outcome {
    arguments.finish()?;
    let tools = Tools::find()?;
    let target = tree.target.join("coverage");
    let profiles = target.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).when(profiles.display())?;
    }
    let mut programs = Vec::new();
    for words in TESTS {
        programs.extend(built(instrumented(tree, &target).args(words).arg("--no-run"))?);
        execute(instrumented(tree, &target).args(words).arg("--quiet"))?;
    }
    let merged = target.join("all.profdata");
    let mut merge = Command::new(&tools.profdata);
    merge
        .args(["merge", "-sparse", "-o"])
        .arg(&merged)
        .args(files(&profiles)?);
    output(&mut merge)?;
    let mut counts = BTreeMap::new();
    // One program at a time: the text of an export says each function of each program.
    for program in &programs {
        let mut export = Command::new(&tools.cov);
        export
            .args(["export", "-skip-expansions", "-instr-profile"])
            .arg(&merged)
            .arg(program)
            .arg("-sources")
            .arg(tree.root.join(SOURCES));
        let exported = export.output().when("llvm-cov")?;
        let complaint = String::from_utf8_lossy(&exported.stderr);
        // A program whose tests all need `steps` has nothing in it.
        if complaint.contains("no coverage data found") {
            continue;
        }
        if !exported.status.success() {
            return Err(Failure::new(complaint));
        }
        count(&String::from_utf8_lossy(&exported.stdout), &mut counts)?;
    }
    let tests = Tests::find(&tree.root.join(SOURCES))?;
    counts.retain(|(file, place), _| !tests.have(file, place[0]));
    if counts.is_empty() {
        return Err(Failure::new("no region was counted"));
    }
    let page = fs::read_to_string(tree.root.join(PAGE)).when(PAGE)?;
    print_table(&tree.root.join(SOURCES), &counts, &reasons(&page))
}

/// The tools of the LLVM that rustc has.
struct Tools {
    profdata: PathBuf,
    cov: PathBuf,
}

impl Tools {
    fn find() -> Outcome<Self> {
        let says = output(Command::new("rustc").args(["--version", "--verbose"]))?;
        let Some(major) = llvm_of(&says) else {
            return Err(Failure::new(format!(
                "`rustc --version --verbose` names no LLVM:\n{says}"
            )));
        };
        let root = PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
        let host = says
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        let folders = [
            root.join("lib/rustlib").join(host).join("bin"),
            PathBuf::from(format!("/usr/lib/llvm-{major}/bin")),
        ];
        let found = folders.iter().find(|folder| folder.join("llvm-cov").exists());
        match found.filter(|folder| folder.join("llvm-profdata").exists()) {
            Some(folder) => Ok(Self {
                profdata: folder.join("llvm-profdata"),
                cov: folder.join("llvm-cov"),
            }),
            None => Err(Failure::new(format!(
                "llvm-cov and llvm-profdata of LLVM {major} are not installed, and this needs them: \
                 `rustup component add llvm-tools`, or `apt-get install llvm-{major}`"
            ))),
        }
    }
}

/// The first number of the LLVM that `rustc --version --verbose` names.
fn llvm_of(says: &str) -> Option<&str> {
    let version = says.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()
}

fn instrumented(tree: &Workspace, target: &Path) -> Command {
    let mut command = cargo(&tree.root);
    command.env("RUSTFLAGS", "-C instrument-coverage");
    command.env("CARGO_TARGET_DIR", target).env("CARGO_INCREMENTAL", "0");
    command.env("LLVM_PROFILE_FILE", target.join("profiles/%8m.profraw"));
    command
}

/// Builds tests, and returns their programs.
fn built(command: &mut Command) -> Outcome<Vec<PathBuf>> {
    let built = command.stdin(Stdio::null()).output().when("cargo test")?;
    let words = String::from_utf8_lossy(&built.stderr);
    let programs: Vec<PathBuf> = words.lines().filter_map(program_of).map(PathBuf::from).collect();
    match built.status.success() && !programs.is_empty() {
        true => Ok(programs),
        false => Err(Failure::new(format!("the tests are not built:\n{words}"))),
    }
}

/// The program in `  Executable tests/a.rs (/target/debug/deps/a-0123456789abcdef)`.
fn program_of(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("Executable ")?;
    line.split_once('(')?.1.trim_end().strip_suffix(')')
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).when(folder.display())?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    Ok(files)
}

/// Adds the regions of an export: how often each was reached, at most.
fn count(text: &str, counts: &mut BTreeMap<Region, u64>) -> Outcome {
    let export: Value = serde_json::from_str(text).when("llvm-cov export")?;
    let functions = export["data"].as_array().into_iter().flatten();
    let functions = functions.flat_map(|data| data["functions"].as_array().into_iter().flatten());
    for function in functions {
        let names: Vec<&str> = function["filenames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for region in function["regions"].as_array().into_iter().flatten() {
            let numbers: Vec<u64> = region
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_u64)
                .collect();
            let [from, column, to, end, reached, file, _, kind] = numbers[..] else {
                return Err(Failure::new(format!(
                    "llvm-cov writes regions in another form: {region}"
                )));
            };
            let Some(name) = names.get(file as usize).filter(|_| kind == 0) else {
                continue;
            };
            let most = counts
                .entry((PathBuf::from(name), [from, column, to, end]))
                .or_default();
            *most = reached.max(*most);
        }
    }
    Ok(())
}

/// What of the sources are tests.
#[derive(Default)]
struct Tests {
    /// Files and folders.
    whole: BTreeSet<PathBuf>,
    /// The line from which on a file has tests.
    from: BTreeMap<PathBuf, u64>,
}

impl Tests {
    fn find(sources: &Path) -> Outcome<Self> {
        let mut tests = Self::default();
        let mut folders = vec![sources.to_owned()];
        while let Some(folder) = folders.pop() {
            for path in files(&folder)? {
                match path.is_dir() {
                    true => folders.push(path),
                    false => tests.read(&path, &fs::read_to_string(&path).when(path.display())?),
                }
            }
        }
        Ok(tests)
    }

    /// Reads which modules of a file are tests.
    fn read(&mut self, path: &Path, text: &str) {
        let mut is_marked = false;
        for (at, line) in text.lines().enumerate() {
            let name = line.strip_prefix("mod ").filter(|_| is_marked);
            if let Some(name) = name.and_then(|name| name.strip_suffix(';')) {
                let is_root = matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("mod" | "lib"));
                let folder = if is_root {
                    path.with_file_name("")
                } else {
                    path.with_extension("")
                };
                self.whole.insert(folder.join(name));
            } else if name.is_some() {
                self.from.entry(path.to_owned()).or_insert(at as u64 + 1);
            }
            is_marked = line.starts_with("#[cfg(test)]") || is_marked && line.starts_with("#[");
        }
    }

    fn have(&self, file: &Path, line: u64) -> bool {
        let stem = file.with_extension("");
        stem.ancestors().any(|path| self.whole.contains(path)) || self.from.get(file).is_some_and(|from| line >= *from)
    }
}

/// The regions that were reached, and all, of a room or of everything.
fn sum(sources: &Path, counts: &BTreeMap<Region, u64>, room: &str) -> (usize, usize) {
    let folder = sources.join(room);
    let is_in = |file: &Path| file.with_extension("").starts_with(&folder);
    let all = counts.iter().filter(|((file, _), _)| is_in(file));
    let reached = all.clone().filter(|(_, reached)| **reached > 0).count();
    (reached, all.count())
}

/// How much this is, in tenths of a percent.
fn tenths(reached: usize, all: usize) -> usize {
    reached * 1000 / all.max(1)
}

/// The last cells of the rows of rooms: why a room does not reach the aim.
fn reasons(page: &str) -> BTreeMap<&str, &str> {
    page.lines()
        .filter_map(row)
        .filter(|(_, reason)| !reason.is_empty())
        .collect()
}

/// The room and the last cell of a row of a room.
fn row(line: &str) -> Option<(&str, &str)> {
    let (room, cells) = line.strip_prefix("| `")?.strip_suffix('|')?.split_once("` | ")?;
    let [reached, _, reason] = cells.split(" | ").collect::<Vec<_>>()[..] else {
        return None;
    };
    (ROOMS.contains(&room) && reached.contains(" of ")).then_some((room, reason.trim()))
}

fn print_table(sources: &Path, counts: &BTreeMap<Region, u64>, reasons: &BTreeMap<&str, &str>) -> Outcome {
    println!("\n| room | regions reached | | if less than 95 % |\n|---|---|---|---|");
    let percent = |tenths: usize| format!("{}.{} %", tenths / 10, tenths % 10);
    let mut missing = Vec::new();
    for room in ROOMS {
        let (reached, all) = sum(sources, counts, room);
        if all == 0 {
            return Err(Failure::new(format!(
                "no region of the room `{room}` was counted: is it still there?"
            )));
        }
        let part = tenths(reached, all);
        let reason = match reasons.get(room) {
            _ if part >= AIM => "",
            Some(reason) => reason,
            None => {
                missing.push(*room);
                "NEEDS A REASON"
            }
        };
        println!("| `{room}` | {reached} of {all} | {} | {reason} |", percent(part));
    }
    let (reached, all) = sum(sources, counts, "");
    let part = percent(tenths(reached, all));
    println!("\nAll of `sio-proto`: {reached} of {all} regions, {part}.");
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{PAGE} has no reason why these rooms do not reach the aim: {}",
            missing.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_counts_once_and_as_often_as_its_type_that_reached_it_most() {
        let export = r#"{"data":[{"functions":[
            {"filenames":["/s/a.rs","/s/b.rs"],"regions":[[1,2,3,4,0,0,0,0],[5,1,5,9,2,1,0,0],[7,1,7,2,1,0,0,3]]},
            {"filenames":["/s/a.rs"],"regions":[[1,2,3,4,7,0,0,0]]}]}]}"#;
        let mut counts = BTreeMap::new();
        count(export, &mut counts).unwrap();
        let a = (PathBuf::from("/s/a.rs"), [1, 2, 3, 4]);
        let b = (PathBuf::from("/s/b.rs"), [5, 1, 5, 9]);
        assert_eq!(counts, BTreeMap::from([(a, 7), (b, 2)]));
        counts.insert((PathBuf::from("/tests/c.rs"), [1; 4]), 1);
        assert_eq!(sum(Path::new("/s"), &counts, "a"), (1, 1));
        assert_eq!(sum(Path::new("/s"), &counts, ""), (2, 2));
        assert!(count("{\"data\":[{\"functions\":[{\"regions\":[[1]]}]}]}", &mut counts).is_err());
    }

    #[test]
    fn a_room_below_the_aim_needs_a_reason_of_the_page() {
        let page = "| `wire` | 9 of 10 | 90.0 % | no way there |\n| `json` | 1 of 2 | 50.0 % |  |\n\
                    | `wire` | a | b | no row of this table |\n| `other` | 1 of 2 | 50.0 % | no room |\n";
        assert_eq!(reasons(page), BTreeMap::from([("wire", "no way there")]));
        // A room has nine regions of ten.
        let counts: BTreeMap<Region, u64> = ROOMS
            .iter()
            .flat_map(|room| (0..10).map(move |at| ((Path::new("/s").join(room), [at; 4]), at)))
            .collect();
        let mut known: BTreeMap<_, _> = ROOMS.iter().map(|room| (*room, "known")).collect();
        assert!(print_table(Path::new("/s"), &counts, &known).is_ok());
        known.remove("json");
        let Err(failure) = print_table(Path::new("/s"), &counts, &known) else {
            panic!("a room without a reason is good");
        };
        assert!(failure.to_string().ends_with(": json"), "{failure}");
    }

    #[test]
    fn tests_do_not_count() {
        let mut tests = Tests::default();
        let text = "fn a() {}\n\n#[cfg(test)]\nmod more;\n\n#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n}\n";
        tests.read(Path::new("/s/a.rs"), text);
        tests.read(Path::new("/s/b/mod.rs"), "#[cfg(test)]\nmod inside;\nmod real;\n");
        let have = |file: &str, line| tests.have(Path::new(file), line);
        assert!(!have("/s/a.rs", 1) && !have("/s/a.rs", 7) && have("/s/a.rs", 8));
        assert!(have("/s/a/more.rs", 1) && have("/s/a/more/deep.rs", 1) && !have("/s/a/other.rs", 1));
        assert!(have("/s/b/inside.rs", 1) && !have("/s/b/real.rs", 1));
    }

    #[test]
    fn the_llvm_of_rustc_and_programs_are_read() {
        assert_eq!(llvm_of("rustc 1.0\nhost: x\nLLVM version: 22.1.2\n"), Some("22"));
        assert_eq!(llvm_of("rustc 1.0\n"), None);
        let line = "  Executable unittests src/lib.rs (/t/debug/deps/sio_proto-0123)";
        assert_eq!(program_of(line), Some("/t/debug/deps/sio_proto-0123"));
        assert_eq!(program_of("   Compiling sio-proto v0.1.0 (/work)"), None);
        assert_eq!((tenths(1, 3), tenths(0, 0)), (333, 0));
    }
}
