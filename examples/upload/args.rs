//! The command line.

use std::path::PathBuf;

use bytesize::ByteSize;
use lexopt::{Arg, Parser, ValueExt};

pub const HELP: &str = "\
Uploads a file to Alibaba Cloud OSS. Run it again after a crash, and it carries on.

Usage: upload [OPTIONS] FILE [oss://BUCKET/KEY]

  FILE                the file to upload
  oss://BUCKET/KEY    where to; without KEY, or with one that ends in a slash, the file's name is added

  --part-size SIZE    bytes of a part, 100KiB to 5GiB: 8388608, 8MiB (1024s), 8MB or 8M (1000s)
                      [8MiB, or what fits the file into 10,000 parts]
  --routines N        parts that go up at the same time, 1 to 100 [4]
  --checkpoint PATH   the file that records the upload [FILE.cp]
  --no-checkpoint     record nothing: an upload that is interrupted begins anew
  --help              print this text

Environment:
  OSS_ENDPOINT            such as https://oss-cn-hangzhou.aliyuncs.com
  OSS_REGION              such as cn-hangzhou; may be left out where OSS_ENDPOINT names it
  OSS_ACCESS_KEY_ID       the AccessKey pair
  OSS_ACCESS_KEY_SECRET
  OSS_SESSION_TOKEN       the STS token, if the pair came with one
  Without any of them the file goes to a local server that runs as long as this program and keeps its data in
  target/local-oss, which may be deleted at any time; the bucket is then examplebucket, if none is given.

Ctrl-C stops and keeps what has been uploaded; a second one ends the program at once. The result is printed to
standard output, everything else to standard error. The exit code is 0 when the object is complete, 2 for wrong
usage, else 1.
";

pub struct Arguments {
    pub file: PathBuf,
    pub target: Option<Target>,
    /// Bytes.
    pub part_size: Option<u64>,
    pub routines: usize,
    /// Empty: beside the file.
    pub checkpoint: Option<PathBuf>,
}

pub struct Target {
    pub bucket: String,
    /// May be empty.
    pub key: String,
}

/// Nothing when help is asked for.
pub fn parse() -> Result<Option<Arguments>, String> {
    let problem = |error: lexopt::Error| format!("{error}; see --help");
    let (mut file, mut target, mut part_size, mut routines) = (None, None, None, 4);
    let mut checkpoint = Some(PathBuf::new());
    let mut parser = Parser::from_env();
    while let Some(argument) = parser.next().map_err(problem)? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("part-size") => part_size = Some(size(&text(&mut parser)?)?),
            Arg::Long("routines") => routines = number(&text(&mut parser)?)?,
            Arg::Long("checkpoint") => checkpoint = Some(parser.value().map_err(problem)?.into()),
            Arg::Long("no-checkpoint") => checkpoint = None,
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            Arg::Value(value) if target.is_none() => {
                target = Some(destination(&value.string().map_err(problem)?)?)
            }
            other => return Err(problem(other.unexpected())),
        }
    }
    let file = file.filter(|file| !file.as_os_str().is_empty()).ok_or("no FILE is given; see --help")?;
    Ok(Some(Arguments { file, target, part_size, routines, checkpoint }))
}

fn text(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(ValueExt::string).map_err(|error| format!("{error}; see --help"))
}

fn size(text: &str) -> Result<u64, String> {
    let size: ByteSize =
        text.parse().map_err(|_| format!("--part-size {text:?} is not a size such as 8MiB"))?;
    Ok(size.as_u64())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("--routines {text:?} is not a number"))
}

fn destination(text: &str) -> Result<Target, String> {
    let wrong = || format!("{text:?} is not of the form oss://BUCKET/KEY");
    let path = text.strip_prefix("oss://").ok_or_else(wrong)?;
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    match bucket.is_empty() {
        true => Err(wrong()),
        false => Ok(Target { bucket: bucket.to_owned(), key: key.to_owned() }),
    }
}
