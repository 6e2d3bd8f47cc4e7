use std::fs::File;
use std::path::Path;

use crate::client::{Client, Failed, Message};
use crate::names::{check_key, is_bucket_name};
use crate::error::ErrorCode;
use crate::protocol::abort::AbortMultipartUpload;
use crate::protocol::list_uploads::MultipartUpload;
use crate::upload::options::UploadOption;
use crate::upload::{self, Target, Uploaded, unfinished};
use crate::{Error, Result};

/// A bucket, by its name; made by [`Client::bucket`].
///
/// Cheap to clone; may be used from many threads at once.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Client {
    /// The bucket of that name. No request is made.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a name against OSS's rules: 3 to 63 lower-case letters, digits and hyphens, beginning and
    /// ending with a letter or digit; and for an endpoint that names this bucket already.
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        if !is_bucket_name(name) {
            let rule = "is no bucket's name: give 3 to 63 lower-case letters, digits and, inside, hyphens";
            return Err(Error::option("bucket", format!("{name:?} {rule}")));
        }
        if self.endpoint().is_bucket_domain_of(name) {
            let reason =
                format!("{} names the bucket {name}: give the region's endpoint", self.endpoint().origin());
            return Err(Error::option("endpoint", reason));
        }
        Ok(Bucket { client: self.clone(), name: name.to_owned() })
    }
}

impl Bucket {
    /// Uploads the file at `path` to the object `key`, in parts of `part_size` bytes, and returns when the object is
    /// complete.
    ///
    /// * `key`: 1 to 1,023 bytes of UTF-8, not beginning with `/` or `\`; sent byte for byte.
    /// * `path`: a regular file, or a link to one.
    /// * `part_size`: bytes, [`PART_SIZE_MIN`](crate::PART_SIZE_MIN) to [`PART_SIZE_MAX`](crate::PART_SIZE_MAX), so that the
    ///   file has [`PARTS_MAX`](crate::PARTS_MAX) parts at most. There is no default, since another part size can't carry an
    ///   upload on; some MiB do for most files ([`docs::costs`](crate::docs::costs)).
    /// * `options`: see [`UploadOption`]; `[]` for none.
    ///
    /// With [`checkpoint`](crate::checkpoint()) the upload is recorded: when it is interrupted, the same call carries it on, in
    /// this process or in another. A file of one part, and an empty file, go up in one PutObject. Everything
    /// that was stored is compared with the file by CRC-64.
    ///
    /// Mirrors Go's `Bucket.UploadFile(objectKey, filePath, partSize, options...)`. OSS API: InitiateMultipartUpload,
    /// UploadPart, ListParts, CompleteMultipartUpload; PutObject; HeadObject; AbortMultipartUpload.
    ///
    /// ```no_run
    /// use oss_upload::{Client, checkpoint, routines};
    ///
    /// let client = Client::new("https://oss-cn-hangzhou.aliyuncs.com", "<AccessKeyId>", "<AccessKeySecret>")?;
    /// let bucket = client.bucket("examplebucket")?;
    /// let uploaded = bucket.upload_file("dir/object.bin", "file.bin", 8 << 20, [routines(4), checkpoint(true, "")])?;
    /// println!("{} bytes, CRC-64 {:?}", uploaded.size, uploaded.crc64);
    /// # Ok::<(), oss_upload::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidOption`]: an option, the key or the part size is wrong. No request was made.
    /// * [`Error::Source`], [`Error::SourceChanged`]: the file.
    /// * [`Error::Checkpoint`], [`Error::CheckpointInUse`], [`Error::NotACheckpoint`]: the record.
    /// * [`Error::Credentials`], [`Error::Transport`], [`Error::Service`], [`Error::Response`]: the way to OSS, after
    ///   the retries of the client's [`RetryPolicy`](crate::RetryPolicy).
    /// * [`Error::Callback`]: the object is complete, its callback failed.
    /// * [`Error::Cancelled`].
    ///
    /// [`Error::is_resumable`] tells whether the same call is worth running again; what each message means is in
    /// [`docs::troubleshooting`](crate::docs::troubleshooting).
    ///
    /// # Panics
    /// Only if the caller's own code does: the [`progress`](crate::progress) callback, a
    /// [`CheckpointStore`](crate::CheckpointStore) or a [`ProvideCredentials`](crate::ProvideCredentials). The threads are
    /// stopped first.
    pub fn upload_file<'a>(
        &self,
        key: &str,
        path: impl AsRef<Path>,
        part_size: u64,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<Uploaded> {
        let mut options = options.into_iter();
        upload::upload_file(&self.target(key)?, path.as_ref(), part_size, &mut options)
    }

