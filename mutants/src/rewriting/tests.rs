//! Each kind of mutant: a small input, and all that comes of it.

use super::*;

/// The file and the descriptions of its mutants. The numbers begin at 1.
fn rewritten(text: &str) -> (String, Vec<String>) {
    let done = rewrite("a.rs", text, 1, &BTreeSet::new()).unwrap();
    assert_eq!(done.next as usize, done.mutants.len() + 1);
    let numbers = done.mutants.iter().map(|mutant| mutant.number);
    assert!(numbers.eq(1..done.next));
    (
        done.text(),
        done.mutants.into_iter().map(|mutant| mutant.what).collect(),
    )
}

/// The same file as the rewriting has to write it.
fn written(text: &str) -> String {
    let text = text.replace("m!", "crate::mutant::m");
    prettyplease::unparse(&syn::parse_file(&text).unwrap())
}

fn assert_rewritten(before: &str, after: &str, mutants: &[&str]) {
    assert_eq!(
        rewritten(before),
        (written(after), mutants.iter().map(|what| (*what).to_owned()).collect())
    );
}

#[test]
fn a_comparison_has_two_mutants() {
    assert_rewritten(
        "fn f(a: u8) -> Time { g(a < 2) }",
        "fn f(a: u8) -> Time { g((if m!(2u32) { (a) >= (2) } else { if m!(1u32) { (a) <= (2) } else { a < 2 } })) }",
        &["`<=` for `<` in: a < 2", "`>=` for `<` in: a < 2"],
    );
}

#[test]
fn an_assignment_keeps_its_place() {
    assert_rewritten(
        "fn new(&mut self) -> Time { self.a += 1; g }",
        "fn new(&mut self) -> Time { (if m!(1u32) { self.a -= 1 } else { self.a += 1 }); g }",
        &["`-=` for `+=` in: self . a += 1"],
    );
}

#[test]
fn each_operator_has_another() {
    for (operator, others) in [
        ("==", "!="),
        ("!=", "=="),
        ("<=", "<,>"),
        (">", ">=,<="),
        (">=", ">,<"),
        ("&&", "||"),
        ("||", "&&"),
        ("+", "-"),
        ("-", "+"),
        ("*", "+"),
        ("/", "*"),
        ("%", "/"),
        ("&", "|"),
        ("|", "&"),
    ] {
        let (_, mutants) = rewritten(&format!("fn f() -> Time {{ g(a {operator} b) }}"));
        let expected: Vec<String> = others
            .split(',')
            .map(|other| format!("`{other}` for `{operator}` in: a {operator} b"))
            .collect();
        assert_eq!(mutants, expected);
    }
    assert_eq!(rewritten("fn f() -> Time { g(a << b) }").1, Vec::<String>::new());
}

#[test]
fn a_mutant_has_the_other_mutants_not_in_it() {
    assert_rewritten(
        "fn f() -> Time { g(!a && b) }",
        "fn f() -> Time { g((if m!(2u32) { (!a) || (b) } else { (if m!(1u32) { a } else { !a }) && b })) }",
        &["without !: ! a", "`||` for `&&` in: ! a && b"],
    );
}

#[test]
fn a_condition_is_reversed_unless_it_is_a_comparison() {
    assert_rewritten(
        "fn f() -> Time { if a.is_b() { c } else { d } }",
        "fn f() -> Time { if m!(1u32) != (a.is_b()) { c } else { d } }",
        &["condition reversed: a . is_b ()"],
    );
    assert_eq!(rewritten("fn f() -> Time { if a == b { c } else { d } }").1.len(), 1);
    let binding = "fn f() -> Time { if let Some(a) = b && c { d } else { e } }";
    assert_rewritten(binding, binding, &[]);
}

#[test]
fn arms_are_deleted_if_there_is_one_for_the_rest() {
    assert_rewritten(
        "fn f() -> Time { match a { 1 => b, 2 if c => d, _ => e } }",
        "fn f() -> Time { match a { 1 if !m!(1u32) => b, 2 if m!(2u32) || (c) => d, _ => e } }",
        &["arm deleted: 1", "guard is true: c"],
    );
    let complete = "fn f() -> Time { match a { A => b, B => c } }";
    assert_rewritten(complete, complete, &[]);
}

