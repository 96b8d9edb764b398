/** A release that cannot be cut, for a reason that a person can remove; the message names it. */
export class ReleaseError extends Error {}
