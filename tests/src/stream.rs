//! The wire: a stream of octets between two ends, in virtual time, with all that a network does to one.
//!
//! The rules of this file:
//!
//! - It is a machine: octets in, octets out, the time told. What happens follows from its dice and from what is asked of it.
//! - Octets never change, overtake or double; they come late, in other pieces, or not at all, as with TCP.
//! - What an end was told to have written is either under way or lost by a [`Fault`]; the reader sees the end of the stream
//!   behind everything that is under way, but for a reset, which overtakes it.

use std::collections::VecDeque;
use std::time::Duration;

use proxy_proto::Instant;

use crate::dice::Dice;

/// Which way octets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What the network is like, one way.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How long an octet takes at least.
    pub latency: Duration,
    /// How much longer it may take.
    pub jitter: Duration,
    /// Arrivals wait for the next multiple of this, so that several writes come together; none where it is zero.
    pub gathers: Duration,
    /// Octets that are read at once, at most; at least 1.
    pub piece: usize,
    /// Octets that may be under way; at least 1. A write beyond takes fewer, or none.
    pub capacity: usize,
    /// Once so many octets have been written, those behind them come so much later.
    pub stall: Option<(u64, Duration)>,
}

impl Weather {
    /// A network that does nothing but carry octets, after this time.
    pub const fn fair(latency: Duration) -> Self {
        let (jitter, gathers) = (Duration::ZERO, Duration::ZERO);
        Self { latency, jitter, gathers, piece: usize::MAX, capacity: usize::MAX, stall: None }
    }
}

/// How a stream breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Both ends see the end of the stream; a write fails at once.
    Cut,
    /// The same, and writes are taken all the same, as a kernel takes them before it knows.
    CutUnnoticed,
    /// The reader sees the end of the stream. The other way goes on, and what is written is taken and lost.
    HalfClose,
    /// Both ways are lost at once, with all that is under way, and both ends are told of an error.
    Reset,
    /// Nothing arrives any more, and nobody is told.
    Silence,
    /// The same, both ways.
    SilenceBothWays,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Cut, Self::CutUnnoticed, Self::HalfClose, Self::Reset, Self::Silence, Self::SilenceBothWays];
}

/// What a read came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// Nothing yet.
    Nothing,
    /// So many octets.
    Octets(usize),
    /// The end of the stream.
    End,
    /// The stream was reset.
    Reset,
}

/// A write failed: the stream is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Takes {
    /// What fits.
    Fitting,
    /// Everything, and it is lost.
    InVain,
    /// What fits, for ever: it is lost, and fills the way.
    Silently,
    Nothing,
}

/// One way.
#[derive(Debug)]
struct Pipe {
    weather: Weather,
    dice: Dice,
    segments: VecDeque<(Instant, Vec<u8>)>,
    /// Octets of the first segment that were read.
    read: usize,
    under_way: usize,
    written: u64,
    /// When what was written last arrives.
    latest: Instant,
    /// When the reader sees the end.
    end: Option<Instant>,
    reset: bool,
    takes: Takes,
}

impl Pipe {
    fn new(weather: Weather, dice: Dice) -> Self {
        Self {
            weather,
            dice,
            segments: VecDeque::new(),
            read: 0,
            under_way: 0,
            written: 0,
            latest: Instant::EPOCH,
            end: None,
            reset: false,
            takes: Takes::Fitting,
        }
    }

    fn arrival(&mut self, now: Instant) -> Instant {
        let jitter = self.dice.below(self.weather.jitter.as_micros() as usize + 1);
        let mut at = now.after(self.weather.latency).after(Duration::from_micros(jitter as u64));
        if let Some((_, longer)) = self.weather.stall.take_if(|(place, _)| *place <= self.written) {
            at = at.after(longer);
        }
        let grid = self.weather.gathers.as_nanos();
        if grid > 0 {
            let multiples = at.since_epoch().as_nanos().div_ceil(grid);
            at = Instant::from_epoch(Duration::from_nanos((multiples * grid) as u64));
        }
        self.latest = self.latest.max(at);
        self.latest
    }

    fn write(&mut self, now: Instant, octets: &[u8]) -> Result<usize, Gone> {
        let room = self.weather.capacity.max(1) - self.under_way.min(self.weather.capacity.max(1));
        let n = octets.len().min(room);
        match self.takes {
            Takes::Nothing => return Err(Gone),
            Takes::InVain => return Ok(octets.len()),
            Takes::Silently => self.under_way += n,
            Takes::Fitting if n > 0 => {
                let at = self.arrival(now);
                self.segments.push_back((at, octets[..n].to_vec()));
                self.under_way += n;
                self.written += n as u64;
            }
            Takes::Fitting => {}
        }
        Ok(n)
    }

    fn close(&mut self, now: Instant, takes: Takes) {
        if self.takes == Takes::Fitting {
            let at = self.arrival(now);
            self.end.get_or_insert(at);
        }
        if self.takes != Takes::Silently {
            self.takes = takes;
        }
    }