#[test]
fn the_words_of_a_guard_are_those_of_the_file() {
    let (_, mutants) = rewritten("fn f() -> Time { match a { 2 if c == d => d, _ => e } }");
    assert_eq!(mutants, ["`!=` for `==` in: c == d", "guard is true: c == d"]);
}

#[test]
fn methods_have_their_opposites() {
    assert_rewritten(
        "fn f() -> Time { g(a.min(b)) }",
        "fn f() -> Time { g((if m!(1u32) { a.max(b) } else { a.min(b) })) }",
        &["max for min: a . min (b)"],
    );
    assert_eq!(
        rewritten("fn f() -> Time { g(a.any(b)) }").1,
        ["all for any: a . any (b)"]
    );
    // The smallest of an iterator is something else.
    assert_eq!(rewritten("fn f() -> Time { g(a.min()) }").1.len(), 0);
}

#[test]
fn statements_are_deleted() {
    assert_rewritten(
        "fn new(&mut self) -> Time { a(); self.b()?; self.c = 1; let d = e(); d }",
        "fn new(&mut self) -> Time { if !m!(1u32) { a(); } if !m!(2u32) { self.b()?; } if !m!(3u32) { self.c = 1; }
         let d = e(); d }",
        &["deleted: a ()", "deleted: self . b () ?", "deleted: self . c = 1"],
    );
}

#[test]
fn functions_return_at_once() {
    assert_rewritten(
        "fn f(&self) -> bool { g }",
        "fn f(&self) -> bool { if m!(2u32) { return true; } if m!(1u32) { return false; } g }",
        &["whole function: return false", "whole function: return true"],
    );
    let values = |result: &str| rewritten(&format!("fn f() {result} {{ g }}")).1.join(", ");
    let all = |list: &[&str]| {
        list.iter()
            .map(|value| format!("whole function: return{value}"))
            .collect::<Vec<_>>()
    };
    for (result, expected) in [
        ("", &[""][..]),
        ("-> usize", &[" 1", " 0"]),
        ("-> Option<Time>", &[" None"]),
        ("-> Result<(), Error>", &[" Ok (())"]),
        ("-> Vec<u8>", &[" Default :: default ()"]),
        ("-> Time", &[]),
    ] {
        assert_eq!(values(result), all(expected).join(", "), "{result}");
    }
}

#[test]
fn what_has_no_mutants() {
    for text in [
        "const A: u8 = 1 + 2;",
        "const fn f(a: u8) -> bool { a < 2 }",
        "enum A { B = 1 + 2 }",
        "fn f(a: [u8; 1 + 2]) -> Time { [0; 3 + 4] }",
        "fn new() -> Time { const A: bool = !true; assert!(a == b); g }",
        "#[test]\nfn f() { a(); }",
        "#[cfg(test)]\nmod tests { fn f() { a(); } }",
        "impl fmt::Debug for A { fn fmt(&self) -> bool { !self.a } }",
    ] {
        assert_rewritten(text, text, &[]);
    }
}

#[test]
fn a_mutant_that_is_left_out_keeps_its_number() {
    let done = rewrite("a.rs", "fn f() -> Time { g(a < 2, !b) }", 7, &BTreeSet::from([8])).unwrap();
    let after =
        written("fn f() -> Time { g((if m!(7u32) { (a) <= (2) } else { a < 2 }), (if m!(9u32) { b } else { !b })) }");
    assert_eq!((done.text(), done.next), (after, 10));
    let numbers: Vec<u32> = done.mutants.iter().map(|mutant| mutant.number).collect();
    assert_eq!(numbers, [7, 9]);
}

#[test]
fn a_mutant_knows_its_place() {
    let done = rewrite(
        "a.rs",
        "impl A {\n    fn f(&self) -> Time {\n        !self.b\n    }\n}\n",
        3,
        &BTreeSet::new(),
    );
    let expected = Mutant {
        number: 3,
        file: "a.rs".to_owned(),
        line: 3,
        function: "f".to_owned(),
        what: "without !: ! self . b".to_owned(),
    };
    assert_eq!(done.unwrap().mutants, [expected]);
}
