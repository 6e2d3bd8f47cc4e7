use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::client::{CallError, Client, TextBody, UploadPages};
use crate::error::ErrorCode;
use crate::names::{check_key, is_bucket_name};
use crate::protocol::abort::AbortMultipartUpload;
use crate::protocol::list_uploads::MultipartUpload;
use crate::upload::options::UploadOption;
use crate::upload::pending::PendingUpload;
use crate::upload::tree::UploadedDir;
use crate::upload::{self, Target};
use crate::{Error, Result, Uploaded};

/// A bucket, created by [`Client::bucket`].
///
/// Cheap to clone. May be used from many threads at once.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Client {
    /// Returns the bucket of that name. No request is made.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the name is invalid: it must be 3–63 lowercase letters, digits
    /// or hyphens, starting and ending with a letter or digit. Also if the endpoint already names
    /// this bucket.
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        if !is_bucket_name(name) {
            let rule = "must be 3–63 lowercase letters, digits or hyphens, \
                        starting and ending with a letter or digit";
            return Err(Error::option("bucket", format!("{name:?} {rule}")));
        }
        if self.parsed_endpoint().is_bucket_domain_of(name) {
            let endpoint = self.endpoint();
            let reason = format!("{endpoint} names the bucket {name}; use the region's endpoint");
            return Err(Error::option("endpoint", reason));
        }
        Ok(Bucket {
            client: self.clone(),
            name: name.to_owned(),
        })
    }
}

