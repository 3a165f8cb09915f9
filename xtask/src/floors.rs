//! `floors`: a table says which module may import from which. This check compares the table with
//! the `use` lines of the sources.
//!
//! A module imports from its own folder, from floors below its own, and from other modules of its
//! own floor as long as no circle closes among them. Modules on the floor of roles must not import
//! from each other. A new module has to get a floor here, so that somebody decides on its place. No
//! module may take names of other crates (`Arc`, `Vec`) from the private imports of its parent.
//! Both adapters export the same names for users. `ARCHITECTURE.md` has the floors and the files.

mod imports;
mod page;
mod surface;

use crate::failure::{Failure, Outcome, While};
use crate::workspace::Workspace;
use imports::Import;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One crate and its floors, the lowest first.
struct House {
    /// The folder of its sources, from the root of the repository.
    sources: &'static str,
    floors: &'static [Floor],
}

struct Floor {
    name: &'static str,
    modules: &'static [&'static str],
    /// Whether the modules of this floor must not import from each other.
    apart: bool,
}

const HOUSES: &[House] = &[PROTO, APP];

const PROTO: House = House {
    sources: "sio-proto/src",
    floors: &[
        Floor {
            name: "ground",
            modules: &[
                "time", "entropy", "id", "percent", "digits", "origins", "hosts", "keep", "arena", "reason", "breach",
                "readable", "slab", "shares", "steps", "holding",
            ],
            apart: false,
        },
        Floor {
            name: "formats",
            modules: &[
                "http",
                "websocket",
                "frame",
                "json",
                "engine",
                "socket",
                "legacy",
                "codec",
                "detect",
                "resp",
            ],
            apart: false,
        },
        Floor {
            name: "settings",
            modules: &["config"],
            apart: false,
        },
        Floor {
            name: "lines",
            modules: &["broker", "conn", "request", "wire"],
            apart: false,
        },
        Floor {
            name: "roles",
            modules: &["client", "cluster", "recovery", "server"],
            apart: true,
        },
        Floor {
            name: "pages",
            modules: &["manual"],
            apart: false,
        },
    ],
};

const APP: House = House {
    sources: "sio-app/src",
    floors: &[
        Floor {
            name: "ground",
            modules: &[
                "lock", "runtime", "entropy", "rated", "readable", "trim", "wildcard", "args", "error", "guarded",
                "store",
            ],
            apart: false,
        },
        Floor {
            name: "settings",
            modules: &["web", "options"],
            apart: false,
        },
        Floor {
            name: "lines",
            modules: &["link"],
            apart: false,
        },
        Floor {
            name: "turns",
            modules: &["turn"],
            apart: false,
        },
        Floor {
            name: "handles",
            modules: &["user"],
            apart: false,
        },
        Floor {
            name: "clients",
            modules: &["redis", "client"],
            apart: false,
        },
        Floor {
            name: "hosts",
            modules: &["host"],
            apart: false,
        },
        Floor {
            name: "pages",
            modules: &["adapter"],
            apart: false,
        },
    ],
};

/// One file of a crate.
struct Source {
    /// The path of the file, from the root of the repository.
    name: String,
    /// The path of its module.
    module: Vec<String>,
    text: String,
}

pub(crate) fn run(tree: &Workspace) -> Outcome {
    let mut complaints = Vec::new();
    for house in HOUSES {
        let sources = sources(tree, house)?;
        complaints.extend(inspect(house, &sources));
        println!(
            "{}: {} files on {} floors",
            house.sources,
            sources.len(),
            house.floors.len()
        );
    }
    complaints.extend(surface::complaints(tree)?);
    complaints.extend(page::complaints(tree, HOUSES)?);
    if complaints.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{}\n{} complaints",
        complaints.join("\n"),
        complaints.len()
    )))
}

/// Returns the files of a crate, without the files that are compiled only for its unit tests.
fn sources(tree: &Workspace, house: &House) -> Outcome<Vec<Source>> {
    let mut sources = Vec::new();
    for file in tree.files()? {
        let Ok(inner) = file.strip_prefix(house.sources) else {
            continue;
        };
        if inner.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(tree.root.join(&file)).when(file.display())?;
        sources.push(Source {
            name: file.display().to_string(),
            module: module_of(inner),
            text,
        });
    }
    let of_tests: BTreeSet<Vec<String>> = sources.iter().flat_map(test_modules).collect();
    let is_of_tests = |module: &[String]| (1..=module.len()).any(|length| of_tests.contains(&module[..length]));
    sources.retain(|source| !is_of_tests(&source.module));
    Ok(sources)
}

/// Returns the modules that a file declares for its unit tests.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let lines = source.text.lines();
    let pairs = lines.clone().zip(lines.skip(1));
    let declared = pairs
        .filter(|(first, _)| first.trim() == "#[cfg(test)]")
        .filter_map(|(_, second)| {
            let name = second.trim().rsplit(' ').next()?.strip_suffix(';')?;
            second
                .contains("mod ")
                .then(|| source.module.iter().cloned().chain([name.to_owned()]).collect())
        });
    declared.collect()
}

