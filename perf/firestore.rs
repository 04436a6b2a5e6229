//! The tests' Firestore as a process of its own, for measurements: prints its address, and ends with its input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool that cannot go on may panic, and prints"
)]

// An example is not told where the program is, so it takes this part of the support alone.
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/support/firestore_fake/mod.rs"]
mod firestore_fake;

fn main() {
    let fake = firestore_fake::Fake::start();
    println!("{}", fake.address());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}
