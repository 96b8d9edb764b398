/**
 * The direction of imports, checked. Layers from the bottom: ipam, the kernel model (backends/state, netlink,
 * kernel, firewall), the backends, the agent. The CNI plugin is its own program over the two lowest layers.
 *
 * The parser is swc, because dependency-cruiser cannot use TypeScript 7; it sees type-only imports too.
 */

const not = (...patterns) => ({ pathNot: patterns });
const rule = (name, comment, from, to) => ({ name, comment, severity: "error", from, to });

/** Only `file` may import the npm package. */
const onlyIn = (file, ...packages) =>
  rule(`${packages.join("-and-")}-wrapped-once`, "one file or folder wraps each foreign library", not(file), {
    path: packages.map((name) => `node_modules/${name}/`),
  });

export default {
  forbidden: [
    rule("no-cycles", "a cycle of imports has no bottom to read from", {}, { circular: true }),
    {
      ...rule("no-folder-cycles", "a circle of folders has no bottom to read from", {}, { circular: true }),
      scope: "folder",
    },
    rule("resolvable", "every import leads somewhere", {}, { couldNotResolve: true }),
    rule(
      "ipam-is-the-bottom",
      "ipam knows neither kernel nor agent",
      { path: "^ipam/" },
      { path: "^(agent|backends|cni-plugin|deploy|test)/" },
    ),
    rule(
      "kernel-model-knows-no-backend",
      "state, netlink, kernel and firewall serve every backend",
      { path: "^backends/(state|netlink|kernel|firewall)/" },
      { path: "^(backends/[^/]+\\.ts|agent/|cni-plugin/|deploy/|test/)" },
    ),
    rule(
      "netlink-is-a-library",
      "netlink is used by the CNI plugin too and stays small",
      { path: "^backends/netlink/" },
      { path: "^backends/(state|kernel|firewall)/" },
    ),
    rule(
      "attachment-is-a-library",
      "attachments serve the CNI plugin, Docker and netavark; the tunnel is not their concern",
      { path: "^backends/attachment/" },
      {
        path: "^(backends/(?!attachment/|netlink/|firewall/(command|errors)\\.ts)|agent/|cni-plugin/|deploy/|test/)",
      },
    ),
    rule(
      "backends-know-no-agent",
      "backends plan; the agent wires",
      { path: "^backends/" },
      { path: "^(agent|cni-plugin|deploy|test)/" },
    ),
    rule(
      "cni-plugin-stays-small",
      "every container start loads it",
      { path: "^cni-plugin/" },
      {
        path: "^(agent/|backends/(?!(netlink|attachment)/|segments/(attachment|names)\\.ts)|ipam/(?!containers/|files/|(errors|json|addresses/(ip|mac)|config/(subnet-env|default-paths))\\.ts))",
      },
    ),
    rule(
      "agent-is-the-top",
      "only programs import the agent; the executable, and what looks after the plugin's files, know the plugin",
      { path: "^agent/", ...not("^agent/(cni/|executable\\.ts$)") },
      { path: "^(cni-plugin|test)/" },
    ),
    rule(
      "page-runs-in-browsers",
      "the page's code knows of the daemon what it is sent",
      { path: "^agent/page/" },
      { ...not("^agent/(page/|page-server/page-data\\.ts)"), path: "." },
    ),
    onlyIn("^backends/netlink/libc\\.ts$", "koffi"),
    onlyIn("^agent/report/log\\.ts$", "winston"),
    onlyIn("^agent/names/", "dns-packet"),
    onlyIn("^ipam/stores/", "etcd3", "consul"),
  ],
  options: {
    parser: "swc",
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: [".ts", ".mjs", ".js"],
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "types", "default"],
    },
  },
};
