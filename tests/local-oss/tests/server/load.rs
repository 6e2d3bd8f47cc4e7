//! Many clients at once.

use std::io::{Read, Write};
use std::sync::Barrier;

use local_oss::LocalOss;

use crate::client::Client;
use crate::noise;

const CONNECTIONS: usize = 200;

#[test]
fn load_of_200_connections() {
    let server = LocalOss::start();
    let client = Client::of(&server);
    let body = noise(100 * 1024);
    let id = client.initiate("whole");
    let ready = Barrier::new(CONNECTIONS);
    let send = |number: usize| {
        let mut stream = client.connect().expect("a connection");
        // All clients are connected before the first one sends.
        ready.wait();
        let target = format!("whole?partNumber={number}&uploadId={id}");
        stream
            .write_all(&client.head("PUT", &target, &[], body.len()))
            .expect("written");
        stream.write_all(&body).expect("written");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    };
    std::thread::scope(|scope| {
        for number in 1..=CONNECTIONS {
            std::thread::Builder::new()
                .stack_size(256 * 1024)
                .spawn_scoped(scope, move || send(number))
                .expect("a thread");
        }
    });
    let all = [("x-oss-complete-all", "yes")];
    let response = client
        .send("POST", &format!("whole?uploadId={id}"), &all, b"")
        .expect("a response");
    assert_eq!(response.status, 200, "{}", response.text());
    let object = server.object("examplebucket", "whole").expect("stored");
    assert!(object.bytes == body.repeat(CONNECTIONS));
    assert_eq!(server.connections(), CONNECTIONS + 2);
}
