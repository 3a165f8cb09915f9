//! The Python packages of the suites: an environment of their own below the target folder.

use crate::failure::{Failure, Outcome, While};
use crate::programs::run as execute;
use crate::workspace::Workspace;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The packages, each with its version.
const REQUIREMENTS: &str = "interop/requirements.txt";

/// Installs the packages, unless exactly these are installed already. Returns the interpreter that
/// has them.
pub(crate) fn install(tree: &Workspace) -> Outcome<PathBuf> {
    let requirements = tree.root.join(REQUIREMENTS);
    let wanted = fs::read(&requirements).when(REQUIREMENTS)?;
    let home = tree.target.join("interop/python");
    let (interpreter, stamp) = (home.join("bin/python"), home.join("installed.txt"));
    if interpreter.is_file() && fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    execute(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home)).map_err(|error| {
        Failure::new(format!(
            "the suite `client` needs python3 with its module `venv` (Debian: python3-venv): {error}"
        ))
    })?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    execute(
        Command::new(&interpreter)
            .args(install)
            .arg("--requirement")
            .arg(&requirements),
    )
    .map_err(|error| Failure::new(format!("the packages of {REQUIREMENTS} cannot be installed: {error}")))?;
    fs::write(&stamp, wanted).when(stamp.display())?;
    Ok(interpreter)
}
