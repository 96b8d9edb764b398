/**
 * Lets etcd3 be bundled. It reads its protocol from files beside its source and makes its codecs from them at each
 * start, by reflection: half of what loading it costs. The build does that instead and puts the finished codecs into
 * the bundle, for the services that tulle calls.
 *
 * What is made here must answer as etcd3's own does: the end-to-end tests run the bundle, the conformance tests the
 * package.
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const VIRTUAL = "tulle:etcd3-protocol";
/**
 * grpc-js loads the protocols of its servers for channelz and ORCA by it, from files that no bundle has. With it comes the
 * whole of protobufjs, a tenth of a program.
 */
const LOADER = "tulle:no-proto-loader";
const NO_LOADER = `exports.loadSync = (file) => { throw new Error(file + " is not in this build"); };`;
/**
 * Modules of grpc-js that its index names and etcd3 does not use: servers, and ways to balance that only the service
 * config of a channel can choose. They are a twentieth of a program.
 */
const UNUSED =
  /^\.\/(server(-credentials|-interceptors)?|orca|load-balancer-(outlier-detection|weighted-round-robin))$/;
const NOTHING = "tulle:no-grpc-module";
const SET_UP_NOTHING = "exports.setup = () => undefined;";
const IMPORT = /const proto_loader_1 = require\("@grpc\/proto-loader"\);/;
const LOAD_CALL = /\(0, proto_loader_1\.loadSync\)\(`\$\{__dirname\}\/\.\.\/proto\/rpc\.proto`, /;
/**
 * grpc-js adds a pause to a date in local time, for which a program has to load the time zone: 4 ms of each start in Bun. In
 * UTC it is the same date.
 */
const LOCAL_TIME = /\.setMilliseconds\((\S+)\.getMilliseconds\(\) \+ /g;
/**
 * For numbers of 64 bits protobufjs takes `long`, which compiles a WebAssembly module when it is loaded, for divisions in
 * texts of numbers. Answers of etcd are full of those; BigInt writes them several times faster, and in the rest of long's
 * work its own arithmetic does.
 */
const WASM = /wasm = new WebAssembly\.Instance\([^;]*?\)\.exports;/;
const LONG_TO_TEXT = "util.Long.prototype.toString.call(";

/** The esbuild plugin. Throws when a new version of etcd3, grpc-js or long reads otherwise where it is changed. */
export function etcd3Protocol(root) {
  return {
    name: "etcd3-protocol",
    setup(builder) {
      builder.onLoad({ filter: /etcd3\/lib\/connection-pool\.js$/ }, ({ path: file }) => {
        const source = readFileSync(file, "utf8");
        for (const part of [IMPORT, LOAD_CALL])
          if (!part.test(source)) throw new Error(`${file}: the call that loads rpc.proto has changed`);
        return { contents: source.replace(IMPORT, "").replace(LOAD_CALL, `require("${VIRTUAL}")(`) };
      });
      builder.onLoad({ filter: /\/long\/umd\/index\.js$/ }, ({ path: file }) => {
        const source = readFileSync(file, "utf8");
        if (!WASM.test(source)) throw new Error(`${file}: the WebAssembly module has changed`);
        return { contents: source.replace(WASM, "") };
      });
      builder.onLoad({ filter: /@grpc\/grpc-js\/build\/src\/backoff-timeout\.js$/ }, ({ path: file }) => {
        const source = readFileSync(file, "utf8");
        if (!LOCAL_TIME.test(source)) throw new Error(`${file}: the sum of a date and a pause has changed`);
        return { contents: source.replace(LOCAL_TIME, ".setTime($1.getTime() + ") };
      });
      builder.onResolve({ filter: new RegExp(`^${VIRTUAL}$`) }, () => ({
        path: VIRTUAL,
        namespace: VIRTUAL,
      }));
      builder.onLoad({ filter: /./, namespace: VIRTUAL }, () => ({
        contents: protocolModule(root),
        loader: "js",
        resolveDir: root,
      }));
      builder.onResolve({ filter: /^@grpc\/proto-loader$/ }, ({ importer }) =>
        importer.includes("/@grpc/grpc-js/") ? { path: LOADER, namespace: LOADER } : undefined,
      );
      builder.onLoad({ filter: /./, namespace: LOADER }, () => ({ contents: NO_LOADER, loader: "js" }));
      builder.onResolve({ filter: UNUSED }, ({ importer }) =>
        importer.includes("/@grpc/grpc-js/") ? { path: NOTHING, namespace: NOTHING } : undefined,
      );
      builder.onLoad({ filter: /./, namespace: NOTHING }, () => ({ contents: SET_UP_NOTHING, loader: "js" }));
    },
  };
}

/** What ipam/stores/etcd/connection.ts names in EtcdCalls and EtcdStreams, as rpc.proto spells it. */
const CALLED = {
  KV: ["Range", "Txn"],
  Watch: ["Watch"],
  Lease: ["LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseKeepAlive"],
  Auth: ["Authenticate"],
};

/**
 * A module that exports `(options) => definitions`, which is what the loader of @grpc/proto-loader would return for
 * `options`, less what a client does not use: descriptors, and codecs for a server.
 */
export function protocolModule(root) {
  const fromEtcd3 = createRequire(path.join(root, "node_modules/etcd3/package.json"));
  const require = createRequire(fromEtcd3.resolve("@grpc/proto-loader"));
  const file = path.join(root, "node_modules/etcd3/proto/rpc.proto");
  const protocol = new (require("protobufjs").Root)().loadSync(file, { keepCase: true }).resolveAll();
  const services = Object.entries(CALLED).map(([name, methods]) => {
    const service = protocol.lookupService(`etcdserverpb.${name}`);
    return { name: service.fullName.slice(1), methods: methods.map((method) => service.methods[method]) };
  });
  const methods = services.flatMap((service) => service.methods);
  const requests = withMembers(methods.map(({ resolvedRequestType }) => resolvedRequestType));
  const responses = withMembers(methods.map(({ resolvedResponseType }) => resolvedResponseType));
  const types = [...new Set([...requests, ...responses])].map((type) => {
    const roles = { isRequest: requests.has(type), isResponse: responses.has(type) };
    return `define(${nameOf(type)}, ${typeSource(type, roles, require)});`;
  });
  const definitions = services.map((service) => `${json(service.name)}: ${serviceSource(service)},`);
  return `${RUNTIME}
${types.join("\n")}
link();
module.exports = (options) => ({
${definitions.join("\n")}
});
`;
}

/** Messages, and the messages and enumerations that they refer to. */
function withMembers(messages) {
  const all = new Set(messages);
  // The set grows while it is walked.
  for (const type of all)
    for (const { resolvedType } of type.fieldsArray ?? []) if (resolvedType) all.add(resolvedType);
  return all;
}

/** As Type.setup() of protobufjs makes it, but as source. */
function typeSource(type, { isRequest, isResponse }, require) {
  // The generated code looks for both in one object: the number of a name, and the name of a number.
  if (type.values) return json({ values: { ...type.valuesById, ...type.values } });
  const converter = require("protobufjs/src/converter");
  const functions = {
    ...(isRequest && {
      fromObject: converter.fromObject(type),
      encode: require("protobufjs/src/encoder")(type),
    }),
    ...(isResponse && {
      decode: require("protobufjs/src/decoder")(type),
      toObject: String(converter.toObject(type)).replaceAll(LONG_TO_TEXT, "decimal("),
    }),
  };
  const members = Object.entries(functions).map(([name, source]) => `${name}: ${source}`);
  const names = type.fieldsArray.map((field) => field.resolvedType?.fullName ?? null);
  return `((types) => ({ ctor: function ${type.name}() {},\n${members.join(",\n")} }))(typesNamed(${json(names)}))`;
}

function serviceSource({ name, methods }) {
  const sources = methods.map((method) => {
    const streams = `${Boolean(method.requestStream)}, ${Boolean(method.responseStream)}`;
    const [request, response] = [method.resolvedRequestType, method.resolvedResponseType].map(nameOf);
    return `${method.name}: method(${json(`/${name}/${method.name}`)}, ${streams}, ${request}, ${response}, options)`;
  });
  return `{ ${sources.join(", ")} }`;
}

const json = JSON.stringify;
const nameOf = (type) => json(type.fullName);

/** What the generated code calls. Types may refer to each other in circles: references are filled in at the end. */
const RUNTIME = `
const { Reader, Writer, util } = require("protobufjs/minimal");
const types = new Map();
const references = [];
const define = (name, type) => types.set(name, type);
const typesNamed = (names) => {
  const found = [];
  references.push({ found, names });
  return found;
};
const link = () => {
  for (const { found, names } of references) found.push(...names.map((name) => types.get(name) ?? null));
};
const decimal = ({ high, low, unsigned }) => {
  const number = (BigInt(high) << 32n) | BigInt(low >>> 0);
  return String(unsigned ? BigInt.asUintN(64, number) : number);
};
const method = (path, requestStream, responseStream, request, response, options) => {
  const [sent, received] = [types.get(request), types.get(response)];
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: (value) => sent.encode(sent.fromObject(value)).finish(),
    responseDeserialize: (bytes) => received.toObject(received.decode(bytes), options),
    originalName: path.replace(/.*\\/(.)/, (_, first) => first.toLowerCase()),
  };
};
`;
