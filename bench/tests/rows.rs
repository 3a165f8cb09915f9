//! Every row does what its name says. A count of something else would be a number without meaning.
#![forbid(unsafe_code)]

use std::collections::HashSet;

use sio_bench::worst::inputs;
use sio_bench::{Row, rows};

/// Runs a few rounds of a row, and its check.
fn try_out(row: &Row) {
    let mut counted = 0;
    let few = Row { rounds: 8, ..*row };
    few.run(|case, step| {
        counted += 1;
        case.run(step);
    });
    assert!(counted >= 8, "{}", row.name);
}

#[test]
fn every_row_does_what_its_name_says() {
    for row in rows() {
        eprintln!("{}", row.name);
        try_out(&row);
    }
}

#[test]
fn rows_have_names_of_their_own() {
    let mut names = HashSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "{}", row.name);
        assert!(!row.name.contains(char::is_whitespace), "{}", row.name);
    }
}

#[test]
fn every_worst_input_is_read_to_its_end() {
    let mut names = HashSet::new();
    for input in inputs() {
        eprintln!("{}", input.name);
        assert!(names.insert(input.name), "{}", input.name);
        let mut case = input.input(64 * 1024);
        case.prepare(0);
        case.run(0);
        case.check();
    }
}
