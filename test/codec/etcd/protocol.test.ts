/** The codecs that the build puts in place of etcd3's protocol files give the bytes and the values that those give. */

import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const PROTOCOL = join(ROOT, "node_modules/etcd3/proto/rpc.proto");
const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };

interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly originalName: string;
  requestSerialize(value: object): Buffer;
  responseSerialize(value: object): Buffer;
  responseDeserialize(bytes: Buffer): object;
}
type Services = Readonly<Record<string, Readonly<Record<string, Method>>>>;

/** A field of a message, as protobufjs describes it. */
interface Field {
  readonly name: string;
  readonly type: string;
  readonly repeated: boolean;
  readonly resolvedType: Message | null;
}
interface Message {
  readonly fieldsArray?: readonly Field[];
  readonly values?: Readonly<Record<string, number>>;
}

const requireFromLoader = createRequire(
  createRequire(join(ROOT, "node_modules/etcd3/package.json")).resolve("@grpc/proto-loader"),
);
const original: Services = requireFromLoader("@grpc/proto-loader").loadSync(PROTOCOL, OPTIONS);
const protocol = new (requireFromLoader("protobufjs").Root)()
  .loadSync(PROTOCOL, { keepCase: true })
  .resolveAll();
const { protocolModule } = await import(join(ROOT, "deploy/esbuild-etcd3.mjs"));

function builtServices(): Services {
  const module = { exports: (_options: object): Services => ({}) };
  new Function("require", "module", protocolModule(ROOT))(requireFromLoader, module);
  return module.exports(OPTIONS);
}

/** A message with every field set, to a few levels; the `variant` tells alternatives and signs apart. */
function sample(message: Message, variant: number, depth = 0): object {
  const fields = message.fieldsArray ?? [];
  const entries = fields.flatMap((field, index): [string, unknown][] => {
    if (field.resolvedType?.fieldsArray && depth > 3) return [];
    const value = sampleOf(field, variant + index, depth);
    return [[field.name, field.repeated ? [value, value] : value]];
  });
  return Object.fromEntries(entries);
}

function sampleOf({ type, resolvedType }: Field, variant: number, depth: number): unknown {
  if (resolvedType?.values) {
    const names = Object.keys(resolvedType.values);
    return names[variant % names.length];
  }
  if (resolvedType) return sample(resolvedType, variant, depth + 1);
  switch (type) {
    case "string":
      return `text ${variant} ü`;
    case "bytes":
      return Buffer.from([0, variant, 255]);
    case "bool":
      return variant % 2 === 0;
    case "int64":
    case "uint64":
      return variant % 2 === 0 ? "2312776610234416391" : "-1".slice(type === "uint64" ? 1 : 0);
    default:
      return variant;
  }
}

const methods = Object.entries(builtServices()).flatMap(([service, built]) =>
  Object.entries(built).map(([name, method]) => ({
    name: `${service}.${name}`,
    method,
    reference: original[service]?.[name] as Method,
    request: protocol.lookupService(service).methods[name].resolvedRequestType as Message,
    response: protocol.lookupService(service).methods[name].resolvedResponseType as Message,
  })),
);

function outcome(method: Method, bytes: Buffer): object | string {
  try {
    return method.responseDeserialize(bytes);
  } catch (error) {
    return String(error);
  }
}

describe.each(methods)("$name", ({ method, reference, request, response }) => {
  const variants = [0, 1, 2, 3, 4];

  it("has the same route and streams", () => {
    const { path, requestStream, responseStream, originalName } = reference;
    expect(method).toMatchObject({ path, requestStream, responseStream, originalName });
  });

  it("writes the same requests", () => {
    const values = [{}, ...variants.map((variant) => sample(request, variant))];
    for (const value of values)
      expect(method.requestSerialize(value)).toEqual(reference.requestSerialize(value));
  });

  it("reads the same responses, also where they are cut short", () => {
    const values = [{}, ...variants.map((variant) => sample(response, variant))];
    for (const value of values) {
      const bytes = reference.responseSerialize(value);
      for (let length = bytes.length; length >= 0; length--) {
        const part = bytes.subarray(0, length);
        expect(outcome(method, part)).toEqual(outcome(reference, part));
      }
    }
  });
});
