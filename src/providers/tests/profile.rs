use std::fs;

use super::super::environment::Environment;
use super::super::profile::{Files, ProfileSource};
use super::server::Server;
use super::*;

const CONFIG: &str = r#"{
  "current": "work",
  "profiles": [
    {"name": "work", "mode": "AK", "access_key_id": "ak", "access_key_secret": "hush-secret"},
    {"name": "sts", "mode": "StsToken", "access_key_id": "sts", "access_key_secret": "hush-secret",
     "sts_token": "hush-token"},
    {"name": "no-token", "mode": "StsToken", "access_key_id": "sts", "access_key_secret": "hush"},
    {"name": "bad", "mode": "AK", "access_key_id": "ak", "access_key_secret": "hush\n"},
    {"name": "ecs", "mode": "EcsRamRole", "ram_role_name": "upload-role"},
    {"name": "assumed", "mode": "RamRoleArn", "access_key_id": "ak", "access_key_secret": "hush"},
    {"name": "sso", "mode": "CloudSSO"},
    {"name": "none"},
    {"name": "command", "mode": "External", "process_command": "/no/such/program hush"},
    {"name": "no-command", "mode": "External"}
  ]
}"#;

const INI: &str = "
# comment
[default]
enable = true
type = access_key
access_key_id = ini-ak      # comment
access_key_secret = hush-secret

[sts]
type = sts
access_key_id = ini-sts
access_key_secret = hush-secret
security_token = hush-token

[ecs]
type = ecs_ram_role
role_name = upload-role

[assumed]
type = ram_role_arn
access_key_id = ak
access_key_secret = hush

[half]
type = access_key
access_key_id = ak
";

/// A home directory with both files.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (dir, file, text) in [
        (".aliyun", "config.json", CONFIG),
        (".alibabacloud", "credentials.ini", INI),
    ] {
        fs::create_dir(home.path().join(dir)).unwrap();
        fs::write(home.path().join(dir).join(file), text).unwrap();
    }
    home
}

fn source(
    home: &tempfile::TempDir,
    files: Files,
    variables: &[(&str, &str)],
) -> Provider<ProfileSource> {
    let mut all = vec![("HOME", home.path().to_str().unwrap())];
    all.extend(variables);
    Provider::new(ProfileSource::new(Environment::of(&all), files))
}

fn named(home: &tempfile::TempDir, files: Files, profile: &str) -> Provider<ProfileSource> {
    source(home, files, &[("ALIBABA_CLOUD_PROFILE", profile)])
}

#[test]
fn profile_of_the_cli_is_read() {
    let home = home();
    assert_eq!(source(&home, Files::Any, &[]).id().unwrap(), "ak");
    let provider = named(&home, Files::Cli, "sts");
    let credentials = provider.cache.get(&provider.source).unwrap();
    assert_eq!(credentials.id(), "sts");
    assert_eq!(credentials.security_token(), Some("hush-token"));
}

#[test]
fn profile_of_the_credentials_file_is_read() {
    let home = home();
    let disabled = [("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true")];
    assert_eq!(source(&home, Files::Any, &disabled).id().unwrap(), "ini-ak");
    assert_eq!(source(&home, Files::Ini, &[]).id().unwrap(), "ini-ak");
    let provider = named(&home, Files::Ini, "sts");
    let credentials = provider.cache.get(&provider.source).unwrap();
    assert_eq!(credentials.security_token(), Some("hush-token"));
    let dir = home.path().join(".alibabacloud");
    fs::rename(dir.join("credentials.ini"), dir.join("credentials")).unwrap();
    assert_eq!(source(&home, Files::Ini, &[]).id().unwrap(), "ini-ak");
}

#[test]
fn profile_files_are_named_by_variables() {
    let home = home();
    let empty = tempfile::tempdir().unwrap();
    let config = home.path().join(".aliyun/config.json");
    let ini = home.path().join(".alibabacloud/credentials.ini");
    let variables = [("ALIBABA_CLOUD_CONFIG_FILE", config.to_str().unwrap())];
    assert_eq!(source(&empty, Files::Any, &variables).id().unwrap(), "ak");
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_FILE", ini.to_str().unwrap())];
    assert_eq!(
        source(&empty, Files::Any, &variables).id().unwrap(),
        "ini-ak"
    );
    let variables = [("ALIBABA_CLOUD_CREDENTIALS_FILE", "/no/such/file")];
    let message = source(&empty, Files::Ini, &variables).final_failure();
    assert!(message.contains("cannot read /no/such/file"), "{message}");
}

