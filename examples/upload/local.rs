//! The local server, for users without an account.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use local_oss::LocalOss;
use oss_upload::{Client, Credentials};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/local-oss");
const REGION: &str = "cn-hangzhou";

/// Starts the server and makes a client for it.
///
/// Each source file has a directory and a port of its own, which are the same in every run. So the
/// next run finds the parts of this one, and two files can be uploaded at the same time.
pub fn start(file: &Path) -> Result<(LocalOss, Client), Box<dyn std::error::Error>> {
    let dir = data_dir(file)?;
    let server = serve(&dir).map_err(|error| match error.kind() {
        ErrorKind::ResourceBusy => format!("{} is being uploaded by another run", file.display()),
        _ => format!("can't start the local server: {error}"),
    })?;
    let endpoint = server.endpoint();
    let path = dir.display();
    eprintln!("OSS_ENDPOINT is not set; using a local server at {endpoint}, data in {path}");
    let client = Client::builder(&endpoint)
        .credentials(Credentials::new("ak", "sk"))
        .region(REGION)
        .no_proxy()
        .build()?;
    Ok((server, client))
}

fn data_dir(file: &Path) -> io::Result<PathBuf> {
    let mut name = crc64fast::Digest::new();
    name.write(fs::canonicalize(file)?.as_os_str().as_encoded_bytes());
    Ok(Path::new(DATA).join(format!("{:016x}", name.sum64())))
}

fn serve(dir: &Path) -> io::Result<LocalOss> {
    // The name begins with a dot, so it can't be a bucket's.
    let port_file = dir.join(".port");
    let port = fs::read_to_string(&port_file)
        .unwrap_or_default()
        .trim()
        .parse()
        .unwrap_or(0);
    let server = match serve_at(dir, port) {
        Err(error) if port != 0 && error.kind() == ErrorKind::AddrInUse => serve_at(dir, 0)?,
        result => result?,
    };
    if server.address().port() != port {
        fs::write(&port_file, server.address().port().to_string())?;
    }
    Ok(server)
}

fn serve_at(dir: &Path, port: u16) -> io::Result<LocalOss> {
    LocalOss::builder()
        .address(&format!("127.0.0.1:{port}"))
        .dir(dir)
        .region(REGION)
        .any_bucket(true)
        .allow_v1(false)
        .start()
}
