"""alibabacloud-oss-v2, Alibaba Cloud's second Python SDK, against local-oss: ENDPOINT V4|V1."""

import os
import sys
import tempfile
import traceback
import urllib.request

import alibabacloud_oss_v2 as oss

endpoint, sign = sys.argv[1:]
PART = 100 * 1024
data = os.urandom(3 * PART + 7)
folder = f"oss-v2-{sign}/"
key = folder + "a b+中.bin"
config = oss.config.load_default()
config.credentials_provider = oss.credentials.StaticCredentialsProvider("ak", "sk")
config.region = "cn-hangzhou"
config.endpoint = endpoint
config.use_path_style = True
config.signature_version = sign.lower()
client = oss.Client(config)
here = {"bucket": "examplebucket", "key": key}


def step(name, action):
    try:
        action()
        print(name, "ok")
    except Exception:
        print(name, "FAILED")
        traceback.print_exc()


def initiate():
    upload_id = client.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(**here)).upload_id
    for n in 1, 2:
        body = data[(n - 1) * PART : n * PART]
        client.upload_part(oss.UploadPartRequest(**here, upload_id=upload_id, part_number=n, body=body))
    return upload_id


def put():
    client.put_object(oss.PutObjectRequest(**here, body=data, metadata={"who": "oss-v2"}))
    head = client.head_object(oss.HeadObjectRequest(**here))
    assert (head.content_length, head.metadata["who"]) == (len(data), "oss-v2")


def multipart():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        with open(path, "wb") as file:
            file.write(data)
        uploader = client.uploader(part_size=PART, parallel_num=3)
        uploader.upload_file(oss.PutObjectRequest(**here), path)
    assert client.head_object(oss.HeadObjectRequest(**here)).object_type == "Multipart"


def list_parts():
    upload_id = initiate()
    pages = client.list_parts_paginator(limit=1).iter_page(oss.ListPartsRequest(**here, upload_id=upload_id))
    parts = [part for page in pages for part in page.parts]
    assert [(part.part_number, part.size) for part in parts] == [(1, PART), (2, PART)]
    chosen = [oss.UploadPart(part_number=part.part_number, etag=part.etag) for part in parts]
    chosen = oss.CompleteMultipartUpload(parts=chosen)
    client.complete_multipart_upload(
        oss.CompleteMultipartUploadRequest(**here, upload_id=upload_id, complete_multipart_upload=chosen)
    )


def unfinished():
    request = oss.ListMultipartUploadsRequest(bucket="examplebucket", prefix=folder)
    pages = client.list_multipart_uploads_paginator(limit=2).iter_page(request)
    return {upload.upload_id for page in pages for upload in page.uploads or []}


def list_uploads():
    ids = {client.initiate_multipart_upload(oss.InitiateMultipartUploadRequest(**here)).upload_id for _ in range(3)}
    assert unfinished() == ids
    for upload_id in ids:
        client.abort_multipart_upload(oss.AbortMultipartUploadRequest(**here, upload_id=upload_id))


def abort():
    client.abort_multipart_upload(oss.AbortMultipartUploadRequest(**here, upload_id=initiate()))
    assert unfinished() == set()


def read_back():
    client.put_object(oss.PutObjectRequest(**here, body=data))
    assert client.get_object(oss.GetObjectRequest(**here)).body.content == data
    part = client.get_object(oss.GetObjectRequest(**here, range_header="bytes=10-19", range_behavior="standard"))
    assert part.body.content == data[10:20]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        client.downloader(part_size=PART).download_file(oss.GetObjectRequest(**here), path)
        with open(path, "rb") as file:
            assert file.read() == data


def list_objects():
    client.put_object(oss.PutObjectRequest(bucket="examplebucket", key=folder + "sub/1", body=b"x"))
    for paginator, request in (
        (client.list_objects_paginator(limit=1), oss.ListObjectsRequest),
        (client.list_objects_v2_paginator(limit=1), oss.ListObjectsV2Request),
    ):
        pages = list(paginator.iter_page(request(bucket="examplebucket", prefix=folder)))
        assert [entry.key for page in pages for entry in page.contents or []] == [key, folder + "sub/1"]
        pages = list(paginator.iter_page(request(bucket="examplebucket", prefix=folder, delimiter="/")))
        assert [entry.key for page in pages for entry in page.contents or []] == [key]
        assert [entry.prefix for page in pages for entry in page.common_prefixes or []] == [folder + "sub/"]


def delete():
    client.delete_object(oss.DeleteObjectRequest(**here))
    assert not client.is_object_exist("examplebucket", key)


def delete_many():
    names = [folder + "sub/1", folder + "missing"]
    request = oss.DeleteMultipleObjectsRequest("examplebucket", objects=[oss.DeleteObject(name) for name in names])
    assert [entry.key for entry in client.delete_multiple_objects(request).deleted_objects] == names
    assert not client.is_object_exist("examplebucket", names[0])


def signed_url():
    signed = client.presign(oss.PutObjectRequest(**here, content_type="text/plain"))
    urllib.request.urlopen(urllib.request.Request(signed.url, data, signed.signed_headers, method="PUT")).close()
    with urllib.request.urlopen(client.presign(oss.GetObjectRequest(**here)).url) as response:
        assert response.read() == data


print("version", oss.__version__)
step("put", put)
step("multipart", multipart)
step("list_parts", list_parts)
step("abort", abort)
step("list_uploads", list_uploads)
step("signed_url", signed_url)
step("read_back", read_back)
step("list_objects", list_objects)
step("delete", delete)
step("delete_many", delete_many)
