//! The parameters of handlers, as tuples.
//!
//! ```text
//!   event          extractor, extractor, …, arguments, Ack       each may be left out
//!   connect        extractor, extractor, …
//!   disconnect     extractor, Reason, Option<Breach>, …          in any order
//!   middleware     extractor, extractor, …
//! ```
//! The compiler chooses the tuple by the number of a function's parameters, and says for each place
//! what does not fit there. The markers say which kind of parameter is in a place. The compiler
//! always infers them.

use serde::de::DeserializeOwned;
use sio_proto::server::{Breach, Reason};

use super::extract::{Extract, Needs};
use super::outcome::{Free, Owing};
use crate::args::ArgsError;
use crate::turn::call::{Call, NotCalled, ServerSide, Side};
use crate::user::ack::Ack;

/// A function that takes these parameters, as a tuple.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a handler",
    label = "not a function that can be called from any thread, again and again",
    note = "a handler is a function or a closure of at most eight parameters, which is `Fn`, `Send` and `'static`",
    note = "an `async` closure that captures must be written `move |…| {{ let x = x.clone(); async move {{ … }} }}`"
)]
pub trait Function<P>: Send + Sync + 'static {
    /// What the function returns.
    type Output;

    #[doc(hidden)]
    fn invoke(&self, parameters: P) -> Self::Output;
}

/// Marks a place of an [`Extract`].
#[doc(hidden)]
pub struct ViaExtract;
/// Marks the place of the arguments, which are of kind `K`.
#[doc(hidden)]
pub struct ViaArgs<K>(K);
/// Marks the place of the acknowledgement.
#[doc(hidden)]
pub struct ViaAck;
/// Marks the place of the reason of a disconnection.
#[doc(hidden)]
pub struct ViaEnd;
/// Marks arguments that have to fit.
#[doc(hidden)]
pub struct Fitting;
/// Marks arguments that need not fit.
#[doc(hidden)]
pub struct Tried;

fn extract<S: Side, E: Extract<S>>(call: &Call<'_, S>) -> Result<E, NotCalled> {
    E::extract(call).map_err(|error| NotCalled::not_extracted::<E, _>(&error))
}

/// The arguments of an event, as a handler asks for them: any type that can be deserialized, or a
/// `Result` of such a type and an [`ArgsError`], if the handler itself decides what to do when the
/// arguments do not fit.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of an event",
    label = "not a type that arguments can be read as",
    note = "arguments are owned types that implement `serde::de::DeserializeOwned`, as by `#[derive(Deserialize)]`: `String`, not `&str`",
    note = "several arguments are a tuple, `(a, b): (String, u32)`; bytes are a `Binary` or `Bytes`",
    note = "`Result<T, ArgsError>` is what is asked for by a handler that decides itself what misfits mean"
)]
pub trait FromArgs<K>: Sized {
    #[doc(hidden)]
    fn read<S: Side>(call: &mut Call<'_, S>) -> Result<Self, ArgsError>;
}

impl<A: DeserializeOwned + 'static> FromArgs<Fitting> for A {
    fn read<S: Side>(call: &mut Call<'_, S>) -> Result<Self, ArgsError> {
        call.args_as()
    }
}

impl<A: DeserializeOwned + 'static> FromArgs<Tried> for Result<A, ArgsError> {
    fn read<S: Side>(call: &mut Call<'_, S>) -> Result<Self, ArgsError> {
        Ok(call.args_as())
    }
}

fn read<A: FromArgs<K>, K, S: Side>(call: &mut Call<'_, S>) -> Result<A, NotCalled> {
    A::read(call).map_err(NotCalled::misfit)
}

/// The last parameter but one of an event's handler: an [`Extract`], or the arguments.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand before the last parameter of a handler",
    label = "neither something to extract, nor arguments",
    note = "extractors stand first, as `Socket`, `State<T>` and `Auth<T>`, each taken by value: `Socket`, not `&Socket`",
    note = "behind them stand the arguments, as one owned type that implements `serde::de::DeserializeOwned`: `String`, not `&str`; several arguments are a \
            tuple, `(a, b): (String, u32)`",
    note = "`Ack` is last"
)]
pub trait Middle<M, S: Side = ServerSide>: Sized {
    #[doc(hidden)]
    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

impl<S: Side, E: Extract<S>> Middle<ViaExtract, S> for E {
    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        extract(call)
    }

