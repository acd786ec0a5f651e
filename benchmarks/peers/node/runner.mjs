// Two packages of the npm registry behind mien's protocol: `node runner.mjs face-api|human`.
//
// Reads image paths on standard input and writes a line of JSON for each. Every image is one face
// that is cut out already, so the packages' own detectors are left out.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const { PNG } = require("pngjs");
const tf = require("@tensorflow/tfjs");
const wasm = require("@tensorflow/tfjs-backend-wasm");

const folderOf = (name) => fileURLToPath(new URL(`node_modules/${name}`, import.meta.url));

// face-api 1.7: its own call for a face's tensor; it resizes to 112 and takes off the mean itself.
async function faceApi() {
  const faceapi = require("@vladmandic/face-api/dist/face-api.node-wasm.js");
  const net = faceapi.nets.faceExpressionNet;
  await net.loadFromDisk(path.join(folderOf("@vladmandic/face-api"), "model"));
  return async (pixels) => ({ ...(await net.predictExpressions(pixels)) });
}

// human 3.3: as its emotion module does: RGB 0..1 resized, made grey, -1..1.
async function human() {
  const folder = path.join(folderOf("@vladmandic/human"), "models");
  const model = JSON.parse(await readFile(path.join(folder, "emotion.json")));
  const weights = await readFile(path.join(folder, "emotion.bin"));
  const graph = await tf.loadGraphModel({
    load: async () => ({
      modelTopology: model.modelTopology,
      weightSpecs: model.weightsManifest.flatMap((part) => part.weights),
      weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
    }),
  });
  const [, size, , channels] = graph.inputs[0].shape;
  if (channels !== 1) throw new Error(`the model takes ${channels} channels, expected 1`);
  const labels = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
  return async (pixels) => {
    const found = tf.tidy(() => {
      const resized = tf.image.resizeBilinear(tf.div(pixels, 255).expandDims(), [size, size], false);
      const grey = tf.sum(tf.mul(resized, [0.2989, 0.587, 0.114]), 3, true);
      return graph.execute(tf.mul(tf.sub(grey, 0.5), 2));
    });
    const shares = await found.data();
    found.dispose();
    return Object.fromEntries(labels.map((label, i) => [label, shares[i]]));
  };
}

const peers = { "face-api": faceApi, human };
const chosen = peers[process.argv[2]];
if (!chosen) throw new Error(`expected one of ${Object.keys(peers).join(", ")}`);
wasm.setWasmPaths(path.join(folderOf("@tensorflow/tfjs-backend-wasm"), "dist") + path.sep);
wasm.setThreadsCount(1);
await tf.setBackend("wasm");
await tf.ready();
const classify = await chosen();

for await (const file of createInterface({ input: process.stdin })) {
  const png = PNG.sync.read(await readFile(file));
  const rgba = tf.tensor(new Uint8Array(png.data), [png.height, png.width, 4], "int32");
  const pixels = tf.slice(rgba, [0, 0, 0], [-1, -1, 3]);
  const started = performance.now();
  const probabilities = await classify(pixels);
  const ms = performance.now() - started;
  tf.dispose([rgba, pixels]);
  const face = { box: [0, 0, png.width, png.height], probabilities };
  console.log(JSON.stringify({ source: file, faces: [face], error: null, ms }));
}
