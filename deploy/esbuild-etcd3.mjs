/**
 * Lets etcd3 be bundled: it reads its protocol files from beside its source at start, which a bundle does not
 * have. The build reads them instead and puts the parsed form into the bundle, which also starts faster.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const VIRTUAL = "tulle:etcd3-protos";
const LOAD_CALL = /\.loadSync\)\(`\$\{__dirname\}\/\.\.\/proto\/rpc\.proto`, /;

/** The esbuild plugin. Throws when a new version of etcd3 loads its protocol in another way. */
export function etcd3Protos(root) {
  return {
    name: "etcd3-protos",
    setup(builder) {
      builder.onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, ({ path: file }) => {
        const source = readFileSync(file, "utf8");
        if (!LOAD_CALL.test(source)) throw new Error(`${file}: the call that loads rpc.proto has changed`);
        return { contents: source.replace(LOAD_CALL, `.fromJSON)(require("${VIRTUAL}"), `) };
      });
      builder.onResolve({ filter: new RegExp(`^${VIRTUAL}$`) }, () => ({
        path: VIRTUAL,
        namespace: VIRTUAL,
      }));
      builder.onLoad({ filter: /./, namespace: VIRTUAL }, () => ({
        contents: protocolJson(root),
        loader: "json",
      }));
    },
  };
}

function protocolJson(root) {
  const require = createRequire(path.join(root, "node_modules/etcd3/package.json"));
  const protobuf = createRequire(require.resolve("@grpc/proto-loader"))("protobufjs");
  const file = path.join(root, "node_modules/etcd3/proto/rpc.proto");
  return JSON.stringify(new protobuf.Root().loadSync(file, { keepCase: true }).toJSON());
}
