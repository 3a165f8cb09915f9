//! What a function returns at once in a mutant.

use syn::{Expr, ReturnType, Type, parse_quote};

/// The names of functions that are no decision: what they return is what they are for.
const LEFT_ALONE: &[&str] = &["default", "fmt", "new"];

/// The expressions with which a function may return before it has done anything, by its name and
/// the type of its result. A type whose values are not known here has none.
pub(super) fn at_once(name: &str, result: &ReturnType) -> Vec<Expr> {
    if LEFT_ALONE.contains(&name) {
        return Vec::new();
    }
    let ReturnType::Type(_, result) = result else {
        return vec![parse_quote!(return)];
    };
    match words(result).as_str() {
        "bool" => vec![parse_quote!(return true), parse_quote!(return false)],
        "usize" | "u8" | "u16" | "u32" | "u64" | "u128" => vec![parse_quote!(return 0), parse_quote!(return 1)],
        "Bytes" | "ByteString" | "Duration" | "String" => vec![parse_quote!(return Default::default())],
        word if word.starts_with("Vec<") => vec![parse_quote!(return Default::default())],
        word if word.starts_with("Option<") => vec![parse_quote!(return None)],
        word if word.starts_with("Result<(),") => vec![parse_quote!(return Ok(()))],
        word if word.starts_with("Result<bool,") => vec![parse_quote!(return Ok(true)), parse_quote!(return Ok(false))],
        _ => Vec::new(),
    }
}

/// The type as it is written, without spaces.
fn words(result: &Type) -> String {
    quote::quote!(#result).to_string().replace(' ', "")
}
