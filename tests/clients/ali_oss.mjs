// ali-oss, Alibaba Cloud's SDK for Node, against local-oss: ENDPOINT V4|V1; NODE_PATH leads to the package.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const OSS = require('ali-oss');
const [endpoint, sign] = process.argv.slice(2);
const PART = 100 * 1024;
const data = randomBytes(3 * PART + 7);
const folder = `ali-oss-${sign}/`;
const key = `${folder}a b+中.bin`;
const client = new OSS({
  accessKeyId: 'ak',
  accessKeySecret: 'sk',
  bucket: 'examplebucket',
  region: 'oss-cn-hangzhou',
  // The client puts the bucket into the path only if the endpoint is a name. At an IP address it sends it in the Host header.
  endpoint: endpoint.replace('127.0.0.1', 'localhost'),
  sldEnable: true,
  authorizationV4: sign === 'V4',
});

async function step(name, action) {
  try {
    await action();
    console.log(name, 'ok');
  } catch (error) {
    console.log(name, 'FAILED');
    console.error(error);
  }
}

async function initiate() {
  const { uploadId } = await client.initMultipartUpload(key);
  const parts = [];
  for (const number of [1, 2]) {
    const { etag } = await client.uploadPart(key, uploadId, number, data, (number - 1) * PART, number * PART);
    parts.push({ number, etag });
  }
  return { uploadId, parts };
}

console.log('version', OSS.version ?? require('ali-oss/package.json').version);

await step('put', async () => {
  await client.put(key, data, { meta: { who: 'ali-oss' } });
  assert.equal((await client.head(key)).meta.who, 'ali-oss');
});

await step('multipart', async () => {
  await client.multipartUpload(key, data, { partSize: PART, parallel: 3 });
  assert.equal((await client.head(key)).res.headers['x-oss-object-type'], 'Multipart');
});

await step('list_parts', async () => {
  const { uploadId, parts } = await initiate();
  const first = await client.listParts(key, uploadId, { 'max-parts': 1 });
  assert.equal(first.isTruncated, 'true');
  const listed = await client.listParts(key, uploadId, {});
  assert.deepEqual(listed.parts.map(part => [part.PartNumber, part.ETag]), parts.map(part => [`${part.number}`, part.etag]));
  await client.completeMultipartUpload(key, uploadId, parts);
});

await step('abort', async () => {
  const { uploadId } = await initiate();
  await client.abortMultipartUpload(key, uploadId);
  await assert.rejects(client.listParts(key, uploadId, {}), { code: 'NoSuchUpload' });
});

await step('list_uploads', async () => {
  const ids = [];
  for (let n = 0; n < 3; n++) ids.push((await client.initMultipartUpload(key)).uploadId);
  const listed = [];
  let page = {};
  do {
    const markers = page.isTruncated && { 'key-marker': page.nextKeyMarker, 'upload-id-marker': page.nextUploadIdMarker };
    page = await client.listUploads({ prefix: folder, 'max-uploads': 2, ...markers });
    listed.push(...page.uploads.map(upload => upload.uploadId));
  } while (page.isTruncated);
  assert.deepEqual(listed.sort(), ids.sort());
  for (const id of ids) await client.abortMultipartUpload(key, id);
});

await step('signed_url', async () => {
  const sign_url = (method, headers) =>
    sign === 'V4' ? client.signatureUrlV4(method, 60, { headers }, key) : client.signatureUrl(key, { expires: 60, method });
  const put = await fetch(await sign_url('PUT', {}), { method: 'PUT', body: data });
  assert.equal(put.status, 200, await put.text());
  const response = await fetch(await sign_url('GET'));
  assert.deepEqual(Buffer.from(await response.arrayBuffer()), data);
});

await step('read_back', async () => {
  await client.put(key, data);
  assert.deepEqual((await client.get(key)).content, data);
  const range = await client.get(key, { headers: { Range: 'bytes=10-19' } });
  assert.deepEqual(range.content, data.subarray(10, 20));
});

await step('list_objects', async () => {
  await client.put(`${folder}sub/1`, Buffer.from('x'));
  for (const list of ['list', 'listV2']) {
    const all = await client[list]({ prefix: folder });
    assert.deepEqual(all.objects.map(object => object.name), [key, `${folder}sub/1`]);
    const level = await client[list]({ prefix: folder, delimiter: '/' });
    assert.deepEqual([level.objects.map(object => object.name), level.prefixes], [[key], [`${folder}sub/`]]);
  }
});

await step('delete', async () => {
  await client.delete(key);
  await assert.rejects(client.head(key), { status: 404 });
});

await step('delete_many', async () => {
  const names = [`${folder}sub/1`, `${folder}missing`];
  const { deleted } = await client.deleteMulti(names);
  assert.deepEqual(deleted.map(object => object.Key), names);
});
