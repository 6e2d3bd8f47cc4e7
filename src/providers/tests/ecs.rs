use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::super::ecs_ram_role::EcsSource;
use super::super::environment::Environment;
use super::server::{Reply, Request, Server};
use super::*;

const TOKEN: &str = "hush-metadata-token";
const ROLES: &str = "GET /latest/meta-data/ram/security-credentials/";

fn source(server: &Server, variables: &[(&str, &str)]) -> EcsSource {
    let mut source = EcsSource::new(Environment::of(variables));
    source.endpoint = server.url();
    source.timeouts = PATIENT;
    source
}

/// A metadata service as it should be; `credentials` is the response for the role.
fn respond(request: &Request, credentials: &str) -> Reply {
    if request.line == "PUT /latest/api/token" {
        assert_eq!(
            request.header("x-aliyun-ecs-metadata-token-ttl-seconds"),
            Some("21600")
        );
        return (200, TOKEN.into());
    }
    match request.line.strip_prefix(ROLES) {
        Some("") => (200, "upload-role\n".into()),
        Some("upload-role") => (200, credentials.into()),
        _ => (404, "<html>404 - Not Found</html>".into()),
    }
}

fn good() -> String {
    credentials_json(&VirtualClock::new(), "id1", 6 * 3600)
}

#[test]
fn ecs_role_is_asked_for_with_a_token() {
    let server = Server::start(|request, _| respond(request, &good()));
    let provider = Provider::new(source(&server, &[]));
    let credentials = provider.cache.get(&provider.source).unwrap();
    let expected = Credentials::new("id1", "hush-secret").with_security_token("hush-token");
    assert!(credentials == expected);
    let role = format!("{ROLES}upload-role");
    assert_eq!(server.lines(), ["PUT /latest/api/token", ROLES, &role]);
    for request in &server.requests()[1..] {
        assert_eq!(request.header("x-aliyun-ecs-metadata-token"), Some(TOKEN));
    }
    assert!(
        server
            .requests()
            .iter()
            .all(|request| request.body.is_empty())
    );
}

#[test]
fn ecs_role_name_comes_from_the_caller_or_the_environment() {
    let server = Server::start(|request, _| respond(request, &good()));
    let variables = [("ALIBABA_CLOUD_ECS_METADATA", "upload-role")];
    assert_eq!(
        Provider::new(source(&server, &variables)).id().unwrap(),
        "id1"
    );
    let role = format!("{ROLES}upload-role");
    assert_eq!(server.lines(), ["PUT /latest/api/token", &role]);
    let mut named = source(&server, &variables);
    named.role = Some("no/such role".into());
    let message = Provider::new(named).final_failure();
    assert!(
        message.contains("the role \"no/such role\" is not attached")
            && message.contains("ALIBABA_CLOUD_ECS_METADATA"),
        "{message}"
    );
    assert_eq!(
        server.lines().last().unwrap(),
        &format!("{ROLES}no%2Fsuch%20role")
    );
}

#[test]
fn ecs_role_falls_back_to_imds_v1() {
    for status in [400, 403, 404, 500] {
        let server = Server::start(move |request, _| match request.line.starts_with("PUT") {
            true => (status, "hush".into()),
            false => respond(request, &good()),
        });
        assert_eq!(Provider::new(source(&server, &[])).id().unwrap(), "id1");
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        let has_token = |request: &Request| request.header("x-aliyun-ecs-metadata-token").is_some();
        assert!(!requests.iter().any(has_token));
    }
}

#[test]
fn ecs_role_does_not_use_imds_v1_where_it_is_disabled() {
    let server = Server::start(|request, before| match request.line.starts_with("PUT") {
        true => (if before == 0 { 404 } else { 503 }, "hush".into()),
        false => respond(request, &good()),
    });
    let variables = [("ALIBABA_CLOUD_IMDSV1_DISABLED", "True")];
    let message = Provider::new(source(&server, &variables)).final_failure();
    assert!(
        message.contains("its status is 404") && message.contains("ALIBABA_CLOUD_IMDSV1_DISABLED"),
        "{message}"
    );
    let mut disabled = source(&server, &[]);
    disabled.imds_v1 = Some(false);
    assert!(
        Provider::new(disabled)
            .transient_failure()
            .contains("its status is 503")
    );
    assert_eq!(server.requests().len(), 2);
    // What the caller says comes before what the environment says.
    let mut enabled = source(&server, &variables);
    enabled.imds_v1 = Some(true);
    assert_eq!(Provider::new(enabled).id().unwrap(), "id1");
}

