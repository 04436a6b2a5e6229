//! Tools that tests need and that a machine may not have.

/// A tool is not there. With `GEMBA_TESTS_REQUIRE_ALL=1`, as `./tests/all` sets it, the test fails; else it is skipped.
pub fn missing<T>(tool: &str, installer: &str) -> Option<T> {
    let said = format!("{tool} is not there; {installer} installs it");
    let required = std::env::var("GEMBA_TESTS_REQUIRE_ALL").is_ok_and(|required| required == "1");
    assert!(!required, "{said}");
    eprintln!("skipped: {said}");
    None
}
