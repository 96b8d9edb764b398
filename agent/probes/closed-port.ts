/** "discard" (RFC 863): hardly any host serves it, and where one does, nothing comes of it. */
export const CLOSED_PORT = 9;
