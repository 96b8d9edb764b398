/** How packages describe themselves. */

export const SUMMARY = "overlay network for containers on many Linux hosts";

/** Lines of at most 79 characters; an empty one divides paragraphs. */
export const DESCRIPTION = `The agent tulled leases a subnet for this host in etcd, Consul or an embedded
store, and keeps the kernel's tunnel devices, routes, neighbours and firewall
rules equal to what the leases say, over VXLAN, plain routes, IPIP, WireGuard
or UDP. It is a drop-in member of a flannel network.

tulle is the command line, tulle-cni the plugin for container runtimes with
CNI, and tulle-netavark the one for podman 5.`;

/** Releases have authors, and no mailbox (RFC 2606, section 2). */
export const MAINTAINER = "The tulle authors <authors@tulle.invalid>";
