//! The values of a map, being gathered for a `Vec`.

use super::piece::Results;
use super::room::Batch;
use crate::error::TaskError;

/// Values in order. Those of chunks that lie side by side in one room stay where they are.
#[derive(Default)]
pub(super) enum Collected<R> {
    #[default]
    Nothing,
    /// Where they were written.
    InPlace(Batch<R>),
    /// In a room with places for all.
    Moved(Batch<R>),
}

impl<R> Collected<R> {
    /// Takes in values, no errors. `len` is how many there will be in the end.
    fn add(&mut self, next: Batch<R>, len: usize) {
        let next = match self {
            Collected::Nothing => {
                *self = Collected::InPlace(next);
                return;
            }
            Collected::InPlace(all) => match all.append(next) {
                Ok(()) => return,
                Err(next) => next,
            },
            Collected::Moved(_) => next,
        };
        self.moved(len).extend(next);
    }

    /// Takes in the values up to the first error.
    pub(super) fn add_results(&mut self, results: Results<R>, len: usize) -> Result<(), TaskError> {
        match results {
            Results::Many(batch, _) if !batch.has_gaps() => {
                self.add(batch, len);
                Ok(())
            }
            results => results.into_iter().try_for_each(|result| result.map(|value| self.push(value, len))),
        }
    }

    fn push(&mut self, value: R, len: usize) {
        self.moved(len).push(Ok(value));
    }

    fn moved(&mut self, len: usize) -> &mut Batch<R> {
        if !matches!(self, Collected::Moved(_)) {
            let mut moved = Batch::with_places(len);
            if let Collected::InPlace(all) = std::mem::take(self) {
                moved.extend(all);
            }
            *self = Collected::Moved(moved);
        }
        match self {
            Collected::Moved(all) => all,
            _ => unreachable!("made so just now"),
        }
    }

    pub(super) fn into_vec(self) -> Vec<R> {
        match self {
            Collected::Nothing => Vec::new(),
            Collected::InPlace(all) | Collected::Moved(all) => all.into_values(),
        }
    }
}
