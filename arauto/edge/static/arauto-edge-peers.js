// The same model in other runtimes: arauto-edge-core.js hashes, TensorFlow.js or onnxruntime-web computes.
// The page brings the library (import it when it is needed); `arauto edge export --format` writes the files.

import {hasher} from './arauto-edge-core.js';

/** @type {Rows} */
const rows = ({features, rows_log2}) => {
  const read = hasher(features), mask = (1 << rows_log2) - 1;
  return (text) => {
    /** @type {number[]} */ const found = [];
    read(text, (hash) => found.push(hash & mask));
    return found;
  };
};
/** @type {Judge} */
const judge = (shares, n, {labels, unsure}) => {
  const best = shares.indexOf(Math.max(...shares));
  return {label: !n || shares[best] < unsure ? null : labels[best], shares, n};
};

/** With @tensorflow/tfjs-core, a backend, and loadGraphModel of @tensorflow/tfjs-converter. @type {WithTf} */
export const withTf = async (tf, loadGraphModel, url) => {
  const model = await loadGraphModel(url);
  const manifest = model.metadata?.arauto ?? (await (await fetch(url)).json()).userDefinedMetadata.arauto;
  const read = rows(manifest);
  return {
    manifest,
    predict: async (text) => {
      const found = read(text), {length: n} = found;
      if (!n) return judge(manifest.labels.map(() => Math.floor(65536 / manifest.labels.length)), 0, manifest);
      const shares = tf.tidy(() => model.predict({rows: tf.tensor1d(found, 'int32')}).dataSync());
      return judge([...shares].map((share) => Math.floor(share * 65536)), n, manifest);
    },
  };
};

/** With onnxruntime-web (`ort`). @type {WithOrt} */
export const withOrt = async (ort, url, manifest) => {
  const session = await ort.InferenceSession.create(url, {executionProviders: ['wasm']});
  const read = rows(manifest);
  return {
    manifest,
    predict: async (text) => {
      const found = read(text), {length: n} = found;
      const {shares} = await session.run({rows: new ort.Tensor('int64', BigInt64Array.from(found.map(BigInt)), [n])});
      return judge([...shares.data].map(Number), n, manifest);
    },
  };
};
