//! opendal, which supports only V1 signatures. With the bucket in the path, its signature of lists
//! is not the one that OSS documents, so the bucket is in the host name here.

use std::net::SocketAddr;
use std::time::Duration;

use opendal::services::Oss;
use opendal::{Entry, ErrorKind, HttpTransporter, Operator};
use opendal_http_transport_reqwest::ReqwestTransport;

use crate::{BUCKET, PART, Result, assert_same, data, step};

const FOLDER: &str = "opendal/";
const KEY: &str = "opendal/a b+\u{4e2d}.bin";

pub async fn run(endpoint: &str) -> Result {
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse()?;
    let http = reqwest::Client::builder()
        .resolve(&format!("{BUCKET}.localhost"), address)
        .build()?;
    HttpTransporter::install_default(ReqwestTransport::new(http.clone()));
    let service = Oss::default()
        .endpoint(&format!("http://localhost:{}", address.port()))
        .bucket(BUCKET)
        .access_key_id("ak")
        .access_key_secret("sk");
    let operator = &Operator::new(service)?;
    step("put", put(operator).await);
    step("multipart", multipart(operator).await);
    step("abort", abort(operator).await);
    step("signed_url", signed_url(operator, &http).await);
    step("read_back", read_back(operator).await);
    step("list_objects", list_objects(operator).await);
    step("delete", delete(operator).await);
    step("delete_many", delete_many(operator).await);
    Ok(())
}

async fn put(operator: &Operator) -> Result {
    operator
        .write_with(KEY, data())
        .content_type("text/plain")
        .user_metadata([("who".into(), "dal".into())])
        .await?;
    let metadata = operator.stat(KEY).await?;
    assert_same(metadata.content_length(), data().len() as u64)?;
    assert_same(metadata.content_type(), Some("text/plain"))
}

async fn multipart(operator: &Operator) -> Result {
    let mut writer = operator.writer_with(KEY).chunk(PART).concurrent(3).await?;
    for chunk in data().chunks(70_000) {
        writer.write(chunk.to_vec()).await?;
    }
    writer.close().await?;
    assert_same(operator.read(KEY).await?.to_vec(), data())
}

async fn abort(operator: &Operator) -> Result {
    let key = "opendal/aborted";
    let mut writer = operator.writer_with(key).chunk(PART).await?;
    writer.write(data()).await?;
    writer.abort().await?;
    assert_same(operator.exists(key).await?, false)
}

async fn signed_url(operator: &Operator, http: &reqwest::Client) -> Result {
    let minute = Duration::from_secs(60);
    let signed = operator.presign_write(KEY, minute).await?;
    http.put(signed.uri().to_string())
        .body(data())
        .send()
        .await?
        .error_for_status()?;
    let signed = operator.presign_read(KEY, minute).await?;
    let response = http
        .get(signed.uri().to_string())
        .send()
        .await?
        .error_for_status()?;
    assert_same(response.bytes().await?.to_vec(), data())
}

async fn read_back(operator: &Operator) -> Result {
    operator.write(KEY, data()).await?;
    assert_same(operator.read(KEY).await?.to_vec(), data())?;
    assert_same(
        operator.read_with(KEY).range(10..20).await?.to_vec(),
        data()[10..20].to_vec(),
    )
}

async fn list_objects(operator: &Operator) -> Result {
    operator.write("opendal/sub/1", "x").await?;
    let level = operator.list(FOLDER).await?;
    assert_same(names(&level), vec![KEY, "opendal/sub/"])?;
    let all = operator.list_with(FOLDER).recursive(true).limit(1).await?;
    assert_same(names(&all), vec![KEY, "opendal/sub/1"])
}

fn names(entries: &[Entry]) -> Vec<&str> {
    let mut names: Vec<&str> = entries.iter().map(Entry::path).collect();
    names.sort_unstable();
    names
}

async fn delete(operator: &Operator) -> Result {
    operator.delete(KEY).await?;
    assert_same(
        operator.stat(KEY).await.map_err(|error| error.kind()).err(),
        Some(ErrorKind::NotFound),
    )
}

async fn delete_many(operator: &Operator) -> Result {
    operator.write("opendal/<&>", "x").await?;
    operator
        .delete_iter(["opendal/sub/1", "opendal/<&>"].map(str::to_owned))
        .await?;
    assert_same(operator.list_with(FOLDER).recursive(true).await?.len(), 0)
}
