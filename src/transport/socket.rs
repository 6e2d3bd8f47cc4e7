//! Reads and writes of a TCP socket that wait as long as bytes move.
//!
//! A socket's own timeout cannot detect a stalled body. The system accepts bytes long before the
//! peer has them, and a write that waits for room does not notice that a slow connection moves. So
//! a wait is divided into slices. After each slice, this module checks whether the system's queue
//! of unacknowledged bytes has become shorter.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Phase};
use super::send_queue;
use crate::error::{FailureKind, TransportFailure};

/// Windows leaves a socket in an undefined state when a timeout ends a call on it, so there one
/// slice is the whole wait.
const SLICES: u32 = if cfg!(windows) { 1 } else { 8 };
const SLICE_MIN: Duration = Duration::from_millis(10);
const SLICE_MAX: Duration = Duration::from_secs(1);

/// A connected socket. It is aborted from other threads through the exchange, which has a weak
/// reference to it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// The timeout that was set last. It saves a system call for each read and write.
    read_timeout: Mutex<Option<Duration>>,
    write_timeout: Mutex<Option<Duration>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, exchange: &Exchange) -> Result<Socket, TransportFailure> {
        // Both are optional: a system without them is no reason to fail.
        let _ = stream.set_nodelay(true);
        // Longer than the stall timeout: once the system gives up, nothing can be read any more.
        let quiet_max = exchange.timeouts().quiet_max();
        set_user_timeout(&stream, quiet_max.saturating_add(quiet_max / 4));
        let stream = Arc::new(stream);
        exchange.register(Arc::downgrade(&stream))?;
        Ok(Socket {
            stream,
            read_timeout: Mutex::default(),
            write_timeout: Mutex::default(),
        })
    }

    /// Returns true if the connection is open and no unexpected bytes have arrived.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.peek(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Returns the number of bytes that can be read without waiting, at most one.
    fn peek(&self) -> io::Result<usize> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        peeked
    }

    pub(super) fn write_all(&self, mut bytes: &[u8], exchange: &Exchange) -> io::Result<()> {
        let quiet_max = exchange.timeouts().quiet_max();
        let is_connecting = exchange.phase() == Phase::Connecting;
        let mut watch = Watch::new();
        while !bytes.is_empty() {
            let slice = self.slice(exchange, is_connecting)?;
            set_timeout(&self.write_timeout, slice, |slice| {
                self.stream.set_write_timeout(slice)
            })?;
            let before = Instant::now();
            match (&*self.stream).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    exchange.count_sent(written, before.elapsed());
                    watch = Watch::new();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    exchange.abort.check().map_err(wrap)?;
                    exchange.count_sent(0, before.elapsed());
                    if is_connecting {
                        continue;
                    }
                    // Without TLS, bytes that can be read are a response, and an end is the end of
                    // the connection.
                    if !exchange.is_tls()
                        && let Ok(waiting) = self.peek()
                    {
                        return Err(match waiting {
                            0 => ErrorKind::ConnectionReset.into(),
                            _ => wrap(exchange.write_stalled()),
                        });
                    }
                    if watch.quiet(send_queue::unacknowledged_bytes(&self.stream)) >= quiet_max {
                        return Err(wrap(exchange.write_stalled()));
                    }
                }
                Err(error) => {
                    exchange.abort.check().map_err(wrap)?;
                    // The system has given up on bytes that the peer did not acknowledge.
                    let has_stalled = error.kind() == ErrorKind::TimedOut;
                    return Err(if has_stalled {
                        wrap(exchange.write_stalled())
                    } else {
                        error
                    });
                }
            }
        }
        Ok(())
    }

    /// Waits for at least one byte. Returns 0 if the peer has closed the connection, and an error
    /// of the kind `WouldBlock` after `at_most`.
    pub(super) fn read(
        &self,
        buffer: &mut [u8],
        exchange: &Exchange,
        at_most: Option<Duration>,
    ) -> io::Result<usize> {
        let phase = exchange.phase();
        let started = Instant::now();
        let mut wait = ResponseWait {
            started,
            watch: Watch::new(),
            delivered: None,
        };
        loop {
            let slice = self.slice(exchange, phase == Phase::Connecting)?;
            let left = at_most.map(|at_most| at_most.saturating_sub(started.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let slice = left.map_or(slice, |left| left.clamp(Duration::from_millis(1), slice));
            set_timeout(&self.read_timeout, slice, |slice| {
                self.stream.set_read_timeout(slice)
            })?;
            match (&*self.stream).read(buffer) {
                Ok(read) => {
                    if read == 0 {
                        exchange.abort.check().map_err(wrap)?;
                        exchange.mark_peer_closed();
                    }
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_timeout(&error) => {}
                Err(error) => {
                    exchange.abort.check().map_err(wrap)?;
                    let has_stalled = error.kind() == ErrorKind::TimedOut;
                    return Err(if has_stalled {
                        wrap(exchange.no_response())
                    } else {
                        error
                    });
                }
            }
            exchange.abort.check().map_err(wrap)?;
            let is_over = match phase {
                Phase::Connecting => false,
                Phase::Receiving => started.elapsed() >= exchange.timeouts().quiet_max(),
                Phase::Sending | Phase::AwaitingResponse => wait.is_over(&self.stream, exchange),
            };
            if is_over {
                return Err(wrap(exchange.no_response()));
            }
        }
    }

    /// Returns how long to wait before the next check.
    fn slice(&self, exchange: &Exchange, is_connecting: bool) -> io::Result<Duration> {
        if is_connecting {
            let left = exchange
                .connect_deadline()
                .saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(wrap(exchange.connect_timed_out()));
            }
            return Ok(left.clamp(Duration::from_millis(1), SLICE_MAX));
        }
        let quiet_max = exchange.timeouts().quiet_max();
        if SLICES == 1 {
            return Ok(quiet_max.max(SLICE_MIN));
        }
        Ok((quiet_max / SLICES).clamp(SLICE_MIN, SLICE_MAX))
    }
}

/// Measures how long no byte has moved.
struct Watch {
    queue: Option<usize>,
    moved_at: Instant,
}

impl Watch {
    fn new() -> Watch {
        Watch {
            queue: None,
            moved_at: Instant::now(),
        }
    }

    fn quiet(&mut self, queue: Option<usize>) -> Duration {
        if queue.is_some() && queue != self.queue {
            if self.queue.is_some() {
                self.moved_at = Instant::now();
            }
            self.queue = queue;
        }
        self.moved_at.elapsed()
    }
}

/// The wait for the first byte of a response.
struct ResponseWait {
    started: Instant,
    watch: Watch,
    /// Since when the peer has acknowledged the whole request.
    delivered: Option<Instant>,
}

impl ResponseWait {
    fn is_over(&mut self, stream: &TcpStream, exchange: &Exchange) -> bool {
        match send_queue::unacknowledged_bytes(stream) {
            Some(0) => {
                // At the first check, this may have been so since the start.
                let is_first = self.watch.queue.replace(0).is_none();
                let since = if is_first {
                    self.started
                } else {
                    Instant::now()
                };
                let since = *self.delivered.get_or_insert(since);
                let waited = since.duration_since(self.started);
                since.elapsed() >= exchange.response_timeout(waited, true)
            }
            Some(queue) => {
                self.delivered = None;
                self.watch.quiet(Some(queue)) >= exchange.timeouts().quiet_max()
            }
            None => self.started.elapsed() >= exchange.response_timeout(Duration::ZERO, false),
        }
    }
}

fn set_timeout(
    known: &Mutex<Option<Duration>>,
    timeout: Duration,
    set: impl FnOnce(Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if *known != Some(timeout) {
        match set(Some(timeout)) {
            Ok(()) => *known = Some(timeout),
            // macOS rejects it when the peer has closed the connection. The next read reports that.
            Err(error)
                if cfg!(target_vendor = "apple") && error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns true if a slice has ended. On Unix, `TimedOut` means something else: the system has
/// given up on the connection.
fn is_timeout(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock || cfg!(windows) && error.kind() == ErrorKind::TimedOut
}

/// Makes an error of a kind that ureq does not take for the end of a body.
pub(super) fn wrap(failure: TransportFailure) -> io::Error {
    io::Error::other(failure)
}

pub(super) fn unwrap(error: &io::Error) -> Option<&TransportFailure> {
    error.get_ref()?.downcast_ref()
}

pub(super) fn kind_of(error: &io::Error) -> Option<FailureKind> {
    unwrap(error).map(|failure| failure.kind)
}

/// Ends all reads and writes on the socket, on every thread. Bytes that the system has not sent yet
/// are dropped, so that they do not delay the next connection.
pub(super) fn reset(stream: &TcpStream) {
    #[cfg(unix)]
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

/// Sets how long the system waits for bytes to be acknowledged, even while no thread reads or
/// writes.
fn set_user_timeout(stream: &TcpStream, timeout: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(0);
        let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, timeout);
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::super::abort::AbortFlag;
    use super::super::exchange::Timeouts;
    use super::*;

    const STALL: Duration = Duration::from_millis(400);

    /// Our side, which may send, and the peer's.
    fn connected() -> (Socket, Arc<Exchange>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let exchange = Arc::new(Exchange::new(Arc::new(AbortFlag::default())));
        let timeouts = Timeouts::new(Duration::from_secs(5), STALL, STALL);
        exchange.start(timeouts, "peer".into());
        exchange.start_connect();
        let socket = Socket::new(stream, &exchange).unwrap();
        exchange.mark_connected(false);
        (socket, exchange, listener.accept().unwrap().0)
    }

    fn is_within_twice(elapsed: Duration) -> bool {
        (STALL..STALL * 2 + Duration::from_millis(300)).contains(&elapsed)
    }

    #[test]
    fn socket_write_to_a_peer_that_does_not_read_stalls() {
        for size in [300 << 10, 1 << 20, 8 << 20] {
            let (socket, exchange, _peer) = connected();
            let started = Instant::now();
            let error = socket.write_all(&vec![0; size], &exchange).and_then(|()| {
                exchange.await_response();
                socket.read(&mut [0], &exchange, None).map(|_| ())
            });
            let kind = kind_of(&error.unwrap_err()).unwrap();
            assert!(
                matches!(kind, FailureKind::WriteStalled | FailureKind::NoResponse),
                "{kind:?}"
            );
            assert!(
                is_within_twice(started.elapsed()),
                "{size}: {:?}",
                started.elapsed()
            );
        }
    }

    #[test]
    fn socket_write_to_a_slow_peer_succeeds() {
        let (socket, exchange, mut peer) = connected();
        let reading = thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            let mut total = 0;
            while total < 3 << 20 {
                total += peer.read(&mut buffer).unwrap();
                thread::sleep(STALL / 8);
            }
            peer.write_all(b"x").unwrap();
            peer
        });
        let started = Instant::now();
        socket.write_all(&vec![0; 3 << 20], &exchange).unwrap();
        exchange.await_response();
        assert_eq!(socket.read(&mut [0], &exchange, None).unwrap(), 1);
        assert!(
            started.elapsed() > STALL * 2,
            "{:?} proves nothing",
            started.elapsed()
        );
        reading.join().unwrap();
    }

    #[test]
    fn socket_read_waits_as_long_as_bytes_come() {
        let (socket, exchange, mut peer) = connected();
        exchange.start_response();
        let writing = thread::spawn(move || {
            for _ in 0..12 {
                thread::sleep(STALL / 4);
                peer.write_all(b"x").unwrap();
            }
            peer
        });
        for _ in 0..12 {
            assert_eq!(socket.read(&mut [0; 8], &exchange, None).unwrap(), 1);
        }
        let _peer = writing.join().unwrap();
        let started = Instant::now();
        let error = socket.read(&mut [0], &exchange, None).unwrap_err();
        assert_eq!(kind_of(&error), Some(FailureKind::NoResponse));
        assert!(
            is_within_twice(started.elapsed()),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn socket_that_is_interrupted_says_aborted() {
        let (socket, exchange, _peer) = connected();
        let other = Arc::clone(&exchange);
        let aborting = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            other.abort.set();
            other.interrupt();
        });
        let error = socket.write_all(&vec![0; 64 << 20], &exchange).unwrap_err();
        assert_eq!(kind_of(&error), Some(FailureKind::Aborted));
        aborting.join().unwrap();
    }

    #[test]
    fn socket_write_ends_when_a_response_waits() {
        let (socket, exchange, mut peer) = connected();
        peer.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
        let started = Instant::now();
        let error = socket.write_all(&vec![0; 64 << 20], &exchange).unwrap_err();
        assert_eq!(kind_of(&error), Some(FailureKind::WriteStalled));
        assert!(started.elapsed() < STALL, "{:?}", started.elapsed());
        assert!(!socket.is_quiet());
    }
}
