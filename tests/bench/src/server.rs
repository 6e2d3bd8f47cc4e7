//! A server that discards bodies, in a process of its own, so that its CPU time is not counted as
//! the client's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Result;

/// A running server. It is stopped when this is dropped.
pub struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    /// `https://localhost:PORT`: the same behind TLS.
    pub tls_endpoint: String,
    /// The file with the certificate of `tls_endpoint`.
    pub roots: String,
}

impl Server {
    /// Starts the program `bench-server` at `path`, each of whose output takes `latency` at least.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(path: &str, latency: Duration) -> Result<Server> {
        let mut command = Command::new(path);
        command
            .arg(latency.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = || -> Result<String> {
            let mut line = String::new();
            output.read_line(&mut line)?;
            Ok(line.trim().to_owned())
        };
        let (endpoint, tls_endpoint, roots) = (line()?, line()?, line()?);
        Ok(Server {
            child,
            input,
            output,
            endpoint,
            tls_endpoint,
            roots,
        })
    }

    /// Returns the numbers of connections and requests since the last call.
    ///
    /// # Errors
    /// If the server has stopped.
    pub fn counts(&mut self) -> Result<(usize, usize)> {
        self.input.write_all(b"\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (connections, requests) = line
            .trim()
            .split_once(' ')
            .ok_or("the server has stopped")?;
        Ok((connections.parse()?, requests.parse()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
