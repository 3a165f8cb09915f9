//! `ARCHITECTURE.md` is checked against the table of floors and against the files: the page has all
//! floors with all of their modules, and names each file of the folders that it has maps of.

use super::House;
use crate::failure::{Outcome, While};
use crate::workspace::Workspace;
use std::collections::BTreeSet;

const PAGE: &str = "ARCHITECTURE.md";

/// The folders whose files the page names, each by its own name. Files of tests are left out.
const MAPS: &[&str] = &[
    "sio-proto/src/client",
    "sio-proto/src/recovery",
    "sio-proto/src/server",
    "sio-proto/src/server/shard",
    "sio-app/src/args",
    "sio-app/src/client",
    "sio-app/src/host",
    "sio-app/src/link",
    "sio-app/src/turn",
    "sio-app/src/user",
    "sio-app/src/web",
    "sio-store/src",
];

/// Returns what the page lacks.
pub(super) fn complaints(tree: &Workspace, houses: &[House]) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(tree.root.join(PAGE)).when(PAGE)?;
    let mut complaints: Vec<String> = houses.iter().flat_map(|house| missing_modules(house, &text)).collect();
    let files: Vec<String> = tree.files()?.iter().map(|file| file.display().to_string()).collect();
    complaints.extend(missing_files(&files, &text));
    Ok(complaints)
}

/// Returns the modules that are missing in the pictures of floors. In such a picture, a line begins
/// with the name of the floor, and the names of its modules follow.
fn missing_modules(house: &House, page: &str) -> Vec<String> {
    let lines = |floor: &str| {
        page.lines()
            .filter(|line| line.split_whitespace().next() == Some(floor))
            .map(|line| line.split_whitespace().map(|word| word.trim_end_matches('/')).collect())
            .collect::<Vec<BTreeSet<&str>>>()
    };
    let mut missing = Vec::new();
    for floor in house.floors {
        let lines = lines(floor.name);
        let lacks = |module: &&&str| !lines.iter().any(|line| line.contains(**module));
        missing.extend(floor.modules.iter().filter(lacks).map(|module| {
            format!(
                "{PAGE}: the floor `{}` of {} has the module `{module}`: put it into the picture of the floors",
                floor.name, house.sources
            )
        }));
    }
    missing
}

/// Returns the files that the page does not name.
fn missing_files(files: &[String], page: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let quoted = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let names: BTreeSet<&str> = quoted.flat_map(|text| text.split(|c| !is_name(c))).collect();
    let unnamed = |file: &&String| {
        let (folder, name) = file.rsplit_once('/').unwrap_or_default();
        let Some(name) = name.strip_suffix(".rs") else {
            return false;
        };
        let is_ours = !matches!(name, "mod" | "lib" | "tests");
        is_ours && MAPS.contains(&folder) && !names.contains(name)
    };
    let complaint = |file: &String| format!("{PAGE}: {file} is not named: say in its map what the file is for");
    files.iter().filter(unnamed).map(complaint).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{HOUSES, PROTO};
    use super::*;

    #[test]
    fn a_picture_without_a_module_is_complained_of() {
        let page: String = HOUSES
            .iter()
            .flat_map(|house| house.floors)
            .fold(String::new(), |page, floor| {
                page + floor.name + " " + &floor.modules.join("/ ") + "\n"
            });
        assert_eq!(missing_modules(&PROTO, &page), Vec::<String>::new());
        let page = page.replace("slab", "");
        let [complaint] = &missing_modules(&PROTO, &page)[..] else {
            panic!("one complaint")
        };
        assert!(
            complaint.contains("`ground` of sio-proto/src has the module `slab`"),
            "{complaint}"
        );
    }

    #[test]
    fn a_file_without_a_name_is_complained_of() {
        let files = [
            "sio-app/src/turn/work.rs",
            "sio-app/src/turn/mod.rs",
            "sio-app/src/lib.rs",
        ];
        let files = files.map(str::to_owned);
        assert_eq!(missing_files(&files, "see `turn/work.rs`"), Vec::<String>::new());
        let complaints = missing_files(&files, "see turn/work.rs and `network`");
        assert_eq!(complaints.len(), 1);
        assert!(
            complaints[0].contains("sio-app/src/turn/work.rs is not named"),
            "{complaints:?}"
        );
    }
}
