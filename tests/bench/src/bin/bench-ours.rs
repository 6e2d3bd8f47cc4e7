//! An upload by this crate, which is measured from outside.

use lexopt::{Arg, ValueExt};
use oss_upload::{
    UploadOption, bandwidth_limit, checkpoint, checkpoint_dir, content_md5, routines,
    skip_unchanged,
};
use oss_upload_bench::{Result, bucket};

fn main() -> Result<()> {
    let (mut positional, mut roots, mut part_size, mut files) = (Vec::new(), None, 8 << 20, 0);
    let mut is_tree = false;
    let mut options: Vec<UploadOption<'static>> = Vec::new();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Value(value) => positional.push(value.string()?),
            Arg::Long("part-size") => part_size = parser.value()?.parse()?,
            Arg::Long("threads") => options.push(routines(parser.value()?.parse()?)),
            Arg::Long("checkpoint") => options.push(checkpoint(true, parser.value()?.string()?)),
            Arg::Long("checkpoint-dir") => {
                options.push(checkpoint_dir(true, parser.value()?.string()?))
            }
            Arg::Long("skip-unchanged") => options.push(skip_unchanged(true)),
            Arg::Long("tree") => is_tree = true,
            Arg::Long("bandwidth") => {
                options.push(bandwidth_limit(parser.value()?.parse::<u64>()?))
            }
            Arg::Long("content-md5") => options.push(content_md5(true)),
            Arg::Long("roots") => roots = Some(parser.value()?.string()?),
            Arg::Long("files") => files = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let [endpoint, path] = positional
        .try_into()
        .map_err(|_| "usage: bench-ours ENDPOINT FILE")?;
    let bucket = bucket(&endpoint, roots.as_deref())?;
    if is_tree {
        bucket.upload_dir("tree/", &path, part_size, options)?;
        return Ok(());
    }
    if files == 0 {
        bucket.upload_file("object", &path, part_size, options)?;
    }
    for number in 0..files {
        bucket.upload_file(&format!("object {number}"), &path, part_size, [])?;
    }
    Ok(())
}
