//! Which files of `sio-proto` are machines: everything below the modules that keep state, without
//! their tests.

use crate::attributes::is_for_tests;
use crate::failure::{Failure, Outcome, While};
use std::fs;
use std::path::{Path, PathBuf};
use syn::Item;

/// The modules of the library that are machines.
const MACHINES: &[&str] = &["broker", "client", "cluster", "recovery", "server", "websocket"];

/// Returns the files of all machines, relative to this folder of sources, in order.
pub(crate) fn files(sources: &Path) -> Outcome<Vec<String>> {
    let mut files = Vec::new();
    for machine in MACHINES {
        follow(sources, Path::new(""), machine, &mut files)?;
    }
    files.sort();
    Ok(files)
}

/// Adds the file of a module, and the files of the modules in it.
fn follow(sources: &Path, folder: &Path, name: &str, files: &mut Vec<String>) -> Outcome {
    let places = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
    let Some(file) = places.iter().find(|file| sources.join(file).is_file()) else {
        let place = places[0].display();
        return Err(Failure::new(format!("the module `{name}` has no file {place}")));
    };
    let text = fs::read_to_string(sources.join(file)).when(file.display())?;
    let parsed = syn::parse_file(&text).when(file.display())?;
    files.push(file.display().to_string());
    inside(sources, &folder.join(name), &parsed.items, files)
}

fn inside(sources: &Path, folder: &Path, items: &[Item], files: &mut Vec<String>) -> Outcome {
    for item in items {
        let Item::Mod(module) = item else { continue };
        if is_for_tests(&module.attrs) {
            continue;
        }
        let name = module.ident.to_string();
        match &module.content {
            Some((_, items)) => inside(sources, &folder.join(name), items, files)?,
            None => follow(sources, folder, &name, files)?,
        }
    }
    Ok(())
}

/// The files that a person asked for: each name is a file or a folder of machines. No name stands
/// for all files.
pub(crate) fn choose(files: &[String], names: &[String]) -> Outcome<Vec<String>> {
    let is_in = |file: &str, name: &str| file == name || PathBuf::from(file).starts_with(name);
    if let Some(name) = names.iter().find(|name| !files.iter().any(|file| is_in(file, name))) {
        return Err(Failure::new(format!(
            "no file of a machine is called `{name}`; a name is relative to sio-proto/src, as {}",
            files.first().map_or("", String::as_str)
        )));
    }
    let wanted = |file: &&String| names.is_empty() || names.iter().any(|name| is_in(file, name));
    Ok(files.iter().filter(wanted).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_machines_are_found_without_their_tests() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sio-proto/src");
        let files = files(&sources).unwrap();
        for file in [
            "server/bucket.rs",
            "client/proxy/mod.rs",
            "broker/machine.rs",
            "recovery/log.rs",
        ] {
            assert!(files.iter().any(|known| known == file), "{file}: {files:?}");
        }
        for file in ["server/bucket/tests.rs", "websocket/differential.rs", "json/scan.rs"] {
            assert!(!files.iter().any(|known| known == file), "{file}");
        }
    }

    #[test]
    fn a_name_is_a_file_or_a_folder() {
        let files = names(&[
            "client.rs",
            "client/backoff.rs",
            "server/bucket.rs",
            "server/shard/crowd.rs",
        ]);
        let chosen = |list: &[&str]| choose(&files, &names(list)).ok();
        assert_eq!(chosen(&[]), Some(files.clone()));
        assert_eq!(chosen(&["server"]), Some(files[2..].to_vec()));
        assert_eq!(
            chosen(&["client", "server/shard"]),
            Some(names(&["client/backoff.rs", "server/shard/crowd.rs"]))
        );
        assert_eq!(chosen(&["client.rs"]), Some(names(&["client.rs"])));
        assert_eq!(chosen(&["server", "serv"]), None);
    }
}
