//! The fuzz target `body`: stuffed and unstuffed, a message is what the RFC makes of it.

use smtp_proto::Misuse;
use smtp_proto::body::{DotStuffing, LineEndings, Unstuffing};

use crate::oracle::canonical;

use super::control::Control;

/// Stuffed at any cut and unstuffed at any other, a message is its canonical form; strict refuses what is not.
pub fn body(input: &[u8]) {
    let (mut control, data) = Control::split(input);
    let (one, two) = (usize::from(control.next()).max(1), usize::from(control.next()).max(1));
    let stuff = |endings| -> Result<Vec<u8>, Misuse> {
        let (mut stuffing, mut wire) = (DotStuffing::new(endings), Vec::new());
        for chunk in data.chunks(one) {
            stuffing.write(chunk, &mut wire)?;
        }
        stuffing.end(&mut wire);
        Ok(wire)
    };
    let wire = stuff(LineEndings::Canonical).expect("it takes everything");
    assert!(!wire[..wire.len() - 5.min(wire.len())].windows(5).any(|part| part == b"\r\n.\r\n"), "it ends too early");
    if let Ok(strict) = stuff(LineEndings::Strict) {
        assert_eq!(strict, wire);
        assert!(!data.contains(&0), "a NUL goes out");
    } else {
        assert!(canonical(data) != data || data.contains(&0), "it refuses what is canonical");
    }
    for lenient in [false, true] {
        let (mut unstuffing, mut content, mut ended) = (Unstuffing::new(lenient), Vec::new(), false);
        for mut chunk in wire.chunks(two) {
            assert!(!ended, "it ends before the end");
            ended = unstuffing.receive(&mut chunk, &mut content).expect("its line ends are canonical");
            assert!(chunk.is_empty());
        }
        assert!(ended);
        assert_eq!(content, canonical(data));
    }
    // Any octets at all are unstuffed the same at every cut.
    let unstuff = |size: usize, lenient| {
        let (mut unstuffing, mut content, mut taken) = (Unstuffing::new(lenient), Vec::new(), 0);
        for mut chunk in data.chunks(size) {
            let before = chunk.len();
            let verdict = unstuffing.receive(&mut chunk, &mut content);
            taken += before - chunk.len();
            if verdict != Ok(false) {
                return (content, taken, verdict);
            }
        }
        (content, taken, Ok(false))
    };
    for lenient in [false, true] {
        assert_eq!(unstuff(two, lenient), unstuff(usize::MAX, lenient));
    }
}
