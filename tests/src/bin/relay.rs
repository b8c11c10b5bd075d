//! Joins its standard input and output with a TCP connection to ADDRESS:PORT, as `nc` does: what a child process is to the
//! example that talks to one.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

fn main() -> io::Result<()> {
    let to = std::env::args().nth(1).ok_or_else(|| io::Error::other("usage: relay ADDRESS:PORT"))?;
    let (mut from, mut into) = (TcpStream::connect(to)?, io::stdin());
    let mut to = from.try_clone()?;
    thread::spawn(move || {
        let copied = io::copy(&mut into, &mut to);
        let _ = to.shutdown(Shutdown::Write);
        copied
    });
    // Standard output waits for the end of a line, which TLS does not know.
    let (mut piece, mut out) = ([0; 4096], io::stdout());
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            n => out.write_all(&piece[..n])?,
        }
        out.flush()?;
    }
}