    fn break_off(&mut self, reset: bool) {
        self.segments.clear();
        (self.read, self.under_way) = (0, 0);
        (self.reset, self.takes) = (reset, Takes::Nothing);
        if !reset {
            self.end = Some(Instant::EPOCH);
        }
    }

    fn read(&mut self, now: Instant, room: &mut [u8]) -> Read {
        let most = room.len().min(self.weather.piece.max(1));
        if most == 0 {
            return Read::Nothing;
        }
        if self.reset {
            return Read::Reset;
        }
        let mut n = 0;
        while let Some((_, octets)) = self.segments.front().filter(|(at, _)| *at <= now && n < most) {
            let some = &octets[self.read..(self.read + most - n).min(octets.len())];
            room[n..n + some.len()].copy_from_slice(some);
            n += some.len();
            self.read += some.len();
            if self.read == octets.len() {
                self.segments.pop_front();
                self.read = 0;
            }
        }
        self.under_way -= n;
        match self.end {
            _ if n > 0 => Read::Octets(n),
            Some(at) if at <= now && self.segments.is_empty() => Read::End,
            _ => Read::Nothing,
        }
    }

    fn next(&self, now: Instant) -> Option<Instant> {
        let first = self.segments.front().map(|(at, _)| *at).or(self.end);
        first.filter(|at| *at > now)
    }
}

/// A stream between two ends.
#[derive(Debug)]
pub struct Stream {
    up: Pipe,
    down: Pipe,
    /// At which octet, which way, it breaks, and how.
    fault: Option<(Way, u64, Fault)>,
    broken: Option<Fault>,
}

impl Stream {
    /// A stream that is open both ways.
    pub fn new(up: Weather, down: Weather, mut dice: Dice) -> Self {
        let (one, other) = (dice.fork(), dice.fork());
        Self { up: Pipe::new(up, one), down: Pipe::new(down, other), fault: None, broken: None }
    }

    /// The same, breaking in this way once so many octets were written that way.
    #[must_use]
    pub fn breaking(mut self, way: Way, octets: u64, fault: Fault) -> Self {
        self.fault = Some((way, octets, fault));
        self
    }

    /// How it has broken, if it has.
    pub fn broken(&self) -> Option<Fault> {
        self.broken
    }

    /// Octets written so far, those that were taken in vain not counted.
    pub fn written(&self, way: Way) -> u64 {
        self.pipe(way).written
    }

    /// Takes octets from the front of `octets`, and says how many; 0 where the way is full.
    ///
    /// # Errors
    ///
    /// [`Gone`] where nothing is taken any more.
    pub fn write(&mut self, way: Way, now: Instant, octets: &[u8]) -> Result<usize, Gone> {
        let before = match self.fault {
            Some((here, place, _)) if here == way => (place - self.pipe(way).written.min(place)) as usize,
            _ => usize::MAX,
        };
        if before > 0 || octets.is_empty() {
            let n = octets.len().min(before);
            return self.pipe_mut(way).write(now, &octets[..n]);
        }
        if let Some((_, _, fault)) = self.fault.take() {
            self.break_now(way, now, fault);
        }
        self.pipe_mut(way).write(now, octets)
    }

    /// Breaks at once; `way` is where it begins.
    pub fn break_now(&mut self, way: Way, now: Instant, fault: Fault) {
        self.broken = Some(fault);
        let other = if way == Way::Up { Way::Down } else { Way::Up };
        match fault {
            Fault::Cut | Fault::CutUnnoticed => {
                let takes = if fault == Fault::Cut { Takes::Nothing } else { Takes::InVain };
                self.pipe_mut(way).close(now, takes);
                self.pipe_mut(other).close(now, takes);
            }
            Fault::HalfClose => self.pipe_mut(way).close(now, Takes::InVain),
            Fault::Reset => {
                self.up.break_off(true);
                self.down.break_off(true);
            }
            Fault::Silence => self.pipe_mut(way).takes = Takes::Silently,
            Fault::SilenceBothWays => {
                self.up.takes = Takes::Silently;
                self.down.takes = Takes::Silently;
            }
        }
    }

    /// Whoever writes that way has closed: behind what is under way stands the end.
    pub fn close(&mut self, way: Way, now: Instant) {
        self.pipe_mut(way).close(now, Takes::Nothing);
    }

    /// Whoever reads that way is gone, and cares for nothing that is under way.
    pub fn abandon(&mut self, way: Way) {
        self.pipe_mut(way).break_off(false);
    }

    /// Reads what has arrived, as far as there is room; nothing where there is none.
    pub fn read(&mut self, way: Way, now: Instant, room: &mut [u8]) -> Read {
        self.pipe_mut(way).read(now, room)
    }

