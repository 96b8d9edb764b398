/** What the build leaves out of etcd3's packages: what a client does not need. It works without that. */

import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";
import { expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const { etcd3Protocol } = await import(join(ROOT, "deploy/esbuild-etcd3.mjs"));

it("a bundled client of gRPC has no server in it, no loader of protocols, and needs no time zone", async () => {
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    stdin: { contents: 'module.exports = require("@grpc/grpc-js");', resolveDir: ROOT },
    bundle: true,
    platform: "node",
    format: "cjs",
    metafile: true,
    write: false,
    logLevel: "silent",
    plugins: [etcd3Protocol(ROOT)],
  });
  const files = Object.keys(metafile.inputs);
  expect(files.filter((name) => /grpc-js\/.*\/(client|channel-credentials)\.js$/.test(name))).toHaveLength(2);
  expect(
    files.filter((name) => /grpc-js\/.*\/(server|orca)[\w-]*\.js$|proto-loader\/|protobufjs/.test(name)),
  ).toEqual([]);

  const module = { exports: {} as typeof import("@grpc/grpc-js") };
  const source = outputFiles[0]?.text ?? "";
  expect(source).not.toContain("setMilliseconds");
  new Function("require", "module", "__dirname", source)(createRequire(import.meta.url), module, ROOT);
  const { Client, credentials } = module.exports;
  new Client("127.0.0.1:1", credentials.createInsecure()).close();
});
