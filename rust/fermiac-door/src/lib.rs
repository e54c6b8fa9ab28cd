//! The attribute `door` of the Python bindings.
//!
//! PyO3 turns a panic into `PanicException`, which is no `Exception` and passes through every
//! `except Exception`. Under `#[door]` a panic becomes a typed exception instead. It stands above
//! `#[pyfunction]` and above `#[pymethods]`, and no binding is without it; a test checks that.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Error, ImplItem, Item, ReturnType, Signature, Type, parse_macro_input, parse_quote};

/// Runs the body of a function, or of every method of an implementation, in
/// `crate::common::door::guarded`. What does not return a `PyResult` returns one afterwards.
#[proc_macro_attribute]
pub fn door(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = parse_macro_input!(item as Item);
    match &mut item {
        Item::Fn(function) => guard(&mut function.sig, &mut function.block),
        Item::Impl(methods) => {
            for method in &mut methods.items {
                if let ImplItem::Fn(method) = method {
                    guard(&mut method.sig, &mut method.block);
                }
            }
        }
        other => {
            let error = Error::new_spanned(other, "a function or an implementation is needed");
            return error.into_compile_error().into();
        }
    }
    quote!(#item).into()
}

fn guard(signature: &mut Signature, body: &mut syn::Block) {
    let kind: Type = match &signature.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, kind) => (**kind).clone(),
    };
    *body = if is_result(&kind) {
        parse_quote!({ crate::common::door::guarded(move || -> #kind #body) })
    } else {
        signature.output = parse_quote!(-> ::pyo3::PyResult<#kind>);
        parse_quote!({ crate::common::door::guarded_value(move || -> #kind #body) })
    };
}

fn is_result(kind: &Type) -> bool {
    let Type::Path(kind) = kind else { return false };
    kind.path.segments.last().is_some_and(|last| last.ident == "PyResult")
}
