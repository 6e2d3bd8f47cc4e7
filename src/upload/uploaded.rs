/// A finished upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The object's key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The object's ETag, without quotes. Only that of a PutObject or a sequential upload is an MD5.
    pub etag: String,
    /// The object's CRC-64, as OSS computed it and equal to the file's; `None` if OSS did not tell.
    pub crc64: Option<u64>,
    /// In a bucket with versioning.
    pub version_id: Option<String>,
    /// The object's URL, as OSS tells it for a multipart upload.
    pub location: Option<String>,
    /// Of the request that made the object, or of the one that found it made.
    pub request_id: Option<String>,
    /// `None` for a PutObject.
    pub upload_id: Option<String>,
    /// Parts of the object; 1 for a PutObject.
    pub parts: usize,
    /// Parts that an earlier call had sent.
    pub parts_resumed: usize,
    /// Bytes of the file that this call handed to the network, also those that had to be sent again.
    pub bytes_sent: u64,
    /// What the application server answered to the [`callback`](crate::callback()).
    pub callback_body: Option<Vec<u8>>,
}