impl Bucket {
    /// Returns the name of the bucket.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Uploads the file at `path` to the object `key`, in parts of `part_size` bytes, and returns
    /// when the object is complete.
    ///
    /// * `key`: 1 to 1,023 bytes of UTF-8 that do not start with `/` or `\`. It is sent byte for
    ///   byte.
    /// * `path`: a regular file, or a link to one.
    /// * `part_size`: bytes, [`PART_SIZE_MIN`](crate::PART_SIZE_MIN) to
    ///   [`PART_SIZE_MAX`](crate::PART_SIZE_MAX). The file must have at most
    ///   [`PARTS_MAX`](crate::PARTS_MAX) parts. There is no default, since an upload can only be
    ///   resumed with the same part size; 8 MiB is right for most files
    ///   ([`docs::costs`](crate::docs::costs)).
    /// * `options`: see [`UploadOption`]; `[]` for none.
    ///
    /// With [`checkpoint`](crate::checkpoint()), an upload that was interrupted is resumed by the
    /// same call, in this process or in another one. An empty file, and a file of one part, is
    /// uploaded with one PutObject. Everything that OSS stores is compared with the file by
    /// CRC-64.
    ///
    /// Mirrors `Bucket.UploadFile(objectKey, filePath, partSize, options...)` of the Go SDK. OSS
    /// API: InitiateMultipartUpload, UploadPart, ListParts, CompleteMultipartUpload, PutObject,
    /// HeadObject, AbortMultipartUpload.
    ///
    /// ```no_run
    /// use oss_upload::{Client, checkpoint, routines};
    ///
    /// let client = Client::from_env()?;
    /// let bucket = client.bucket("examplebucket")?;
    /// let options = [routines(4), checkpoint(true, "")];
    /// let uploaded = bucket.upload_file("dir/object.bin", "file.bin", 8 << 20, options)?;
    /// println!("{} bytes, CRC-64 {:?}", uploaded.size, uploaded.crc64);
    /// # Ok::<(), oss_upload::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidOption`]: an option, the key or the part size is wrong. No request was
    ///   made.
    /// * [`Error::Source`], [`Error::SourceChanged`]: the file cannot be read, or changed during
    ///   the call.
    /// * [`Error::Checkpoint`], [`Error::CheckpointInUse`], [`Error::NotACheckpoint`]: the
    ///   checkpoint cannot be read or written, or must not be used.
    /// * [`Error::Credentials`], [`Error::Transport`], [`Error::Service`], [`Error::Response`]: a
    ///   request failed, after the retries of the client's [`RetryPolicy`](crate::RetryPolicy).
    /// * [`Error::Callback`]: the object is complete, but its callback failed.
    /// * [`Error::Cancelled`]: the call was cancelled or paused.
    ///
    /// [`Error::is_resumable`] says whether the same call may succeed later.
    /// [`docs::troubleshooting`](crate::docs::troubleshooting) explains the messages.
    ///
    /// # Panics
    /// Only if the caller's own code panics: the [`progress`](crate::progress) callback, a
    /// [`CheckpointStore`](crate::CheckpointStore) or a
    /// [`ProvideCredentials`](crate::ProvideCredentials). The threads are stopped first.
    #[doc(alias(
        "UploadFile",
        "uploadFile",
        "resumable_upload",
        "multipartUpload",
        "put_object"
    ))]
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

    /// Uploads a file that is already open, as [`upload_file`](Bucket::upload_file) does. It may
    /// come from an Android `Uri` or be an inherited descriptor, and need not have a name. It is
    /// read from offset 0; its cursor is ignored.
    ///
    /// There is no path to put a checkpoint beside, so `checkpoint(true, "")` is
    /// [`Error::InvalidOption`]. A path and [`checkpoint_dir`](crate::checkpoint_dir) work. On
    /// systems without device and inode numbers, the parts in the checkpoint are always verified by
    /// reading them again.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::open("file.bin")?;
    /// bucket.upload_open_file("dir/object.bin", file, 8 << 20, [])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`upload_file`](Bucket::upload_file).
    #[doc(alias = "uploadUri")]
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

    /// Uploads bytes in memory, as [`upload_file`](Bucket::upload_file) does: in parts of
    /// `part_size` bytes, or with one PutObject if there is only one part.
    ///
    /// There is no path to put a checkpoint beside, so `checkpoint(true, "")` is refused. A path,
    /// [`checkpoint_dir`](crate::checkpoint_dir) and
    /// [`checkpoint_store`](crate::checkpoint_store) work; parts that an earlier call has sent are
    /// compared with the bytes by CRC-64 before they are used. The content type is guessed from the
    /// key.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// use oss_upload::content_type;
    ///
    /// let report = format!("{} files checked\n", 17);
    /// let options = [content_type("text/plain; charset=utf-8")];
    /// bucket.upload_bytes("reports/today.txt", report.as_bytes(), 8 << 20, options)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`upload_file`](Bucket::upload_file), except that bytes in memory can be read and do not
    /// change.
    #[doc(alias("putObject", "PutObjectFromString", "put_object", "uploadData"))]
    pub fn upload_bytes<'a>(
        &self,
        key: &str,
        bytes: &[u8],
        part_size: u64,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<Uploaded> {
        let mut options = options.into_iter();
        upload::upload_bytes(&self.target(key)?, bytes, part_size, &mut options)
    }

    /// Uploads everything that `reader` gives until it ends: a pipe, a compressor, a download.
    /// Nobody has to know its length.
    ///
    /// A stream that ends within the first part is uploaded with one PutObject. A longer one is
    /// uploaded in parts of `part_size` bytes, so its length is limited to 10,000 times that
    /// ([`PARTS_MAX`](crate::PARTS_MAX)): 78 GiB for parts of 8 MiB. A longer stream fails when it
    /// passes that limit. At most [`routines`](crate::routines) + 2 parts are kept in memory. The
    /// stream is read on a thread of its own while parts are sent, and short reads are no problem.
    ///
    /// **The object is complete or does not exist.** If the reader returns an error or panics,
    /// nothing is completed. [`ErrorKind::Interrupted`](std::io::ErrorKind::Interrupted) is
    /// retried.
    ///
    /// **A stream is resumed** if it is produced again, from its beginning, for a call with the
    /// same checkpoint ([`checkpoint`](crate::checkpoint()) with a path,
    /// [`checkpoint_dir`](crate::checkpoint_dir) or
    /// [`checkpoint_store`](crate::checkpoint_store)), or with
    /// [`adopt_unfinished`](crate::adopt_unfinished). Everything is read, but parts whose CRC-64
    /// equals that of what OSS has are not sent. Those that differ are sent again, so the object is
    /// always what the reader gave in this call. If an earlier call did not receive the response of
    /// the request that completes the object, the next one sends the stream again.
    ///
    /// **Cancelling** takes effect between two reads. A reader that blocks cannot be interrupted:
    /// the call returns when the read returns. This also applies when the call fails for another
    /// reason.
    ///
    /// Limits: `checkpoint(true, "")` is refused, since there is no path to put a checkpoint
    /// beside; so are [`multipart_threshold`](crate::multipart_threshold) and
    /// [`skip_unchanged`](crate::skip_unchanged).
    /// [`verify_on_resume`](crate::verify_on_resume) is always on. With
    /// [`sequential`](crate::sequential), `adopt_unfinished` has no effect, and a stream that
    /// differs from what an earlier call sent fails; the next call starts from the beginning. While
    /// the stream is read, the `total` of [`Progress`](crate::Progress) is what has been read so
    /// far.
    ///
    /// The content type is guessed
    /// from the key.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::process::{Command, Stdio};
    /// use oss_upload::{checkpoint_dir, routines};
    ///
    /// let mut tar = Command::new("tar")
    ///     .args(["-c", "photos"])
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// let stdout = tar.stdout.take().ok_or("no pipe")?;
    /// let options = [routines(4), checkpoint_dir(true, "/var/tmp/uploads")];
    /// bucket.upload_reader("backup/photos.tar", stdout, 32 << 20, options)?;
    /// // A program that fails ends its output like one that succeeds.
    /// if !tar.wait()?.success() {
    ///     return Err("tar failed: the object is not complete".into());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`upload_file`](Bucket::upload_file). [`Error::Source`] with an empty path if the reader
    /// fails, or if the stream is too long for its part size.
    ///
    /// # Panics
    /// If the reader panics, and as [`upload_file`](Bucket::upload_file).
    #[doc(alias(
        "AppendStream",
        "UploadStream",
        "putStream",
        "uploadStream",
        "PutObjectStream",
        "stdin",
        "pipe"
    ))]
    pub fn upload_reader<'a>(
        &self,
        key: &str,
        mut reader: impl Read + Send,
        part_size: u64,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<Uploaded> {
        let mut options = options.into_iter();
        upload::upload_reader(&self.target(key)?, &mut reader, part_size, &mut options)
    }

    /// Uploads all files below `dir`, each to the object `prefix` plus its path relative to `dir`,
    /// with `/` between the names.
    ///
    /// Files of one request are uploaded side by side, up to [`routines`](crate::routines) at a
    /// time; then follow the larger ones, each in parallel parts. The first failure stops the tree.
    /// Symbolic links are followed; a link that leads to a directory that contains it is an error.
    /// Checkpoints of this crate (`*.cp`) are left out. A directory without files has no object.
    ///
    /// The options count for every file. With [`checkpoint_dir`](crate::checkpoint_dir) and
    /// [`skip_unchanged`](crate::skip_unchanged), the same call resumes after a crash and sends
    /// nothing twice: the checkpoints resume large files, and files that are complete are skipped.
    /// [`checkpoint`](crate::checkpoint()) and [`checkpoint_store`](crate::checkpoint_store) are
    /// refused, since each file needs a checkpoint of its own. The [`progress`](crate::progress)
    /// callback receives the counts of the whole tree and the key of the file.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// use oss_upload::{checkpoint_dir, routines, skip_unchanged};
    ///
    /// let options = [routines(8), checkpoint_dir(true, "target/cp"), skip_unchanged(true)];
    /// let tree = bucket.upload_dir("site/", "public", 8 << 20, options)?;
    /// println!("{} files, {} of them unchanged", tree.files.len(), tree.skipped);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`upload_file`](Bucket::upload_file). [`Error::Source`] names a file or directory that
    /// cannot be read, has a name that is not UTF-8, or is neither a file nor a directory;
    /// everything is listed before the first request.
    #[doc(alias("uploadDirectory", "sync", "cp -r"))]
    pub fn upload_dir<'a>(
        &self,
        prefix: &str,
        dir: impl AsRef<Path>,
        part_size: u64,
        options: impl IntoIterator<Item = UploadOption<'a>>,
    ) -> Result<UploadedDir> {
        let target = (&self.client, self.name.as_str(), prefix);
        let mut options = options.into_iter();
        upload::tree::upload_dir(target, dir.as_ref(), part_size, &mut options)
    }

    /// Lists the unfinished uploads whose keys start with `prefix`; `""` for all. Their parts are
    /// stored, and billed, until they are completed or aborted.
    ///
    /// The pages of the list are requested while the iterator is used. After an error it ends.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// for upload in bucket.multipart_uploads("exampledir/") {
    ///     let upload = upload?;
    ///     println!("{} was initiated {:?}", upload.key, upload.initiated);
    ///     bucket.abort_multipart_upload(&upload.key, &upload.upload_id)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Needs the permission `oss:ListMultipartUploads`. OSS API: ListMultipartUploads.
    ///
    /// # Errors
    /// An item is [`Error::Credentials`], [`Error::Transport`], [`Error::Service`] or
    /// [`Error::Response`].
    #[doc(alias = "ListMultipartUploads")]
    pub fn multipart_uploads(
        &self,
        prefix: &str,
    ) -> impl Iterator<Item = Result<MultipartUpload>> + use<> {
        let pages = UploadPages::new(self.client.dispatcher(), &self.name, prefix, &[]);
        pages.map(|upload| upload.map_err(into_error))
    }

    /// Deletes an unfinished upload with its parts. It is not an error if it no longer exists.
    ///
    /// A call that is still sending parts to it fails or restarts. Needs the permission
    /// `oss:AbortMultipartUpload`. OSS API: AbortMultipartUpload.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] if the upload ID or the key is invalid; [`Error::Credentials`],
    /// [`Error::Transport`], [`Error::Service`], [`Error::Response`].
    #[doc(alias = "AbortMultipartUpload")]
    pub fn abort_multipart_upload(&self, key: &str, upload_id: &str) -> Result<()> {
        let Target { bucket, key, .. } = self.target(key)?;
        if upload_id.is_empty() {
            let reason = "must not be empty; multipart_uploads lists the IDs that exist";
            return Err(Error::option("upload_id", reason));
        }
        let action = AbortMultipartUpload {
            bucket,
            key,
            upload_id,
            headers: &[],
        };
        let dispatcher = self.client.dispatcher();
        match dispatcher.execute(&action, &mut TextBody::empty(), &mut || ()) {
            Err(CallError::Failed { error, .. })
                if error.code() == Some(ErrorCode::NoSuchUpload) =>
            {
                Ok(())
            }
            result => result.map_err(into_error),
        }
    }

    fn target<'a>(&'a self, key: &'a str) -> Result<Target<'a>> {
        check_key(key).map_err(|reason| Error::option("key", reason))?;
        Ok(Target {
            client: &self.client,
            bucket: &self.name,
            key,
        })
    }
}

