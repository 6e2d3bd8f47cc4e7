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
    /// The URL of the object, as OSS returns it after a multipart upload. [`url`](Uploaded::url)
    /// is there after a PutObject, too.
    pub location: Option<String>,
    /// The ID of the request that made the object, or of the one that found it.
    pub request_id: Option<String>,
    /// The ID of the multipart upload; `None` after a PutObject.
    pub upload_id: Option<String>,
    /// The number of parts; 1 after a PutObject, and 0 if the upload was skipped.
    pub parts: usize,
    /// How many of the parts an earlier call had sent.
    pub parts_resumed: usize,
    /// Bytes of the file that this call sent, including those that had to be sent again.
    pub bytes_sent: u64,
    /// Nothing was sent, because the object already was the file
    /// ([`skip_unchanged`](crate::skip_unchanged)).
    pub skipped: bool,
    /// The response of the application server to the [`callback`](crate::callback()).
    pub callback_body: Option<Vec<u8>>,
    pub(crate) url: String,
}

impl Uploaded {
    /// Returns the URL of the object, without a signature.
    ///
    /// It is the URL that the object was sent to: with the client's endpoint and the bucket in the
    /// host or in the path, or with the domain of a CNAME endpoint. The key is percent-encoded.
    /// Whoever may read the object can download it from there: everybody, if its
    /// [ACL](crate::object_acl) is public.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// let uploaded = bucket.upload_file("dir/my file.bin", "file.bin", 8 << 20, [])?;
    /// // https://examplebucket.oss-cn-hangzhou.aliyuncs.com/dir/my%20file.bin
    /// println!("{}", uploaded.url());
    /// # Ok(())
    /// # }
    /// ```
    pub fn url(&self) -> &str {
        &self.url
    }
}
