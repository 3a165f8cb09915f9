//! The repository, as Cargo and git know it.

use crate::failure::{Failure, Outcome, While};
use crate::programs::{cargo, output};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository this program was built in.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A member of the Cargo workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest: PathBuf,
    /// The root files of libraries and programs; tests, benches and examples are not among them.
    pub(crate) roots: Vec<PathBuf>,
}

impl Workspace {
    pub(crate) fn find() -> Outcome<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here
            .parent()
            .ok_or_else(|| Failure::new("xtask lies in no workspace"))?;
        let text = output(cargo(root).args(["metadata", "--no-deps", "--format-version", "1"]))?;
        let metadata: Value = serde_json::from_str(&text).when("reading `cargo metadata`")?;
        let packages = list(&metadata["packages"]).map(Package::read).collect();
        Ok(Self {
            root: root.to_owned(),
            target: path(&metadata["target_directory"]),
            packages,
        })
    }

    /// Returns every file that is in git or is about to be, relative to the root.
    pub(crate) fn files(&self) -> Outcome<Vec<PathBuf>> {
        let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
        let text = output(Command::new("git").current_dir(&self.root).args(list))?;
        let mut files: Vec<PathBuf> = text
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .collect();
        files.retain(|file| self.root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(files)
    }

    pub(crate) fn has_package(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }
}

impl Package {
    fn read(value: &Value) -> Self {
        let is_root =
            |target: &&Value| list(&target["kind"]).any(|kind| kind != "test" && kind != "bench" && kind != "example");
        let roots = list(&value["targets"])
            .filter(is_root)
            .map(|target| path(&target["src_path"]))
            .collect();
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        Self {
            name,
            manifest: path(&value["manifest_path"]),
            roots,
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn path(value: &Value) -> PathBuf {
    PathBuf::from(value.as_str().unwrap_or_default())
}
