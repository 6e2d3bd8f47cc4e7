//! The error responses of the service.

use crate::faults::Operation;
use crate::text::Xml;

/// An error as the service reports it: a status, a code, a message and further XML elements.
#[derive(Clone, Debug)]
pub(crate) struct OssError {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) ec: Option<&'static str>,
    pub(crate) details: Vec<(&'static str, String)>,
}

pub(crate) type Result<T> = std::result::Result<T, OssError>;

impl OssError {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> OssError {
        OssError {
            status,
            code: code.to_owned(),
            message: message.into(),
            ec: None,
            details: Vec::new(),
        }
    }

    /// Returns a 400 `InvalidArgument` that names the argument.
    pub(crate) fn invalid_argument(
        name: &str,
        value: &str,
        message: impl Into<String>,
    ) -> OssError {
        OssError::new(400, "InvalidArgument", message)
            .with("ArgumentName", name)
            .with("ArgumentValue", value.chars().take(256).collect::<String>())
    }

    /// Returns a 404 `NoSuchUpload`; [`OssError::for_operation`] adds its EC.
    pub(crate) fn no_such_upload(upload_id: &str) -> OssError {
        let message = "The specified upload does not exist. The upload ID may be invalid, \
                       or the upload may have been aborted or completed.";
        OssError::new(404, "NoSuchUpload", message).with("UploadId", upload_id)
    }

    pub(crate) fn no_such_key(key: &str) -> OssError {
        OssError::new(404, "NoSuchKey", "The specified key does not exist.")
            .ec("0026-00000001")
            .with("Key", key)
    }

    pub(crate) fn internal(cause: &std::io::Error) -> OssError {
        OssError::new(
            500,
            "InternalError",
            format!("The store of the local server failed: {cause}"),
        )
    }

    /// Returns a 409 `FileAlreadyExists`; [`OssError::for_operation`] adds its EC.
    pub(crate) fn file_already_exists() -> OssError {
        OssError::new(
            409,
            "FileAlreadyExists",
            "The object you specified already exists and can not be overwritten.",
        )
    }

    pub(crate) fn not_implemented(what: &str) -> OssError {
        OssError::new(
            501,
            "NotImplemented",
            format!("The local server does not implement {what}."),
        )
    }

    /// Adds the EC if the service uses another one for each operation.
    pub(crate) fn for_operation(mut self, operation: Operation) -> OssError {
        let ec = match (self.code.as_str(), operation) {
            ("NoSuchUpload", Operation::UploadPart) => "0042-00000104",
            ("NoSuchUpload", Operation::CompleteMultipartUpload) => "0042-00000203",
            ("NoSuchUpload", Operation::AbortMultipartUpload | Operation::ListParts) => {
                "0042-00000002"
            }
            ("FileAlreadyExists", Operation::CompleteMultipartUpload) => "0042-00000214",
            ("FileAlreadyExists", _) => "0026-00000002",
            _ => return self,
        };
        self.ec = self.ec.or(Some(ec));
        self
    }

    pub(crate) fn ec(mut self, ec: &'static str) -> OssError {
        self.ec = Some(ec);
        self
    }

    /// Adds an element to the error document.
    pub(crate) fn with(mut self, element: &'static str, value: impl Into<String>) -> OssError {
        self.details.push((element, value.into()));
        self
    }

    /// Returns the error document.
    pub(crate) fn to_xml(&self, request_id: &str, host: &str) -> String {
        let mut xml = Xml::document("Error");
        xml.element("Code", &self.code);
        xml.element("Message", &self.message);
        xml.element("RequestId", request_id);
        xml.element("HostId", host);
        for (element, value) in &self.details {
            xml.element(element, value);
        }
        if let Some(ec) = self.ec {
            xml.element("EC", ec);
        }
        xml.finish()
    }
}

impl From<std::io::Error> for OssError {
    fn from(cause: std::io::Error) -> OssError {
        OssError::internal(&cause)
    }
}
