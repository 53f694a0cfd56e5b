//! What dropping a pool does.

/// What dropping a pool does, when it has not been shut down by then; a setting of the builders.
///
/// ```
/// use concurrent_futures_core::OnDrop;
///
/// assert_eq!(OnDrop::default(), OnDrop::Wait);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnDrop {
    /// Waits until all its work is done.
    #[default]
    Wait,
    /// Cancels what has not started, and waits for the rest.
    CancelPending,
    /// Cancels what has not started, and ends the workers. Processes are killed; what they were running fails. A thread
    /// cannot be killed: nobody waits for it, it ends when its task does, or with the program.
    Kill,
}
