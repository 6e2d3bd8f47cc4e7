use std::fs;

use super::super::environment::Environment;
use super::super::oidc_role::OidcSource;
use super::server::Server;
use super::*;

const TOKEN: &str = "hush-oidc-token+/=";

fn environment(file: &std::path::Path, more: &[(&str, &str)]) -> Environment {
    let mut variables = vec![
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/upload"),
        (
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
            "acs:ram::1:oidc-provider/ack",
        ),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.to_str().unwrap()),
    ];
    variables.extend(more);
    Environment::of(&variables)
}

/// A token file and a provider that asks the server.
fn provider(server: &Server) -> (tempfile::NamedTempFile, Provider<OidcSource>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{TOKEN}\n")).unwrap();
    let mut source = OidcSource::from_environment(&environment(file.path(), &[])).unwrap();
    source.endpoint = server.url();
    (file, Provider::new(source))
}

fn good(id: &str, seconds: u64) -> String {
    let credentials = credentials_json(&VirtualClock::new(), id, seconds);
    format!(r#"{{"RequestId":"R1","Credentials":{credentials}}}"#)
}

#[test]
fn oidc_role_is_assumed_with_the_token_in_its_file() {
    let server = Server::start(|_, before| {
        (
            200,
            good(&format!("id{}", before + 1), 3600 * (before as u64 + 1)),
        )
    });
    let (file, provider) = provider(&server);
    assert_eq!(provider.id().unwrap(), "id1");
    fs::write(file.path(), "next").unwrap();
    assert_eq!(provider.id().unwrap(), "id1");
    provider.advance(3600 - 15 * 60);
    assert_eq!(provider.id().unwrap(), "id2");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        requests[0].line,
        "POST /?Action=AssumeRoleWithOIDC&Format=JSON&Version=2015-04-01\
         &Timestamp=2027-01-15T08%3A00%3A00Z"
    );
    assert_eq!(
        requests[0].body,
        "RoleArn=acs%3Aram%3A%3A1%3Arole%2Fupload\
         &OIDCProviderArn=acs%3Aram%3A%3A1%3Aoidc-provider%2Fack\
         &OIDCToken=hush-oidc-token%2B%2F%3D&RoleSessionName=oss-upload&DurationSeconds=3600"
    );
    assert_eq!(
        requests[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert!(requests[1].body.contains("&OIDCToken=next&"));
}

#[test]
fn oidc_role_error_responses_are_final_or_transient_and_have_a_hint() {
    for (status, code, is_final, hint) in [
        (
            400,
            "InvalidParameter.OIDCToken",
            true,
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        ),
        (
            400,
            "AuthenticationFail.OIDCToken.Expired",
            false,
            "has expired",
        ),
        (400, "InvalidTimeStamp.Expired", false, "clock"),
        (400, "AuthenticationFail.NoPermission", true, "trust policy"),
        (404, "EntityNotExist.Role", true, "ALIBABA_CLOUD_ROLE_ARN"),
        (400, "Throttling.User", false, "check"),
        (429, "Throttled", false, "check"),
        (500, "InternalError", false, "check"),
        (503, "", false, "something else than STS"),
        (403, "", false, "something else than STS"),
    ] {
        let server = Server::start(move |_, _| match code {
            "" => (status, "<html>hush</html>".into()),
            code => {
                let message = format!("the token {TOKEN} is hush");
                let body =
                    format!(r#"{{"RequestId":"R-1","Code":"{code}","Message":"{message}"}}"#);
                (status, body)
            }
        });
        let (_file, provider) = provider(&server);
        let message = match is_final {
            true => provider.final_failure(),
            false => provider.transient_failure(),
        };
        assert!(
            message.contains(&format!("failed: {status}"))
                && message.contains(code)
                && message.contains(hint),
            "{message}"
        );
        assert_eq!(
            message.contains("(request id R-1)"),
            !code.is_empty(),
            "{message}"
        );
    }
}

#[test]
fn oidc_role_responses_that_are_wrong_are_named() {
    for (body, expected) in wrong_responses() {
        // What is in the answer of STS has no code of its own.
        if body.starts_with('{') && !body.contains("Failed") {
            let body = format!(r#"{{"Credentials":{body}"#) + "}";
            let server = Server::start(move |_, _| (200, body.clone()));
            let message = provider(&server).1.transient_failure();
            assert!(message.contains(expected), "{expected}: {message}");
        }
    }
    for (body, expected) in [
        ("<html>hush", "is not valid JSON"),
        ("{}", "has no Credentials"),
        (r#"{"Credentials":"hush"}"#, "has no Credentials"),
    ] {
        let server = Server::start(move |_, _| (200, body.into()));
        let message = provider(&server).1.transient_failure();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn oidc_role_token_file_that_cannot_be_read_is_named() {
    let server = Server::start(|_, _| (200, good("id1", 3600)));
    let (file, provider) = provider(&server);
    let big = "x".repeat(65 * 1024);
    fs::write(file.path(), big).unwrap();
    assert!(provider.final_failure().contains("larger than 65536 bytes"));
    fs::write(file.path(), " \n").unwrap();
    assert!(provider.transient_failure().contains("is empty"));
    drop(file);
    let message = provider.final_failure();
    assert!(
        message.contains("cannot read the OIDC token")
            && message.contains("ALIBABA_CLOUD_OIDC_TOKEN_FILE"),
        "{message}"
    );
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn oidc_role_names_the_variable_that_is_missing() {
    let complete = [
        ("ALIBABA_CLOUD_ROLE_ARN", "r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "f"),
    ];
    for missing in complete {
        let rest: Vec<_> = complete.into_iter().filter(|one| *one != missing).collect();
        let failure = OidcSource::from_environment(&Environment::of(&rest))
            .err()
            .unwrap();
        assert_eq!(failure.kind, Kind::Final);
        assert_eq!(
            failure.message,
            format!("{} is not set or is empty", missing.0)
        );
    }
    // Other sources use the role's name, too.
    let role_alone = Environment::of(&complete[..1]);
    let failure = OidcSource::from_environment(&role_alone).err().unwrap();
    assert_eq!(failure.kind, Kind::NotConfigured);
}

#[test]
fn oidc_role_endpoint_follows_the_region() {
    let file = std::path::Path::new("f");
    let endpoint = |more: &[(&str, &str)]| {
        let source = OidcSource::from_environment(&environment(file, more));
        source
            .map(|source| source.endpoint)
            .map_err(|failure| failure.message)
    };
    assert_eq!(endpoint(&[]).unwrap(), "https://sts.aliyuncs.com");
    let region = ("ALIBABA_CLOUD_STS_REGION", "cn-beijing");
    assert_eq!(
        endpoint(&[region]).unwrap(),
        "https://sts.cn-beijing.aliyuncs.com"
    );
    let vpc = ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true");
    assert_eq!(
        endpoint(&[region, vpc]).unwrap(),
        "https://sts-vpc.cn-beijing.aliyuncs.com"
    );
    assert_eq!(endpoint(&[vpc]).unwrap(), "https://sts.aliyuncs.com");
    let evil = ("ALIBABA_CLOUD_STS_REGION", "x.example.com/");
    assert!(
        endpoint(&[evil])
            .unwrap_err()
            .contains("must be a region ID")
    );
}

#[test]
fn oidc_role_outage_is_transient() {
    let server = Server::start(|_, _| (200, String::new()));
    let (_file, mut provider) = provider(&server);
    provider.source.endpoint = closed_port();
    let message = provider.transient_failure();
    assert!(
        message.contains("refused") && message.contains("check the network"),
        "{message}"
    );
}
