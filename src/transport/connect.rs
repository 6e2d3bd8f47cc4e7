//! Opens a TCP connection to the first of several addresses that accepts one.
//!
//! A connect cannot be interrupted, so each address gets a detached thread. If an address does not
//! respond within [`NEXT_ADDRESS_AFTER`], the next one is tried as well. The first connection that
//! is established is used.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::abort::AbortFlag;
use super::is_out_of_resources;
use crate::error::{FailureKind, TransportFailure};

const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);
/// How soon an abort is noticed.
const ABORT_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Applies to a call without a deadline. The system's own limit is about two minutes.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(300);
const STACK_BYTES: usize = 64 * 1024;

type Attempt = (SocketAddr, io::Result<TcpStream>);

/// Connects to one of the addresses. `peer` is the name of the server or the proxy in errors.
pub(super) fn connect(
    addresses: &[SocketAddr],
    deadline: Option<Instant>,
    abort: &AbortFlag,
    peer: &str,
) -> Result<(TcpStream, SocketAddr), TransportFailure> {
    let started = Instant::now();
    let deadline = deadline.unwrap_or(started + CONNECT_TIMEOUT_MAX);
    let (sender, results) = mpsc::channel::<Attempt>();
    let mut waiting = addresses.iter();
    let mut pending = 0;
    let mut next_at = started;
    let mut failure: Option<TransportFailure> = None;
    loop {
        abort.check()?;
        let now = Instant::now();
        if now >= next_at
            && let Some(address) = waiting.next()
        {
            start(
                *address,
                deadline.saturating_duration_since(now),
                sender.clone(),
            );
            pending += 1;
            next_at = now + NEXT_ADDRESS_AFTER;
        }
        if pending == 0 {
            if waiting.len() > 0 {
                next_at = now;
                continue;
            }
            return Err(failure.unwrap_or_else(|| timed_out(peer)));
        }
        if now >= deadline {
            return Err(failure.unwrap_or_else(|| timed_out(peer)));
        }
        let mut wait = ABORT_CHECK_INTERVAL.min(deadline.saturating_duration_since(now));
        if waiting.len() > 0 {
            wait = wait.min(next_at.saturating_duration_since(now));
        }
        match results.recv_timeout(wait) {
            Ok((address, Ok(stream))) => return Ok((stream, address)),
            Ok((address, Err(error))) => {
                log::debug!("cannot connect to {address}: {error}");
                pending -= 1;
                next_at = Instant::now();
                let new = connect_failure(&error, peer, address);
                let is_final = new.kind == FailureKind::NoResources;
                failure = Some(new);
                if is_final && pending == 0 {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
    Err(failure.unwrap_or_else(|| timed_out(peer)))
}

fn start(address: SocketAddr, timeout: Duration, sender: Sender<Attempt>) {
    // The system rejects a timeout of zero. The deadline has passed anyway.
    let timeout = timeout.max(Duration::from_millis(1));
    let on_thread = sender.clone();
    let attempt = move || {
        let _ = on_thread.send((address, TcpStream::connect_timeout(&address, timeout)));
    };
    let builder = thread::Builder::new()
        .name("oss-upload-connect".into())
        .stack_size(STACK_BYTES);
    if builder.spawn(attempt).is_err() {
        // Without a thread, the addresses are tried one after the other.
        let _ = sender.send((address, TcpStream::connect_timeout(&address, timeout)));
    }
}

fn timed_out(peer: &str) -> TransportFailure {
    let detail = format!("{peer} did not accept the connection in time");
    TransportFailure::new(FailureKind::ConnectTimedOut, detail)
}

fn connect_failure(error: &io::Error, peer: &str, address: SocketAddr) -> TransportFailure {
    use io::ErrorKind as Io;
    if is_out_of_resources(error) {
        let detail = format!("cannot connect to {peer}: {error}");
        return TransportFailure::new(FailureKind::NoResources, detail);
    }
    let at = address.to_string();
    let at = if peer.ends_with(&at) {
        String::new()
    } else {
        format!(" ({at})")
    };
    match error.kind() {
        Io::ConnectionRefused => {
            let detail = format!("connection refused by {peer}{at}");
            TransportFailure::new(FailureKind::ConnectionRefused, detail)
        }
        Io::TimedOut | Io::WouldBlock => timed_out(peer),
        _ => {
            let detail = format!("cannot reach {peer}{at}: {error}");
            TransportFailure::new(FailureKind::Unreachable, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn in_ten_seconds() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(10))
    }

    /// A port on which nothing listens, unless another program takes it meanwhile.
    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    }

    #[test]
    fn connect_tries_the_next_address_until_one_accepts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let abort = AbortFlag::default();
        let addresses = [closed(), closed(), open];
        let (_, used) = connect(&addresses, in_ten_seconds(), &abort, "h:1").unwrap();
        assert_eq!(used, open);
    }

    #[test]
    fn connect_does_not_wait_for_an_address_that_does_not_respond() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let Some(silent) = silent_address() else {
            return;
        };
        let started = Instant::now();
        let addresses = [silent.0, open];
        let abort = AbortFlag::default();
        let (_, used) = connect(&addresses, in_ten_seconds(), &abort, "h:1").unwrap();
        assert_eq!(used, open);
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }

    #[test]
    fn connect_ends_at_the_deadline_and_when_aborted() {
        let Some(silent) = silent_address() else {
            return;
        };
        let deadline = Some(Instant::now() + Duration::from_millis(100));
        let abort = AbortFlag::default();
        let failure = connect(&[silent.0], deadline, &abort, "h:1").unwrap_err();
        assert_eq!(failure.kind, FailureKind::ConnectTimedOut);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| connect(&[silent.0], None, &abort, "h:1"));
            thread::sleep(Duration::from_millis(50));
            abort.set();
            assert_eq!(
                waiting.join().unwrap().unwrap_err().kind,
                FailureKind::Aborted
            );
        });
    }

    #[test]
    fn connect_error_names_the_peer_and_the_address() {
        let address = closed();
        let abort = AbortFlag::default();
        let failure = connect(&[address], in_ten_seconds(), &abort, "h:1").unwrap_err();
        assert_eq!(failure.kind, FailureKind::ConnectionRefused);
        assert_eq!(
            failure.detail,
            format!("connection refused by h:1 ({address})")
        );
        let peer = format!("the proxy {address}");
        let failure = connect(&[address], in_ten_seconds(), &abort, &peer).unwrap_err();
        assert_eq!(failure.detail, format!("connection refused by {peer}"));
    }

    /// A listener whose queue is full lets further connects wait, on Linux.
    fn silent_address() -> Option<(SocketAddr, TcpListener, Vec<TcpStream>)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        for _ in 0..5000 {
            match TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
                Ok(stream) => queued.push(stream),
                Err(_) => return Some((address, listener, queued)),
            }
        }
        None
    }
}
