//! Guesses a content type from a file name. OSS stores it, and browsers rely on it.
//!
//! The list is short on purpose: a table of all 1,400 registered types adds 190 KB to a small
//! static binary.

use std::path::Path;

/// One content type for each line, with its extensions, as IANA registers it or as browsers expect.
const TYPES: &str = "\
application/epub+zip epub
application/gzip gz tgz
application/java-archive jar war ear
application/javascript js mjs cjs
application/json json map
application/ld+json jsonld
application/manifest+json webmanifest
application/msword doc dot
application/octet-stream bin exe dll so dylib deb dmg iso img msi pkg
application/ogg ogx
application/pdf pdf
application/postscript ai eps ps
application/rtf rtf
application/sql sql
application/toml toml
application/vnd.android.package-archive apk
application/vnd.apple.mpegurl m3u8
application/vnd.debian.binary-package udeb
application/vnd.ms-excel xls xlt
application/vnd.ms-fontobject eot
application/vnd.ms-powerpoint ppt pot pps
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.rar rar
application/vnd.sqlite3 sqlite sqlite3 db
application/wasm wasm
application/x-7z-compressed 7z
application/x-bzip2 bz2
application/x-lzma lzma
application/x-rpm rpm
application/x-sh sh
application/x-tar tar
application/x-x509-ca-cert crt der pem
application/x-xz xz txz
application/xhtml+xml xhtml xht
application/xml xml xsd xsl xslt
application/yaml yaml yml
application/zip zip
application/zstd zst
audio/aac aac
audio/flac flac
audio/midi mid midi
audio/mp4 m4a
audio/mpeg mp3 mp2 mpga
audio/ogg ogg oga opus
audio/wav wav
audio/webm weba
audio/x-ms-wma wma
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/apng apng
image/avif avif
image/bmp bmp
image/gif gif
image/heic heic
image/heif heif
image/jpeg jpg jpeg jpe jfif
image/png png
image/svg+xml svg svgz
image/tiff tif tiff
image/vnd.adobe.photoshop psd
image/vnd.microsoft.icon ico
image/webp webp
text/calendar ics
text/css css
text/csv csv
text/html html htm
text/markdown md markdown
text/plain txt text log conf cfg ini c cc cpp h hpp rs go py rb java kt swift ts diff patch
text/tab-separated-values tsv
text/vcard vcf
text/vtt vtt
video/3gpp 3gp
video/mp2t mts m2ts
video/mp4 mp4 m4v
video/mpeg mpeg mpg
video/ogg ogv
video/quicktime mov qt
video/webm webm
video/x-flv flv
video/x-matroska mkv
video/x-ms-wmv wmv
video/x-msvideo avi
";

/// Returns the content type of the last extension of `name`, in any case.
pub(super) fn guess(name: &Path) -> Option<&'static str> {
    let extension = name.extension()?.to_str()?;
    TYPES.lines().find_map(|line| {
        let (content_type, extensions) = line.split_once(' ')?;
        extensions
            .split(' ')
            .any(|known| known.eq_ignore_ascii_case(extension))
            .then_some(content_type)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_follows_the_last_extension_in_any_case() {
        let guessed = |name: &str| guess(Path::new(name));
        assert_eq!(guessed("a/b.TXT"), Some("text/plain"));
        assert_eq!(guessed("photo.jpeg"), Some("image/jpeg"));
        assert_eq!(guessed("backup.tar.gz"), Some("application/gzip"));
        assert_eq!(guessed("中文.html"), Some("text/html"));
        for none in ["", "noextension", ".hidden", "x.", "x.unheardof", "a.d/b"] {
            assert_eq!(guessed(none), None, "{none}");
        }
    }

    #[test]
    fn content_type_extensions_are_unique() {
        let mut known: Vec<_> = TYPES
            .lines()
            .flat_map(|line| line.split(' ').skip(1))
            .collect();
        let count = known.len();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), count);
    }
}