    /// When something arrives next that is still under way.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        [self.up.next(now), self.down.next(now)].into_iter().flatten().min()
    }

    fn pipe(&self, way: Way) -> &Pipe {
        if way == Way::Up { &self.up } else { &self.down }
    }

    fn pipe_mut(&mut self, way: Way) -> &mut Pipe {
        if way == Way::Up { &mut self.up } else { &mut self.down }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_epoch(Duration::from_millis(millis))
    }

    fn fair() -> Stream {
        let weather = Weather::fair(Duration::from_millis(10));
        Stream::new(weather.clone(), weather, Dice::new(1))
    }

    fn read(stream: &mut Stream, way: Way, now: Instant) -> Vec<u8> {
        let (mut all, mut room) = (Vec::new(), [0; 4]);
        while let Read::Octets(n) = stream.read(way, now, &mut room) {
            all.extend_from_slice(&room[..n]);
        }
        all
    }

    #[test]
    fn octets_arrive_in_time_and_in_order_and_then_the_end() {
        let mut stream = fair();
        assert_eq!(stream.write(Way::Up, at(0), b"EHLO "), Ok(5));
        assert_eq!(stream.write(Way::Up, at(5), b"me\r\n"), Ok(4));
        stream.close(Way::Up, at(6));
        assert_eq!(stream.next(at(0)), Some(at(10)));
        assert_eq!(read(&mut stream, Way::Up, at(9)), b"");
        assert_eq!(read(&mut stream, Way::Up, at(10)), b"EHLO ");
        assert_eq!(stream.read(Way::Up, at(15), &mut []), Read::Nothing);
        assert_eq!(read(&mut stream, Way::Up, at(15)), b"me\r\n");
        assert_eq!(stream.read(Way::Up, at(15), &mut [0]), Read::Nothing);
        assert_eq!(stream.read(Way::Up, at(16), &mut [0]), Read::End);
        assert_eq!(stream.write(Way::Up, at(16), b"x"), Err(Gone));
        assert_eq!(stream.write(Way::Down, at(16), b"221"), Ok(3), "the other way is open");
    }

    #[test]
    fn a_way_is_full_until_something_was_read() {
        let narrow = Weather { capacity: 3, piece: 2, ..Weather::fair(Duration::ZERO) };
        let mut stream = Stream::new(narrow.clone(), narrow, Dice::new(1));
        assert_eq!(stream.write(Way::Up, at(0), b"abcd"), Ok(3));
        assert_eq!(stream.write(Way::Up, at(0), b"d"), Ok(0));
        assert_eq!(stream.read(Way::Up, at(0), &mut [0; 9]), Read::Octets(2));
        assert_eq!(stream.write(Way::Up, at(0), b"defg"), Ok(2));
    }

    #[test]
    fn a_stall_and_a_grid_hold_back_what_stands_behind() {
        let weather = Weather { stall: Some((1, Duration::from_millis(100))), ..Weather::fair(Duration::ZERO) };
        let gathering = Weather { gathers: Duration::from_millis(40), ..Weather::fair(Duration::ZERO) };
        let mut stream = Stream::new(weather, gathering, Dice::new(1));
        for octet in [b"a", b"b", b"c"] {
            assert_eq!(stream.write(Way::Up, at(1), octet), Ok(1));
            assert_eq!(stream.write(Way::Down, at(1), octet), Ok(1));
        }
        assert_eq!(read(&mut stream, Way::Up, at(100)), b"a");
        assert_eq!(read(&mut stream, Way::Up, at(101)), b"bc");
        assert_eq!(read(&mut stream, Way::Down, at(39)), b"");
        assert_eq!(read(&mut stream, Way::Down, at(40)), b"abc");
    }

    #[test]
    fn each_fault_at_its_octet() {
        for fault in Fault::ALL {
            let mut stream = fair().breaking(Way::Up, 2, fault);
            assert_eq!(stream.write(Way::Down, at(0), b"220"), Ok(3));
            assert_eq!(stream.write(Way::Up, at(0), b"abc"), Ok(2), "up to the place");
            assert_eq!(stream.broken(), None);
            let taken = stream.write(Way::Up, at(0), b"cd");
            assert_eq!(stream.broken(), Some(fault));
            let fails = matches!(fault, Fault::Cut | Fault::Reset);
            assert_eq!(taken, if fails { Err(Gone) } else { Ok(2) }, "{fault:?}");
            let heard = if fault == Fault::Reset { &b""[..] } else { b"ab" };
            assert_eq!(read(&mut stream, Way::Up, at(50)), heard, "{fault:?}");
            let told = |stream: &mut Stream, way| stream.read(way, at(50), &mut [0]);
            let ends = match fault {
                Fault::Cut | Fault::CutUnnoticed => (Read::End, &b"220"[..], Read::End),
                Fault::HalfClose => (Read::End, &b"220"[..], Read::Nothing),
                Fault::Reset => (Read::Reset, &b""[..], Read::Reset),
                Fault::Silence | Fault::SilenceBothWays => (Read::Nothing, &b"220"[..], Read::Nothing),
            };
            assert_eq!(told(&mut stream, Way::Up), ends.0, "{fault:?}");
            assert_eq!(read(&mut stream, Way::Down, at(50)), ends.1, "{fault:?}");
            assert_eq!(told(&mut stream, Way::Down), ends.2, "{fault:?}");
            assert_eq!(stream.write(Way::Down, at(60), b"x").is_ok(), !fails, "{fault:?}");
            let arrives = read(&mut stream, Way::Down, at(90)) == b"x";
            assert_eq!(arrives, matches!(fault, Fault::HalfClose | Fault::Silence), "{fault:?}");
        }
    }
}
