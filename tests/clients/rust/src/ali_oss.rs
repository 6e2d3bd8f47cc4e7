//! ali-oss-rs, which supports only V4 signatures and always puts the bucket into the host name.

use std::net::SocketAddr;

use ali_oss_rs::bucket::BucketOperations;
use ali_oss_rs::bucket_common::ListObjectsOptionsBuilder;
use ali_oss_rs::multipart::MultipartUploadsOperations;
use ali_oss_rs::multipart_common::{
    CompleteMultipartUploadRequest, ListMultipartUploadsOptionsBuilder, ListPartsOptions,
    UploadPartRequest,
};
use ali_oss_rs::object::ObjectOperations;
use ali_oss_rs::object_common::{DeleteMultipleObjectsConfig, GetObjectOptionsBuilder};
use ali_oss_rs::presign_common::PresignGetOptionsBuilder;
use ali_oss_rs::{Client, ClientBuilder, reqwest};

use crate::{BUCKET, PART, Result, assert_same, data, step};

const FOLDER: &str = "ali-oss-rs/";
const KEY: &str = "ali-oss-rs/a b\u{4e2d}.bin";

pub async fn run(endpoint: &str) -> Result {
    let address: SocketAddr = endpoint.trim_start_matches("http://").parse()?;
    let host = format!("{BUCKET}.localhost");
    let http = reqwest::Client::builder().resolve(&host, address).build()?;
    let builder = ClientBuilder::new("ak", "sk", format!("http://localhost:{}", address.port()));
    let client = &builder.region("cn-hangzhou").client(http.clone()).build()?;
    step("put", put(client).await);
    step("multipart", multipart(client).await);
    step("list_parts", list_parts(client).await);
    step("abort", abort(client).await);
    step("list_uploads", list_uploads(client).await);
    step("signed_url", signed_url(client, &http).await);
    step("read_back", read_back(client).await);
    step("list_objects", list_objects(client).await);
    step("delete", delete(client).await);
    step("delete_many", delete_many(client).await);
    Ok(())
}

/// Initiates an upload and uploads the first parts; returns its ID, and the numbers and ETags of
/// the parts.
async fn start_upload(client: &Client, count: usize) -> Result<(String, Vec<(u32, String)>)> {
    let upload_id = client
        .initiate_multipart_uploads(BUCKET, KEY, None)
        .await?
        .upload_id;
    let mut parts = Vec::new();
    for (number, chunk) in (1..).zip(data().chunks(PART).take(count)) {
        let request = UploadPartRequest::new(number, &upload_id);
        parts.push((
            number,
            client
                .upload_part_from_buffer(BUCKET, KEY, chunk.to_vec(), request)
                .await?
                .etag,
        ));
    }
    Ok((upload_id, parts))
}

async fn put(client: &Client) -> Result {
    client
        .put_object_from_buffer(BUCKET, KEY, data(), None)
        .await?;
    assert_same(
        client.head_object(BUCKET, KEY, None).await?.content_length,
        data().len() as u64,
    )
}

async fn multipart(client: &Client) -> Result {
    let (upload_id, parts) = start_upload(client, 4).await?;
    let request = CompleteMultipartUploadRequest { upload_id, parts };
    client
        .complete_multipart_uploads(BUCKET, KEY, request, None)
        .await?;
    assert_same(
        client.get_object_to_buffer(BUCKET, KEY, None).await?,
        data(),
    )
}

async fn list_parts(client: &Client) -> Result {
    let (upload_id, parts) = start_upload(client, 2).await?;
    let options = ListPartsOptions {
        max_parts: Some(1),
        ..Default::default()
    };
    let page = client
        .list_parts(BUCKET, KEY, &upload_id, Some(options))
        .await?;
    assert_same(
        (page.is_truncated, page.next_part_number_marker),
        (true, Some(1)),
    )?;
    let listed = client
        .list_parts(BUCKET, KEY, &upload_id, None)
        .await?
        .parts;
    assert_same(
        listed
            .into_iter()
            .map(|part| (part.part_number, part.etag))
            .collect(),
        parts,
    )?;
    Ok(client
        .abort_multipart_uploads(BUCKET, KEY, &upload_id)
        .await?)
}

async fn unfinished(client: &Client) -> Result<Vec<String>> {
    let options = ListMultipartUploadsOptionsBuilder::new()
        .prefix(FOLDER)
        .max_uploads(10)
        .build();
    let uploads = client
        .list_multipart_uploads(BUCKET, Some(options))
        .await?
        .uploads;
    Ok(uploads.into_iter().map(|upload| upload.upload_id).collect())
}

async fn abort(client: &Client) -> Result {
    let (upload_id, _) = start_upload(client, 1).await?;
    client
        .abort_multipart_uploads(BUCKET, KEY, &upload_id)
        .await?;
    assert_same(unfinished(client).await?, vec![])
}

async fn list_uploads(client: &Client) -> Result {
    let (upload_id, _) = start_upload(client, 1).await?;
    assert_same(unfinished(client).await?, vec![upload_id.clone()])?;
    Ok(client
        .abort_multipart_uploads(BUCKET, KEY, &upload_id)
        .await?)
}

async fn signed_url(client: &Client, http: &reqwest::Client) -> Result {
    client
        .put_object_from_buffer(BUCKET, KEY, data(), None)
        .await?;
    let url = client.presign_url(BUCKET, KEY, PresignGetOptionsBuilder::new(60).build());
    assert_same(
        http.get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?
            .to_vec(),
        data(),
    )
}

async fn read_back(client: &Client) -> Result {
    client
        .put_object_from_buffer(BUCKET, KEY, data(), None)
        .await?;
    assert_same(
        client.get_object_to_buffer(BUCKET, KEY, None).await?,
        data(),
    )?;
    let range = GetObjectOptionsBuilder::new().range("bytes=10-19").build();
    assert_same(
        client
            .get_object_to_buffer(BUCKET, KEY, Some(range))
            .await?,
        data()[10..20].to_vec(),
    )
}

async fn list_objects(client: &Client) -> Result {
    client
        .put_object_from_buffer(BUCKET, "ali-oss-rs/sub/1", b"x".to_vec(), None)
        .await?;
    let options = ListObjectsOptionsBuilder::new().prefix(FOLDER).max_keys(1);
    let page = client.list_objects(BUCKET, Some(options.build())).await?;
    assert_same(
        page.contents
            .iter()
            .map(|object| object.key.as_str())
            .collect(),
        vec![KEY],
    )?;
    let token = page
        .next_continuation_token
        .ok_or("the continuation token is missing")?;
    let options = ListObjectsOptionsBuilder::new()
        .prefix(FOLDER)
        .delimiter('/')
        .continuation_token(token);
    let page = client.list_objects(BUCKET, Some(options.build())).await?;
    assert_same(
        (page.contents.len(), page.common_prefixes),
        (0, vec!["ali-oss-rs/sub/".to_owned()]),
    )
}

async fn delete(client: &Client) -> Result {
    client.delete_object(BUCKET, KEY, None).await?;
    assert_same(client.exists(BUCKET, KEY, None).await?, false)
}

async fn delete_many(client: &Client) -> Result {
    let names = ["ali-oss-rs/sub/1", "ali-oss-rs/missing"];
    let deleted = client
        .delete_multiple_objects(BUCKET, DeleteMultipleObjectsConfig::FromKeys(&names))
        .await?;
    assert_same(
        deleted.items.iter().map(|item| item.key.as_str()).collect(),
        names.to_vec(),
    )?;
    assert_same(client.exists(BUCKET, names[0], None).await?, false)
}
