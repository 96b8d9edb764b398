/** Where files are unless flags or a network's configuration name other places, as flannel and host-local have them. */
export const DEFAULT_PATHS = {
  subnetFile: "/run/flannel/subnet.env",
  /** Records of the CNI plugin's attachments. */
  stateDir: "/var/lib/cni/flannel",
  /** Reservations of containers' addresses, a folder for each network. */
  addressDir: "/var/lib/cni/networks",
  /** Sockets of tulled. */
  runDir: "/run/tulle",
} as const;
