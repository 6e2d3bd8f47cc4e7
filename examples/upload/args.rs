//! The command line.

use std::path::PathBuf;

use bytesize::ByteSize;
use lexopt::{Arg, Parser, ValueExt};

pub const HELP: &str = "\
Uploads a file to Alibaba Cloud OSS. If it is interrupted, run it again: the
upload resumes.

Usage: upload [OPTIONS] FILE [oss://BUCKET/KEY]

  FILE              the file to upload
  oss://BUCKET/KEY  the object; without KEY, or if KEY ends with a slash, the
                    name of the file is appended

  --part-size SIZE  100KiB to 5GiB, for example 8388608, 8MiB or 8MB
                    [8MiB; more for files that would have over 10,000 parts]
  --routines N      the number of parts uploaded at the same time, 1 to 100 [4]
  --checkpoint PATH the checkpoint file [FILE.cp]
  --no-checkpoint   do not write a checkpoint; the upload can't be resumed
  --help            print this text

Environment:
  OSS_ENDPOINT      for example https://oss-cn-hangzhou.aliyuncs.com
  OSS_REGION        for example cn-hangzhou; may be omitted if OSS_ENDPOINT
                    names it
  OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET
                    the AccessKey pair
  OSS_SESSION_TOKEN the security token, for an AccessKey pair from STS

Without these variables, the file is uploaded to a local server, which runs as
long as this program. It stores its data in target/local-oss, which you may
delete at any time. The bucket is examplebucket, unless you name another one.

Ctrl-C stops the upload and keeps its progress. A second Ctrl-C ends the program
at once. The result is printed to standard output, everything else to standard
error. The exit code is 0 if the object is complete, 2 for wrong usage, and 1
for any other error.
";

pub struct Arguments {
    pub file: PathBuf,
    pub target: Option<Target>,
    pub part_size: Option<u64>,
    pub routines: usize,
    /// `None`: no checkpoint. Empty: beside the file.
    pub checkpoint: Option<PathBuf>,
}

pub struct Target {
    pub bucket: String,
    /// May be empty.
    pub key: String,
}

/// Returns `None` if help is requested.
pub fn parse() -> Result<Option<Arguments>, String> {
    let mut file = None;
    let mut target = None;
    let mut part_size = None;
    let mut routines = 4;
    let mut checkpoint = Some(PathBuf::new());
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next().map_err(describe)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("part-size") => part_size = Some(parse_size(&value(&mut parser)?)?),
            Arg::Long("routines") => routines = parse_number(&value(&mut parser)?)?,
            Arg::Long("checkpoint") => checkpoint = Some(parser.value().map_err(describe)?.into()),
            Arg::Long("no-checkpoint") => checkpoint = None,
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            Arg::Value(value) if target.is_none() => {
                target = Some(parse_target(&value.string().map_err(describe)?)?);
            }
            other => return Err(describe(other.unexpected())),
        }
    }
    let file = file.filter(|file| !file.as_os_str().is_empty());
    let file = file.ok_or("FILE is missing; see --help")?;
    Ok(Some(Arguments {
        file,
        target,
        part_size,
        routines,
        checkpoint,
    }))
}

fn describe(error: lexopt::Error) -> String {
    format!("{error}; see --help")
}

fn value(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(describe)
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64())
        .map_err(|_| format!("--part-size must be like 8MiB, not {text:?}"))
}

fn parse_number(text: &str) -> Result<usize, String> {
    text.parse()
        .map_err(|_| format!("--routines must be a number, not {text:?}"))
}

fn parse_target(text: &str) -> Result<Target, String> {
    let error = || format!("the target must be oss://BUCKET/KEY, not {text:?}");
    let path = text.strip_prefix("oss://").ok_or_else(error)?;
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    match bucket.is_empty() {
        true => Err(error()),
        false => Ok(Target {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        }),
    }
}
