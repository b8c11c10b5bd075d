//! Many sessions at once on one thread; `cargo run --release -p tests --example thousand_sessions` does it with a thousand.

#[path = "../examples/thousand_sessions.rs"]
#[allow(dead_code)] // its main
mod thousand_sessions;

#[test]
fn none_is_lost() {
    // In one test, because memory and descriptors are the process's.
    for (sessions, secured) in [(200, false), (50, true)] {
        let seen = thousand_sessions::run(sessions, secured).unwrap();
        assert_eq!((seen.at_once, seen.accepted, seen.arrived), (sessions, sessions, sessions), "{seen:?}");
    }
}
