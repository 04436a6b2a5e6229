//! Tests of the whole program from outside: the real binary, real sockets, real files.

mod bad_requests;
mod drain;
mod good_requests;
mod http;
mod layout;
mod limits;
mod node;
mod not_signals;
mod readme;
mod wire;
