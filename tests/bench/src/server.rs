//! The discarding server, in a process of its own, so that its work is not taken for the client's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Result;

/// A running server; it ends when it is dropped.
pub struct Server {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    /// `https://localhost:PORT`: the same behind TLS.
    pub tls_endpoint: String,
    /// The file of the certificate that `tls_endpoint` has.
    pub roots: String,
}

impl Server {
    /// Starts the program `bench-server` at `path`, each of whose answers takes `latency` at least.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(path: &str, latency: Duration) -> Result<Server> {
        let mut command = Command::new(path);
        command.arg(latency.as_millis().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take().expect("it is a pipe");
        let mut answers = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = || -> Result<String> {
            let mut line = String::new();
            answers.read_line(&mut line)?;
            Ok(line.trim().to_owned())
        };
        let (endpoint, tls_endpoint, roots) = (line()?, line()?, line()?);
        Ok(Server { child, orders, answers, endpoint, tls_endpoint, roots })
    }

    /// Connections and requests since the last call.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn counts(&mut self) -> Result<(usize, usize)> {
        self.orders.write_all(b"\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (connections, requests) = line.trim().split_once(' ').ok_or("the server is gone")?;
        Ok((connections.parse()?, requests.parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