impl PendingUpload {
    /// Deletes the upload with its parts from the server, and then the checkpoint. It is not an
    /// error if either no longer exists.
    ///
    /// The bucket must be the one that the upload is in, of a client with the same endpoint. Needs
    /// the permission `oss:AbortMultipartUpload`. OSS API: AbortMultipartUpload.
    ///
    /// ```no_run
    /// # fn f(bucket: &oss_upload::Bucket) -> oss_upload::Result<()> {
    /// for pending in oss_upload::pending_uploads("/var/lib/example/uploads")? {
    ///     pending.discard(bucket)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// * [`Error::InvalidOption`] if the upload is in another bucket, or at another endpoint. No
    ///   request was made.
    /// * [`Error::CheckpointInUse`] if the upload is running. No request was made.
    /// * [`Error::NotACheckpoint`] if something else has taken the place of the checkpoint, and
    ///   [`Error::Checkpoint`] if another upload has. Nothing was touched.
    /// * [`Error::Credentials`], [`Error::Transport`], [`Error::Service`], [`Error::Response`] if
    ///   the upload cannot be deleted. The checkpoint is kept.
    /// * [`Error::Checkpoint`] if the checkpoint cannot be removed. The upload is deleted.
    pub fn discard(&self, bucket: &Bucket) -> Result<()> {
        let checkpoint = self.lock(bucket.client.endpoint(), &bucket.name)?;
        bucket.abort_multipart_upload(&self.key, &self.upload_id)?;
        checkpoint.remove()
    }
}

fn into_error(error: CallError) -> Error {
    match error {
        CallError::Failed { error, .. } => error,
        CallError::Drained | CallError::Aborted { .. } => Error::Cancelled {
            object_may_exist: false,
            upload_left: None,
        },
    }
}
