/** flannel's flags for leases that Kubernetes gives out. */

import type { Flags } from "./flag.ts";
import { text, toggle } from "./flag-kinds.ts";

export const KUBERNETES_FLAGS = {
  "kube-subnet-mgr": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: toggle,
    default: "false",
    help: "take the subnet from the Kubernetes node",
    origin: "flannel",
  },
  "kube-api-url": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("URL"),
    default: "",
    help: "the API server",
    origin: "flannel",
  },
  "kubeconfig-file": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("FILE"),
    default: "",
    help: "how to reach it",
    origin: "flannel",
  },
  "kube-annotation-prefix": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("PREFIX"),
    default: "flannel.alpha.coreos.com",
    help: "prefix of the node's annotations",
    origin: "flannel",
  },
  "net-config-path": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: text("FILE"),
    default: "/etc/kube-flannel/net-conf.json",
    help: "the network configuration",
    origin: "flannel",
  },
  "set-node-network-unavailable": {
    group: "Kubernetes (read for compatibility; not in this version)",
    kind: toggle,
    default: "true",
    help: "clear the node's NetworkUnavailable condition",
    origin: "flannel",
  },
} as const satisfies Flags;
