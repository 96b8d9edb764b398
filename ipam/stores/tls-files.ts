/**
 * Certificates and keys from files, checked before use and read again when the files change.
 *
 * Shared by etcd and Consul.
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
import { ConfigError, errorMessage, StoreError } from "../errors.ts";
import { readRequiredBytes } from "../files/read.ts";
import type { TlsFiles } from "./options.ts";

export interface TlsMaterial {
  /** Null: the system's own authorities. */
  readonly ca: Buffer | null;
  readonly cert: Buffer | null;
  readonly key: Buffer | null;
  /** Equal for equal files: tells whether anything changed. */
  readonly fingerprint: string;
}

/**
 * Reads and checks the files. ConfigError when only one of key and certificate is given, StoreError
 * TULLE_STORE_TLS when a file is unreadable or malformed, the key is another certificate's, or our certificate is
 * not valid at `dateMs`.
 */
export async function readTlsFiles(files: TlsFiles, dateMs: number): Promise<TlsMaterial> {
  if (Boolean(files.certFile) !== Boolean(files.keyFile)) {
    throw new ConfigError("TLS: certfile and keyfile belong together: give both or neither");
  }
  const [ca, cert, key] = await Promise.all([files.caFile, files.certFile, files.keyFile].map(readOptional));
  if (ca) parseCertificate(ca, files.caFile);
  if (cert && key) checkPair(cert, key, files, dateMs);
  const fingerprint = [ca, cert, key].map((file) => file?.toString("latin1") ?? "").join("\0");
  return { ca: ca ?? null, cert: cert ?? null, key: key ?? null, fingerprint };
}

async function readOptional(path: string | undefined): Promise<Buffer | null> {
  if (!path) return null;
  try {
    return readRequiredBytes(path);
  } catch (error) {
    throw tlsFileError(
      path,
      `cannot be read (${errorMessage(error)}): correct the path or its permissions`,
      error,
    );
  }
}

function checkPair(cert: Buffer, key: Buffer, files: TlsFiles, dateMs: number): void {
  const certificate = parseCertificate(cert, files.certFile);
  if (!certificate.checkPrivateKey(parseKey(key, files.keyFile))) {
    throw tlsFileError(
      files.keyFile,
      `does not match the certificate ${files.certFile}: give the key that belongs to it`,
    );
  }
  if (Date.parse(certificate.validTo) < dateMs) {
    throw tlsFileError(files.certFile, `expired on ${certificate.validTo}: install a new certificate`);
  }
  if (Date.parse(certificate.validFrom) > dateMs) {
    throw tlsFileError(files.certFile, `is valid only from ${certificate.validFrom}: check this host's date`);
  }
}

function parseCertificate(pem: Buffer, path: string | undefined): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw tlsFileError(path, "holds no PEM certificate: give the right file", error);
  }
}

function parseKey(pem: Buffer, path: string | undefined): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    throw tlsFileError(path, "holds no PEM private key without a passphrase: give the right file", error);
  }
}

/** Retryable: the files are read again at the next attempt. */
function tlsFileError(path: string | undefined, problem: string, cause?: unknown): StoreError {
  return new StoreError(`TLS file ${path} ${problem}`, {
    code: "TULLE_STORE_TLS",
    retryable: true,
    details: { path },
    cause,
  });
}
