//! A resumable uploader with a progress bar. Without an account it uploads to a local server that
//! it starts itself. See `--help`.

mod args;
mod local;
mod screen;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use args::Arguments;
use local_oss::LocalOss;
use oss_upload::{
    Client, Uploaded, cancel, checkpoint, delete_upload_on_cancelling, determine_part_size,
    progress, routines,
};
use screen::Screen;

const PART_SIZE_DEFAULT: u64 = 8 << 20;
const LOCAL_BUCKET: &str = "examplebucket";

fn main() -> ExitCode {
    let arguments = match args::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            screen::print(args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("upload: {error}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let size = file_size(&arguments.file)?;
    let destination = Destination::new(&arguments)?;
    let bucket = destination.client.bucket(&destination.bucket)?;
    let has_checkpoint = arguments.checkpoint.is_some();
    let mut screen = Screen::new(size);
    let token = screen.cancel_on_ctrl_c(has_checkpoint)?;

    let part_size = arguments.part_size;
    let part_size = part_size.unwrap_or_else(|| determine_part_size(size, PART_SIZE_DEFAULT));
    let options = [
        routines(arguments.routines),
        checkpoint(has_checkpoint, arguments.checkpoint.unwrap_or_default()),
        cancel(&token),
        delete_upload_on_cancelling(false),
        progress(|now| screen.show(now)),
    ];
    let start = Instant::now();
    match bucket.upload_file(&destination.key, &arguments.file, part_size, options) {
        Ok(uploaded) => {
            let path = destination.local_path(&uploaded);
            screen::summarize(&uploaded, start.elapsed(), path.as_deref());
            Ok(())
        }
        Err(error) => Err(screen.describe(&error, has_checkpoint).into()),
    }
}

/// Checks the file before a server is started.
fn file_size(file: &Path) -> Result<u64, String> {
    let metadata = file
        .metadata()
        .map_err(|error| format!("can't read {}: {error}", file.display()))?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(format!("{} is not a regular file", file.display())),
    }
}

struct Destination {
    client: Client,
    /// The local server, if there is no account. It stops when this value is dropped.
    server: Option<LocalOss>,
    bucket: String,
    key: String,
}

impl Destination {
    fn new(arguments: &Arguments) -> Result<Destination, Box<dyn Error>> {
        let name = arguments.file.file_name().and_then(|name| name.to_str());
        let target = arguments.target.as_ref();
        let key = target.map_or("", |target| &target.key);
        let key = match key.is_empty() || key.ends_with('/') {
            true => {
                let name = name.ok_or("the file's name is not UTF-8; give a KEY")?;
                format!("{key}{name}")
            }
            false => key.to_owned(),
        };
        if has_account()? {
            let target = target.ok_or("OSS_ENDPOINT is set; give a target, oss://BUCKET/KEY")?;
            let client = Client::from_env().map_err(name_variable)?;
            return Ok(Destination {
                client,
                server: None,
                bucket: target.bucket.clone(),
                key,
            });
        }
        let (server, client) = local::start(&arguments.file)?;
        let bucket = target
            .map_or(LOCAL_BUCKET, |target| &target.bucket)
            .to_owned();
        Ok(Destination {
            client,
            server: Some(server),
            bucket,
            key,
        })
    }

    /// Returns the file in which the local server stores the object.
    fn local_path(&self, uploaded: &Uploaded) -> Option<PathBuf> {
        self.server
            .as_ref()?
            .object_path(&self.bucket, &uploaded.key)
    }
}

/// Returns an error if only some of the variables are set, because then the user expects an
/// upload to OSS, not to a local server.
fn has_account() -> Result<bool, String> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let required = ["OSS_ENDPOINT", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"];
    let (mut set, missing): (Vec<&str>, Vec<&str>) = required.into_iter().partition(is_set);
    set.extend(
        ["OSS_REGION", "OSS_SESSION_TOKEN"]
            .into_iter()
            .filter(is_set),
    );
    if !set.is_empty() && !missing.is_empty() {
        return Err(format!(
            "{} not set, but {} is",
            missing.join(", "),
            set.join(", ")
        ));
    }
    Ok(missing.is_empty())
}

/// Names the environment variable instead of the option.
fn name_variable(error: oss_upload::Error) -> String {
    match error {
        oss_upload::Error::InvalidOption {
            option: "region",
            reason,
            ..
        } => {
            format!("OSS_REGION: {reason}")
        }
        oss_upload::Error::InvalidOption {
            option: "endpoint",
            reason,
            ..
        } => {
            format!("OSS_ENDPOINT: {reason}")
        }
        error => error.to_string(),
    }
}
