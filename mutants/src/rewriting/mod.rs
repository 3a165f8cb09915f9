//! Rewrites a file so that it contains all its mutants. The one whose number is chosen at run time
//! takes effect, so that all of them cost one build.
//!
//! | in the file | its mutants |
//! |---|---|
//! | `a < b`, `a + b`, `a += b`, `a && b` | another operator, see [`operators`] |
//! | `!a` | `a` |
//! | `if a.is_b()`, `if b` | the condition reversed |
//! | an arm of a `match` that also has an arm `_` | as if the arm were deleted |
//! | an arm with a condition | the condition is true |
//! | `a.min(b)`, `a.any(b)` | `a.max(b)`, `a.all(b)`, and the other way round |
//! | `call();`, `call()?;`, `self.a = b;` | the statement deleted |
//! | a function | it returns at once, see [`returns`] |
//!
//! Constants, types, patterns, macros, tests, and what only prints (`Debug`, `Display`) have none.

mod expressions;
mod operators;
mod returns;
#[cfg(test)]
mod tests;

use crate::attributes::is_for_tests;
use quote::ToTokens;
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Block, Expr, ExprConst, ExprRepeat, GenericArgument, ImplItemConst, ImplItemFn, ItemConst, ItemEnum, ItemFn,
    ItemImpl, ItemMod, ItemStatic, Pat, Signature, Stmt, TraitItemConst, TraitItemFn, Type, parse_quote,
};

/// The most characters of the code of a mutant that its description has.
const MOST_CHARACTERS: usize = 110;

/// The traits whose functions only print, or make numbers that mean nothing.
const LEFT_ALONE: &[&str] = &["Debug", "Display", "Hash"];

/// The beginning of the call that asks whether a mutant is chosen.
pub(crate) const CALL: &str = "crate::mutant::m(";

/// A mutant: where it is, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mutant {
    pub(crate) number: u32,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) function: String,
    /// What is changed, in words.
    pub(crate) what: String,
}

/// A file with its mutants.
pub(crate) struct Rewritten {
    contents: syn::File,
    pub(crate) mutants: Vec<Mutant>,
    /// The number after the last one of this file. The mutants that are left out have numbers too,
    /// so that a number stands for the same mutant whatever is left out.
    pub(crate) next: u32,
}

/// Rewrites a file. Its first mutant gets the number `first`; those in `left_out` are not written.
pub(crate) fn rewrite(file: &str, text: &str, first: u32, left_out: &BTreeSet<u32>) -> syn::Result<Rewritten> {
    let mut parsed = syn::parse_file(text)?;
    let mut rewriter = Rewriter {
        file,
        next: first,
        left_out,
        functions: Vec::new(),
        mutants: Vec::new(),
    };
    rewriter.visit_file_mut(&mut parsed);
    Ok(Rewritten {
        contents: parsed,
        mutants: rewriter.mutants,
        next: rewriter.next,
    })
}

impl Rewritten {
    /// What the file has to contain.
    pub(crate) fn text(&self) -> String {
        prettyplease::unparse(&self.contents)
    }
}

struct Rewriter<'a> {
    file: &'a str,
    next: u32,
    left_out: &'a BTreeSet<u32>,
    /// The functions that the visit is in, the innermost one last.
    functions: Vec<String>,
    mutants: Vec<Mutant>,
}

