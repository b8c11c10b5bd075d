//! Every transcript in `dialogues/`: the examples of the RFCs, and what servers are known to do, each at every cut.

use std::fs;
use std::path::Path;

use tests::dialogue::Dialogue;

fn transcripts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dialogues");
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("the transcripts")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("a transcript"))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn every_dialogue_goes_as_its_transcript_says_at_every_cut() {
    let all = transcripts();
    assert!(all.len() > 30, "{} transcripts", all.len());
    for (name, text) in all {
        // Told only where it fails.
        println!("{name}");
        Dialogue::parse(&text).check();
    }
}

#[test]
#[should_panic(expected = "what was said")]
fn a_transcript_that_is_not_followed_is_noticed() {
    Dialogue::parse("S: 220 mx\nC: EHLO somebody.else\n= greeted 220").check();
}

#[test]
#[should_panic(expected = "what was told")]
fn an_event_that_does_not_come_is_noticed() {
    Dialogue::parse("S: 220 mx\nC: EHLO client.example.org\n= greeted 220\n= ready").check();
}