    fn needs(needs: &mut Needs) {
        E::needs(needs);
    }
}

impl<S: Side, A: FromArgs<K>, K> Middle<ViaArgs<K>, S> for A {
    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        read(call)
    }

    fn needs(_: &mut Needs) {}
}

/// The last parameter of an event's handler: an [`Extract`], the arguments, or the [`Ack`].
/// `Before` is the type of the parameter before it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the last parameter of a handler",
    label = "neither something to extract, nor arguments, nor `Ack`",
    note = "arguments are one owned type that implements `serde::de::DeserializeOwned`, as by `#[derive(Deserialize)]`: `String`, not `&str`; several \
            arguments are a tuple, `(a, b): (String, u32)`",
    note = "the socket is taken by value: `Socket`, not `&Socket`"
)]
pub trait Last<Before, M, S: Side = ServerSide>: Sized {
    /// Who gives the acknowledgement.
    #[doc(hidden)]
    type Owes;
    #[doc(hidden)]
    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

impl<S: Side, E: Extract<S>> Last<ViaExtract, ViaExtract, S> for E {
    type Owes = Owing;

    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        extract(call)
    }

    fn needs(needs: &mut Needs) {
        E::needs(needs);
    }
}

impl<S: Side, A: FromArgs<K>, K> Last<ViaExtract, ViaArgs<K>, S> for A {
    type Owes = Owing;

    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        read(call)
    }

    fn needs(_: &mut Needs) {}
}

impl Last<ViaExtract, ViaAck> for Ack {
    type Owes = Free;

    fn take(call: &mut Call<'_>) -> Result<Self, NotCalled> {
        Ok(call.take_ack())
    }

    fn needs(_: &mut Needs) {}
}

/// The parameter that can follow the arguments: an [`Ack`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand behind the arguments of an event",
    label = "only `Ack` stands behind the arguments",
    note = "several arguments are a tuple, `(a, b): (String, u32)`",
    note = "what is no argument stands before them: `Socket`, `State<T>`, `Auth<T>`"
)]
pub trait BehindArgs<S: Side = ServerSide>: Sized {
    #[doc(hidden)]
    fn take_last(call: &mut Call<'_, S>) -> Self;
}

impl BehindArgs for Ack {
    fn take_last(call: &mut Call<'_>) -> Self {
        call.take_ack()
    }
}

impl<S: Side, A: BehindArgs<S>, K> Last<ViaArgs<K>, ViaAck, S> for A {
    type Owes = Free;

    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        Ok(A::take_last(call))
    }

    fn needs(_: &mut Needs) {}
}

