//! Pages that name a row say what the table says. A page names a row as
//! ``12,345 instructions (`row`)``.

use std::fs;
use std::path::Path;

use super::table::Table;

/// By which part a page may differ from the table.
const MOST_DIFFERENCE: f64 = 0.02;

/// The numbers of instructions in a text, with the rows that they are of.
fn prices(text: &str) -> Vec<(f64, &str)> {
    const BETWEEN: &str = " instructions (`";
    let price = |(at, _): (usize, &str)| {
        let is_of_number = |character: char| character.is_ascii_digit() || character == ',';
        let number = text[..at].rsplit(|character| !is_of_number(character)).next()?;
        let row = text[at + BETWEEN.len()..].split('`').next()?;
        Some((number.replace(',', "").parse().ok()?, row))
    };
    text.match_indices(BETWEEN).filter_map(price).collect()
}

fn differs(table: &Table, price: f64, row: &str) -> bool {
    table
        .row(row)
        .is_none_or(|counts| (price / counts.instructions - 1.0).abs() > MOST_DIFFERENCE)
}

#[test]
fn pages_say_what_the_table_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = fs::read_to_string(root.join(super::TABLE)).expect("the table");
    let table = Table::parse(&table).expect("a table");
    let mut found = 0;
    for page in fs::read_dir(root.join("docs")).expect("the pages").flatten() {
        let Ok(text) = fs::read_to_string(page.path()) else {
            continue;
        };
        for (price, row) in prices(&text) {
            found += 1;
            assert!(
                !differs(&table, price, row),
                "{}: {price} instructions of `{row}`",
                page.path().display()
            );
        }
    }
    assert!(found > 3, "the pages name {found} rows");
}

#[test]
fn a_wrong_price_is_seen() {
    let table = Table::parse("echo/4.x 5000.0 0.00").expect("a table");
    let text =
        "an echo costs 5,050 instructions (`echo/4.x`), not 5,200 instructions (`echo/4.x`) or 7 instructions (`x`)";
    let wrong: Vec<bool> = prices(text)
        .into_iter()
        .map(|(price, row)| differs(&table, price, row))
        .collect();
    assert_eq!(wrong, [false, true, true]);
}