fn module_of(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "lib" && name != "mod").collect()
}

fn inspect(house: &House, sources: &[Source]) -> Vec<String> {
    let exports = exports(sources);
    let mut complaints = Vec::new();
    let mut edges = BTreeMap::new();
    for source in sources {
        complaints.extend(borrowed_names(source, sources));
        let Some(from) = source.module.first() else { continue };
        let Some(floor) = house.floor_of(from) else {
            complaints.push(format!(
                "{}: the module `{from}` has no floor: give it one in xtask/src/floors.rs",
                source.name
            ));
            continue;
        };
        for import in imports::of_crate(&source.text, &source.module) {
            let Some(to) = target(&import, &exports).filter(|to| to != from) else {
                continue;
            };
            let Some(other) = house.floor_of(&to) else { continue };
            let place = format!("{}:{}", source.name, import.line);
            if other > floor || other == floor && house.floors[floor].apart {
                complaints.push(house.upward(&place, from, floor, &to, other));
            } else if other == floor {
                edges.entry((from.clone(), to)).or_insert(place);
            }
        }
    }
    complaints.extend(circles(&edges));
    complaints
}

impl House {
    fn floor_of(&self, module: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.modules.contains(&module))
    }

    fn upward(&self, place: &str, from: &str, floor: usize, to: &str, other: usize) -> String {
        let (here, there) = (self.floors[floor].name, self.floors[other].name);
        let what = if floor == other {
            "beside it, where modules know none of each other"
        } else {
            "above it"
        };
        format!(
            "{place}: `{from}` ({here}) imports `{to}` ({there}), which stands {what}: move what both need to a lower \
             floor, or this code to the floor of `{to}`"
        )
    }
}

/// Returns for each name at the root of the crate the module that it comes from. The `pub use`
/// lines of `lib.rs` say this.
fn exports(sources: &[Source]) -> BTreeMap<String, String> {
    let root = sources.iter().find(|source| source.module.is_empty());
    let text = root.map(|root| root.text.as_str()).unwrap_or_default();
    let as_crate = text.replace("pub use ", "pub use crate::");
    let imports = imports::of_crate(&as_crate, &[]);
    let pairs = imports.into_iter().filter(|import| import.path.len() > 1);
    pairs
        .filter_map(|import| Some((import.path.last()?.clone(), import.path[0].clone())))
        .collect()
}

/// Returns the top module that an import leads to.
fn target(import: &Import, exports: &BTreeMap<String, String>) -> Option<String> {
    let first = import.path.first()?;
    Some(exports.get(first).unwrap_or(first).clone())
}

/// Finds names of other crates that a module takes from the private imports of its parent.
fn borrowed_names(source: &Source, sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for import in imports::of_crate(&source.text, &source.module)
        .iter()
        .filter(|import| import.is_use)
    {
        let Some((name, owner)) = import.path.split_last() else {
            continue;
        };
        let is_above = owner.len() < source.module.len() && source.module.starts_with(owner);
        let Some(owner) = sources.iter().find(|other| is_above && other.module == owner) else {
            continue;
        };
        if name == "*" {
            complaints.push(format!(
                "{}:{}: takes everything from {}, its private imports too: name what it needs",
                source.name, import.line, owner.name
            ));
        }
        if imports::foreign_names(&owner.text).contains(name) {
            complaints.push(format!(
                "{}:{}: takes `{name}` from the private imports of {}: import it from the crate that it belongs to",
                source.name, import.line, owner.name
            ));
        }
    }
    complaints
}

