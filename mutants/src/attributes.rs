//! What attributes say about an item: whether only tests have it.

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Meta};

/// Whether an item with these attributes exists in tests only: `#[test]`, or a `#[cfg(…)]` that
/// names `test` outside of a `not(…)`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) => list.path.is_ident("cfg") && names_test(list.tokens.clone()),
        Meta::NameValue(_) => false,
    })
}

fn names_test(tokens: TokenStream) -> bool {
    let mut is_reversed = false;
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => {
            is_reversed = word == "not";
            word == "test"
        }
        TokenTree::Group(group) => !is_reversed && names_test(group.stream()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn what_only_tests_have() {
        assert!(is_for_tests(&[parse_quote!(#[test])]));
        assert!(is_for_tests(&[parse_quote!(#[cfg(test)])]));
        assert!(is_for_tests(&[parse_quote!(#[cfg(all(test, feature = "msgpack"))])]));
        assert!(!is_for_tests(&[parse_quote!(#[cfg(not(test))])]));
        assert!(!is_for_tests(&[parse_quote!(#[cfg(feature = "test")])]));
        assert!(!is_for_tests(&[parse_quote!(#[inline])]));
        assert!(!is_for_tests(&[]));
    }
}
