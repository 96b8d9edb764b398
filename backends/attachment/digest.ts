/** Short names for long ones. Not for secrets. */

/** FNV-1a of 64 bits (draft-eastlake-fnv): loading a cryptographic library would cost every call milliseconds. */
const OFFSET_BASIS = 0xcbf29ce484222325n;
const PRIME = 0x100000001b3n;

/** 16 hexadecimal digits; the first ones differ for texts that differ at their ends only. */
export function shortDigest(text: string): string {
  let hash = OFFSET_BASIS;
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * PRIME);
  return avalanche(hash).toString(16).padStart(16, "0");
}

/** FNV stirs its last byte into the low bits only; this spreads it (the finalizer of MurmurHash3). */
function avalanche(hash: bigint): bigint {
  const folded = hash ^ (hash >> 33n);
  const mixed = BigInt.asUintN(64, folded * 0xff51afd7ed558ccdn);
  return mixed ^ (mixed >> 33n);
}
