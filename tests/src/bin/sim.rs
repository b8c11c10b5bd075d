//! `cargo sim -- --seeds 100000`: whole stacks by chance, and what was met on the way.
//!
//! `--from N` begins with another seed, `--seconds N` stops in time, `--threads N` takes fewer processors. It ends with 1 and
//! the seed where anything is wrong.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tests::sim::{self, Coverage};

struct Wish {
    from: u64,
    seeds: u64,
    seconds: Option<u64>,
    threads: usize,
    /// Seeds that may be wrong before it stops.
    failures: usize,
}

fn wish() -> Result<Wish, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut wish = Wish { from: 0, seeds: 10_000, seconds: None, threads, failures: 1 };
    let mut words = std::env::args().skip(1).filter(|word| word != "--");
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{word} wants a number"))?;
        match word.as_str() {
            "--from" => wish.from = value,
            "--seeds" => wish.seeds = value,
            "--seconds" => wish.seconds = Some(value),
            "--threads" => wish.threads = (value as usize).clamp(1, 64),
            "--failures" => wish.failures = value as usize,
            _ => return Err(format!("{word} is not known: --from, --seeds, --seconds, --threads, --failures")),
        }
    }
    Ok(wish)
}

fn main() -> ExitCode {
    let wish = match wish() {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    // A panic is a finding like any other, and told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, ran, stop) = (AtomicU64::new(wish.from), AtomicU64::new(0), AtomicBool::new(false));
    let (met, wrong) = (Mutex::new(Coverage::default()), Mutex::new(Vec::new()));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..wish.threads {
            scope.spawn(|| {
                let mut mine = Coverage::default();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let late = wish.seconds.is_some_and(|most| begin.elapsed() >= Duration::from_secs(most));
                    if seed - wish.from >= wish.seeds || late {
                        break;
                    }
                    match sim::run(seed) {
                        Ok(coverage) => mine.add(&coverage),
                        Err(violation) => {
                            println!("{violation}\n");
                            let mut wrong = wrong.lock().expect("nobody panics here");
                            wrong.push((seed, violation.wrong));
                            stop.store(wrong.len() >= wish.failures, Ordering::Relaxed);
                        }
                    }
                    let so_far = ran.fetch_add(1, Ordering::Relaxed) + 1;
                    if so_far % 10_000 == 0 {
                        eprintln!("{so_far} seeds, {:.0} a second", so_far as f64 / begin.elapsed().as_secs_f64());
                    }
                }
                met.lock().expect("nobody panics here").add(&mine);
            });
        }
    });
    let (ran, took) = (ran.into_inner(), begin.elapsed());
    println!("{}", met.into_inner().expect("nobody panics here"));
    println!("{ran} seeds in {took:.1?}, {:.0} a second", ran as f64 / took.as_secs_f64());
    let mut wrong = wrong.into_inner().expect("nobody panics here");
    wrong.sort();
    for (seed, why) in &wrong {
        println!("seed {seed}: {}", why.join("; "));
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
