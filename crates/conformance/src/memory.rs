//! Who still holds an argument, in whatever process.

use crate::stage::Ticket;
use serde::{Deserialize, Serialize};

/// An argument that says when it is dropped: `dropped` and a word of its own. Decoding it makes another one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Witness {
    ticket: Ticket,
    word: String,
}

impl Witness {
    /// One that speaks at the stage of this ticket.
    pub fn new(ticket: Ticket, word: impl Into<String>) -> Self {
        Witness { ticket, word: word.into() }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.ticket.tell(format_args!("dropped {}", self.word));
    }
}