#[test]
fn profile_that_cannot_be_used_is_named() {
    let home = home();
    for (files, profile, expected) in [
        (Files::Cli, "missing", "it has no profile \"missing\""),
        (
            Files::Cli,
            "no-token",
            "the profile \"no-token\" has no sts_token",
        ),
        (
            Files::Cli,
            "bad",
            "the AccessKey secret ends with whitespace",
        ),
        (
            Files::Cli,
            "assumed",
            "has the mode \"RamRoleArn\", which is not supported; use a",
        ),
        (
            Files::Cli,
            "sso",
            "has the mode \"CloudSSO\", which is not supported; use a",
        ),
        (Files::Cli, "none", "the profile \"none\" has no mode"),
        (
            Files::Cli,
            "command",
            "process: cannot run \"/no/such/program\"",
        ),
        (Files::Cli, "no-command", "has no process_command"),
        (Files::Ini, "missing", "it has no profile \"missing\""),
        (
            Files::Ini,
            "assumed",
            "has the type \"ram_role_arn\", which is not supported; use a",
        ),
        (
            Files::Ini,
            "half",
            "the profile \"half\" has no access_key_secret",
        ),
    ] {
        let message = named(&home, files, profile).final_failure();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn profile_file_that_is_wrong_is_named() {
    let home = home();
    let config = home.path().join(".aliyun/config.json");
    for (text, expected) in [
        ("{\"current\": \"hush", "the file is not valid JSON"),
        ("", "the file is empty"),
        ("{}", "names no current profile"),
        (
            "{\"current\": \"a\", \"profiles\": {}}",
            "has no profile \"a\"",
        ),
    ] {
        fs::write(&config, text).unwrap();
        let message = source(&home, Files::Any, &[]).final_failure();
        let path = config.to_str().unwrap();
        assert!(
            message.contains(path) && message.contains(expected),
            "{message}"
        );
    }
    fs::write(&config, [0xff, 0xfe]).unwrap();
    assert!(
        source(&home, Files::Any, &[])
            .final_failure()
            .contains("cannot read")
    );
}

#[test]
fn profile_file_is_read_again_after_a_refusal() {
    let home = home();
    let provider = source(&home, Files::Cli, &[]);
    assert_eq!(provider.id().unwrap(), "ak");
    let rotated = CONFIG.replace("\"ak\"", "\"rotated\"");
    fs::write(home.path().join(".aliyun/config.json"), rotated).unwrap();
    assert_eq!(provider.id().unwrap(), "ak");
    provider
        .cache
        .refused(&Credentials::new("ak", "hush-secret"));
    assert_eq!(provider.id().unwrap(), "rotated");
}

#[test]
fn profile_of_an_instance_role_asks_the_metadata_service() {
    let home = home();
    for files in [Files::Cli, Files::Ini] {
        let server = Server::start(|request, _| match request.line.starts_with("PUT") {
            true => (200, "token".into()),
            false => (200, credentials_json(&VirtualClock::new(), "role", 3600)),
        });
        let mut provider = named(&home, files, "ecs");
        provider.source.metadata_endpoint = Some(server.url());
        assert_eq!(provider.id().unwrap(), "role");
        let role = "GET /latest/meta-data/ram/security-credentials/upload-role";
        assert_eq!(server.lines().last().unwrap(), role);
    }
}

#[test]
fn profile_of_an_oidc_role_asks_sts() {
    let home = home();
    let server = Server::start(|_, _| {
        let credentials = credentials_json(&VirtualClock::new(), "oidc", 3600);
        (200, format!(r#"{{"Credentials":{credentials}}}"#))
    });
    let token = home.path().join("token");
    fs::write(&token, "jwt").unwrap();
    let config = format!(
        r#"{{"current": "o", "profiles": [{{"name": "o", "mode": "OIDC", "ram_role_arn": "r",
            "oidc_provider_arn": "p", "oidc_token_file": {:?}, "ram_session_name": "s",
            "expired_seconds": 900, "sts_endpoint": "{}"}}]}}"#,
        token.to_str().unwrap(),
        server.url()
    );
    fs::write(home.path().join(".aliyun/config.json"), config).unwrap();
    assert_eq!(source(&home, Files::Any, &[]).id().unwrap(), "oidc");
    assert_eq!(
        server.requests()[0].body,
        "RoleArn=r&OIDCProviderArn=p&OIDCToken=jwt&RoleSessionName=s&DurationSeconds=900"
    );
}

#[test]
fn profile_of_a_uri_asks_it() {
    let home = home();
    let server = Server::start(|_, _| (200, credentials_json(&VirtualClock::new(), "uri", 3600)));
    let config = format!(
        r#"{{"current": "u", "profiles": [{{"name": "u", "mode": "CredentialsURI",
            "credentials_uri": "{}/c"}}]}}"#,
        server.url()
    );
    fs::write(home.path().join(".aliyun/config.json"), config).unwrap();
    assert_eq!(source(&home, Files::Any, &[]).id().unwrap(), "uri");
}

#[test]
fn profile_without_any_file_says_where_it_looked() {
    let empty = tempfile::tempdir().unwrap();
    let message = source(&empty, Files::Any, &[]).final_failure();
    assert_eq!(
        message,
        "profile: ~/.aliyun/config.json does not exist, \
         ~/.alibabacloud/credentials.ini does not exist, ~/.alibabacloud/credentials does not exist"
    );
}
