//! Results that come while the work goes on.

use super::Pool;
use super::piece::{Piece, Results, Source};
use crate::{Portable, TaskError, worker};
use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Results in the order of the items, each a `Result` of its own; made by [`Pool::imap`].
///
/// Input that says (by its `size_hint`) that it has at most 65,536 items is given to the pool at the call. Other input, which may
/// be large or endless, is taken as its results are: four chunks for each worker are in flight, or as many as
/// [`buffersize`](super::PoolTasks::buffersize) says, which holds for any input. What has been taken is work that
/// [`join`](Pool::join) waits for. The rest can be taken when the pool is closed, until it is joined or terminated; then the items
/// that are left have refusals for results.
///
/// It keeps the pool from being dropped. Dropping it cancels what has not started.
///
/// ```
/// use concurrent_futures::multiprocessing::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::new(2)?;
/// let mut squares = pool.imap(|x: u64| x * x, [3, 4]);
/// assert_eq!(squares.next_timeout(Duration::from_secs(60))?.expect("two items")?, 9);
/// assert_eq!(squares.next().expect("one more")?, 16);
/// assert!(squares.next().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping it cancels what has not started"]
pub struct Imap<I: Iterator, R> {
    source: Source<I, R>,
    current: Results<R>,
    pieces: VecDeque<Piece<R>>,
}

impl<I: Iterator, R: Portable> Imap<I, R>
where
    I::Item: Portable,
{
    pub(super) fn new(pool: Pool, f: fn(I::Item) -> R, items: I, chunksize: usize, buffersize: Option<usize>) -> Self {
        let source = Source::new(pool, f, items, chunksize, buffersize);
        let mut imap = Imap { source, current: Results::None, pieces: VecDeque::new() };
        imap.fill();
        imap
    }

    fn fill(&mut self) {
        while let Some(piece) = self.source.next(self.pieces.len()) {
            self.pieces.push_back(piece);
        }
    }

    /// As `next`, but waits `limit` at most.
    ///
    /// # Errors
    /// The next result was not there in time; it comes later.
    ///
    /// ```
    /// use concurrent_futures::multiprocessing::Pool;
    /// use std::time::Duration;
    ///
    /// let pool = Pool::new(1)?;
    /// let mut naps = pool.imap(|ms| std::thread::sleep(Duration::from_millis(ms)), [1000]);
    /// assert!(naps.next_timeout(Duration::ZERO).is_err());
    /// assert!(naps.next().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<Result<R, TaskError>>, NextTimedOut> {
        if let Some(result) = self.current.next() {
            return Ok(Some(result));
        }
        match self.pieces.front() {
            Some(piece) if !piece.wait_timeout(limit) => Err(NextTimedOut { limit }),
            _ => Ok(self.next()),
        }
    }
}

impl<I: Iterator, R: Portable> Iterator for Imap<I, R>
where
    I::Item: Portable,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.current.next() {
                return Some(result);
            }
            self.current = self.pieces.pop_front()?.results();
            self.fill();
        }
    }
}

impl<I: Iterator, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("in_flight", &self.pieces.len()).finish_non_exhaustive()
    }
}

/// Results as they are ready; made by [`Pool::imap_unordered`]. Otherwise as [`Imap`].
#[must_use = "dropping it cancels what has not started"]
pub struct ImapUnordered<I: Iterator, R> {
    source: Source<I, R>,
    current: Results<R>,
    pieces: HashMap<u64, Piece<R>>,
    submitted: u64,
    /// The numbers of the pieces that are done.
    done: Receiver<u64>,
    tell: Sender<u64>,
}

impl<I: Iterator, R: Portable> ImapUnordered<I, R>
where
    I::Item: Portable,
{
    pub(super) fn new(pool: Pool, f: fn(I::Item) -> R, items: I, chunksize: usize, buffersize: Option<usize>) -> Self {
        let (tell, done) = channel();
        let source = Source::new(pool, f, items, chunksize, buffersize);
        let (current, pieces) = (Results::None, HashMap::new());
        let mut imap = ImapUnordered { source, current, pieces, submitted: 0, done, tell };
        imap.fill();
        imap
    }

    fn fill(&mut self) {
        while let Some(piece) = self.source.next(self.pieces.len()) {
            let (number, tell) = (self.submitted, self.tell.clone());
            self.submitted += 1;
            // Nobody listens when the iterator is gone.
            piece.on_done(move || _ = tell.send(number));
            self.pieces.insert(number, piece);
        }
    }

    /// As `next`, but waits `limit` at most.
    ///
    /// # Errors
    /// No other result was there in time; it comes later.
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<Result<R, TaskError>>, NextTimedOut> {
        self.next_until(Instant::now().checked_add(limit)).ok_or(NextTimedOut { limit })
    }

    /// `None`: not until then.
    fn next_until(&mut self, until: Option<Instant>) -> Option<Option<Result<R, TaskError>>> {
        loop {
            if let Some(result) = self.current.next() {
                return Some(Some(result));
            }
            if self.pieces.is_empty() {
                return Some(None);
            }
            let number = self.next_done(until)?;
            let piece = self.pieces.remove(&number);
            self.fill();
            self.current = piece.map_or(Results::None, Piece::results);
        }
    }

    /// The number of a piece that is done.
    fn next_done(&self, until: Option<Instant>) -> Option<u64> {
        if let Ok(number) = self.done.try_recv() {
            return Some(number);
        }
        // The sender is here, too: the channel is never closed.
        worker::blocking(|| match until {
            None => self.done.recv().ok(),
            Some(until) => self.done.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
        })
    }
}

impl<I: Iterator, R: Portable> Iterator for ImapUnordered<I, R>
where
    I::Item: Portable,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None).flatten()
    }
}

impl<I: Iterator, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered").field("in_flight", &self.pieces.len()).finish_non_exhaustive()
    }
}

/// The next result of an [`Imap`] or [`ImapUnordered`] was not there in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextTimedOut {
    limit: Duration,
}

impl fmt::Display for NextTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the next result was not there in {:?}; it is not lost, ask again", self.limit)
    }
}

impl Error for NextTimedOut {}
