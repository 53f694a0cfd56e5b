//! Waiting for several things at once.

use super::poll::sleep_until;
use super::pollable::{Kind, Pollable, Watch};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::time::{Duration, Instant};

/// Waits until at least one of `what` is ready, or `timeout` has passed (`None`: for ever), and says which are, by
/// their places. An empty answer: the time is over. One that has come to its end is ready.
///
/// ```
/// use concurrent_futures_ipc::connection;
/// use std::io::Write;
/// use std::time::Duration;
///
/// let (one, mut to_one) = std::io::pipe()?;
/// let (two, to_two) = std::io::pipe()?;
/// assert_eq!(connection::wait(&[&one, &two], Some(Duration::from_millis(1)))?, []);
/// drop(to_two);
/// assert_eq!(connection::wait(&[&one, &two], None)?, [1]);
/// to_one.write_all(b"x")?;
/// assert_eq!(connection::wait(&[&one, &two], None)?, [0, 1]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput`: nothing is to be waited for, for ever. Else as of [`Pollable::watch`], and what calling the kernel
/// can end with: also `InvalidInput` where there are more than this process may have descriptors.
pub fn wait(what: &[&dyn Pollable], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    if what.is_empty() && timeout.is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "nothing to wait for, and no timeout"));
    }
    // What the clock cannot hold is no limit.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut watches = what.iter().map(|one| one.watch()).collect::<io::Result<Vec<_>>>()?;
    let mut ready = Vec::new();
    for (place, watch) in watches.iter_mut().enumerate() {
        if let Watch(Kind::Armed(armed)) = watch
            && armed.is_ready()?
        {
            ready.push(place);
        }
    }
    loop {
        // Of those that are descriptors and nothing else the kernel is asked for all at once, also when others are
        // ready.
        let until = if ready.is_empty() { deadline } else { Some(Instant::now()) };
        let spoken = poll(&watches, until)?;
        let over = spoken.is_empty();
        for place in spoken {
            let is_ready = match &mut watches[place].0 {
                Kind::Plain(_) => true,
                Kind::Armed(armed) => !ready.contains(&place) && armed.is_ready()?,
            };
            if is_ready {
                ready.push(place);
            }
        }
        if over || !ready.is_empty() {
            ready.sort_unstable();
            return Ok(ready);
        }
    }
}

/// Those whose descriptors have something to say.
fn poll(watches: &[Watch<'_>], deadline: Option<Instant>) -> io::Result<Vec<usize>> {
    let mut polled: Vec<_> =
        watches.iter().map(|watch| PollFd::from_borrowed_fd(watch.descriptor(), PollFlags::IN)).collect();
    if sleep_until(&mut polled, deadline)? == 0 {
        return Ok(Vec::new());
    }
    Ok((0..polled.len()).filter(|&place| !polled[place].revents().is_empty()).collect())
}