    /// As [`upload_file`](Bucket::upload_file), for a file that is open already: from Android's `Uri`, from a descriptor
    /// that was inherited, without a name. It is read from offset 0; its cursor is ignored.
    ///
    /// There is no path to put a checkpoint beside: `checkpoint(true, "")` is refused, a path and
    /// [`checkpoint_dir`](crate::checkpoint_dir) work. On systems without device and inode numbers the recorded
    /// parts are read again before they are trusted.
    ///
    /// # Errors
    /// As [`upload_file`](Bucket::upload_file).
    pub fn upload_open_file<'a>(
        &self,
        key: &str,
        file: File,
        part_size: u64,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<Uploaded> {
        let mut options = options.into_iter();
        upload::upload_open_file(&self.target(key)?, file, part_size, &mut options)
    }

    /// The unfinished uploads whose keys begin with `prefix`; `""` for all. Their parts are stored, and billed, until they
    /// are completed or aborted.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// for upload in bucket.multipart_uploads("exampledir/")? {
    ///     println!("{} was begun {:?}", upload.key, upload.initiated);
    ///     bucket.abort_multipart_upload(&upload.key, &upload.upload_id)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// It needs `oss:ListMultipartUploads`. OSS API: ListMultipartUploads.
    ///
    /// # Errors
    /// [`Error::Credentials`], [`Error::Transport`], [`Error::Service`], [`Error::Response`].
    pub fn multipart_uploads(&self, prefix: &str) -> Result<Vec<MultipartUpload>> {
        unfinished::list(&self.client.line(), &self.name, prefix, &[]).map_err(error)
    }

    /// Deletes an unfinished upload with its parts. One that is gone already is no error.
    ///
    /// A call that is still sending to it fails or starts over. It needs `oss:AbortMultipartUpload`. OSS API:
    /// AbortMultipartUpload.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for an upload id or key that is empty, and for a key that OSS does not take;
    /// [`Error::Credentials`], [`Error::Transport`], [`Error::Service`].
    pub fn abort_multipart_upload(&self, key: &str, upload_id: &str) -> Result<()> {
        let target = self.target(key)?;
        if upload_id.is_empty() {
            let reason = "must not be empty; multipart_uploads lists the ids that exist";
            return Err(Error::option("upload_id", reason));
        }
        let Target { bucket, key, .. } = target;
        let action = AbortMultipartUpload { bucket, key, upload_id, headers: &[] };
        let line = self.client.line();
        match line.execute(&action, &mut Message::empty()).map_err(error) {
            Err(gone) if gone.code() == Some(ErrorCode::NoSuchUpload) => Ok(()),
            result => result,
        }
    }

    fn target<'a>(&'a self, key: &'a str) -> Result<Target<'a>> {
        check_key(key).map_err(|reason| Error::option("key", reason))?;
        Ok(Target { client: &self.client, bucket: &self.name, key })
    }
}

fn error(failed: Failed) -> Error {
    match failed {
        Failed::Error { error, .. } => error,
        Failed::Stopped { .. } => Error::Cancelled { object_may_exist: false },
    }
}
