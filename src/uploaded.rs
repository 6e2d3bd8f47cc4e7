/// A finished upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The key of the object.
    pub key: String,
    /// The size of the object in bytes.
    pub size: u64,
    /// The ETag of the object, without quotes. It is an MD5 only after a PutObject.
    pub etag: String,
    /// The CRC-64 of the object as OSS computed it, equal to that of the file. `None` if the
    /// response had none.
    pub crc64: Option<u64>,
    /// The version ID, in a bucket with versioning.
    pub version_id: Option<String>,
    /// The URL of the object, as OSS returns it after a multipart upload.
    pub location: Option<String>,
    /// The ID of the request that made the object, or of the one that found it.
    pub request_id: Option<String>,
    /// The ID of the multipart upload; `None` after a PutObject.
    pub upload_id: Option<String>,
    /// The number of parts; 1 after a PutObject.
    pub parts: usize,
    /// How many of the parts an earlier call had sent.
    pub parts_resumed: usize,
    /// Bytes of the file that this call sent, including those that had to be sent again.
    pub bytes_sent: u64,
    /// The response of the application server to the [`callback`](crate::callback()).
    pub callback_body: Option<Vec<u8>>,
}