#[test]
fn ecs_role_of_an_instance_that_needs_a_token_gives_a_hint() {
    let server = Server::start(|request, _| match request.line.starts_with("PUT") {
        true => (500, String::new()),
        false => (403, String::new()),
    });
    let message = Provider::new(source(&server, &[])).transient_failure();
    assert!(
        message.contains("IMDSv2 only") && message.contains("hop limit"),
        "{message}"
    );
}

#[test]
fn ecs_role_that_is_not_attached_is_final() {
    for reply in [(404, "<html>hush"), (200, ""), (200, "\n")] {
        let server = Server::start(move |request, _| match request.line == ROLES {
            true => (reply.0, reply.1.to_owned()),
            false => respond(request, &good()),
        });
        let message = Provider::new(source(&server, &[])).final_failure();
        assert!(message.contains("no RAM role is attached"), "{message}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[test]
fn ecs_role_list_of_something_else_is_not_believed() {
    for body in ["<html>hush</html>", "a b", &"x".repeat(65)] {
        let body = body.to_owned();
        let server = Server::start(move |request, _| match request.line == ROLES {
            true => (200, body.clone()),
            false => respond(request, &good()),
        });
        let message = Provider::new(source(&server, &[])).transient_failure();
        assert!(message.contains("not the name of a role"), "{message}");
    }
}

#[test]
fn ecs_role_responses_that_are_wrong_are_named() {
    for (body, expected) in wrong_responses() {
        let server = Server::start(move |request, _| respond(request, &body));
        let message = Provider::new(source(&server, &[])).transient_failure();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn ecs_role_outage_is_transient_and_names_what_to_check() {
    let mut unreachable = EcsSource::new(Environment::of(&[]));
    unreachable.endpoint = closed_port();
    let provider = Provider::new(unreachable);
    let message = provider.transient_failure();
    assert!(
        message.starts_with("ECS RAM role: cannot reach the metadata service: ")
            && message.contains("outside an ECS instance, use another provider"),
        "{message}"
    );
    let server = Server::start(|request, _| match request.line.starts_with("PUT") {
        true => (200, TOKEN.into()),
        false => (503, String::new()),
    });
    let message = Provider::new(source(&server, &[])).transient_failure();
    assert!(message.contains("the status 503"), "{message}");
}

#[test]
fn ecs_role_can_be_disabled() {
    let server = Server::start(|request, _| respond(request, &good()));
    let variables = [("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "TRUE")];
    let message = Provider::new(source(&server, &variables)).final_failure();
    assert!(
        message.contains("ALIBABA_CLOUD_ECS_METADATA_DISABLED"),
        "{message}"
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn ecs_role_endpoint_that_is_wrong_is_final() {
    let mut wrong = EcsSource::new(Environment::of(&[]));
    wrong.endpoint = "100.100.100.200".into();
    let message = Provider::new(wrong).final_failure();
    assert!(message.contains("the endpoint is not a URL"), "{message}");
}

#[test]
fn ecs_role_is_renewed_by_one_of_eight_threads() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fetches);
    let server = Server::start(move |request, _| {
        if !request.line.ends_with("upload-role") {
            return respond(request, "");
        }
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let clock = VirtualClock::new();
        // By the clock of the test, the second ones are issued when the first ones expire.
        let seconds = number as u64 * 6 * 3600;
        respond(
            request,
            &credentials_json(&clock, &format!("id{number}"), seconds),
        )
    });
    let provider = Provider::new(source(&server, &[]));
    let ask_often = || {
        thread::scope(|scope| {
            let ask = || (0..50).map(|_| provider.id().unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            let ids = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap());
            ids.collect::<Vec<_>>()
        })
    };
    assert!(ask_often().iter().all(|id| id == "id1"));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    provider.advance(6 * 3600 - 600);
    assert!(ask_often().iter().all(|id| id == "id1" || id == "id2"));
    assert_eq!(provider.id().unwrap(), "id2");
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}
