use std::fs;

use super::super::default_chain::ChainSource;
use super::super::environment::Environment;
use super::server::Server;
use super::*;

/// Everything at once: a home with both files, an OIDC token, a metadata service, a URI.
struct World {
    home: tempfile::TempDir,
    metadata: Server,
    uri: Server,
}

impl World {
    fn new() -> World {
        World {
            home: tempfile::tempdir().unwrap(),
            metadata: Server::start(|request, _| match request.line.as_str() {
                "PUT /latest/api/token" => (200, "token".into()),
                line if line.ends_with('/') => (200, "role".into()),
                _ => (200, credentials_json(&VirtualClock::new(), "ecs", 3600)),
            }),
            uri: Server::start(|_, _| (200, credentials_json(&VirtualClock::new(), "uri", 3600))),
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn write_cli_profile(&self) {
        let text = r#"{"current": "a", "profiles": [{"name": "a", "mode": "AK",
            "access_key_id": "cli", "access_key_secret": "hush"}]}"#;
        self.write(".aliyun/config.json", text);
    }

    fn write_credentials_file(&self) {
        let text = "[default]\ntype=access_key\naccess_key_id=ini\naccess_key_secret=hush\n";
        self.write(".alibabacloud/credentials.ini", text);
    }

    fn chain(&self, variables: &[(&str, &str)]) -> Provider<ChainSource> {
        self.chain_with(variables, self.metadata.url())
    }

    fn chain_with(&self, variables: &[(&str, &str)], metadata: String) -> Provider<ChainSource> {
        let mut all = vec![("HOME", self.home.path().to_str().unwrap())];
        all.extend(variables);
        let mut source = ChainSource::new(Environment::of(&all));
        source.metadata_endpoint = Some(metadata);
        Provider::new(source)
    }
}

#[test]
fn chain_takes_the_first_source_that_has_credentials() {
    let world = World::new();
    let uri = world.uri.url();
    let oss = [
        ("OSS_ACCESS_KEY_ID", "oss"),
        ("OSS_ACCESS_KEY_SECRET", "hush"),
    ];
    let cloud = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "cloud"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "hush"),
    ];
    let last = [("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str())];
    world.write_cli_profile();
    world.write_credentials_file();
    let all = [&oss[..], &cloud, &last].concat();
    assert_eq!(world.chain(&all).id().unwrap(), "oss");
    assert_eq!(
        world.chain(&[&cloud[..], &last].concat()).id().unwrap(),
        "cloud"
    );
    assert_eq!(world.chain(&last).id().unwrap(), "cli");
    let no_cli = [last[0], ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true")];
    assert_eq!(world.chain(&no_cli).id().unwrap(), "ini");
    fs::remove_dir_all(world.home.path().join(".aliyun")).unwrap();
    fs::remove_dir_all(world.home.path().join(".alibabacloud")).unwrap();
    assert_eq!(
        world.uri.requests().len() + world.metadata.requests().len(),
        0
    );
    assert_eq!(world.chain(&last).id().unwrap(), "ecs");
    let no_ecs = [last[0], ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")];
    assert_eq!(world.chain(&no_ecs).id().unwrap(), "uri");
    assert_eq!(world.chain_with(&last, closed_port()).id().unwrap(), "uri");
}

#[test]
fn chain_uses_the_oidc_role_before_profiles() {
    let world = World::new();
    world.write_cli_profile();
    world.write("token", "");
    let token = world.home.path().join("token");
    let variables = [
        ("ALIBABA_CLOUD_ROLE_ARN", "r"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.to_str().unwrap()),
    ];
    // The token is not there yet: waiting for it is better than another identity.
    let message = world.chain(&variables).transient_failure();
    assert!(
        message.starts_with("default chain: OIDC role: the OIDC token"),
        "{message}"
    );
    // The role's name alone is no sign of it.
    assert_eq!(world.chain(&variables[..1]).id().unwrap(), "cli");
}

#[test]
fn chain_passes_over_what_is_set_up_wrongly() {
    let world = World::new();
    world.write_cli_profile();
    let half = [
        ("OSS_ACCESS_KEY_ID", "oss"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "f"),
    ];
    assert_eq!(world.chain(&half).id().unwrap(), "cli");
    world.write(".aliyun/config.json", "{\"current\": \"hush");
    assert_eq!(world.chain(&[]).id().unwrap(), "ecs");
}

#[test]
fn chain_does_not_pass_over_a_source_in_an_outage() {
    let world = World::new();
    let uri = world.uri.url();
    let variables = [
        ("ALIBABA_CLOUD_CREDENTIALS_URI", uri.as_str()),
        ("ALIBABA_CLOUD_ECS_METADATA", "role"),
    ];
    // The role is named, so this is an instance.
    let message = world
        .chain_with(&variables, closed_port())
        .transient_failure();
    assert!(
        message.contains("cannot reach the metadata service"),
        "{message}"
    );
    let broken = Server::start(|request, _| match request.line.starts_with("PUT") {
        true => (200, "token".into()),
        false => (503, String::new()),
    });
    let message = world
        .chain_with(&variables[..1], broken.url())
        .transient_failure();
    assert!(message.contains("the status 503"), "{message}");
    assert_eq!(world.uri.requests().len(), 0);
}

#[test]
fn chain_stays_with_the_source_that_had_credentials() {
    let world = World::new();
    let provider = world.chain(&[]);
    assert_eq!(provider.id().unwrap(), "ecs");
    world.write_cli_profile();
    provider.advance(3600);
    assert_eq!(provider.id().unwrap(), "ecs");
    assert_eq!(world.metadata.requests().len(), 6);
}

#[test]
fn chain_with_nothing_configured_is_final_and_lists_every_source() {
    let world = World::new();
    let message = world.chain_with(&[], closed_port()).final_failure();
    for expected in [
        "no source of credentials is configured",
        "environment: neither OSS_ACCESS_KEY_ID nor ALIBABA_CLOUD_ACCESS_KEY_ID is set",
        "OIDC role: neither ALIBABA_CLOUD_OIDC_TOKEN_FILE nor",
        "CLI profile: ~/.aliyun/config.json does not exist",
        "credentials file: ~/.alibabacloud/credentials.ini does not exist",
        "ECS RAM role: cannot reach the metadata service",
        "credentials URI: ALIBABA_CLOUD_CREDENTIALS_URI is not set",
    ] {
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let half = [("OSS_ACCESS_KEY_ID", "oss")];
    let message = world.chain_with(&half, closed_port()).final_failure();
    assert!(
        message.contains("no source has credentials")
            && message.contains("OSS_ACCESS_KEY_SECRET is not set"),
        "{message}"
    );
}
