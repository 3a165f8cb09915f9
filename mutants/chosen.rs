//! Which mutant is chosen. This file is no part of the program: the copy of `sio-proto` gets it as
//! its module `mutant`.
//!
//! `SIO_MUTANT` is the number of the chosen mutant. If it is `reached`, none is chosen, and each
//! thread appends a line to the file that `SIO_MUTANTS_REACHED` names when it ends: its name (the
//! test harness names a thread after its test), its microseconds since the first mutant, and the
//! numbers of the mutants that it has reached.

extern crate std;

use self::std::cell::RefCell;
use self::std::collections::BTreeSet;
use self::std::fs::OpenOptions;
use self::std::io::Write;
use self::std::string::String;
use self::std::sync::OnceLock;
use self::std::time::Instant;
use self::std::{env, format, thread, thread_local};

/// Stands for a choice that is no mutant: the mutants that are reached are noted.
const REACHED: u32 = u32::MAX;

thread_local! {
    static HERE: RefCell<Here> = RefCell::new(Here::new());
}

/// Whether this mutant is the chosen one.
pub(crate) fn m(number: u32) -> bool {
    static CHOSEN: OnceLock<u32> = OnceLock::new();
    let chosen = *CHOSEN.get_or_init(|| match env::var("SIO_MUTANT").as_deref() {
        Ok("reached") => REACHED,
        Ok(number) => number.parse().expect("SIO_MUTANT is a number"),
        Err(_) => 0,
    });
    if chosen == REACHED {
        // A thread that ends may reach mutants after its note is written.
        let _ = HERE.try_with(|here| here.borrow_mut().numbers.insert(number));
    }
    chosen == number
}

/// What this thread has reached.
struct Here {
    name: String,
    begun: Instant,
    numbers: BTreeSet<u32>,
}

impl Here {
    fn new() -> Self {
        Self {
            name: thread::current().name().unwrap_or_default().into(),
            begun: Instant::now(),
            numbers: BTreeSet::new(),
        }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let Some(file) = env::var_os("SIO_MUTANTS_REACHED") else { return };
        let mut line = format!("{}\t{}\t", self.name, self.begun.elapsed().as_micros());
        self.numbers.iter().for_each(|number| line.push_str(&format!("{number} ")));
        line.push('\n');
        let mut file = OpenOptions::new().create(true).append(true).open(file).expect("the file of notes");
        file.write_all(line.as_bytes()).expect("a note is written");
    }
}
