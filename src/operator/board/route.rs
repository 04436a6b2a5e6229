//! Requests of the board, as the table of operations names them.

use super::page::BoardFile;

/// What may be asked of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardRoute {
    /// The page; for who does not want HTML, what it would show.
    Board,
    File(BoardFile),
    Events,
    Session,
    OpenSession,
    EndSession,
}
