//! The mutants of expressions.

use super::{Rewriter, has_let, operators, words};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, ExprBinary, ExprIf, ExprMatch, ExprMethodCall, ExprUnary, Ident, Pat, UnOp, parse_quote};

/// Methods of one argument that stand for each other.
const METHODS: &[(&str, &str)] = &[("all", "any"), ("any", "all"), ("max", "min"), ("min", "max")];

impl Rewriter<'_> {
    /// Rewrites an expression and what is in it.
    pub(super) fn expression(&mut self, expression: &mut Expr) {
        let instead = match expression {
            Expr::Binary(binary) => self.binary(binary),
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => self.not(unary),
            Expr::MethodCall(call) => self.method(call),
            Expr::If(condition) => {
                self.condition(condition);
                None
            }
            Expr::Match(choice) => {
                self.arms(choice);
                None
            }
            Expr::Let(binding) => {
                self.visit_expr_mut(&mut binding.expr);
                None
            }
            Expr::Macro(_) => None,
            _ => {
                visit_mut::visit_expr_mut(self, expression);
                None
            }
        };
        if let Some(instead) = instead {
            *expression = instead;
        }
    }

    /// Other operators. In a mutant, both sides are as they were.
    fn binary(&mut self, binary: &mut ExprBinary) -> Option<Expr> {
        let before = binary.clone();
        visit_mut::visit_expr_binary_mut(self, binary);
        if has_let(&before.left) || has_let(&before.right) {
            return None;
        }
        let (left, right) = (&before.left, &before.right);
        let line = before.op.span().start().line;
        let mut instead = None;
        for operator in operators::instead_of(&before.op) {
            let (new, old) = (words(&operator), words(&before.op));
            let Some(chosen) = self.add(line, format!("`{new}` for `{old}` in: {}", words(&before))) else {
                continue;
            };
            let otherwise = instead.unwrap_or_else(|| Expr::Binary(binary.clone()));
            instead = Some(match operators::assigns(&before.op) {
                true => parse_quote!(if #chosen { #left #operator #right } else { #otherwise }),
                false => parse_quote!(if #chosen { (#left) #operator (#right) } else { #otherwise }),
            });
        }
        instead.map(|instead| parse_quote!((#instead)))
    }

    /// Without the `!`.
    fn not(&mut self, unary: &mut ExprUnary) -> Option<Expr> {
        let before = unary.clone();
        visit_mut::visit_expr_unary_mut(self, unary);
        let chosen = self.add(before.span().start().line, format!("without !: {}", words(&before)))?;
        let operand = &before.expr;
        Some(parse_quote!((if #chosen { #operand } else { #unary })))
    }

    /// The method that is its opposite.
    fn method(&mut self, call: &mut ExprMethodCall) -> Option<Expr> {
        let mut other = call.clone();
        visit_mut::visit_expr_method_call_mut(self, call);
        let (name, opposite) = METHODS.iter().find(|(name, _)| other.method == name)?;
        if other.args.len() != 1 {
            return None;
        }
        let line = other.method.span().start().line;
        let chosen = self.add(line, format!("{opposite} for {name}: {}", words(&other)))?;
        other.method = Ident::new(opposite, other.method.span());
        Some(parse_quote!((if #chosen { #other } else { #call })))
    }

    /// The condition reversed, if it is no comparison: those have mutants of their own.
    fn condition(&mut self, item: &mut ExprIf) {
        let before = item.cond.clone();
        visit_mut::visit_expr_if_mut(self, item);
        let is_plain = matches!(
            &*before,
            Expr::MethodCall(_) | Expr::Call(_) | Expr::Path(_) | Expr::Field(_) | Expr::Macro(_)
        );
        if is_plain
            && let Some(chosen) = self.add(
                before.span().start().line,
                format!("condition reversed: {}", words(&before)),
            )
        {
            let condition = &item.cond;
            item.cond = parse_quote!(#chosen != (#condition));
        }
    }

    /// Arms whose condition is true, and arms that are deleted if there is an arm for the rest.
    fn arms(&mut self, choice: &mut ExprMatch) {
        let guards: Vec<String> = choice
            .arms
            .iter()
            .map(|arm| arm.guard.as_ref().map_or_else(String::new, |(_, guard)| words(guard)))
            .collect();
        visit_mut::visit_expr_match_mut(self, choice);
        let is_wild = |pattern: &Pat| matches!(pattern, Pat::Wild(_));
        let has_rest = choice.arms.iter().any(|arm| is_wild(&arm.pat) && arm.guard.is_none());
        for (arm, before) in choice.arms.iter_mut().zip(guards) {
            let line = arm.pat.span().start().line;
            match &mut arm.guard {
                Some((_, guard)) if !has_let(guard) => {
                    if let Some(chosen) = self.add(line, format!("guard is true: {before}")) {
                        *guard = parse_quote!(#chosen || (#guard));
                    }
                }
                None if has_rest && !is_wild(&arm.pat) => {
                    if let Some(chosen) = self.add(line, format!("arm deleted: {}", words(&arm.pat))) {
                        arm.guard = Some((Default::default(), parse_quote!(!#chosen)));
                    }
                }
                _ => {}
            }
        }
    }
}
