//! The program: its options, its log, and how it stops.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

/// A running process, and a client for it.
struct Program {
    child: Child,
    client: Client,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_local-oss"))
            .args(["--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.rsplit("//").next().expect("an address").trim();
        let client = Client::at(address.parse().expect("an address"));
        Program { child, client }
    }

    fn put(&self, key: &str) -> u16 {
        self.client
            .send("PUT", key, &[], b"body")
            .expect("a response")
            .status
    }

    /// Waits until the process ends; returns its exit status and its log.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .expect("its log")
            .read_to_string(&mut log)
            .expect("text");
        let status = self.child.wait().expect("ended");
        (status.code(), log.lines().map(str::to_owned).collect())
    }
}

#[test]
fn program_injects_faults_and_logs_requests() {
    let mut program = Program::start(&[
        "--fault",
        "Status,status=503,code=SlowDown,on=PutObject,times=2",
        "--fault",
        "NoEtag,on=GetObject",
    ]);
    assert_eq!(
        [program.put("a"), program.put("b"), program.put("c")],
        [503, 503, 200]
    );
    let response = program
        .client
        .send("GET", "c", &[], b"")
        .expect("a response");
    assert_eq!(
        (response.body.as_slice(), response.header("etag")),
        (&b"body"[..], None)
    );
    program.child.kill().expect("killed");
    let (_, log) = program.end();
    assert_eq!(log.len(), 4, "{log:?}");
    assert!(
        log[0].starts_with("PUT /examplebucket/a PutObject 503 SlowDown in=4 out="),
        "{log:?}"
    );
    assert!(log[0].contains(" fault: Status { status: 503"), "{log:?}");
    assert!(
        log[2].starts_with("PUT /examplebucket/c PutObject 200 in=4 out=0 "),
        "{log:?}"
    );
    assert!(log[3].ends_with(" fault: NoEtag"), "{log:?}");
}

#[test]
fn program_prints_what_to_export() {
    for (arguments, exported) in [
        (
            &[][..],
            "OSS_REGION=cn-hangzhou OSS_ACCESS_KEY_ID=ak OSS_ACCESS_KEY_SECRET=sk",
        ),
        (
            &["--region", "a b", "--access-key-secret", "hidden"][..],
            "OSS_REGION='a b' OSS_ACCESS_KEY_ID=ak",
        ),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_local-oss"))
            .args(["--port", "0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let output: Vec<String> = lines.take(10).map(|line| line.expect("text")).collect();
        child.kill().and_then(|()| child.wait()).expect("killed");
        let endpoint = output[0]
            .strip_prefix("endpoint")
            .expect("an endpoint")
            .trim();
        assert_eq!(
            output[8],
            format!("export OSS_ENDPOINT={endpoint} {exported}")
        );
        assert_eq!(output[9], "Ctrl-C stops the server.");
    }
}

#[test]
fn program_names_the_invalid_argument() {
    for (arguments, problem) in [
        (["--dir", "Cargo.toml"], "can't keep data in Cargo.toml: "),
        (
            ["--dir", "Cargo.toml/data"],
            "can't keep data in Cargo.toml/data: ",
        ),
        (["--host", "192.0.2.1"], "can't listen on 192.0.2.1:0: "),
        (["--port", "x"], "--port \"x\": invalid digit"),
        (["--port", "65536"], "--port \"65536\": number too large"),
        (
            ["--fault", "Delay,time=1ms,time=2ms"],
            "--fault \"Delay,time=1ms,time=2ms\": the field \"time\" is given twice; see --help",
        ),
        (
            ["--fault", "Stall,part=1,time=1s"],
            "--fault \"Stall,part=1,time=1s\": the fault \"Stall\" has no field \"time\"; see --help",
        ),
    ] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_local-oss"));
        let output = program
            .args(["--port", "0"])
            .args(arguments)
            .output()
            .expect("a process");
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(
            (output.status.code(), output.stdout.len()),
            (Some(1), 0),
            "{arguments:?}: {message}"
        );
        assert!(
            message.starts_with(&format!("local-oss: {problem}")),
            "{arguments:?}: {message}"
        );
    }
}

#[cfg(unix)]
fn signal(program: &Program, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &program.child.id().to_string()])
        .status();
    assert!(status.expect("kill").success());
}

#[test]
#[cfg(unix)]
fn signal_lets_requests_finish() {
    for name in ["TERM", "INT"] {
        let program = Program::start(&["--fault", "Delay,time=700ms"]);
        // Idle connections do not delay the stop.
        let idle = [
            program.client.connect().expect("a connection"),
            program.client.connect().expect("one more"),
        ];
        let address = idle[0].peer_addr().expect("an address");
        let start = Instant::now();
        std::thread::scope(|scope| {
            let request = scope.spawn(|| program.put("key"));
            std::thread::sleep(Duration::from_millis(200));
            signal(&program, name);
            assert_eq!(request.join().expect("no panic"), 200);
        });
        let (status, log) = program.end();
        assert_eq!(status, Some(0));
        assert!(
            start.elapsed() >= Duration::from_millis(700)
                && start.elapsed() < Duration::from_secs(5)
        );
        assert_eq!(log.len(), 1, "{log:?}");
        assert!(
            std::net::TcpStream::connect(address).is_err(),
            "the port is free"
        );
    }
}

#[test]
#[cfg(unix)]
fn signal_again_stops_immediately() {
    let program = Program::start(&["--fault", "Delay,time=60s"]);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let request = scope.spawn(|| program.client.send("PUT", "key", &[], b"body"));
        std::thread::sleep(Duration::from_millis(200));
        signal(&program, "TERM");
        std::thread::sleep(Duration::from_millis(200));
        signal(&program, "TERM");
        assert!(request.join().expect("no panic").is_err(), "no response");
    });
    assert_eq!(program.end().0, Some(1));
    assert!(start.elapsed() < Duration::from_secs(5));
}
