//! Fetches a page through a chain of proxies, with plain sockets and therefore without `https://`:
//! `http_through_chain example.com:80 socks5h://127.0.0.1:1080 http://user:password@10.0.0.1:3128 ...`

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "sockets and clocks are what an adapter brings"
)]

use std::io::{self, Read, Write};
use std::{error::Error, net::TcpStream, time};

use proxy_proto::{Hop, Instant, Machine, Options, ProxyUrl, Target};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let target: Target = arguments.next().ok_or("which host:port?")?.parse()?;
    let chain = arguments.map(|url| url.parse()).collect::<Result<Vec<ProxyUrl>, _>>()?;
    let start = time::Instant::now();
    let mut stream = TcpStream::connect(chain.first().map_or(&target, ProxyUrl::proxy).to_string())?;
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    for (place, proxy) in chain.iter().enumerate() {
        let next = chain.get(place + 1).map_or(&target, ProxyUrl::proxy);
        let mut tunnel = proxy.tunnel(next, &Options::default())?.at(Hop::new(place + 1, proxy));
        let mut open = false;
        while !open {
            let (now, mut output, mut input) = (Instant::from_epoch(start.elapsed()), Vec::new(), &received[..]);
            open = tunnel.receive(now, &mut input)?.is_some();
            received = input.to_vec(); // what is behind a proxy's reply belongs to the next step
            if tunnel.transmit(now, &mut output) {
                stream.write_all(&output)?;
            } else if !open {
                match stream.read(&mut buffer)? {
                    0 => tunnel.finish()?,
                    count => received.extend_from_slice(&buffer[..count]),
                }
            }
        }
    }
    write!(stream, "GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n")?;
    io::stdout().write_all(&received)?;
    io::copy(&mut stream, &mut io::stdout()).map(|_| ()).map_err(Into::into)
}
