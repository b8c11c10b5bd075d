//! Many connections at once: every message arrives, once, and is what was sent.

use tests::many::{Machines, Many, Pair, Stacks};

fn every_message_arrives_once<P: Pair>() {
    // Small ones, and such as need several turns.
    for (pairs, messages, size) in [(500, 3, 300), (20, 2, 200_000)] {
        let mut many = Many::<P>::open(pairs, messages, size);
        many.run();
        assert!(many.are_ready());
        for message in 0..messages {
            many.send(message);
            if size > 100_000 && message == 0 {
                continue;
            }
            many.run();
        }
        assert!(many.are_ready());
        assert!(many.round.arrived.iter().all(|count| *count == 1));
        assert_eq!(many.round.accepted, pairs * messages);
        many.quit();
        many.run();
        assert!(many.are_closed());
    }
}

#[test]
fn machines() {
    every_message_arrives_once::<Machines>();
}

#[test]
fn stacks() {
    every_message_arrives_once::<Stacks>();
}
