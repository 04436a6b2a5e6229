//! Tests of the whole program from outside: the real binary, real sockets, real files.

mod drain;
mod http;
mod layout;
mod node;
mod readme;
