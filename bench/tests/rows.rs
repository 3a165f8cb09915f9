//! Every row does what its name says. A count of something else would be a number without meaning.
#![forbid(unsafe_code)]

use std::collections::HashSet;

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
