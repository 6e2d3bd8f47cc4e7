//! The length of a socket's send queue: bytes that the peer has not acknowledged.

use std::net::TcpStream;

/// Returns `None` where the system does not report it.
pub(super) fn unacknowledged_bytes(stream: &TcpStream) -> Option<usize> {
    #[cfg(target_os = "linux")]
    return linux::unacknowledged_bytes(stream);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        None
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io::{BufRead, BufReader};
    use std::net::{IpAddr, SocketAddr, TcpStream};

    /// Linux lists its sockets as text. Reading the list is slow if there are very many, but it is
    /// read only while no byte seems to move.
    pub(super) fn unacknowledged_bytes(stream: &TcpStream) -> Option<usize> {
        let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
        let table = if local.is_ipv4() {
            "/proc/self/net/tcp"
        } else {
            "/proc/self/net/tcp6"
        };
        let addresses = format!(" {} {} ", hex(local), hex(peer));
        let mut lines = BufReader::new(File::open(table).ok()?);
        let mut line = String::new();
        while lines.read_line(&mut line).ok()? > 0 {
            if line.contains(&addresses) {
                return send_queue(&line);
            }
            line.clear();
        }
        None
    }

    /// `  0: 0100007F:07E8 0100007F:A3F2 01 00002710:00000000 …`: the queue to be sent is before
    /// the last colon.
    fn send_queue(line: &str) -> Option<usize> {
        let queues = line.split_whitespace().nth(4)?;
        usize::from_str_radix(queues.split(':').next()?, 16).ok()
    }

    /// Words of the address in the machine's byte order, then the port.
    fn hex(address: SocketAddr) -> String {
        let bytes = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = bytes
            .chunks_exact(4)
            .filter_map(|word| <[u8; 4]>::try_from(word).ok());
        let words: String = words
            .map(|word| format!("{:08X}", u32::from_ne_bytes(word)))
            .collect();
        format!("{words}:{:04X}", address.port())
    }

    #[cfg(test)]
    mod tests {
        use std::io::{Read, Write};
        use std::net::TcpListener;

        use super::*;

        #[test]
        fn send_queue_shows_what_the_peer_has_not_got() {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                // A machine without IPv6 has nothing to show.
                let Ok(listener) = TcpListener::bind(address) else {
                    continue;
                };
                let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let (mut peer, _) = listener.accept().unwrap();
                assert_eq!(unacknowledged_bytes(&stream), Some(0));
                stream.set_nonblocking(true).unwrap();
                let mut sent = 0;
                while let Ok(written) = stream.write(&[0; 65536]) {
                    sent += written;
                }
                let queue = unacknowledged_bytes(&stream).unwrap();
                assert!(queue > 0 && queue <= sent, "{queue} of {sent}");
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                std::io::copy(&mut Read::by_ref(&mut peer), &mut std::io::sink()).unwrap();
            }
        }
    }
}
