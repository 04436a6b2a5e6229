//! Tests of the whole program from outside: the real binary, real sockets, real files.

mod bad_requests;
mod drain;
mod http;
mod layout;
mod node;
mod readme;
mod wire;