impl Rewriter<'_> {
    /// Adds a mutant. Returns the call that asks whether it is chosen, or nothing if it is left
    /// out.
    fn add(&mut self, line: usize, what: String) -> Option<Expr> {
        let number = self.next;
        self.next += 1;
        if self.left_out.contains(&number) {
            return None;
        }
        self.mutants.push(Mutant {
            number,
            file: self.file.to_owned(),
            line,
            function: self.functions.last().cloned().unwrap_or_default(),
            what,
        });
        Some(parse_quote!(crate::mutant::m(#number)))
    }

    fn function(&mut self, signature: &Signature, block: &mut Block) {
        // A constant cannot ask which mutant is chosen.
        if signature.constness.is_some() {
            return;
        }
        let name = signature.ident.to_string();
        self.functions.push(name.clone());
        visit_mut::visit_block_mut(self, block);
        if !block.stmts.is_empty() {
            for value in returns::at_once(&name, &signature.output).into_iter().rev() {
                let what = format!("whole function: {}", words(&value));
                if let Some(chosen) = self.add(signature.span().start().line, what) {
                    block.stmts.insert(0, parse_quote!(if #chosen { #value; }));
                }
            }
        }
        self.functions.pop();
    }
}

/// Whether an expression contains a `let`. Then it is a condition that must stay as it is.
fn has_let(expression: &Expr) -> bool {
    match expression {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        Expr::Group(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// The code in one line, not too long.
fn words(code: &impl ToTokens) -> String {
    let line = code.to_token_stream().to_string().replace(['\n', '\t'], " ");
    line.chars().take(MOST_CHARACTERS).collect()
}

/// Whether the statement can be deleted: a call, or a field that is set.
fn can_be_deleted(expression: &Expr) -> bool {
    match expression {
        Expr::MethodCall(_) | Expr::Call(_) => true,
        Expr::Try(tried) => matches!(&*tried.expr, Expr::MethodCall(_) | Expr::Call(_)),
        Expr::Assign(assigned) => matches!(&*assigned.left, Expr::Field(_)),
        _ => false,
    }
}

impl VisitMut for Rewriter<'_> {
    fn visit_item_const_mut(&mut self, _: &mut ItemConst) {}
    fn visit_item_static_mut(&mut self, _: &mut ItemStatic) {}
    fn visit_item_enum_mut(&mut self, _: &mut ItemEnum) {}
    fn visit_impl_item_const_mut(&mut self, _: &mut ImplItemConst) {}
    fn visit_trait_item_const_mut(&mut self, _: &mut TraitItemConst) {}
    fn visit_trait_item_fn_mut(&mut self, _: &mut TraitItemFn) {}
    fn visit_type_mut(&mut self, _: &mut Type) {}
    fn visit_generic_argument_mut(&mut self, _: &mut GenericArgument) {}
    fn visit_pat_mut(&mut self, _: &mut Pat) {}
    fn visit_expr_const_mut(&mut self, _: &mut ExprConst) {}

    fn visit_expr_repeat_mut(&mut self, repeated: &mut ExprRepeat) {
        // The length is a constant.
        self.visit_expr_mut(&mut repeated.expr);
    }

    fn visit_item_mod_mut(&mut self, module: &mut ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit_mut::visit_item_mod_mut(self, module);
        }
    }

    fn visit_item_impl_mut(&mut self, item: &mut ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let is_left_alone = of.is_some_and(|name| LEFT_ALONE.iter().any(|known| name.ident == known));
        if !is_left_alone && !is_for_tests(&item.attrs) {
            visit_mut::visit_item_impl_mut(self, item);
        }
    }

    fn visit_item_fn_mut(&mut self, item: &mut ItemFn) {
        if !is_for_tests(&item.attrs) {
            self.function(&item.sig, &mut item.block);
        }
    }

    fn visit_impl_item_fn_mut(&mut self, item: &mut ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            self.function(&item.sig, &mut item.block);
        }
    }

    fn visit_stmt_mut(&mut self, statement: &mut Stmt) {
        let deleted = match statement {
            Stmt::Expr(expression, Some(_)) if can_be_deleted(expression) => Some(words(expression)),
            _ => None,
        };
        let line = statement.span().start().line;
        visit_mut::visit_stmt_mut(self, statement);
        if let Some(code) = deleted
            && let Some(chosen) = self.add(line, format!("deleted: {code}"))
        {
            let kept = statement.clone();
            *statement = parse_quote!(if !#chosen { #kept });
        }
    }

    fn visit_expr_mut(&mut self, expression: &mut Expr) {
        self.expression(expression);
    }
}
