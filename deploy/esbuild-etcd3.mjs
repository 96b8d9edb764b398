/**
 * Lets etcd3 be bundled: it reads its protocol files from beside its source at start, which a bundle does not
 * have. The build reads them instead and puts the parsed form into the bundle, less the services that tulle does
 * not call: what is left loads in a third of the time.
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

/** Services of etcdserverpb that ipam/stores/etcd-connection.ts names in EtcdCalls and EtcdStreams. */
const SERVICES = ["KV", "Watch", "Lease", "Auth"];

function protocolJson(root) {
  const require = createRequire(path.join(root, "node_modules/etcd3/package.json"));
  const protobuf = createRequire(require.resolve("@grpc/proto-loader"))("protobufjs");
  const file = path.join(root, "node_modules/etcd3/proto/rpc.proto");
  const protocol = new protobuf.Root().loadSync(file, { keepCase: true }).resolveAll();
  const kept = new Set(SERVICES.map((name) => protocol.lookupService(`etcdserverpb.${name}`)));
  // The set grows while it is walked: a message may need others.
  for (const item of kept) for (const needed of neighbours(item)) kept.add(needed);
  prune(protocol, kept);
  return JSON.stringify(protocol.toJSON());
}

/** What a service, a message or an enumeration refers to, and what it is declared in. */
function neighbours(item) {
  const methods = item.methodsArray ?? [];
  const fields = item.fieldsArray ?? [];
  return [
    ...methods.flatMap((method) => [method.resolvedRequestType, method.resolvedResponseType]),
    ...fields.flatMap((field) => field.resolvedType ?? []),
    ...(item.parent ? [item.parent] : []),
  ];
}

/** Removes everything from a namespace that is not kept; members of kept messages stay. */
function prune(namespace, kept) {
  for (const item of [...namespace.nestedArray]) {
    if (!kept.has(item)) namespace.remove(item);
    else if (item.nestedArray) prune(item, kept);
  }
}
