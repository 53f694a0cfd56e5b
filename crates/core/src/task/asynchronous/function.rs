//! Async functions as tasks of worker processes: like [the others](crate::task::function), bare function pointers.

use super::block_on;
use crate::Portable;
use crate::error::{Failure, TaskErrorKind};
use crate::task::function::Function;
use crate::task::{Unbound, context::ContextHandle};
use std::error::Error;
use std::future::Future;

/// A function whose future is the task.
pub(crate) trait AsyncFunction: Function<Context = Unbound> {
    type Future: Future<Output = Self::Raw> + Send + 'static;

    fn begin(self, args: Self::Args) -> Self::Future;
}

/// What an async function that may fail returns.
pub trait Outcome {
    /// What it is about.
    type Value;

    /// What it means for the task.
    #[doc(hidden)]
    fn refine(self) -> Result<Self::Value, TaskErrorKind>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Outcome for Result<T, E> {
    type Value = T;

    fn refine(self) -> Result<T, TaskErrorKind> {
        self.map_err(|error| TaskErrorKind::Failed(Failure::new(error.into(), std::any::type_name::<E>())))
    }
}

macro_rules! async_function {
    ($(#[$doc:meta])* $name:ident, $output:ty, [$($bounds:tt)*], $refine:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<A, F>(pub(crate) fn(A) -> F);

        impl<A, F> Clone for $name<A, F> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<A, F> Copy for $name<A, F> {}

        impl<A: Portable, F: Future + Send + 'static> Function for $name<A, F>
        where
            $($bounds)*
        {
            type Context = Unbound;
            type Args = A;
            type Out = $output;
            type Raw = F::Output;

            fn call_raw(self, _context: &<Unbound as ContextHandle>::Value, args: A) -> F::Output {
                block_on((self.0)(args))
            }

            fn refine(raw: F::Output) -> Result<$output, TaskErrorKind> {
                $refine(raw)
            }

            fn address(self) -> usize {
                self.0 as *const () as usize
            }

            unsafe fn from_address(address: usize) -> Self {
                let pointer = address as *const ();
                // SAFETY: the caller vouches that this is the address of such a function; code pointers and data pointers
                // are of one size on all platforms that the library builds for.
                $name(unsafe { std::mem::transmute::<*const (), fn(A) -> F>(pointer) })
            }
        }

        impl<A: Portable, F: Future + Send + 'static> AsyncFunction for $name<A, F>
        where
            $($bounds)*
        {
            type Future = F;

            fn begin(self, args: A) -> F {
                (self.0)(args)
            }
        }
    };
}

async_function!(
    /// What it returns is the value.
    Async, F::Output, [F::Output: Portable], Ok
);

async_function!(
    /// Its error becomes the task's.
    AsyncFallible, <F::Output as Outcome>::Value,
    [F::Output: Outcome + Send + 'static, <F::Output as Outcome>::Value: Portable], Outcome::refine
);
