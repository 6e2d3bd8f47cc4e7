"""oss2, Alibaba Cloud's first Python SDK, against local-oss: ENDPOINT V4|V1."""

import os
import sys
import tempfile
import traceback
import urllib.request

import oss2

endpoint, sign = sys.argv[1:]
PART = 100 * 1024
data = os.urandom(3 * PART + 7)
folder = f"oss2-{sign}/"
key = folder + "a b+中.bin"
auth = (oss2.AuthV4 if sign == "V4" else oss2.Auth)("ak", "sk")
bucket = oss2.Bucket(auth, endpoint, "examplebucket", region="cn-hangzhou", is_path_style=True)


def step(name, action):
    try:
        action()
        print(name, "ok")
    except Exception:
        print(name, "FAILED")
        traceback.print_exc()


def initiate():
    upload_id = bucket.init_multipart_upload(key).upload_id
    etags = [bucket.upload_part(key, upload_id, n, data[(n - 1) * PART : n * PART]).etag for n in (1, 2)]
    return upload_id, etags


def multipart():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "file")
        with open(path, "wb") as file:
            file.write(data)
        store = oss2.ResumableStore(root=directory)
        oss2.resumable_upload(bucket, key, path, store, multipart_threshold=0, part_size=PART, num_threads=3)


def list_parts():
    upload_id, etags = initiate()
    listed = list(oss2.PartIterator(bucket, key, upload_id, max_parts=1))
    assert [(part.part_number, part.etag, part.size) for part in listed] == [(1, etags[0], PART), (2, etags[1], PART)]
    bucket.complete_multipart_upload(key, upload_id, listed)


def list_uploads():
    ids = {bucket.init_multipart_upload(key).upload_id for _ in range(3)}
    listed = oss2.MultipartUploadIterator(bucket, prefix=folder, max_uploads=2)
    assert {upload.upload_id for upload in listed} == ids
    for upload_id in ids:
        bucket.abort_multipart_upload(key, upload_id)


def abort():
    upload_id, _ = initiate()
    bucket.abort_multipart_upload(key, upload_id)
    try:
        bucket.list_parts(key, upload_id)
    except oss2.exceptions.NoSuchUpload:
        return
    raise AssertionError("the upload still exists")


def read_back():
    assert bucket.put_object(key, data).status == 200
    assert bucket.get_object(key).read() == data
    assert bucket.get_object(key, byte_range=(10, 19)).read() == data[10:20]
    assert bucket.head_object(key).content_length == len(data)


def list_objects():
    bucket.put_object(folder + "sub/1", b"x")
    for iterator in oss2.ObjectIterator, oss2.ObjectIteratorV2:
        assert [entry.key for entry in iterator(bucket, prefix=folder, max_keys=1)] == [key, folder + "sub/1"]
        entries = iterator(bucket, prefix=folder, delimiter="/", max_keys=1)
        assert [(entry.key, entry.is_prefix()) for entry in entries] == [(key, False), (folder + "sub/", True)]


def delete():
    bucket.delete_object(key)
    assert not bucket.object_exists(key)


def delete_many():
    names = [folder + "sub/1", folder + "<&>\n", folder + "missing"]
    bucket.put_object(names[1], b"x")
    assert bucket.batch_delete_objects(names).deleted_keys == names
    assert list(oss2.ObjectIterator(bucket, prefix=folder)) == []


def signed_url():
    headers = {"Content-Type": "text/plain"}
    url = bucket.sign_url("PUT", key, 60, headers, slash_safe=True)
    urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT")).close()
    with urllib.request.urlopen(bucket.sign_url("GET", key, 60, slash_safe=True)) as response:
        assert response.read() == data


print("version", oss2.__version__)
step("put", lambda: bucket.put_object(key, data, headers={"x-oss-meta-who": "oss2"}))
step("multipart", multipart)
step("list_parts", list_parts)
step("abort", abort)
step("list_uploads", list_uploads)
step("signed_url", signed_url)
step("read_back", read_back)
step("list_objects", list_objects)
step("delete", delete)
step("delete_many", delete_many)
