//! One upload by opendal: ENDPOINT FILE PART_SIZE CONCURRENT.

use opendal::services::Oss;
use opendal::{HttpTransporter, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::io::AsyncReadExt;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, path, part_size, concurrent] = &arguments[..] else { return Err("four arguments".into()) };
    let (part_size, concurrent) = (part_size.parse()?, concurrent.parse()?);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(upload(
        endpoint, path, part_size, concurrent,
    ))
}

async fn upload(endpoint: &str, path: &str, part_size: usize, concurrent: usize) -> Result<(), Error> {
    HttpTransporter::install_default(ReqwestTransport::default());
    let service = Oss::default()
        .endpoint(endpoint)
        .bucket("examplebucket")
        .addressing_style("path")
        .access_key_id("ak")
        .access_key_secret("sk");
    let operator = Operator::new(service)?;
    let mut writer = operator.writer_with("opendal").chunk(part_size).concurrent(concurrent).await?;
    let mut file = tokio::fs::File::open(path).await?;
    loop {
        let mut part = Vec::with_capacity(part_size);
        if (&mut file).take(part_size as u64).read_to_end(&mut part).await? == 0 {
            break;
        }
        writer.write(part).await?;
    }
    writer.close().await?;
    Ok(())
}
