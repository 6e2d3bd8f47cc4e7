//! Names of OSS API operations, for requests, errors and logs.

use std::fmt;

use super::escape_control;

/// The OSS API operations that this crate uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperationKind {
    InitiateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
    PutObject,
    HeadObject,
}

impl OperationKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            OperationKind::InitiateMultipartUpload => "InitiateMultipartUpload",
            OperationKind::UploadPart => "UploadPart",
            OperationKind::ListParts => "ListParts",
            OperationKind::CompleteMultipartUpload => "CompleteMultipartUpload",
            OperationKind::AbortMultipartUpload => "AbortMultipartUpload",
            OperationKind::ListMultipartUploads => "ListMultipartUploads",
            OperationKind::PutObject => "PutObject",
            OperationKind::HeadObject => "HeadObject",
        }
    }
}

/// A request to OSS: the name of its API operation, and the object that it was for.
///
/// It is displayed as `UploadPart 7 of oss://examplebucket/dir/object.bin`. It compares with and
/// dereferences to its [`name`](Operation::name).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operation {
    kind: Option<OperationKind>,
    part: Option<u32>,
    object: Box<str>,
}

impl Operation {
    pub(crate) fn new(kind: OperationKind, part: Option<u32>, object: String) -> Operation {
        Operation {
            kind: Some(kind),
            part,
            object: object.into(),
        }
    }

    /// Returns the name of the API operation in the OSS documentation, such as `UploadPart`.
    ///
    /// ```
    /// # fn f(service: &oss_upload::ServiceError) {
    /// if service.operation.name() == "UploadPart" {
    ///     println!("part {:?} was rejected", service.part);
    /// }
    /// # }
    /// ```
    pub fn name(&self) -> &'static str {
        self.kind.map_or("", OperationKind::name)
    }

    pub(crate) fn kind(&self) -> Option<OperationKind> {
        self.kind
    }

    /// Returns the URL of the object, or the key alone if the operation has no object.
    pub(super) fn object(&self, key: &str) -> String {
        if self.object.is_empty() {
            escape_control(key)
        } else {
            self.object.to_string()
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Some(part) => write!(f, "{} {part} of {}", self.name(), self.object),
            None => write!(f, "{} of {}", self.name(), self.object),
        }
    }
}

impl std::ops::Deref for Operation {
    type Target = str;

    fn deref(&self) -> &str {
        self.name()
    }
}

impl PartialEq<str> for Operation {
    fn eq(&self, name: &str) -> bool {
        self.name() == name
    }
}

impl PartialEq<&str> for Operation {
    fn eq(&self, name: &&str) -> bool {
        self.name() == *name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_compares_and_displays_by_name() {
        let operation = Operation::new(OperationKind::UploadPart, Some(7), "oss://b/k".into());
        assert_eq!(operation, "UploadPart");
        assert_eq!(operation.name(), "UploadPart");
        assert!(operation.starts_with("Upload"));
        assert_eq!(operation.to_string(), "UploadPart 7 of oss://b/k");
        assert_eq!(Operation::default().name(), "");
        assert_eq!(Operation::default().object("a\nb"), "a\\nb");
    }
}
