"""One upload by Alibaba Cloud's Python SDK: ENDPOINT FILE PART_SIZE THREADS."""

import sys
import tempfile

import oss2

endpoint, path, part_size, threads = sys.argv[1:]
bucket = oss2.Bucket(oss2.AuthV4("ak", "sk"), endpoint, "examplebucket", region="cn-hangzhou", is_path_style=True)
with tempfile.TemporaryDirectory() as checkpoints:
    oss2.resumable_upload(
        bucket,
        "oss2",
        path,
        store=oss2.ResumableStore(root=checkpoints),
        multipart_threshold=0,
        part_size=int(part_size),
        num_threads=int(threads),
    )
