//! The kinds of functions that can be tasks. Each is a bare function pointer: nothing is captured, so a worker process that
//! runs the same program can call it by its address.

use super::context::{Bound, ContextHandle, Unbound};
use crate::Portable;
use crate::error::{Failure, TaskErrorKind};
use std::error::Error;

pub(crate) trait Function: Copy + Send + 'static {
    /// How the context is held: [`Unbound`] for none.
    type Context: ContextHandle;
    type Args: Portable;
    type Out: Portable;
    /// What the function itself returns.
    type Raw;

    fn call_raw(self, context: &<Self::Context as ContextHandle>::Value, args: Self::Args) -> Self::Raw;

    /// What its return means for the task.
    fn refine(raw: Self::Raw) -> Result<Self::Out, TaskErrorKind>;

    fn call(
        self,
        context: &<Self::Context as ContextHandle>::Value,
        args: Self::Args,
    ) -> Result<Self::Out, TaskErrorKind> {
        Self::refine(self.call_raw(context, args))
    }

    fn address(self) -> usize;

    /// # Safety
    /// `address` comes from `address` of the same type, in this process or, moved by the image's offset, in another one
    /// that runs the same program.
    unsafe fn from_address(address: usize) -> Self;
}

fn fallible<R, E: Into<Box<dyn Error + Send + Sync>>>(returned: Result<R, E>) -> Result<R, TaskErrorKind> {
    returned.map_err(|error| TaskErrorKind::Failed(Failure::new(error.into(), std::any::type_name::<E>())))
}

/// The pointer's kinds differ only in how they are called.
macro_rules! function {
    ($(#[$doc:meta])* $name:ident<$($p:ident),+>, $pointer:ty, $context:ty, $args:ty => $raw:ty => $out:ty,
     [$($bounds:tt)*], |$f:ident, $c:ident, $a:pat_param| $body:expr, $refine:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<$($p),+>(pub(crate) $pointer);

        impl<$($p),+> Clone for $name<$($p),+> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($p),+> Copy for $name<$($p),+> {}

        impl<$($p),+> Function for $name<$($p),+>
        where
            $($bounds)*
        {
            type Context = $context;
            type Args = $args;
            type Out = $out;
            type Raw = $raw;

            fn call_raw(self, $c: &<Self::Context as ContextHandle>::Value, $a: Self::Args) -> Self::Raw {
                let $f = self.0;
                $body
            }

            fn refine(raw: Self::Raw) -> Result<Self::Out, TaskErrorKind> {
                $refine(raw)
            }

            fn address(self) -> usize {
                self.0 as *const () as usize
            }

            unsafe fn from_address(address: usize) -> Self {
                let pointer = address as *const ();
                // SAFETY: the caller vouches that this is the address of such a function; code pointers and data pointers
                // are of one size on all platforms that the library builds for.
                $name(unsafe { std::mem::transmute::<*const (), $pointer>(pointer) })
            }
        }
    };
}

function!(
    /// `fn(A) -> R`.
    Plain<A, R>, fn(A) -> R, Unbound, A => R => R,
    [A: Portable, R: Portable], |f, _context, args| f(args), Ok
);

function!(
    /// `fn(A) -> Result<R, E>`, whose error becomes the task's.
    Fallible<A, R, E>, fn(A) -> Result<R, E>, Unbound, A => Result<R, E> => R,
    [A: Portable, R: Portable, E: Into<Box<dyn Error + Send + Sync>> + 'static], |f, _context, args| f(args), fallible
);

function!(
    /// `fn(A, B) -> R`, for pairs.
    Star<A, B, R>, fn(A, B) -> R, Unbound, (A, B) => R => R,
    [A: Portable, B: Portable, R: Portable], |f, _context, (a, b)| f(a, b), Ok
);

function!(
    /// `fn(&C, A) -> R`, with a context.
    WithContext<C, A, R>, fn(&C, A) -> R, Bound<C>, A => R => R,
    [C: Portable + Sync, A: Portable, R: Portable], |f, context, args| f(context, args), Ok
);

function!(
    /// `fn(&C, A) -> Result<R, E>`, with a context, whose error becomes the task's.
    WithContextFallible<C, A, R, E>, fn(&C, A) -> Result<R, E>, Bound<C>, A => Result<R, E> => R,
    [C: Portable + Sync, A: Portable, R: Portable, E: Into<Box<dyn Error + Send + Sync>> + 'static],
    |f, context, args| f(context, args), fallible
);
