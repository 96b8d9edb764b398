/** Where files are unless the configuration of a network names other places: flannel's and host-local's folders. */
export const DEFAULT_PATHS = {
  subnetFile: "/run/flannel/subnet.env",
  /** Records of attachments. */
  stateDir: "/var/lib/cni/flannel",
  /** Reservations of addresses, a folder for each network. */
  addressDir: "/var/lib/cni/networks",
} as const;
