//! Uploads a file to OSS, resumably; without an account, to a server that it starts for itself. `--help` tells the rest.

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
    Client, Uploaded, cancel, checkpoint, delete_upload_on_cancelling, determine_part_size, progress,
    routines,
};
use screen::Screen;

/// Bytes.
const PART_SIZE_DEFAULT: u64 = 8 << 20;
const LOCAL_BUCKET: &str = "examplebucket";

fn main() -> ExitCode {
    let arguments = match args::parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            screen::print(args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("upload: {wrong}");
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
    let place = Place::find(&arguments)?;
    let part_size = arguments.part_size.unwrap_or_else(|| determine_part_size(size, PART_SIZE_DEFAULT));
    let (record, record_path) = (arguments.checkpoint.is_some(), arguments.checkpoint.unwrap_or_default());
    let mut screen = Screen::new(size);
    let stop = screen.stop_on_ctrl_c(record)?;
    let options = [
        routines(arguments.routines),
        checkpoint(record, record_path),
        cancel(&stop),
        delete_upload_on_cancelling(false),
        progress(|now| screen.show(now)),
    ];
    let bucket = place.client.bucket(&place.bucket)?;
    let began = Instant::now();
    match bucket.upload_file(&place.key, &arguments.file, part_size, options) {
        Ok(uploaded) => {
            screen::summarize(&uploaded, began.elapsed(), place.bytes(&uploaded).as_deref());
            Ok(())
        }
        Err(error) => Err(screen.explain(&error, record).into()),
    }
}

/// Looks before a server is started for nothing.
fn file_size(file: &Path) -> Result<u64, String> {
    let metadata = file.metadata().map_err(|error| format!("can't read {}: {error}", file.display()))?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(format!("{} is not a regular file", file.display())),
    }
}

/// Where the object goes.
struct Place {
    client: Client,
    /// Runs as long as this lives.
    server: Option<LocalOss>,
    bucket: String,
    key: String,
}

impl Place {
    fn find(arguments: &Arguments) -> Result<Place, Box<dyn Error>> {
        let name = || arguments.file.file_name().and_then(|name| name.to_str());
        let target = arguments.target.as_ref();
        let given = target.map_or("", |target| &target.key);
        let key = match given.is_empty() || given.ends_with('/') {
            true => format!("{given}{}", name().ok_or("the file's name is no UTF-8: give a KEY")?),
            false => given.to_owned(),
        };
        if is_account_set()? {
            let target = target.ok_or("say where to, since OSS_ENDPOINT is set: oss://BUCKET/KEY")?;
            let client = Client::from_env().map_err(name_region)?;
            return Ok(Place { client, server: None, bucket: target.bucket.clone(), key });
        }
        let (server, client) = local::start(&arguments.file)?;
        let bucket = target.map_or(LOCAL_BUCKET, |target| &target.bucket).to_owned();
        Ok(Place { client, server: Some(server), bucket, key })
    }

    /// The file that holds the object, when we are the server.
    fn bytes(&self, uploaded: &Uploaded) -> Option<PathBuf> {
        self.server.as_ref()?.object_path(&self.bucket, &uploaded.key)
    }
}

/// Half an account is a slip, and must not end at a local server unnoticed.
fn is_account_set() -> Result<bool, String> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let needed = ["OSS_ENDPOINT", "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET"];
    let (set, missing): (Vec<&str>, Vec<&str>) = needed.into_iter().partition(is_set);
    let optional = ["OSS_REGION", "OSS_SESSION_TOKEN"].into_iter().filter(is_set);
    let set: Vec<&str> = set.into_iter().chain(optional).collect();
    if !set.is_empty() && !missing.is_empty() {
        return Err(format!("{} not set, though {} is", missing.join(", "), set.join(", ")));
    }
    Ok(missing.is_empty())
}

/// In the words of whoever set the environment.
fn name_region(error: oss_upload::Error) -> String {
    match error {
        oss_upload::Error::InvalidOption { option: "region", reason, .. } => format!("OSS_REGION: {reason}"),
        oss_upload::Error::InvalidOption { option: "endpoint", reason, .. } => {
            format!("OSS_ENDPOINT: {reason}")
        }
        error => error.to_string(),
    }
}