/// Finds circles among the modules of one floor. It reports each import from whose target a chain
/// of imports leads back.
fn circles(edges: &BTreeMap<(String, String), String>) -> Vec<String> {
    let leads = |from: &str, goal: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            if module == goal {
                return true;
            }
            if seen.insert(module) {
                open.extend(
                    edges
                        .keys()
                        .filter(|(from, _)| from == module)
                        .map(|(_, to)| to.as_str()),
                );
            }
        }
        false
    };
    let closing = edges.iter().filter(|((from, to), _)| leads(to, from));
    closing
        .map(|((from, to), place)| {
            format!("{place}: `{from}` imports `{to}`, from which a way leads back to `{from}`: break the circle here or there")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House = House {
        sources: "src",
        floors: &[
            Floor {
                name: "ground",
                modules: &["time"],
                apart: false,
            },
            Floor {
                name: "formats",
                modules: &["http", "json"],
                apart: false,
            },
            Floor {
                name: "roles",
                modules: &["server", "client"],
                apart: true,
            },
        ],
    };

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        complaints_in(&HOUSE, files)
    }

    fn complaints_in(house: &House, files: &[(&str, &str)]) -> Vec<String> {
        let source = |(name, text): &(&str, &str)| Source {
            name: (*name).to_owned(),
            module: module_of(Path::new(name)),
            text: (*text).to_owned(),
        };
        inspect(house, &files.iter().map(source).collect::<Vec<_>>())
    }

    #[test]
    fn what_leads_down_or_aside_is_allowed() {
        let files = [
            ("lib.rs", "pub use time::Time;"),
            ("time.rs", ""),
            ("json.rs", "use crate::Time;"),
            ("http/head.rs", "use crate::json::Json;\nuse super::body;"),
            ("server/shard.rs", "use crate::{Time, http};"),
        ];
        assert_eq!(complaints(&files), [""; 0]);
    }

    #[test]
    fn what_leads_up_is_named_by_its_line() {
        for (text, line) in [
            ("use core::fmt;\nuse crate::server::Shard;", 2),
            ("fn f(s: &crate::server::Shard) {}", 1),
            ("use crate::{Time, server::{Reason}};", 1),
        ] {
            let found = complaints(&[("lib.rs", "pub use time::Time;"), ("http/head.rs", text)]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(
                found[0].starts_with(&format!(
                    "http/head.rs:{line}: `http` (formats) imports `server` (roles)"
                )),
                "{found:?}"
            );
        }
        let through_root = complaints(&[("lib.rs", "pub use server::Shard;"), ("time.rs", "use crate::Shard;")]);
        assert_eq!(through_root.len(), 1, "{through_root:?}");
    }

    #[test]
    fn roles_stand_apart() {
        let found = complaints(&[("client.rs", "use crate::server::Reason;")]);
        assert!(found[0].contains("know none of each other"), "{found:?}");
    }

    #[test]
    fn circles_and_homeless_modules_are_found() {
        let found = complaints(&[("http.rs", "use crate::json;"), ("json.rs", "use crate::http::Head;")]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("a way leads back"), "{found:?}");
        assert!(complaints(&[("attic.rs", "")])[0].contains("has no floor"));
    }

    #[test]
    fn names_of_other_crates_are_not_taken_from_a_parent() {
        let parent = ("http.rs", "use alloc::sync::Arc;\npub struct Head;");
        assert!(complaints(&[parent, ("http/head.rs", "use super::Head;")]).is_empty());
        let found = complaints(&[parent, ("http/head.rs", "use super::{Arc, Head};")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("takes `Arc` from the private imports of http.rs"),
            "{found:?}"
        );
    }

    #[test]
    fn nothing_is_taken_from_a_parent_unnamed() {
        let parent = ("http.rs", "use alloc::sync::Arc;\npub struct Head;");
        let found = complaints(&[parent, ("http/head.rs", "use core::fmt;\nuse super::*;")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("http/head.rs:2: takes everything"), "{found:?}");
        let tests = "fn head() {}\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
        assert!(complaints(&[parent, ("http/head.rs", tests)]).is_empty());
    }

    /// Checks the floors of `sio-app`: turns must not import handles, handles must not import
    /// hosts, and only adapters may import the names of `adapter`.
    #[test]
    fn turns_know_no_handles_and_handles_no_hosts() {
        let names = ("lib.rs", "pub use user::io::Io;\npub use turn::refusal::Refusal;");
        for (file, text, from, to) in [
            (
                "turn/work.rs",
                "use crate::user::socket::Socket;",
                "`turn` (turns)",
                "`user` (handles)",
            ),
            ("turn/work.rs", "use crate::Io;", "`turn` (turns)", "`user` (handles)"),
            (
                "link/mod.rs",
                "use crate::turn::shard::ShardCell;",
                "`link` (lines)",
                "`turn` (turns)",
            ),
            (
                "user/io.rs",
                "fn f(_: &crate::host::place::Place) {}",
                "`user` (handles)",
                "`host` (hosts)",
            ),
            (
                "host/serve.rs",
                "use crate::adapter::Driver;",
                "`host` (hosts)",
                "`adapter` (pages)",
            ),
        ] {
            let found = complaints_in(&APP, &[names, (file, text)]);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let start = format!("{file}:1: {from} imports {to}, which stands above it: move");
            assert!(found[0].starts_with(&start), "{found:?}");
        }
        let circle = [
            ("web/request.rs", "use crate::options::Options;"),
            ("options.rs", "use crate::web::client_files::ClientFiles;"),
        ];
        let found = complaints_in(&APP, &circle);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("a way leads back"), "{found:?}");
        let down = [
            names,
            (
                "user/namespace.rs",
                "use crate::turn::table::Table;\nuse crate::Refusal;",
            ),
            ("host/place.rs", "use crate::user::io::Inner;\nuse crate::link::Link;"),
        ];
        assert_eq!(complaints_in(&APP, &down), [""; 0]);
    }

    #[test]
    fn modules_of_unit_tests_are_known() {
        let source = Source {
            name: String::new(),
            module: vec!["http".to_owned()],
            text: "#[cfg(test)]\nmod differential;\nmod head;\n".to_owned(),
        };
        assert_eq!(test_modules(&source), [["http".to_owned(), "differential".to_owned()]]);
    }
}
