/** Settings of the daemon itself: configuration, files, health and logs. */

import { DEFAULT_PATHS } from "../../../ipam/config/default-paths.ts";
import type { Flags } from "./flag.ts";
import { address, choice, integer, listenAddress, text, toggle } from "./flag-kinds.ts";

export const DAEMON_FLAGS = {
  help: {
    group: "General",
    kind: toggle,
    default: "false",
    help: "print this text and exit",
    origin: "tulle",
    isInFile: false,
  },
  version: {
    group: "General",
    kind: toggle,
    default: "false",
    help: "print the version and exit",
    origin: "flannel",
    isInFile: false,
  },
  config: {
    group: "General",
    kind: text("FILE"),
    default: "",
    help: "YAML or JSON file with these settings under the same names; SIGHUP reads it again",
    origin: "tulle",
    isInFile: false,
  },

  "subnet-file": {
    group: "Files",
    kind: text("FILE"),
    default: DEFAULT_PATHS.subnetFile,
    help: "file that tells Docker and CNI plugins our subnet and MTU",
    origin: "flannel",
  },
  "state-dir": {
    group: "Files",
    kind: text("DIR"),
    default: "/var/lib/tulle",
    help: "persistent state: the node's identity and keys",
    origin: "tulle",
  },
  "wireguard-key-file": {
    group: "Files",
    kind: text("FILE"),
    default: "",
    alsoEnv: "WIREGUARD_KEY_FILE",
    help: "private key of the WireGuard backend, created if absent; default: a file in the state directory",
    origin: "tulle",
    isSecretFile: true,
  },
  "run-dir": {
    group: "Files",
    kind: text("DIR"),
    default: DEFAULT_PATHS.runDir,
    help: "the control socket",
    origin: "tulle",
  },

  "healthz-ip": {
    group: "Health and logs",
    kind: address(),
    default: "0.0.0.0",
    help: "address that /healthz, /readyz and /metrics listen on",
    origin: "flannel",
  },
  "healthz-port": {
    group: "Health and logs",
    kind: integer("PORT", 0, 65_535),
    default: "0",
    help: "their port; 0 disables them",
    origin: "flannel",
  },
  ui: {
    group: "Health and logs",
    kind: listenAddress,
    default: "",
    help: "serve the page that shows the network; on another address than loopback it needs ui-token-file",
    origin: "tulle",
  },
  "ui-token-file": {
    group: "Health and logs",
    kind: text("FILE"),
    default: "",
    help: "file with the token that readers of the page give; at least 16 characters",
    origin: "tulle",
    isSecretFile: true,
  },
  "probe-rate": {
    group: "Health and logs",
    kind: integer("PACKETS", 0, 1_000),
    default: "20",
    help: "most packets per second to learn which paths to peers work, for all peers together; 0 sends none",
    origin: "tulle",
  },
  "log-level": {
    group: "Health and logs",
    kind: choice("auto", "debug", "info", "warn", "error"),
    default: "auto",
    help: "lowest level to log; auto: info, or debug when v is 1 or more",
    origin: "tulle",
    isLive: true,
  },
  "log-format": {
    group: "Health and logs",
    kind: choice("text", "json"),
    default: "text",
    help: "format of the log lines on standard error",
    origin: "tulle",
  },
  v: {
    group: "Health and logs",
    kind: integer("LEVEL", 0, 100),
    default: "0",
    help: "flanneld's verbosity; 1 and more means debug",
    origin: "flannel",
    isLive: true,
  },
  vmodule: {
    group: "Health and logs",
    kind: text("PATTERN=LEVEL,…"),
    default: "",
    help: "read for compatibility, without effect",
    origin: "flannel",
  },
  log_backtrace_at: {
    group: "Health and logs",
    kind: text("FILE:LINE"),
    default: "",
    help: "read for compatibility, without effect",
    origin: "flannel",
  },
} as const satisfies Flags;