/// A parameter of a handler of disconnections: an [`Extract`], the [`Reason`], or the cause behind
/// it (`Option<Breach>`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a handler of disconnections",
    label = "neither something to extract, nor the reason",
    note = "it asks for `Socket`, `Reason`, `Option<Breach>`, `State<T>`, `Auth<T>` or another type that implements `Extract`, each taken by value"
)]
pub trait EndPart<M, S: Side = ServerSide>: Sized {
    #[doc(hidden)]
    fn take(call: &Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

impl<S: Side, E: Extract<S>> EndPart<ViaExtract, S> for E {
    fn take(call: &Call<'_, S>) -> Result<Self, NotCalled> {
        extract(call)
    }

    fn needs(needs: &mut Needs) {
        E::needs(needs);
    }
}

impl EndPart<ViaEnd> for Reason {
    fn take(call: &Call<'_>) -> Result<Self, NotCalled> {
        Ok(call.end.map_or(Self::ForcedClose, |end| end.reason))
    }

    fn needs(_: &mut Needs) {}
}

impl EndPart<ViaEnd> for Option<Breach> {
    fn take(call: &Call<'_>) -> Result<Self, NotCalled> {
        Ok(call.end.and_then(|end| end.breach.clone()))
    }

    fn needs(_: &mut Needs) {}
}

/// The parameters of an event's handler.
pub trait EventParameters<M, S: Side = ServerSide>: Sized {
    /// Who gives the acknowledgement.
    #[doc(hidden)]
    type Owes;
    #[doc(hidden)]
    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

/// The parameters of a handler of connections, or of a middleware.
pub trait ConnectParameters<S: Side = ServerSide>: Sized {
    #[doc(hidden)]
    fn take(call: &Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

/// The parameters of a handler of disconnections.
pub trait EndParameters<M, S: Side = ServerSide>: Sized {
    #[doc(hidden)]
    fn take(call: &Call<'_, S>) -> Result<Self, NotCalled>;
    #[doc(hidden)]
    fn needs(needs: &mut Needs);
}

macro_rules! functions {
    ($(($($p:ident $m:ident),*))*) => {$(
        #[allow(non_snake_case, unused_variables, reason = "a tuple may be empty")]
        impl<F, R, $($p),*> Function<($($p,)*)> for F
        where
            F: Fn($($p),*) -> R + Send + Sync + 'static,
        {
            type Output = R;

            fn invoke(&self, ($($p,)*): ($($p,)*)) -> R {
                self($($p),*)
            }
        }

        #[allow(unused_variables, reason = "a tuple may be empty")]
        impl<S: Side, $($p: Extract<S>),*> ConnectParameters<S> for ($($p,)*) {
            fn take(call: &Call<'_, S>) -> Result<Self, NotCalled> {
                Ok(($(extract::<S, $p>(call)?,)*))
            }

            fn needs(needs: &mut Needs) {
                $($p::needs(needs);)*
            }
        }

        #[allow(unused_variables, reason = "a tuple may be empty")]
        impl<S: Side, $($p: EndPart<$m, S>, $m),*> EndParameters<($($m,)*), S> for ($($p,)*) {
            fn take(call: &Call<'_, S>) -> Result<Self, NotCalled> {
                Ok(($($p::take(call)?,)*))
            }

            fn needs(needs: &mut Needs) {
                $($p::needs(needs);)*
            }
        }
    )*};
}

functions! {
    ()
    (A MA)
    (A MA, B MB)
    (A MA, B MB, C MC)
    (A MA, B MB, C MC, D MD)
    (A MA, B MB, C MC, D MD, E ME)
    (A MA, B MB, C MC, D MD, E ME, G MG)
    (A MA, B MB, C MC, D MD, E ME, G MG, H MH)
    (A MA, B MB, C MC, D MD, E ME, G MG, H MH, I MI)
}

impl<S: Side> EventParameters<(), S> for () {
    type Owes = Owing;

    fn take(_: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        Ok(())
    }

    fn needs(_: &mut Needs) {}
}

impl<S: Side, L: Last<ViaExtract, ML, S>, ML> EventParameters<(ML,), S> for (L,) {
    type Owes = L::Owes;

    fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
        Ok((L::take(call)?,))
    }

    fn needs(needs: &mut Needs) {
        L::needs(needs);
    }
}

macro_rules! event_parameters {
    ($(($($first:ident),*))*) => {$(
        #[allow(unused_variables, reason = "there may be none before the last two")]
        impl<S: Side, $($first: Extract<S>,)* M: Middle<MM, S>, MM, L: Last<MM, ML, S>, ML> EventParameters<(MM, ML), S>
            for ($($first,)* M, L)
        {
            type Owes = L::Owes;

            fn take(call: &mut Call<'_, S>) -> Result<Self, NotCalled> {
                Ok(($(extract::<S, $first>(call)?,)* M::take(call)?, L::take(call)?))
            }

            fn needs(needs: &mut Needs) {
                $($first::needs(needs);)*
                M::needs(needs);
                L::needs(needs);
            }
        }
    )*};
}

event_parameters! {
    ()
    (A)
    (A, B)
    (A, B, C)
    (A, B, C, D)
    (A, B, C, D, E)
    (A, B, C, D, E, F)
}
