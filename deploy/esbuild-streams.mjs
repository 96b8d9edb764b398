/**
 * Gives winston the streams of the runtime. It asks for readable-stream, a copy of Node's streams for older versions of
 * Node and for browsers: the same interface, and 38 kB of code in tulled.
 */

const NAMESPACE = "node-streams";
/** What its modules export. */
const MEMBERS = new Map([
  ["readable-stream", "Stream"],
  ["readable-stream/lib/_stream_writable.js", "Writable"],
]);

/** The esbuild plugin. Fails the build for a part of the package that it does not know. */
export const nodeStreams = {
  name: NAMESPACE,
  setup(builder) {
    builder.onResolve({ filter: /^readable-stream/ }, ({ path: specifier }) => {
      const member = MEMBERS.get(specifier);
      if (member === undefined)
        return { errors: [{ text: `${specifier} is not among the streams of ${NAMESPACE}` }] };
      return { path: member, namespace: NAMESPACE };
    });
    builder.onLoad({ filter: /./, namespace: NAMESPACE }, ({ path: member }) => ({
      contents: `module.exports = require("node:stream").${member};`,
      loader: "js",
    }));
  },
};
