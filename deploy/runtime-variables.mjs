/**
 * Environment variables by which Node and Bun run the code of others, write files, or trust more than they should.
 * tulle's programs run as root for a runtime or a service manager, so that none of them may obey these. Settings that
 * only tune or colour (UV_THREADPOOL_SIZE, NO_COLOR, TZ) stay.
 */

/** Obeyed by Node before the program's first line: node(1), "Environment", of Node 20 to 26, and child_process's own. */
export const NODE_VARIABLES = [
  "NODE_CHANNEL_FD",
  "NODE_CHANNEL_SERIALIZATION_MODE",
  "NODE_CLUSTER_SCHED_POLICY",
  "NODE_COMPILE_CACHE",
  "NODE_COMPILE_CACHE_PORTABLE",
  "NODE_DEBUG",
  "NODE_DEBUG_NATIVE",
  "NODE_DISABLE_COMPILE_CACHE",
  "NODE_EXTRA_CA_CERTS",
  "NODE_ICU_DATA",
  "NODE_NO_WARNINGS",
  "NODE_OPTIONS",
  "NODE_PATH",
  "NODE_PENDING_DEPRECATION",
  "NODE_PRESERVE_SYMLINKS",
  "NODE_PRESERVE_SYMLINKS_MAIN",
  "NODE_REDIRECT_WARNINGS",
  "NODE_SKIP_PLATFORM_CHECK",
  "NODE_TEST_CONTEXT",
  "NODE_TLS_REJECT_UNAUTHORIZED",
  "NODE_UNIQUE_ID",
  "NODE_USE_ENV_PROXY",
  "NODE_USE_SYSTEM_CA",
  "NODE_V8_COVERAGE",
  "OPENSSL_CONF",
  "OPENSSL_ENGINES",
  "OPENSSL_MODULES",
  "SSL_CERT_DIR",
  "SSL_CERT_FILE",
  "WATCH_REPORT_DEPENDENCIES",
];

/**
 * Obeyed before a dynamically linked program's first instruction (ld.so(8)): they load code, or write files. A program
 * cannot defend itself against these. Only who starts it can: the units do, and our child processes never get them.
 */
export const LOADER_VARIABLES = [
  "GCONV_PATH",
  "GLIBC_TUNABLES",
  "LD_AUDIT",
  "LD_DEBUG",
  "LD_DEBUG_OUTPUT",
  "LD_LIBRARY_PATH",
  "LD_PRELOAD",
  "LD_PROFILE",
  "LD_PROFILE_OUTPUT",
];

/** Some libraries, such as etcd's gRPC, connect through these proxies, which rarely know the hosts of a cluster. */
export const PROXY_VARIABLES = ["all_proxy", "http_proxy", "https_proxy", "no_proxy"]
  .flatMap((name) => [name, name.toUpperCase()])
  .concat("grpc_proxy", "no_grpc_proxy");

/** Beginnings of the names that a compiled Bun program obeys: Bun's own, JavaScriptCore's and its libraries'. */
export const BUN_PREFIXES = ["BUN_", "JSC_", "WTF_", "mimalloc_", "MIMALLOC_", "ICU_"];

/**
 * The second line of a script that sh and Node both read, below `#!/bin/sh`. To Node it is a string and a comment. sh
 * takes away the variables that Node obeys before it reads a program, then runs Node on the same file. `node` is the
 * interpreter as sh reads it.
 */
export function launchLine(node) {
  return `":" //; unset ${NODE_VARIABLES.join(" ")}; exec ${node} "$0" "$@"`;
}
