//! Tasks that borrow from the stack of whoever waits for them.

mod future;
mod ledger;
mod map;

pub use future::ScopedFuture;
pub use map::ScopedMap;

pub(crate) use ledger::Ledger;

use crate::ThreadPoolExecutor;
use crate::crew::{Crew, Job, WhenFull};
use concurrent_futures_core::ChunkSizes;
use concurrent_futures_core::task::{Task, catch, scoped_closure};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Where tasks are started that may borrow; made by [`ThreadPoolExecutor::borrow_scope`].
///
/// `'scope` is the time in which its tasks run, `'env` the time for which everything lives that they borrow from outside.
pub struct Scope<'scope, 'env: 'scope> {
    crew: &'env Arc<Crew>,
    ledger: Arc<Ledger>,
    // Both invariant, as those of `std::thread::Scope`: `'scope` must not shrink to what ends before all tasks do.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl ThreadPoolExecutor {
    /// Runs tasks that borrow from the stack: like [`std::thread::scope`], on the threads of this pool.
    ///
    /// Returns when `f` has returned and every task that was started in the scope has ended and let go of what it borrowed,
    /// also when `f` panics. Called in a task of this very pool, it does not block a worker for that: what nobody has started
    /// by the end is run in place.
    ///
    /// This is not [`ExecutorExt::scope`](concurrent_futures_core::ExecutorExt::scope), which shuts the pool down.
    ///
    /// # Panics
    /// When `f` does; and when a task panicked and nobody asked for its result.
    ///
    /// ```
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let mut numbers = vec![3, 1, 2];
    /// let words = ["a", "bc"];
    /// let letters = pool.borrow_scope(|scope| {
    ///     scope.spawn(|| numbers.sort());
    ///     let lengths: Vec<_> = words.iter().map(|word| scope.spawn(|| word.len())).collect();
    ///     lengths.into_iter().map(|length| length.result().unwrap()).sum::<usize>()
    /// });
    /// assert_eq!((letters, numbers), (3, vec![1, 2, 3]));
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn borrow_scope<'env, T>(&'env self, f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
        let scope = Scope { crew: self.crew(), ledger: Arc::default(), scope: PhantomData, env: PhantomData };
        let outcome = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        // Whatever happened: nothing that tasks borrow may end before this.
        scope.ledger.settle(scope.crew.id);
        let value = outcome.unwrap_or_else(|payload| resume_unwind(payload));
        match scope.ledger.ignored_panic() {
            None => value,
            Some((panic, 0)) => panic!("a task of a `borrow_scope`, whose result nobody asked for, {panic}"),
            Some((panic, more)) => {
                panic!(
                    "{} tasks of a `borrow_scope`, whose results nobody asked for, panicked; the first {panic}",
                    more + 1
                )
            }
        }
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a task, which may borrow whatever outlives the scope.
    ///
    /// It need not be waited for: the end of the scope does. A pool that is shut down or broken refuses it, as the future then
    /// says.
    ///
    /// ```
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let text = String::from("borrowed");
    /// let length = pool.borrow_scope(|scope| scope.spawn(|| text.len()).result());
    /// assert_eq!(length.unwrap(), text.len());
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn spawn<T, F>(&'scope self, f: F) -> ScopedFuture<'scope, T>
    where
        T: Send + 'scope,
        F: FnOnce() -> T + Send + 'scope,
    {
        let number = self.ledger.number();
        let ledger = Arc::clone(&self.ledger);
        // SAFETY: `borrow_scope` returns, or unwinds, only after `Ledger::settle`, that is, when every task which was added to
        // the ledger has been consumed and dropped by its runner: the pool never holds more than permissions. The lifetimes in
        // `F` and `T` last as long as `'scope`, which ends after that. The future is inside a `ScopedFuture<'scope, T>`,
        // which cannot be used after `'scope`, and gives it to nobody.
        let (task, future) = unsafe { scoped_closure(f, move |panic| ledger.note_panic(number, panic)) };
        self.submit(task);
        ScopedFuture::new(future, Arc::clone(&self.ledger), number)
    }

    /// Calls `f` on every item; the results come in the order of the items, each a `Result` of its own.
    ///
    /// As [`ExecutorExt::map`](concurrent_futures_core::ExecutorExt::map), but `f`, the items and the results may borrow, and
    /// `f` may capture. The items are taken and the work starts at the call, in chunks. Dropping the iterator cancels what has
    /// not started. A panic is its item's result, and does not resurface at the end of the scope.
    ///
    /// ```
    /// use concurrent_futures_thread::ThreadPoolExecutor;
    ///
    /// let pool = ThreadPoolExecutor::new(2)?;
    /// let (text, factor) = (String::from("one two three"), 10);
    /// let lengths: Result<Vec<_>, _> =
    ///     pool.borrow_scope(|scope| scope.map(|word: &str| word.len() * factor, text.split(' ')).collect());
    /// assert_eq!(lengths.unwrap(), [30, 30, 50]);
    /// # Ok::<(), concurrent_futures_core::BuildError>(())
    /// ```
    pub fn map<I, R, F>(&'scope self, f: F, items: I) -> ScopedMap<'scope, R>
    where
        I: IntoIterator<Item: Send + 'scope>,
        R: Send + 'scope,
        F: Fn(I::Item) -> R + Send + Sync + 'scope,
    {
        let mut items = items.into_iter().fuse();
        let mut sizes = ChunkSizes::new(None, self.crew.max_workers(), &items);
        let f = Arc::new(f);
        // Dropped, and with it cancelled, when the input panics.
        let mut map = ScopedMap::new();
        loop {
            let chunk: VecDeque<_> = items.by_ref().take(sizes.next_size(|| map.done_at_the_front())).collect();
            if chunk.is_empty() {
                return map;
            }
            let count = chunk.len();
            let f = Arc::clone(&f);
            let call = move || chunk.into_iter().map(|item| catch(|| f(item))).collect();
            // SAFETY: as in `spawn`; the future is inside a `ScopedMap<'scope, R>`.
            let (task, future) = unsafe { scoped_closure(call, |_| ()) };
            self.submit(task);
            map.push(count, future);
        }
    }

    fn submit(&self, task: Task) {
        task.set_home(self.crew.id);
        let id = task.id();
        self.ledger.add(task);
        let permission = Job::Scoped(Arc::clone(&self.ledger));
        if let Err((_, why)) = self.crew.submit(permission, WhenFull::Wait) {
            self.ledger.refuse(id, why);
        }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
